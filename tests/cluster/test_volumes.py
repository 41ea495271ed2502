from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest

from pathfleet.cluster import locks
from pathfleet.cluster.nodes import Silent, Stopped
from pathfleet.cluster.retire import InUse
from pathfleet.cluster.volumes import Volumes, Wanted
from pathfleet.core.storagechange import Unfit
from pathfleet.core.volumes import Disk
from pathfleet.core.work import TASK_SECONDS, ActivateMap, Holder, Task
from pathfleet.errors import BadRequest, Conflict, LockBusy, NotFound, Refused, Unreachable
from pathfleet.store import File
from tests.cluster.hosts import GIB, STORAGES, WWID, San, Told, goes_down, opened
from tests.fakes import MemoryStore

DISK = "vm-100-disk-0"


async def test_two_nodes_that_allocate_at_once_get_two_volumes() -> None:
    san = San()
    async with opened(san) as store, MemoryStore("b", store.memory) as other:
        made = await asyncio.gather(
            Volumes(store, san, "a").allocate("vms", Wanted(GIB, vmid=100)),
            Volumes(other, san, "b").allocate("vms", Wanted(GIB, vmid=100)),
        )
    assert sorted(volume.name for volume in made) == [DISK, "vm-100-disk-1"]


async def test_nothing_is_allocated_while_another_node_changes_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_TURN_SECONDS", 0.0)
    san = San()
    async with opened(san) as store:
        store.memory.locks["storage-vms"] = ("b", math.inf)
        with pytest.raises(LockBusy):
            await Volumes(store, san, "a").allocate("vms", Wanted(GIB, vmid=100))
    assert san.told == []


async def test_nothing_begins_that_could_outlast_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    san = San()
    async with opened(san) as store:
        here = Volumes(store, san, "a")
        made = await here.allocate("vms", Wanted(GIB, vmid=100))
        san.told.clear()
        monkeypatch.setattr(locks, "LEASE_SECONDS", TASK_SECONDS - 1)
        for work in (
            here.allocate("vms", Wanted(GIB, vmid=100)),
            here.resize(f"vms:{made.name}", 2 * GIB),
            here.free(f"vms:{made.name}", lambda _: None),
        ):
            with pytest.raises(LockBusy, match="nothing was changed: try again"):
                await work
    assert san.steps("CreateVolume", "ResizeVolume", "RemoveVolume") == []


@pytest.mark.parametrize(
    "wanted", [Wanted(GIB), Wanted(GIB, "vm-101-disk-0", 100), Wanted(GIB, "data", 100), Wanted(GIB, "del-a")]
)
async def test_a_name_that_is_not_the_guests_is_refused(wanted: Wanted) -> None:
    san = San()
    async with opened(san) as store:
        with pytest.raises(Unfit):
            await Volumes(store, san, "a").allocate("vms", wanted)


async def test_a_lun_is_neither_allocated_nor_freed_nor_resized() -> None:
    san = San()
    async with opened(san) as store:
        here = Volumes(store, san, "a")
        for refused in (
            here.allocate("san", Wanted(GIB, "x")),
            here.free(f"san:{WWID}", Told()),
            here.resize(f"san:{WWID}", GIB),
        ):
            with pytest.raises(Refused, match="which the array makes and removes"):
                await refused
    assert san.told == []


async def test_a_volume_grows_where_it_is_active_and_the_others_see_it() -> None:
    san = San(volumes={DISK: GIB})
    san.hosts["b"].active.add(DISK)
    async with opened(san) as store:
        await Volumes(store, san, "a").resize(f"vms:{DISK}", 2 * GIB)
        assert san.steps("ResizeVolume", "RefreshVolume") == [("b", "ResizeVolume")]
        san.hosts["a"].active.add(DISK)
        san.told.clear()
        await Volumes(store, san, "a").resize(f"vms:{DISK}", 3 * GIB)
        assert san.steps("ResizeVolume", "RefreshVolume") == [("a", "ResizeVolume"), ("b", "RefreshVolume")]


