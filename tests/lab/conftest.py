"""A lab on sockets of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pathfleet.lab import san_file
from pathfleet.lab.clock import Clock
from pathfleet.lab.san import San
from tests.lab.bench import SMALL


@pytest.fixture
async def san(tmp_path: Path) -> AsyncIterator[San]:
    """A small lab whose daemons serve their sockets, a hundred times as fast as the world."""
    lab = San(
        san_file.load(SMALL),
        sockets=lambda host: str(tmp_path / f"{host}.socket"),
        files=tmp_path / "files",
        clock=Clock(speed=100),
    )
    async with lab.running():
        yield lab
