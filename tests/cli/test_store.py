from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pathfleet.store import Members
from pathfleet.store.sqlite import SQLiteStore
from tests.cli.commands import Ran, run_beside


@pytest.fixture
def place(tmp_path: Path) -> dict[str, Any]:
    return {"node": "here", "state_directory": str(tmp_path)}


def store(place: dict[str, Any], node: str) -> SQLiteStore:
    return SQLiteStore(Path(place["state_directory"]) / "cluster.db", node=node)


async def wrote(place: dict[str, Any], *nodes: str) -> None:
    for node in nodes:
        async with store(place, node) as opened:
            await opened.put("multipath", b"x")


async def known(place: dict[str, Any]) -> Members:
    async with store(place, "here") as opened:
        return await opened.members()


async def forget(place: dict[str, Any], node: str) -> Ran:
    return await run_beside("store", "forget", node, **place)


async def test_a_node_that_is_gone_is_forgotten_and_one_line_says_so(place: dict[str, Any]) -> None:
    await wrote(place, "here", "there", "gone")
    ran = await forget(place, "gone")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "node gone is forgotten; should its agent run again, it is there again\n"
    assert set((await known(place)).nodes) == {"here", "there"}


async def test_this_node_is_refused_while_its_agent_runs(place: dict[str, Any]) -> None:
    async with store(place, "here") as agent:
        await agent.alive()
        ran = await forget(place, "here")
    assert (ran.code, ran.out) == (69, "")
    assert ran.err.startswith("pathfleet: node 'here' is online; ")
    assert "pathfleet-agent" in ran.err
    assert set((await known(place)).nodes) == {"here"}


async def test_this_node_may_be_forgotten_when_its_agent_does_not_run(place: dict[str, Any]) -> None:
    await wrote(place, "here", "there")
    assert (await forget(place, "here")).code == 0
    assert set((await known(place)).nodes) == {"there"}


async def test_a_node_that_nobody_knows_is_refused_with_where_to_look(place: dict[str, Any]) -> None:
    await wrote(place, "here")
    ran = await forget(place, "her\x1b[2Je")
    assert (ran.code, ran.out) == (69, "")
    assert "\x1b" not in ran.err
    assert "`pathfleet status` shows those" in ran.err