async def test_a_volume_that_is_active_elsewhere_is_not_freed() -> None:
    san = San(volumes={DISK: GIB})
    san.hosts["b"].active.add(DISK)
    async with opened(san) as store:
        with pytest.raises(InUse, match="active on node b; nothing was changed"):
            await Volumes(store, san, "a").free(f"vms:{DISK}", Told())
        san.hosts["b"].active.clear()
        await Volumes(store, san, "a").free(f"vms:{DISK}", Told())
    assert san.volumes == {}


async def test_a_node_that_does_not_say_keeps_the_volume() -> None:
    san = San(volumes={DISK: GIB})
    san.fails["b", "Holders"] = Unreachable("node b is offline")
    async with opened(san) as store:
        here = Volumes(store, san, "a")
        with pytest.raises(Silent, match=r"nobody can tell whether the volume is active there.*--without") as raised:
            await here.free(f"vms:{DISK}", Told())
        assert raised.value.errors == {"b": "node b is offline"}
        with pytest.raises(Unfit, match="node b is online"):
            await here.free(f"vms:{DISK}", Told(), without=("b",))
        assert DISK in san.volumes
        goes_down(store.memory, "b")
        await here.free(f"vms:{DISK}", Told(), without=("b",))
    assert san.volumes == {}


async def test_saferemove_overwrites_before_it_frees_and_goes_on_after_an_interruption() -> None:
    san, told = San(volumes={DISK: 3 * GIB}), Told()
    san.fails["a", "ZeroVolume"] = Unreachable("the executor stopped")
    async with opened(san, storages=STORAGES.replace("\tshared 1", "\tsaferemove 1\n\tshared 1")) as store:
        here = Volumes(store, san, "a")
        with pytest.raises(Stopped, match=f"stopped; go on with `pathfleet storage free vms:del-{DISK}`"):
            await here.free(f"vms:{DISK}", told)
        assert [*san.volumes] == [f"del-{DISK}"]
        san.fails.clear()
        san.told.clear()
        await here.free(f"vms:del-{DISK}", told)
    assert san.steps("RenameVolume", "ZeroVolume", "RemoveVolume") == [
        *[("a", "ZeroVolume")] * 3,
        ("a", "RemoveVolume"),
    ]
    assert [step.what for step in told.steps][-2:] == [
        "overwritten: 3072 of 3072 MiB",
        f"volume del-{DISK} is overwritten and freed",
    ]


async def test_a_node_that_the_storage_is_no_longer_for_is_asked_too() -> None:
    san = San(volumes={DISK: GIB})
    san.hosts["b"].active.add(DISK)
    async with opened(san, storages=STORAGES.replace("\tshared 1", "\tnodes a\n\tshared 1")) as store:
        here = Volumes(store, san, "a")
        with pytest.raises(InUse, match="active on node b"):
            await here.free(f"vms:{DISK}", Told())
        await here.resize(f"vms:{DISK}", 2 * GIB)
    assert san.steps("ResizeVolume") == [("b", "ResizeVolume")]


@pytest.mark.parametrize(
    "san",
    [
        San(volumes={DISK: GIB}, partial=True),
        San(volumes={DISK: GIB}, more_disks=(Disk("[unknown]", None, "vms", GIB, 0, missing=True),)),
        San(volumes={DISK: GIB}, more_disks=(Disk("/dev/sdz", None, "vms", GIB, GIB),)),
    ],
)
async def test_where_a_group_is_not_all_there_nothing_is_freed_or_resized(san: San) -> None:
    async with opened(san) as store:
        here = Volumes(store, san, "a")
        for refused in (here.free(f"vms:{DISK}", Told()), here.resize(f"vms:{DISK}", 2 * GIB)):
            with pytest.raises(Refused, match="not all disks of group vms"):
                await refused
    assert san.volumes == {DISK: GIB}


