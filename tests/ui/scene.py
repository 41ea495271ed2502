"""A small cluster with some of everything: what the page is shown, and how it is changed while it looks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pathfleet.core import applied, detail, node, report, wire
from pathfleet.core.answer import Answer
from pathfleet.core.detail import DownPath, MapDetail
from pathfleet.core.node import NodeInfo, Versions
from pathfleet.core.report import MapReport
from pathfleet.core.wire import Content
from pathfleet.store import VALUE_LIMIT
from tests.api.site import answer
from tests.fakes import Memory, MemoryStore
from tests.replies import group, map_, path

GIB = 1 << 30
NODES = ("pve1", "pve2", "pve3", "pve4")
NAMES = (
    "db-data",
    "db-logs",
    "mail",
    "backup-01",
    "backup-02",
    "vm-templates",
    "vm-prod-01",
    "vm-prod-02",
    "vm-prod-03",
    "vm-test-01",
    "archive",
    "scratch",
)
DIGEST = "8c4b2f19d3a7e05561f0aa9be7d2c4410f6e83d2"


def wwid(place: int) -> str:
    """Return the WWID of the LUN at this place of NAMES; the last two are another array's."""
    return f"{'3600a098038314c6c6e3f4b6f4c6c5a' if place < 10 else '3624a937075d2f8c0c7b14d4e000114'}{place:02x}"


ARRAYS = {wwid(0)[:8]: "NETAPP LUN C-Mode", wwid(10)[:8]: "PURE FlashArray"}


def optimal(place: int) -> MapReport:
    """Return what is reported of the LUN at this place while all is well."""
    return MapReport("optimal", 4, 4, (100, 500, 1024, 2048)[place % 4] * GIB, "fc" if place % 3 else "iscsi")


def lost(maps: Mapping[str, MapReport], place: int, active: int) -> dict[str, MapReport]:
    """Return the maps, with so many paths left to one of them."""
    state = "degraded" if active else "failed"
    return {**maps, wwid(place): replace_(maps[wwid(place)], state, active)}


def replace_(map_: MapReport, state: str, active: int) -> MapReport:
    """Return a map's report with another state."""
    return MapReport(state, active, map_.paths_total, map_.size, map_.transport)


HEALTHY: dict[str, MapReport] = {wwid(place): optimal(place) for place in range(len(NAMES))}


@dataclass(frozen=True)
class Speech:
    """What a node says: of its maps, their names and flags, multipathd, the configuration in force."""

    maps: Mapping[str, MapReport] = field(default_factory=lambda: HEALTHY)
    details: Mapping[str, MapDetail] = field(default_factory=dict)
    daemon: str = "running"
    reason: str | None = None
    digest: str | None = DIGEST
    error: str | None = None
    ago: int = 0


def named(details: Mapping[str, MapDetail] | None = None) -> dict[str, MapDetail]:
    """Return details that give each LUN its name, and some of them more."""
    more = details or {}
    return {
        wwid(place): MapDetail(of.flags, of.name or name, of.down)
        for place, name in enumerate(NAMES)
        for of in (more.get(wwid(place), MapDetail()),)
    }


async def say(memory: Memory, name: str, speech: Speech) -> None:
    """Let a node say this, as its agent would."""
    async with MemoryStore(name, memory) as store:
        await store.alive()
        now = int(time.time()) - speech.ago
        info = NodeInfo(speech.daemon, now, Versions("1.0", "0.9.4"), speech.reason, arrays=ARRAYS)
        contents: dict[str, Content] = {
            **report.contents(speech.maps, limit=VALUE_LIMIT),
            detail.KEY: {"maps": named(speech.details)},
            node.KEY: node.content(info),
            applied.KEY: applied.content(speech.digest, speech.error),
        }
        for key, content in contents.items():
            await store.put(key, wire.stamp(content, now))


def troubled() -> dict[str, Speech]:
    """Return a cluster in which something of each kind is wrong."""
    down = (DownPath("sdc", "failed", "faulty", "0x21000024ff7e1a01", "0x50000000000000c2"),)
    base = Speech()
    without = {key: map_ for key, map_ in HEALTHY.items() if key != wwid(6)}
    return {
        "pve1": replace(
            base,
            maps=lost(lost(HEALTHY, 0, 2), 3, 0),
            details={
                wwid(0): MapDetail(("marginal",), None, (*down, DownPath("sdd", "failed", "faulty", None, "array-b"))),
                wwid(3): MapDetail(("queueing",), None, down),
            },
        ),
        "pve2": replace(base, maps=lost(without, 0, 3), details={wwid(0): MapDetail((), None, down)}),
        "pve3": replace(base, error="multipathd refused line 12 of pathfleet-overrides.conf", digest="f00dfeedbeef"),
        "pve4": replace(base, ago=3600),
    }


STORAGE = f"""\
multipath: san
\tcontent none

lvm: vg-prod
\tvgname vg_prod
\tbase san:{wwid(6)}
\tshared 1
\tcontent images

lvm: vg-db
\tvgname vg_db
\tbase san:{wwid(0)}
\tshared 1
\tcontent images
"""


async def cluster(speeches: Mapping[str, Speech] | None = None, storage: str = STORAGE) -> Memory:
    """Return what is stored of a cluster whose nodes say this."""
    memory = Memory(online_seconds=600)
    for name, speech in (speeches or {name: Speech() for name in NODES}).items():
        await say(memory, name, speech)
    async with MemoryStore(NODES[0], memory) as store:
        await store.swap("storage.cfg", storage.encode(), None)
    return memory


def found() -> Answer:
    """Return the maps of the node that answers: one has lost paths, the others are well."""
    inquiry = {"vend": "NETAPP", "prod": "LUN C-Mode"}
    broken = map_(
        wwid(0),
        group(path("sda", target_wwpn="0x50000000000000c1"), path("sdb"), pri=50),
        group(path("sdc", "failed", "faulty"), path("sdd", "failed", "i/o timeout"), pri=10, dm="enabled"),
        name=NAMES[0],
        **inquiry,
    )
    standby = map_(
        wwid(1),
        group(path("sde"), path("sdf")),
        group(path("sdg", "active", "ghost"), path("sdh", "active", "ghost"), pri=10, dm="enabled"),
        name=NAMES[1],
        **inquiry,
    )
    return answer(
        broken,
        standby,
        *(
            map_(
                wwid(place),
                group(path(f"sd{chr(100 + 2 * place)}"), path(f"sd{chr(101 + 2 * place)}")),
                name=name,
                **inquiry,
            )
            for place, name in enumerate(NAMES[2:6], 2)
        ),
    )
