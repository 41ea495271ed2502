from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from pathfleet.cluster import locks, storage
from pathfleet.cluster.nodes import Stopped
from pathfleet.cluster.retire import InUse
from pathfleet.cluster.storage import Plan
from pathfleet.core import storagechange
from pathfleet.core.storagechange import Unfit
from pathfleet.core.volumes import Disk, map_path
from pathfleet.core.work import CreateGroup, Holder, Task
from pathfleet.errors import BadRequest, Busy, Conflict, LockBusy, Refused, Unreachable
from pathfleet.store import File
from tests.cluster.hosts import CONFIGURATION, GIB, STORAGES, WWID, San, goes_down, opened
from tests.fakes import MemoryStore

SAN = "multipath: san\n\tnodes a,b\n\tcontent images\n\n"
PLAN = Plan("vms", f"san:{WWID}", "vms", "a")


async def test_a_storage_of_type_lvm_is_made_and_then_added() -> None:
    san = San()
    async with opened(san, storages=SAN) as store:
        await storage.make(store, san, PLAN)
        assert san.told == [("a", "Holders"), ("b", "Holders"), ("a", "CreateGroup")]
        found = (await storage.read(store)).storages.storages["vms"]
    assert found.properties == {
        "vgname": "vms",
        "base": f"san:{WWID}",
        "content": "images,rootdir",
        "shared": "1",
    }


async def test_a_group_that_cannot_be_made_adds_no_storage() -> None:
    san = San()
    san.fails["a", "CreateGroup"] = Busy("LUN 3600a holds a signature (xfs)")
    async with opened(san, storages=SAN) as store:
        with pytest.raises(Busy, match="xfs"):
            await storage.make(store, san, PLAN)
        assert (await storage.read(store)).text == SAN


@pytest.mark.parametrize(
    ("plan", "configuration", "kind", "why"),
    [
        (PLAN, "", Refused, "pathfleet config lun add"),
        (Plan("vms", f"san:{WWID}", "vms", "c"), CONFIGURATION, BadRequest, "not for node c"),
        (Plan("vms", f"san:{WWID}", "vms", "a", nodes="b"), CONFIGURATION, BadRequest, "not for node a"),
        (Plan("san", f"san:{WWID}", "vms", "a"), CONFIGURATION, Unfit, "already"),
        (Plan("vms", "other:x", "vms", "a"), CONFIGURATION, Unfit, "no LUN of a storage"),
        (Plan("foo bar", f"san:{WWID}", "vms", "a"), CONFIGURATION, BadRequest, "foo bar"),
        (Plan("vms", f"san:{WWID}", "taken", "a"), CONFIGURATION, Unfit, "of storage other"),
    ],
)
async def test_what_cannot_be_added_makes_no_group(
    plan: Plan, configuration: str, kind: type[Exception], why: str
) -> None:
    san = San()
    storages = f"{SAN}lvm: other\n\tvgname taken\n\n"
    async with opened(san, storages=storages, configuration=configuration) as store:
        with pytest.raises(kind, match=why):
            await storage.make(store, san, plan)
    assert san.told == []


async def test_a_blank_lun_that_another_node_uses_is_left_alone() -> None:
    san = San()
    san.hosts["b"].holders = (Holder("process", "qemu (12)", "dm-3"),)
    async with opened(san, storages=SAN) as store:
        with pytest.raises(InUse, match=r"nothing was changed: node b: process qemu \(12\)"):
            await storage.make(store, san, PLAN)
    assert san.steps("CreateGroup") == []


async def test_the_groups_own_volumes_may_be_in_use_when_it_is_adopted() -> None:
    san = San(volumes={"vm-100-disk-0": GIB})
    san.hosts["b"].active.add("vm-100-disk-0")
    san.hosts["b"].holders = (Holder("group", "vms (1 volumes)", "dm-3"),)
    async with opened(san, storages=SAN) as store:
        with pytest.raises(InUse):
            await storage.make(store, san, Plan("vms", f"san:{WWID}", "others", "a"))
        await storage.make(store, san, PLAN)
    assert san.steps("CreateGroup") == [("a", "CreateGroup")]


