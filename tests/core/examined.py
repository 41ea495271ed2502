"""A healthy cluster to be examined, and what can be changed of it."""

from __future__ import annotations

from pathfleet.core.applied import Applied
from pathfleet.core.column import Column, Said
from pathfleet.core.detail import MapDetail
from pathfleet.core.facts import Disk, Holder, Lvm, LvmDevice, LvmGroup, MapFacts, NodeFacts
from pathfleet.core.findings import Examined, Finding
from pathfleet.core.node import PublishedNodeInfo, Versions
from pathfleet.core.report import MapReport, Report
from pathfleet.core.rules import BY_CODE, RULES

NOW = 1_800_000_000
WWID = "36001405aaaaaaaaaaaaaaaaaaaaaaaaa"
OTHER = "36001405bbbbbbbbbbbbbbbbbbbbbbbbb"
SIZE = 1 << 30


def map_(wwid: str = WWID, name: str | None = None, *slaves: str, **more: object) -> MapFacts:
    """A map with two paths that work."""
    fields: dict[str, object] = {"device": "dm-0", "size": SIZE, "listed": True, "paths_active": 2, "paths_total": 2}
    return MapFacts(wwid, name or wwid, slaves=slaves or ("sda", "sdb"), **{**fields, **more})  # type: ignore[arg-type]


def disk(device: str, wwid: str = WWID, **more: object) -> Disk:
    """A path of a map."""
    fields: dict[str, object] = {
        "map": wwid, "size": SIZE, "vendor": "EXAMPLE", "product": "LUN", "serial": "1",
        "holders": (Holder("dm-0", wwid, f"mpath-{wwid}"),),
    }  # fmt: skip
    return Disk(device, wwid, **{**fields, **more})  # type: ignore[arg-type]


def facts(node: str = "a", **more: object) -> NodeFacts:
    """A node with one LUN, LVM on its map."""
    fields: dict[str, object] = {
        "daemon": "running", "version": "0.9.4", "maps": (map_(),), "disks": (disk("sda"), disk("sdb")),
        "lvm": lvm(), "wwids": (WWID,),
    }  # fmt: skip
    return NodeFacts(node, NOW, **{**fields, **more})  # type: ignore[arg-type]


def lvm(*devices: LvmDevice, detection: bool = True, filters: tuple[str, ...] = ("a|.*|",)) -> Lvm:
    """LVM that looks at the map, and at what is given."""
    return Lvm(
        (LvmDevice("dm-0", "uuid-1", "vg"), *devices), (LvmGroup("vg", autoactivation=False),), detection, filters
    )


def column(
    name: str = "a", online: bool | None = True, doubt: str | None = None, details: dict[str, MapDetail] | None = None,
    **more: object,
) -> Column:  # fmt: skip
    """A node that has reported one LUN with two paths."""
    fields: dict[str, object] = {
        "report": Report({WWID: MapReport("optimal", 2, 2, SIZE, "iscsi")}, NOW - 5),
        "info": PublishedNodeInfo("running", 1, Versions("1.0", "0.9.4"), time=NOW - 5),
        "details": details or {},
        **more,
    }
    return Column(name, online, Said(**fields), "running", doubt)  # type: ignore[arg-type]


def info(multipathd: str = "running", reason: str | None = None, version: str | None = "0.9.4") -> PublishedNodeInfo:
    return PublishedNodeInfo(multipathd, 1, Versions("1.0", version), reason, time=NOW - 5)


def applied(digest: str | None, error: str | None = None) -> Applied:
    return Applied(NOW - 5, digest, error)


def healthy(**more: object) -> Examined:
    """Two nodes, both examined."""
    fields: dict[str, object] = {
        "columns": {"a": column("a"), "b": column("b")},
        "facts": {"a": facts("a"), "b": facts("b")},
        **more,
    }
    return Examined(NOW, **fields)  # type: ignore[arg-type]


def found(examined: Examined, code: str | None = None) -> list[Finding]:
    """What all rules find, or one of them."""
    rules = [BY_CODE[code]] if code else RULES
    return [finding for rule in rules for finding in rule.findings(examined, examined.aliases())]


def codes(examined: Examined) -> set[str]:
    return {finding.code for finding in found(examined)}
