from __future__ import annotations

import asyncio
import math

import pytest

from pathfleet.cluster import grow
from pathfleet.cluster.retire import InUse
from pathfleet.cluster.volumes import Volumes, Wanted
from pathfleet.core.storagechange import Unfit
from pathfleet.core.work import Holder
from pathfleet.errors import BadRequest, LockBusy, NotFound, Refused, Unreachable
from tests.cluster.hosts import GIB, STORAGES, WWID, San, Told, opened
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
    monkeypatch.setattr(grow, "_TURN_SECONDS", 0.0)
    san = San()
    async with opened(san) as store:
        store.memory.locks["storage-vms"] = ("b", math.inf)
        with pytest.raises(LockBusy):
            await Volumes(store, san, "a").allocate("vms", Wanted(GIB, vmid=100))
    assert san.told == []


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
        with pytest.raises(Unreachable, match=r"nobody can tell whether the volume is active there.*--without"):
            await here.free(f"vms:{DISK}", Told())
        assert DISK in san.volumes
        await here.free(f"vms:{DISK}", Told(), without=("b",))
    assert san.volumes == {}


async def test_saferemove_overwrites_before_it_frees_and_goes_on_after_an_interruption() -> None:
    san, told = San(volumes={DISK: 3 * GIB}), Told()
    san.fails["a", "ZeroVolume"] = Unreachable("the executor stopped")
    async with opened(san, storages=STORAGES.replace("\tshared 1", "\tsaferemove 1\n\tshared 1")) as store:
        here = Volumes(store, san, "a")
        with pytest.raises(Unreachable):
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