async def test_a_node_that_does_not_say_whether_it_uses_the_lun_can_be_left_out() -> None:
    san = San()
    san.fails["b", "Holders"] = Unreachable("node b is offline")
    async with opened(san, storages=SAN) as store:
        with pytest.raises(Unreachable, match=r"LUN 3600a is in use.*--without.*node b is offline"):
            await storage.make(store, san, PLAN)
        with pytest.raises(Unfit, match="node b is online"):
            await storage.make(store, san, PLAN, without=("b",))
        assert san.steps("CreateGroup") == []
        goes_down(store.memory, "b")
        await storage.make(store, san, PLAN, without=("b",))


async def test_of_two_storages_made_at_once_on_a_lun_one_is() -> None:
    san = San()
    async with opened(san, storages=SAN) as store, MemoryStore("b", store.memory) as other:
        ended = await asyncio.gather(
            storage.make(store, san, PLAN),
            storage.make(other, san, Plan("more", f"san:{WWID}", "vms", "b")),
            return_exceptions=True,
        )
    assert sorted(type(each).__name__ for each in ended) == ["MadeGroup", "Unfit"]
    assert len(san.steps("CreateGroup")) == 1


async def test_nothing_is_made_on_a_lun_that_another_node_makes_a_group_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_TURN_SECONDS", 0.0)
    san = San()
    async with opened(san, storages=SAN) as store:
        store.memory.locks[f"lun-{WWID}"] = ("b", math.inf)
        with pytest.raises(LockBusy):
            await storage.make(store, san, PLAN)
    assert san.steps("CreateGroup") == []


async def test_a_digest_of_before_makes_no_group() -> None:
    san = San()
    async with opened(san, storages=SAN) as store:
        with pytest.raises(Conflict, match="read it again"):
            await storage.make(store, san, PLAN, digest="0" * 40)
    assert san.told == []


async def test_a_group_whose_storage_could_not_be_added_is_told_of() -> None:
    san = San()
    async with opened(san, storages=SAN) as store:

        def meanwhile(_: str, task: Task[Any]) -> None:
            if isinstance(task, CreateGroup):
                store.memory.files["storage.cfg"] = File(SAN.replace("a,b", "a").encode(), "2")

        san.before = meanwhile
        digest = (await storage.read(store)).digest
        with pytest.raises(Stopped, match=r"group vms is on LUN 3600a, but .* run the same again"):
            await storage.make(store, san, PLAN, digest=digest)
        san.before = lambda _, __: None
        await storage.make(store, san, PLAN)


@pytest.mark.parametrize("base", ["", "\tbase arr:0.0.0.scsi-3600b\n", f"\tbase san:{WWID}\n"])
async def test_the_lun_of_a_storage_is_its_base_or_that_of_its_group(base: str) -> None:
    san = San()
    async with opened(san, storages=f"{SAN}lvm: vms\n\tvgname vms\n{base}\n") as store:
        assert await storage.lun_named(store, san, "vms", "a") == WWID
        assert await storage.lun_named(store, san, "3600c", "a") == "3600c"


async def test_of_a_storage_on_several_luns_the_one_must_be_named() -> None:
    san = San(more_disks=(Disk(map_path("3600b"), "3600b", "vms", GIB, GIB),))
    async with opened(san, storages="lvm: vms\n\tvgname vms\n\n") as store:
        with pytest.raises(Refused, match="3600a, 3600b: name the LUN"):
            await storage.lun_named(store, san, "vms", "a")


async def test_a_change_of_what_was_not_read_is_a_conflict() -> None:
    async with opened(San(), storages=SAN) as store:
        digest = (await storage.read(store)).digest
        await storage.change(store, lambda text: storagechange.remove(text, "san"), digest=digest)
        assert (await storage.read(store)).content == b""
        with pytest.raises(Conflict, match="read it again"):
            await storage.add(store, "multipath", "more", {}, digest=digest)


async def test_a_volume_has_the_same_path_on_every_node() -> None:
    async with opened(San(), storages=STORAGES) as store:
        known = (await storage.read(store)).storages.storages
    assert storage.path_of(known, f"san:{WWID}") == f"/dev/disk/by-id/dm-uuid-mpath-{WWID}"
    assert storage.path_of(known, "vms:vm-100-disk-0") == "/dev/vms/vm-100-disk-0"
