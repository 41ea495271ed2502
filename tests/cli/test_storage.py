from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pathfleet.agent.executor import Counter, Executor
from pathfleet.cli.executors import Executors
from pathfleet.core.work import AnyTask, Holder, Holders
from pathfleet.errors import Unreachable
from pathfleet.settings import Settings
from pathfleet.store import open_store
from pathfleet.system import executor as client
from tests.api.site import site
from tests.cli.commands import Ran, run_beside
from tests.cluster.hosts import CONFIGURATION, GIB, WWID, Host, San
from tests.fakes import FakeDaemon
from tests.replies import group, map_, path, reply

MAPS = reply(map_(WWID, group(path("sda"), path("sdb")), name="db"))


class Node(Executor):
    """An executor that does what a node of the SAN does."""

    def __init__(self, san: San) -> None:
        self._san = san

    async def do(self, task: AnyTask) -> object:
        return self._san.answer("a", task)


class Cluster:
    """A cluster of one node, with a real store, and an executor that listens."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.san = San({"a": Host()})
        self.url = f"sqlite://{directory}/cluster.db"

    async def run(self, *arguments: str) -> Ran:
        return await run_beside(
            "storage",
            *arguments,
            node="a",
            store=self.url,
            state_directory=str(self.directory),
            executor_socket=str(self.directory / "executor.sock"),
            multipathd_socket=str(self.directory / "multipathd"),
        )

    async def json(self, *arguments: str) -> Any:
        ran = await self.run(*arguments, "-o", "json")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    here = Cluster(tmp_path)
    async with open_store(here.url, node="a") as store:
        await store.alive()
        await store.swap("multipath.cfg", CONFIGURATION.encode(), None)
    async with (
        Counter(Node(here.san), ()).open(tmp_path / "executor.sock"),
        FakeDaemon(str(tmp_path / "multipathd"), MAPS),
    ):
        yield here


async def with_storages(cluster: Cluster) -> None:
    assert (await cluster.run("add", "multipath", "san")).code == 0
    made = await cluster.run("add", "lvm", "vms", "--base", f"san:{WWID}", "--vgname", "vms")
    assert made.out == "group vms of 1 GiB is made; storage vms is added: `pathfleet storage allocate vms SIZE`\n"


async def test_a_volume_from_a_lun_to_its_end(cluster: Cluster) -> None:
    await with_storages(cluster)
    assert (await cluster.run("allocate", "vms", "1G", "--vmid", "100")).out == "vms:vm-100-disk-0 has 1 GiB\n"
    assert (await cluster.run("activate", "vms:vm-100-disk-0")).out == "/dev/vms/vm-100-disk-0\n"
    assert (await cluster.run("resize", "vms:vm-100-disk-0", "2G")).out == "vms:vm-100-disk-0 has 2 GiB\n"
    (listed,) = await cluster.json("content", "vms")
    assert (listed["volid"], listed["size"], listed["active"]) == ("vms:vm-100-disk-0", 2 * GIB, True)
    assert (await cluster.run("deactivate", "vms:vm-100-disk-0")).code == 0
    assert (await cluster.run("free", "vms:vm-100-disk-0")).out == "volume vm-100-disk-0 is freed\n"
    assert await cluster.json("content", "vms") == []


async def test_a_lun_is_listed_with_its_health_and_its_consumers(cluster: Cluster) -> None:
    await with_storages(cluster)
    (listed,) = await cluster.json("content", "san")
    assert (listed["volid"], listed["name"], listed["health"], listed["storages"]) == (
        f"san:{WWID}",
        "db",
        "optimal",
        ["vms"],
    )
    path_ = await cluster.run("path", f"san:{WWID}")
    assert path_.out == f"/dev/disk/by-id/dm-uuid-mpath-{WWID}\n"


async def test_storages_are_listed_changed_and_removed(cluster: Cluster) -> None:
    assert "there are no storages" in (await cluster.run("list")).out
    await with_storages(cluster)
    refused = await cluster.run("remove", "san")
    assert refused.code == 69
    assert "base of vms" in refused.err
    assert (await cluster.run("set", "vms", "nodes=a,b", "disable=1")).code == 0
    listed = await cluster.json("list")
    assert listed["storages"][1] == {
        "storage": "vms",
        "type": "lvm",
        "enabled": False,
        "nodes": ["a", "b"],
        "base": f"san:{WWID}",
        "vgname": "vms",
        "content": ["images", "rootdir"],
    }
    assert (await cluster.run("remove", "vms")).code == 0
    assert (await cluster.run("set", "san")).code == 64


async def test_a_digest_of_before_or_a_name_that_is_none_makes_nothing(cluster: Cluster) -> None:
    assert (await cluster.run("add", "multipath", "san")).code == 0
    lun = ("--base", f"san:{WWID}", "--vgname", "vms")
    stale = await cluster.run("add", "lvm", "vms", *lun, "--digest", "0" * 40)
    odd = await cluster.run("add", "lvm", "foo bar", *lun)
    gone = await cluster.run("add", "lvm", "vms", *lun, "--without", "z")
    assert (stale.code, odd.code, gone.code) == (69, 64, 69)
    assert "read it again" in stale.err
    assert "2 to 63 of letters" in odd.err
    assert "no node 'z'" in gone.err
    assert cluster.san.told == []


async def test_the_status_tells_what_cannot_be_used_and_why(cluster: Cluster) -> None:
    await with_storages(cluster)
    assert (await cluster.run("status")).code == 0
    cluster.san.fails["a", "GroupStatus"] = Unreachable("the LUN is gone")
    ran = await cluster.run("status", "-o", "json")
    assert ran.code == 1
    assert [(row["storage"], row["active"], row["reason"]) for row in json.loads(ran.out)] == [
        ("san", True, None),
        ("vms", False, "the LUN is gone"),
    ]


async def test_a_lun_is_refused_what_the_array_does(cluster: Cluster) -> None:
    await with_storages(cluster)
    ran = await cluster.run("allocate", "san", "1G", "--name", "x")
    assert ran.code == 69
    assert "which the array makes and removes" in ran.err


async def test_growing_tells_step_by_step(cluster: Cluster) -> None:
    await with_storages(cluster)
    cluster.san.size = 2 * GIB
    assert (await cluster.run("grow", "vms")).out.splitlines() == [
        f"a: has the map dm-3 of {GIB} bytes with 2 paths",
        f"a: all 2 paths show {2 * GIB} bytes",
        f"a: the map grew to {2 * GIB} bytes",
        f"a: the disk of group vms grew to {2 * GIB} bytes",
        f"LUN {WWID} has 2 GiB on a",
    ]


async def test_what_stops_is_told_with_what_was_done(cluster: Cluster) -> None:
    await with_storages(cluster)
    cluster.san.fails["a", "ResizeMap"] = Unreachable("the executor stopped")
    ran = await cluster.run("grow", WWID, "-o", "json")
    assert ran.code == 69
    said = json.loads(ran.out)
    assert [step["failed"] for step in said["steps"]] == [False, False, True]
    assert "node a: the executor stopped" in said["error"]
    table = await cluster.run("grow", WWID)
    assert "FAILED a: resizing the map" in table.out
    assert "run the same again" in table.err


async def test_a_lun_is_retired_when_nobody_uses_it(cluster: Cluster) -> None:
    cluster.san.hosts["a"].holders = (Holder("mount", "/srv\x1b[31m", "dm-3"),)
    refused = await cluster.run("retire", WWID)
    assert refused.code == 69
    assert "in use, nothing was changed: node a: mount /srv" in refused.err
    cluster.san.hosts["a"].holders = ()
    assert (await cluster.run("retire", WWID)).out.splitlines() == [
        "a: nobody uses it",
        "a: the map is flushed and gone",
        "a: paths sda sdb are deleted",
        "cluster: off the allow-list: each node applies that by itself",
        f"LUN {WWID} is gone from a: unmap it on the array now",
    ]


@pytest.mark.usefixtures("cluster")
async def test_another_node_is_reached_by_the_agent_here(tmp_path: Path) -> None:
    async with site() as agent:
        object.__setattr__(agent.service, "executor", client.Executor(tmp_path / "executor.sock"))
        nodes = Executors(Settings(node="z", api_socket=str(agent.settings.api_socket_file)))
        assert (await nodes.do("a", Holders(WWID))).device == "dm-3"
        with pytest.raises(Unreachable, match="no node 'y'"):
            await nodes.do("y", Holders(WWID))
    with pytest.raises(Unreachable, match="no agent with an API answers"):
        await nodes.do("a", Holders(WWID))
