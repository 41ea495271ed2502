from __future__ import annotations

import pytest

from pathfleet.cluster import config
from pathfleet.cluster.nodes import Stopped
from pathfleet.cluster.retire import InUse, retire
from pathfleet.core.work import Holder
from pathfleet.errors import CannotTell, NotFound, Refused, Unreachable
from tests.cluster.hosts import WWID, Host, San, Told, opened

CHANGES = ("Flush", "DeletePaths")


async def test_maps_go_then_the_paths_then_the_entry_on_the_allow_list() -> None:
    san, told = San(), Told()
    async with opened(san, storages="") as store:
        done = await retire(store, san, WWID, told)
        assert (await config.read(store)).configuration.wwids == {}
    assert [step.node for step in told.steps][-3:] == ["a", "b", None]
    assert san.steps(*CHANGES) == [("a", "Flush"), ("b", "Flush"), ("a", "DeletePaths"), ("b", "DeletePaths")]
    assert done.paths == {"a": ("sda", "sdb"), "b": ("sda", "sdb")}
    assert all(host.map is None and not host.paths for host in san.hosts.values())


async def test_a_lun_in_use_on_any_node_stays_on_every_one() -> None:
    san, told = San(), Told()
    san.hosts["b"].holders = (Holder("mount", "/srv", "dm-3"),)
    async with opened(san, storages="") as store:
        with pytest.raises(InUse, match=r"nothing was changed: node b: mount /srv on dm-3\. Stop or unmount"):
            await retire(store, san, WWID, told, force=True)
        assert WWID in (await config.read(store)).configuration.wwids
    assert san.steps(*CHANGES) == []


async def test_a_lun_below_a_storage_stays() -> None:
    san = San()
    async with opened(san) as store:
        with pytest.raises(InUse, match="base of storage vms"):
            await retire(store, san, WWID, Told())
    assert san.told == []


async def test_a_map_that_is_only_queueing_stays() -> None:
    san = San({"a": Host(), "b": Host(usable=0)})
    async with opened(san, storages="") as store:
        with pytest.raises(Refused, match=r"no usable path on node b.*bring a path back first"):
            await retire(store, san, WWID, Told(), force=True)
    assert san.steps(*CHANGES) == []


async def test_a_group_on_the_lun_is_not_forgotten() -> None:
    san = San()
    for host in san.hosts.values():
        host.holders = (Holder("group", "vms (2 volumes)", "dm-3"),)
    async with opened(san, storages="") as store:
        with pytest.raises(InUse, match=r"volume group vms \(2 volumes\)"):
            await retire(store, san, WWID, Told())
        await retire(store, san, WWID, Told(), force=True)


async def test_a_node_that_does_not_say_keeps_the_lun_everywhere() -> None:
    san, told = San(), Told()
    san.fails["b", "Holders"] = Unreachable("node b is offline")
    async with opened(san, storages="") as store:
        with pytest.raises(Stopped, match="node b is offline"):
            await retire(store, san, WWID, told)
        assert san.steps(*CHANGES) == []
        assert (await retire(store, san, WWID, told, without=("b",))).nodes == ("a",)


@pytest.mark.parametrize("task", CHANGES)
async def test_what_was_interrupted_goes_on(task: str) -> None:
    san, told = San(), Told()
    san.fails["b", task] = CannotTell("multipathd hangs")
    async with opened(san, storages="") as store:
        with pytest.raises(Stopped, match="node b: multipathd hangs"):
            await retire(store, san, WWID, told)
        assert told.failed == ["b"]
        # else the nodes reconfigure, and maps are made of paths that are still there
        assert WWID in (await config.read(store)).configuration.wwids
        san.fails.clear()
        await retire(store, san, WWID, told)
        assert (await config.read(store)).configuration.wwids == {}
    assert all(host.map is None and not host.paths for host in san.hosts.values())


async def test_a_lun_that_nobody_knows_is_not_found() -> None:
    san = San({"a": Host(map=None, paths={})})
    async with opened(san, storages="", configuration="") as store:
        with pytest.raises(NotFound, match="nothing to retire"):
            await retire(store, san, WWID, Told())
