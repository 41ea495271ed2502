from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest

from pathfleet.core import detail, maps, report, wire
from pathfleet.core.answer import answer_of
from pathfleet.core.detail import DownPath
from pathfleet.core.health import Facts, judge
from pathfleet.core.node import Daemon
from pathfleet.core.report import MapReport
from pathfleet.store.sqlite import SQLiteStore
from tests.cli.api import answering
from tests.cli.commands import Ran, run_beside
from tests.cli.test_main import offered
from tests.fakes import FakeDaemon
from tests.replies import group, map_, path, reply

REPLY = reply(
    map_("x", group(path("sda"), path("sdb", "failed", "faulty")), name="data"), map_("y", group(path("sdc")))
)
VERDICTS = tuple(judge(each, Facts()) for each in maps.decode(REPLY))
ROWS = msgspec.json.encode({"data": answer_of(Daemon.RUNNING, None, VERDICTS, Facts()).maps})


@pytest.fixture
async def cluster(tmp_path: Path) -> Path:
    """Two nodes, `here` and `there`, which has lost a path of one of its two LUNs."""
    now = int(time.time())
    for name in ("here", "there"):
        async with SQLiteStore(tmp_path / "cluster.db", node=name) as store:
            await store.alive()
            versions = {"pathfleet": "0.1.0", "multipath-tools": "0.9.4"}
            await store.put("pathfleet", wire.stamp({"multipathd": "running", "start": 0, "versions": versions}, now))
            await store.put(
                "multipath",
                report.plain({"x": MapReport("degraded", 1, 2), "y": MapReport("optimal", 1, 1)}, now),
            )
            down = {"x": {"name": "data", "down": [DownPath("sdb", "failed", "faulty", "192.0.2.1", "portal")]}}
            await store.put(detail.KEY, wire.stamp({"maps": down}, now))
    return tmp_path


async def ask(cluster: Path, *arguments: str, multipathd_socket: str = "/nowhere") -> Ran:
    return await run_beside(
        "node", *arguments, node="here", state_directory=str(cluster), api_socket=str(cluster / "api"),
        multipathd_socket=multipathd_socket,
    )  # fmt: skip


async def test_this_node_is_asked_now(cluster: Path) -> None:
    async with FakeDaemon(str(cluster / "socket"), REPLY) as daemon:
        ran = await ask(cluster, "here", multipathd_socket=daemon.address)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].startswith("here: online, multipathd running, spoke ")
    assert lines[1].strip() == "pathfleet 0.1.0, multipath-tools 0.9.4"
    assert [line.split()[0] for line in lines[4:6]] == ["degraded", "optimal"]
    assert "data: degraded, 1/2 paths usable" in lines
    assert any("y: optimal" in line for line in lines)


async def test_this_node_is_shown_though_the_store_cannot_be_read(tmp_path: Path) -> None:
    async with FakeDaemon(str(tmp_path / "socket"), REPLY) as daemon:
        ran = await ask(tmp_path, "here", multipathd_socket=daemon.address)
    assert ran.code == 0
    assert "data: degraded" in ran.out
    assert "the store says nothing of this node" in ran.out
    assert ran.err.startswith("pathfleet: store ")


async def test_another_node_is_asked_through_the_agent_of_this_one(cluster: Path) -> None:
    async with answering(cluster / "api", ROWS) as asked:
        ran = await ask(cluster, "there")
    assert asked == ["GET /api2/json/nodes/there/disks/multipath HTTP/1.1"]
    assert (ran.code, ran.err) == (0, "")
    assert "data: degraded, 1/2 paths usable" in ran.out


@pytest.mark.parametrize(("options", "shown"), [([], False), (["--paths"], True)])
async def test_paths_of_maps_that_are_well_are_shown_on_demand(cluster: Path, options: list[str], shown: bool) -> None:
    rows = answer_of(Daemon.RUNNING, None, tuple(judge(each, Facts()) for each in maps.decode(
        reply(map_("y", group(path("sdc", host_adapter="192.0.2.1"), path("sdd", host_adapter="192.0.2.2"))))
    )), Facts()).maps  # fmt: skip
    async with answering(cluster / "api", msgspec.json.encode({"data": rows})):
        ran = await ask(cluster, "there", *options)
    assert ("sdd" in ran.out) is shown


async def test_without_an_agent_what_the_store_has_is_shown_and_said_to_be_that(cluster: Path) -> None:
    ran = await ask(cluster, "there")
    assert ran.code == 0
    assert "no agent with an API answers at" in ran.err
    lines = ran.out.splitlines()
    assert "as the store has it, which is what the node reported last:" in lines
    assert any(line.split()[:4] == ["degraded", "1/2", "data", "x"] for line in lines)
    assert ["data", "sdb", "failed", "faulty", "192.0.2.1", "portal"] in [line.split() for line in lines]


async def test_json_says_where_it_is_from(cluster: Path) -> None:
    found = json.loads((await ask(cluster, "there", "-o", "json")).out)
    assert list(found) == ["node", "source", "remark", "answer", "reported"]
    assert (found["source"], found["answer"], found["node"]["online"]) == ("store", None, True)
    assert [each["wwid"] for each in found["reported"]] == ["x", "y"]
    async with answering(cluster / "api", ROWS):
        found = json.loads((await ask(cluster, "there", "-o", "json")).out)
    assert (found["source"], found["remark"], found["reported"]) == ("agent", None, None)
    assert [each["wwid"] for each in found["answer"]["maps"]] == ["x", "y"]


async def test_a_node_that_is_none_is_said_to_be_none_with_those_there_are(cluster: Path) -> None:
    ran = await ask(cluster, "nowhere")
    assert (ran.code, ran.out) == (69, "")
    assert ran.err == "pathfleet: no node 'nowhere' in the store; its nodes: here, there\n"


async def test_names_are_completed_from_the_store(cluster: Path) -> None:
    assert await offered("pathfleet node ", cluster) == ["here", "there"]
    assert await offered("pathfleet node th", cluster) == ["there"]
    assert await offered("pathfleet node ", cluster / "nowhere") == []
