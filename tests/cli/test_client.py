from __future__ import annotations

from pathlib import Path

import pytest

from pathfleet.cli.client import Client
from pathfleet.errors import Malformed, PathfleetError, Unreachable
from tests.cli.api import answering


async def test_what_the_agent_says_is_read_from_its_envelope(tmp_path: Path) -> None:
    async with answering(tmp_path / "api", b'{"data":["a","b"]}') as asked:
        assert await Client(tmp_path / "api").get(("nodes", "n 1/x", "disks"), list[str]) == ["a", "b"]
    assert asked == ["GET /api2/json/nodes/n%201%2Fx/disks HTTP/1.1"]


async def test_a_refusal_has_the_words_of_the_agent(tmp_path: Path) -> None:
    body = b'{"data":null,"message":"the maps of node b are not known","errors":{"multipathd":"it hangs"}}'
    async with answering(tmp_path / "api", body, status=503):
        with pytest.raises(PathfleetError, match="the maps of node b are not known: it hangs"):
            await Client(tmp_path / "api").get(("version",), dict[str, str])


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"data":7}', b"[" * 10_000, b"\xff", b'{"message":7}'])
async def test_what_is_no_answer_is_said_to_be_none(tmp_path: Path, body: bytes, status: int) -> None:
    async with answering(tmp_path / "api", body, status=status):
        with pytest.raises((Malformed, PathfleetError)) as raised:
            await Client(tmp_path / "api").get(("version",), list[str])
    assert str(tmp_path / "api") in str(raised.value)


async def test_no_agent_is_said_with_the_socket(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"no agent with an API answers at .*api.*`pathfleet agent` is one"):
        await Client(tmp_path / "api").get(("version",), list[str])


async def test_an_agent_that_hangs_has_a_deadline(tmp_path: Path) -> None:
    async with answering(tmp_path / "api", b"", hangs=True):
        with pytest.raises(Unreachable, match=r"did not answer within 0\.2 s"):
            await Client(tmp_path / "api", deadline_seconds=0.2).get(("version",), list[str])
