from __future__ import annotations

import pytest

from pathfleet.cluster import storage
from pathfleet.cluster.storage import Plan
from pathfleet.core import storagechange
from pathfleet.core.storagechange import Unfit
from pathfleet.errors import BadRequest, Busy, Conflict, Refused
from tests.cluster.hosts import CONFIGURATION, STORAGES, WWID, San, opened

SAN = "multipath: san\n\tnodes a,b\n\tcontent images\n\n"
PLAN = Plan("vms", f"san:{WWID}", "vms", "a")


async def test_a_storage_of_type_lvm_is_made_and_then_added() -> None:
    san = San()
    async with opened(san, storages=SAN) as store:
        await storage.make(store, san, PLAN)
        assert san.told == [("a", "CreateGroup")]
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
    ],
)
async def test_what_cannot_be_added_makes_no_group(
    plan: Plan, configuration: str, kind: type[Exception], why: str
) -> None:
    san = San()
    async with opened(san, storages=SAN, configuration=configuration) as store:
        with pytest.raises(kind, match=why):
            await storage.make(store, san, plan)
    assert san.told == []


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
