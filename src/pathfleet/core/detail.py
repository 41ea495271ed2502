"""The node key `multipath-detail`: what the plain report has no room for, where there is something to say.

`{"maps":{WWID:{"flags":[…],"name":…,"down":[{"path","initiator","target","dm","checker"}]}},"time":…}`; a map
that is optimal, has no flag and is named by its WWID does not appear (specification section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from pathfleet.core import wire
from pathfleet.core.health import Facts, Health, Verdict, flags, initiator_of, target_of, usable
from pathfleet.core.wire import Content, Time

KEY = "multipath-detail"


class DownPath(Struct, frozen=True, gc=False, omit_defaults=True):
    """A path that is not usable: its device, its two ports, and what the kernel and the checker call it."""

    path: str
    dm: str
    checker: str
    initiator: str | None = None
    target: str | None = None


class MapDetail(Struct, frozen=True, gc=False, omit_defaults=True):
    """Flags, the name where it is not the WWID, and the paths that are down."""

    flags: tuple[str, ...] = ()
    name: str | None = None
    down: tuple[DownPath, ...] = ()


class Detail(Struct, frozen=True, omit_defaults=True):
    """The value. `cut` counts the maps whose `down`, or which themselves, found no room."""

    time: Time
    maps: dict[str, MapDetail] = {}
    cut: int = 0


def detail_of(verdict: Verdict, facts: Facts) -> MapDetail:
    """Return what there is to say of one map beside its report."""
    map_ = verdict.map
    down: tuple[DownPath, ...] = ()
    if verdict.health is not Health.OPTIMAL:
        down = tuple(
            DownPath(path.dev, path.dm_st, path.chk_st, initiator_of(path, facts.ports), target_of(path, facts.ports))
            for group in map_.path_groups
            for path in group.paths
            if not usable(path)
        )
    return MapDetail(
        tuple(flag.value for flag in flags(verdict, facts)), map_.name if map_.name != map_.uuid else None, down
    )


_NOTHING = MapDetail()
_SEVERITY = {Health(health): place for place, health in enumerate(("failed", "degraded", "unknown", "optimal"))}


def content(verdicts: Iterable[Verdict], facts: Facts, *, limit: int) -> Content | None:
    """Return the value's content below `limit` bytes, None if there is nothing to say.

    Where room is short, the worst maps keep their `down`, then all keep flags and name, and `cut` says how many
    do not.
    """
    worst_first = sorted(verdicts, key=lambda verdict: (_SEVERITY[verdict.health], verdict.map.uuid))
    details: dict[str, MapDetail] = {}
    for verdict in worst_first:
        if verdict.map.uuid and (detail := detail_of(verdict, facts)) != _NOTHING:
            details.setdefault(verdict.map.uuid, detail)
    if not details:
        return None
    return _fitted(details, limit - len('{"cut":99999,"maps":{},"time":123456789012}'))


def _fitted(details: Mapping[str, MapDetail], room: int) -> Content:
    kept: dict[str, MapDetail] = {}
    for wwid, detail in details.items():
        short = MapDetail(detail.flags, detail.name)
        if short != _NOTHING and (size := _size(wwid, short)) <= room:
            kept[wwid] = short
            room -= size
    for wwid, detail in details.items():
        more = _size(wwid, detail) - (_size(wwid, kept[wwid]) if wwid in kept else 0)
        if detail.down and more <= room:
            kept[wwid] = detail
            room -= more
    cut = sum(kept.get(wwid) != detail for wwid, detail in details.items())
    return {"maps": dict(sorted(kept.items())), **({"cut": cut} if cut else {})}


def _size(wwid: str, detail: MapDetail) -> int:
    return len(msgspec.json.encode({wwid: detail})) - 1


_detail = msgspec.json.Decoder(Detail)


def decode(value: bytes) -> Detail:
    """Return the detail that a node published. Raises Malformed."""
    return wire.read(_detail, value, KEY)
