from __future__ import annotations

import pytest

from pathfleet.cluster import config, outlook
from pathfleet.cluster.nodes import Stopped
from pathfleet.cluster.retire import InUse, retire
from pathfleet.core.storagechange import Unfit
from pathfleet.core.work import Holder
from pathfleet.errors import CannotTell, NotFound, Refused, Unreachable
from pathfleet.store import Member, Members
from tests.cluster.hosts import GIB, WWID, Host, San, Told, goes_down, opened

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
    san = San(volumes={"vm-100-disk-0": GIB, "vm-101-disk-0": GIB})
    async with opened(san, storages="") as store:
        with pytest.raises(InUse, match=r"volume group vms \(2 volumes\)"):
            await retire(store, san, WWID, Told())
        await retire(store, san, WWID, Told(), force=True)


@pytest.mark.parametrize("base", ["", "\tbase arr:0.0.0.scsi-3600a\n"])
@pytest.mark.parametrize("volumes", [{}, {"vm-100-disk-0": GIB}])
async def test_a_lun_stays_while_a_storage_that_does_not_name_it_has_its_group(
    base: str, volumes: dict[str, int]
) -> None:
    san = San(volumes=volumes)
    iscsi = "iscsi: arr\n\tportal 10.0.0.1\n\ttarget iqn.2000-01.x:y\n\n"
    async with opened(san, storages=f"{iscsi}lvm: guests\n\tvgname vms\n{base}\tshared 1\n\n") as store:
        with pytest.raises(InUse, match=r"has the volume group of storage guests on it.*--force") as raised:
            await retire(store, san, WWID, Told())
        assert raised.value.storages == ("guests",)
        assert san.steps(*CHANGES) == []
        seen = await outlook.of_retiring(store, san, WWID)
        assert (seen.storages, seen.against) == (("guests",), (str(raised.value),))
        await retire(store, san, WWID, Told(), force=True)
    assert san.hosts["a"].map is None


async def test_an_empty_group_that_no_storage_has_keeps_no_lun() -> None:
    san = San()
    async with opened(san, storages="lvm: other\n\tvgname other\n\n") as store:
        assert (await retire(store, san, WWID, Told())).nodes == ("a", "b")


async def test_a_node_that_is_online_cannot_be_left_out() -> None:
    san = San()
    san.fails["b", "Holders"] = Unreachable("the executor of node b does not run")
    async with opened(san, storages="") as store:
        with pytest.raises(Unfit, match=r"node b is online: it cannot be left out.*pathfleet-executor"):
            await retire(store, san, WWID, Told(), without=("b",), force=True)
        with pytest.raises(Unfit, match="node b is online"):
            await outlook.of_retiring(store, san, WWID, without=("b",))
    assert san.told == []


async def test_a_node_of_which_nobody_can_tell_whether_it_is_online_can_be_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    san = San()
    async with opened(san, storages="") as store:

        async def members() -> Members:
            return Members({"a": Member(online=True), "b": Member(online=None)}, quorate=False)

        monkeypatch.setattr(store, "members", members)
        assert (await retire(store, san, WWID, Told(), without=("b",))).nodes == ("a",)


async def test_no_lun_goes_where_no_node_is_left_to_ask() -> None:
    san = San()
    async with opened(san, storages="") as store:
        for node in san.hosts:
            goes_down(store.memory, node)
        with pytest.raises(Unfit, match="no node is left"):
            await retire(store, san, WWID, Told(), without=("a", "b"), force=True)
        assert WWID in (await config.read(store)).configuration.wwids


async def test_a_node_that_does_not_say_keeps_the_lun_everywhere() -> None:
    san, told = San(), Told()
    san.fails["b", "Holders"] = Unreachable("node b is offline")
    async with opened(san, storages="") as store:
        with pytest.raises(Stopped, match="node b is offline"):
            await retire(store, san, WWID, told)
        assert san.steps(*CHANGES) == []
        goes_down(store.memory, "b")
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