async def test_every_storage_of_a_group_is_locked_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_TURN_SECONDS", 0.0)
    san = San(volumes={DISK: GIB})
    async with opened(san, storages=STORAGES + "lvm: Other\n\tvgname vms\n\n") as store:
        store.memory.locks["storage-Other"] = ("b", math.inf)
        here = Volumes(store, san, "a")
        for late in (
            here.allocate("vms", Wanted(GIB, vmid=100)),
            here.resize(f"vms:{DISK}", 2 * GIB),
            here.free(f"vms:{DISK}", Told()),
            here.activate(f"vms:{DISK}"),
        ):
            with pytest.raises(LockBusy, match="storage-Other"):
                await late
    assert {*san.told} == {("a", "ActivateMap")}


async def test_storages_that_change_while_their_lock_is_waited_for_are_not_the_ones_that_are_locked() -> None:
    san = San()
    async with opened(san) as store:
        store.memory.locks["storage-vms"] = ("b", time.monotonic() + 0.1)
        late = asyncio.create_task(Volumes(store, san, "a").allocate("vms", Wanted(GIB, vmid=100)))
        await asyncio.sleep(0)
        store.memory.files["storage.cfg"] = File(STORAGES.replace("lvm: vms", "lvm: new").encode(), "2")
        with pytest.raises(Conflict, match="try again"):
            await late
    assert san.told == []


async def test_a_volume_that_is_being_overwritten_is_not_activated() -> None:
    san = San(volumes={f"del-{DISK}": GIB})
    async with opened(san) as store:
        with pytest.raises(Refused, match="being overwritten"):
            await Volumes(store, san, "a").activate(f"vms:del-{DISK}")
    assert san.told == []


@pytest.mark.parametrize("base", ["", "\tbase arr:0.0.0.scsi-3600b\n"])
async def test_without_a_lun_for_a_base_those_of_the_group_are_waited_for(base: str) -> None:
    san = San(volumes={DISK: GIB})
    waited: list[str] = []

    def note(_: str, task: Task[Any]) -> None:
        waited.extend([task.wwid] if isinstance(task, ActivateMap) else [])

    san.before = note
    iscsi = "iscsi: arr\n\tportal 10.0.0.1\n\ttarget iqn.2000-01.x:y\n\n"
    async with opened(san, storages=f"{iscsi}lvm: vms\n\tvgname vms\n{base}\n") as store:
        await Volumes(store, san, "a").activate(f"vms:{DISK}")
    assert waited == [WWID]


async def test_a_volume_is_activated_after_its_lun() -> None:
    san = San(volumes={DISK: GIB})
    async with opened(san) as store:
        here = Volumes(store, san, "a")
        assert await here.activate(f"vms:{DISK}") == f"/dev/vms/{DISK}"
        assert san.told == [("a", "ActivateMap"), ("a", "Activate")]
        assert await here.activate(f"san:{WWID}") == f"/dev/disk/by-id/dm-uuid-mpath-{WWID}"
        await here.deactivate(f"vms:{DISK}")
    assert san.hosts["a"].active == set()


async def test_a_lun_in_use_is_not_deactivated() -> None:
    san = San()
    async with opened(san) as store:
        here = Volumes(store, san, "a")
        await here.deactivate(f"san:{WWID}")
        san.hosts["a"].holders = (Holder("process", "qemu (12)", "dm-3"),)
        with pytest.raises(InUse, match=r"process qemu \(12\) on dm-3"):
            await here.deactivate(f"san:{WWID}")
    assert san.hosts["a"].map == GIB


@pytest.mark.parametrize(
    ("volid", "kind"),
    [("nothing", NotFound), ("other:a", NotFound), ("vms:nothing", NotFound), ("off:a", BadRequest), ("d:a", Unfit)],
)
async def test_what_is_no_volume_here_is_refused(volid: str, kind: type[Exception]) -> None:
    if volid == "d:a":
        volid = "dd:a"
    san = San()
    more = STORAGES + "multipath: off\n\tdisable\n\ndir: dd\n\tpath /a\n\n"
    async with opened(san, storages=more) as store:
        with pytest.raises(kind):
            await Volumes(store, san, "a").deactivate(volid)
