"""The engines that the conformance suite runs on, and stores opened on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing
from ctypes import CDLL
from pathlib import Path

import pytest

from pathfleet.store import Store
from tests.store.engines import Cluster, PmxcfsCluster, SQLiteCluster

Opener = Callable[[str | None], Awaitable[Store]]


@pytest.fixture(params=["sqlite", "pmxcfs"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    match request.param:
        case "sqlite":
            yield SQLiteCluster(tmp_path)
        case "pmxcfs":
            require_libqb()
            with closing(PmxcfsCluster(tmp_path)) as cluster:
                yield cluster


def require_libqb() -> None:
    try:
        CDLL("libqb.so.100")
    except OSError:
        pytest.skip("package libqb100 is not installed")


@pytest.fixture
async def opened(engine: Cluster) -> AsyncIterator[Opener]:
    """Opens stores that are closed when the test ends."""
    async with AsyncExitStack() as stack:

        async def open_one(node: str | None) -> Store:
            return await stack.enter_async_context(engine.store(node))

        yield open_one


@pytest.fixture
async def a(opened: Opener) -> Store:
    return await opened("a")


@pytest.fixture
async def b(opened: Opener, a: Store) -> Store:
    assert a.node == "a"
    return await opened("b")


@pytest.fixture
async def reader(opened: Opener, a: Store) -> Store:
    assert a.node == "a"  # there is something to read only after a node was there
    return await opened(None)


async def eventually(holds: Callable[[], Awaitable[bool]], within_seconds: float = 10.0) -> None:
    """Wait until `holds` says so, with a deadline."""
    async with asyncio.timeout(within_seconds):
        while not await holds():  # noqa: ASYNC110 - what is waited for is in the engine
            await asyncio.sleep(0.02)
