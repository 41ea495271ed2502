from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pathfleet.cluster import luns
from pathfleet.cluster.luns import LunSeen, LunThere
from pathfleet.core import configuration, report
from pathfleet.core.facts import Disk, Holder
from pathfleet.core.report import MapReport
from pathfleet.errors import CannotTell, Unreachable
from pathfleet.store import File
from tests.fakes import Memory, MemoryStore

ALLOWED = "3600a098038314c6c6e3f4b6f4c6c5a30"
OTHER = "3600a098038314c6c6e3f4b6f4c6c5a31"
CFG = f"wwid: {ALLOWED}\n\talias db\n\n".encode()


def disk(device: str, wwid: str | None = OTHER, **facts: Any) -> Disk:
    return Disk(device, wwid, **facts)


def maps(*wwids: str) -> bytes:
    return report.plain({wwid: MapReport("optimal", 2, 2) for wwid in wwids}, int(time.time()))


async def found(reports: Mapping[str, bytes] | None = None, /, **disks: tuple[Disk, ...] | Exception) -> luns.LunsSeen:
    """Look in a cluster in which the nodes named have these disks, or say this; they report no maps but `reports`."""
    memory = Memory(files={configuration.FILE: File(CFG, "c1")})
    for node in disks:
        async with MemoryStore(node, memory) as store:
            await store.alive()
            await store.put(report.KEY, (reports or {}).get(node, maps()))

    async def ask(node: str) -> tuple[Disk, ...]:
        answer = disks[node]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with MemoryStore("a", memory) as store:
        return await luns.seen(store, ask)


async def other(**disks: tuple[Disk, ...] | Exception) -> LunSeen:
    (lun,) = [lun for lun in (await found(**disks)).luns if lun.wwid == OTHER]
    return lun


async def test_a_disk_of_any_node_makes_a_lun_that_could_be_allowed() -> None:
    lun = await other(a=(disk("sda"), disk("sdb")), b=(disk("sdx", size=5, vendor="V", product="P"),), c=())
    assert (lun.allowed, lun.size, lun.vendor, lun.product) == (False, 5, "V", "P")
    assert lun.nodes == {"a": LunThere(map=False, disks=("sda", "sdb")), "b": LunThere(map=False, disks=("sdx",))}


async def test_a_lun_that_is_allowed_comes_first_though_no_node_sees_it() -> None:
    first, second = (await found(a=(disk("sda"),))).luns
    assert (first.wwid, first.allowed, first.alias, first.nodes) == (ALLOWED, True, "db", {})
    assert (second.wwid, second.allowed) == (OTHER, False)


async def test_a_node_that_does_not_answer_is_silent_and_costs_only_its_own_disks() -> None:
    seen = await found(a=(disk("sda"),), b=Unreachable("node b hangs"))
    assert seen.silent == {"b": "node b hangs"}
    assert seen.luns[-1].nodes == {"a": LunThere(map=False, disks=("sda",))}


async def test_what_a_silent_node_reported_stays_known_without_its_disks() -> None:
    lun = (await found({"b": maps(OTHER)}, b=Unreachable("b"))).luns[-1]
    assert lun.nodes == {"b": LunThere(map=True, disks=None)}


async def test_of_a_report_that_cannot_be_read_nobody_tells_that_there_is_no_map() -> None:
    seen = await found({"b": b"torn"}, a=(disk("sda"),), b=(disk("sdb"),))
    assert seen.luns[-1].nodes == {"a": LunThere(map=False, disks=("sda",)), "b": LunThere(map=None, disks=("sdb",))}
    assert seen.unreported == ["b"]


async def test_of_a_node_that_never_reported_nobody_tells_that_there_is_no_map() -> None:
    memory = Memory()
    async with MemoryStore("a", memory) as store:
        await store.alive()

        async def ask(node: str) -> tuple[Disk, ...]:
            return (disk("sda"),) if node == "a" else ()

        seen = await luns.seen(store, ask)
    assert (seen.luns[0].nodes, seen.unreported) == ({"a": LunThere(map=None, disks=("sda",))}, ["a"])


@pytest.mark.parametrize("wwid", ["", "defaults", "a b", "x\x1b[2J", "w" * 128])
async def test_what_can_be_no_wwid_is_no_lun_whoever_says_it(wwid: str) -> None:
    seen = await found({"b": maps(wwid)}, a=(disk("sda", wwid),), b=())
    assert [lun.wwid for lun in seen.luns] == [ALLOWED]


async def test_what_a_peer_says_is_bounded() -> None:
    partitions = tuple(f"{'p' * 999}{number}" for number in range(10_000))
    texts = {"vendor": "v" * 999, "product": "p" * 999}
    seen = await found(a=(disk("d" * 999, partitions=partitions, **texts),), b=Unreachable("why" * 999))
    lun = seen.luns[-1]
    assert len(lun.nodes["a"].holds) == 17
    assert lun.nodes["a"].holds[-1] == "9984 more"
    said = [lun.vendor, lun.product, *(lun.nodes["a"].disks or ()), *lun.nodes["a"].holds, *seen.silent.values()]
    assert max(len(text or "") for text in said) <= 400


async def test_a_look_at_disks_that_does_not_end_is_given_up_with_the_reason(tmp_path: Path) -> None:
    device = tmp_path / "block/sda/device"
    device.mkdir(parents=True)
    (device / "wwid").write_text(f"naa.{OTHER[1:]}\n")
    os.mkfifo(device / "model")
    try:
        with pytest.raises(CannotTell, match="did not tell of this node's disks within"):
            await luns.of_this_node(tmp_path, seconds=0.2)
    finally:
        # whoever reads it is waited for
        os.close(os.open(device / "model", os.O_RDWR | os.O_NONBLOCK))


@pytest.mark.parametrize(
    ("facts", "holds"),
    [
        ({"partitions": ("sda1",), "mounts": ("/boot",)}, ("sda1", "/boot")),
        ({"holders": (Holder("dm-1", "vg-root", "LVM-x"), Holder("md0"))}, ("vg-root", "md0")),
        ({"holders": (Holder("dm-0", "db", f"mpath-{OTHER}"),)}, ()),
    ],
)
async def test_what_is_on_a_disk_is_said_but_for_its_map(facts: dict[str, Any], holds: tuple[str, ...]) -> None:
    lun = await other(a=(disk("sda", **facts), disk("sdb", **facts)))
    assert lun.nodes["a"].holds == holds


async def test_a_disk_without_a_wwid_is_no_lun() -> None:
    assert [lun.wwid for lun in (await found(a=(disk("sda", None),))).luns] == [ALLOWED]
