from __future__ import annotations

import math
from typing import Any

import pytest

from pathfleet.cluster import locks, outlook
from pathfleet.cluster.grow import Grown, grow
from pathfleet.cluster.nodes import Stopped
from pathfleet.core import work
from pathfleet.core.storagechange import Unfit
from pathfleet.core.work import Task
from pathfleet.errors import BadRequest, CannotTell, LockBusy, NotFound, Unreachable
from tests.cluster.hosts import GIB, STORAGES, WWID, Host, San, Told, goes_down, opened


async def test_paths_grow_then_maps_then_lvm_once_and_the_others_see_it() -> None:
    san, told = San(size=2 * GIB), Told()
    async with opened(san) as store:
        assert await grow(store, san, WWID, told, first="b") == Grown(WWID, 2 * GIB, ("a", "b"), "vms")
    assert san.steps("Rescan", "ResizeMap", "ResizeGroupDisk", "GroupStatus") == [
        ("a", "Rescan"),
        ("b", "Rescan"),
        ("a", "ResizeMap"),
        ("b", "ResizeMap"),
        ("b", "ResizeGroupDisk"),
        ("a", "GroupStatus"),
    ]
    assert (san.disk, told.failed) == (2 * GIB, [])


async def test_what_has_grown_already_stays_and_growing_goes_on() -> None:
    san, told = San(size=2 * GIB), Told()
    san.fails["b", "ResizeMap"] = CannotTell("multipathd hangs")
    async with opened(san) as store:
        with pytest.raises(Stopped, match=r"resizing the map failed: node b: multipathd hangs\..*run the same again"):
            await grow(store, san, WWID, told)
        assert told.failed == ["b"]
        assert (san.hosts["a"].map, san.hosts["b"].map, san.disk) == (2 * GIB, GIB, GIB)
        san.fails.clear()
        assert (await grow(store, san, WWID, told)).size == san.disk == 2 * GIB


@pytest.mark.parametrize("task", ["Holders", "Rescan", "ResizeMap"])
async def test_lvm_takes_nothing_in_before_every_node_has_it(task: str) -> None:
    san, told = San(size=2 * GIB), Told()
    san.fails["b", task] = Unreachable("node b is offline")
    async with opened(san) as store:
        with pytest.raises(Stopped, match="node b is offline"):
            await grow(store, san, WWID, told)
    assert san.steps("ResizeGroupDisk") == []


async def test_nodes_that_see_different_sizes_stop_it() -> None:
    san = San(size=2 * GIB)

    def smaller_on_b(node: str, task: Task[Any]) -> None:
        if isinstance(task, work.Rescan):
            san.size = GIB if node == "b" else 2 * GIB

    san.before = smaller_on_b
    async with opened(san) as store:
        with pytest.raises(Stopped, match=f"different sizes \\(a {2 * GIB}, b {GIB}\\)"):
            await grow(store, san, WWID, Told())
    assert san.steps("ResizeMap") == []


async def test_a_lun_that_shrank_stops_it() -> None:
    san = San(size=GIB // 2)
    async with opened(san) as store:
        with pytest.raises(Stopped, match="a LUN in use never shrinks"):
            await grow(store, san, WWID, Told())
    assert san.steps("ResizeMap") == []


async def test_a_node_that_reads_something_else_is_named_at_last() -> None:
    san, told = San(size=2 * GIB), Told()

    def shrink(node: str, task: Task[Any]) -> None:
        if isinstance(task, work.GroupStatus) and node == "b":
            san.hosts[node].map = GIB

    san.before = shrink
    async with opened(san) as store:
        with pytest.raises(Stopped, match="reading the group anew failed: node b"):
            await grow(store, san, WWID, told)


@pytest.mark.parametrize(
    ("storages", "volumes", "disk", "lock"),
    [
        (STORAGES, {}, GIB, "storage-vms"),
        ("lvm: VMs\n\tvgname vms\n\n", {}, GIB, "storage-VMs"),
        ("lvm: vms\n\tvgname vms\n\n", {"vm-100-disk-0": GIB}, GIB, "storage-vms"),
        ("", {"vm-100-disk-0": GIB}, GIB, "group-vms"),
        ("lvm: more\n\tvgname more\n\n", {}, None, f"lun-{WWID}"),
    ],
)
async def test_lvm_takes_it_in_only_under_the_lock_of_the_group_on_it(
    monkeypatch: pytest.MonkeyPatch, storages: str, volumes: dict[str, int], disk: int | None, lock: str
) -> None:
    monkeypatch.setattr(locks, "_TURN_SECONDS", 0.0)
    san = San({"a": Host()}, size=2 * GIB, disk=disk, volumes=volumes)
    async with opened(san, storages=storages) as store:
        store.memory.locks[lock] = ("b", math.inf)
        with pytest.raises(LockBusy, match=lock):
            await grow(store, san, WWID, Told())
        assert san.steps("ResizeGroupDisk") == []
        del store.memory.locks[lock]
        await grow(store, san, WWID, Told())
    assert san.steps("ResizeGroupDisk") == [("a", "ResizeGroupDisk")]


async def test_a_lun_without_a_group_grows_as_well() -> None:
    san = San(size=2 * GIB, disk=None)
    async with opened(san, storages="") as store:
        assert (await grow(store, san, WWID, Told())).group is None


async def test_a_node_that_is_down_can_be_left_out_and_one_without_the_lun_is() -> None:
    san = San({"a": Host(), "b": Host(map=None, paths={}), "c": Host()}, size=2 * GIB)
    san.fails["c", "Holders"] = Unreachable("node c is offline")
    async with opened(san) as store:
        goes_down(store.memory, "c")
        assert (await grow(store, san, WWID, Told(), without=("c",))).nodes == ("a",)
        with pytest.raises(BadRequest, match="no node 'x'"):
            await grow(store, san, WWID, Told(), without=("x",))


async def test_a_node_that_has_disks_of_the_lun_but_no_map_stops_it_before_anything_grows() -> None:
    san, told = San({"a": Host(), "b": Host(map=None)}, size=2 * GIB), Told()
    async with opened(san) as store:
        seen = await outlook.of_growing(store, san, WWID)
        with pytest.raises(Stopped, match=r"node b: it has disks of the LUN \(sda sdb\) but no map"):
            await grow(store, san, WWID, told)
    assert told.failed == ["b"]
    assert {task for _, task in san.told} == {"Holders"}
    (why,) = seen.against
    assert why.startswith("node b: it has disks of the LUN (sda sdb) but no map")


async def test_it_does_not_grow_where_no_node_is_left_to_ask() -> None:
    san = San()
    async with opened(san) as store:
        for node in san.hosts:
            goes_down(store.memory, node)
        with pytest.raises(Unfit, match="no node is left"):
            await grow(store, san, WWID, Told(), without=("a", "b"))
    assert san.told == []


async def test_a_lun_that_no_node_has_is_not_found() -> None:
    san = San({"a": Host(map=None, paths={})})
    async with opened(san) as store:
        with pytest.raises(NotFound):
            await grow(store, san, WWID, Told())
