"""One node's maps as an answer: what a node says when somebody asks for its maps and all their paths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from pathfleet.core import glossary
from pathfleet.core.health import Facts, Flag, Health, Verdict, flags, initiator_of, target_of, usable
from pathfleet.core.maps import Path, PathGroup
from pathfleet.core.node import Daemon


class PathRow(Struct, frozen=True, rename="kebab"):
    """A path with what its states mean. `state`: usable, standby or down."""

    path: str
    state: str
    dm: str
    checker: str
    device: str
    priority: int
    initiator: str | None
    target: str | None
    hctl: str | None
    marginal: bool
    meaning: str
    remedy: str | None


class GroupRow(Struct, frozen=True, rename="kebab"):
    """A path group; the one that carries the I/O is `active`."""

    state: str
    priority: int
    paths: list[PathRow]


class MapRow(Struct, frozen=True, rename="kebab"):
    """A map with its verdict. `alias`: its name where that is not the WWID. `size` in bytes."""

    wwid: str
    alias: str | None
    health: Health
    flags: tuple[Flag, ...]
    paths_active: int
    paths_total: int
    paths_standby: int
    queueing: str | None
    size: int | None
    transport: str | None
    device: str | None
    vendor: str | None
    product: str | None
    path_groups: list[GroupRow]


class Answer(Struct, frozen=True, rename="kebab"):
    """`answer`: maps (worst first), no-maps, or a word of Daemon; `reason` says why there are none."""

    answer: str
    reason: str | None
    maps: list[MapRow]


def answer_of(daemon: Daemon, reason: str | None, verdicts: Sequence[Verdict], facts: Facts) -> Answer:
    """Return the answer of what was found; `reason` says why multipathd is not `running`."""
    if daemon is not Daemon.RUNNING:
        return Answer(daemon.value, reason, [])
    if not verdicts:
        return Answer("no-maps", "multipathd has no maps", [])
    return Answer("maps", None, [_map_row(verdict, facts) for verdict in worst_first(verdicts)])


_ORDER = (Health.FAILED, Health.UNKNOWN, Health.DEGRADED, Health.OPTIMAL)


def worst_first(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return maps with the worst first, by name within one health."""
    return sorted(verdicts, key=lambda verdict: (_ORDER.index(verdict.health), verdict.map.name))


def _map_row(verdict: Verdict, facts: Facts) -> MapRow:
    map_ = verdict.map
    return MapRow(
        map_.uuid,
        map_.name if map_.name != map_.uuid else None,
        verdict.health,
        flags(verdict, facts),
        verdict.active,
        verdict.total,
        verdict.standby,
        verdict.queueing,
        verdict.size,
        verdict.transport,
        map_.sysfs or None,
        map_.vendor,
        map_.product,
        [_group_row(group, facts) for group in map_.path_groups],
    )


def _group_row(group: PathGroup, facts: Facts) -> GroupRow:
    return GroupRow(group.dm_st, group.pri, [_path_row(path, facts) for path in group.paths])


def _path_row(path: Path, facts: Facts) -> PathRow:
    meaning = glossary.of_path(path)
    port = facts.ports.get(path.dev)
    state = "down" if not usable(path) else "standby" if path.chk_st == "ghost" else "usable"
    return PathRow(
        path.dev,
        state,
        path.dm_st,
        path.chk_st,
        path.dev_st,
        path.pri,
        initiator_of(path, facts.ports),
        target_of(path, facts.ports),
        port.hctl if port else None,
        path.marginal_st == "marginal",
        meaning.says,
        meaning.remedy.replace("DEV", path.dev) if meaning.remedy else None,
    )
