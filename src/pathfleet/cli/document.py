"""One node's maps as an answer: the document that `maps` and `inspect` print, and its table."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from pathfleet.agent.collect import Snapshot
from pathfleet.cli import render
from pathfleet.core import glossary
from pathfleet.core.health import Facts, Flag, Health, Verdict, flags, initiator_of, target_of, usable
from pathfleet.core.maps import Path, PathGroup
from pathfleet.core.node import Daemon

_HEALTH_CODES = {Health.OPTIMAL: 0, Health.DEGRADED: 1, Health.FAILED: 2, Health.UNKNOWN: 3}
_ANSWER_CODES = {"no-maps": 0, "cannot-tell": 3, "not-running": 4}


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
    """`answer`: maps (worst first), no-maps, not-running or cannot-tell; `reason` says why there are none."""

    answer: str
    reason: str | None
    maps: list[MapRow]


def answer(snapshot: Snapshot) -> Answer:
    """Return the document of what was found."""
    if snapshot.daemon is not Daemon.RUNNING:
        return Answer(snapshot.daemon.value, snapshot.reason, [])
    if not snapshot.verdicts:
        return Answer("no-maps", "multipathd has no maps", [])
    return Answer("maps", None, [_map_row(verdict, snapshot.facts) for verdict in worst_first(snapshot.verdicts)])


_ORDER = (Health.FAILED, Health.UNKNOWN, Health.DEGRADED, Health.OPTIMAL)


def worst_first(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return maps with the worst first, by name within one health."""
    return sorted(verdicts, key=lambda verdict: (_ORDER.index(verdict.health), verdict.map.name))


def exit_code(found: Answer) -> int:
    """Return the verdict as an exit code: 0 optimal or no maps, 1 degraded, 2 failed, 3 cannot tell, 4 not running."""
    if found.maps:
        return _HEALTH_CODES[found.maps[0].health]
    return _ANSWER_CODES[found.answer]


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
        _word(map_.vend),
        _word(map_.prod),
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


def _word(padded: str) -> str | None:
    # `##` is multipathd's word for a map without paths
    return None if padded.strip() in ("", "##") else padded.strip()


def paths_text(row: MapRow) -> str:
    """Return the paths in words: `3/4`, `4/4, 2 standby`."""
    standby = f", {row.paths_standby} standby" if row.paths_standby else ""
    return f"{row.paths_active}/{row.paths_total}{standby}"


def flags_text(row: MapRow) -> str:
    """Return the flags in words, a countdown with its flag."""
    words = [
        f"{flag.value} ({row.queueing})" if flag is Flag.QUEUEING and row.queueing != "on" else flag.value
        for flag in row.flags
    ]
    return ", ".join(words)


def print_maps(found: Answer) -> None:
    """Print the table of all maps."""
    if not found.maps:
        render.print_line(f"{found.answer}: {found.reason}")
        return
    render.print_table(
        None,
        ("HEALTH", "PATHS", "LUN", "WWID", "SIZE", "TRANSPORT", "FLAGS"),
        [
            (
                row.health.value,
                paths_text(row),
                row.alias or "-",
                row.wwid or "?",
                render.size(row.size),
                row.transport or "?",
                flags_text(row),
            )
            for row in found.maps
        ],
    )


def print_map(row: MapRow) -> None:
    """Print one map with its groups, its paths, and what to do."""
    title = row.alias or row.wwid
    render.print_line(f"{title}: {row.health.value}, {paths_text(row)} paths usable")
    facts = (row.wwid, row.device, row.vendor, row.product, render.size(row.size), row.transport)
    render.print_line("  " + "  ".join(fact for fact in facts if fact))
    for place, group in enumerate(row.path_groups, 1):
        render.print_line("")
        render.print_table(
            f"path group {place}: {group.state}, priority {group.priority}",
            ("", "STATE", "PATH", "KERNEL", "CHECKER", "DEVICE", "INITIATOR", "TARGET", "H:C:T:L", "MEANING"),
            [
                (
                    " ",
                    path.state,
                    path.path,
                    path.dm,
                    path.checker,
                    path.device,
                    path.initiator or "?",
                    path.target or "?",
                    path.hctl or "?",
                    path.meaning,
                )
                for path in group.paths
            ],
        )
    advice = list(_advice(row))
    if advice:
        render.print_line("")
        render.print_line("what to do:")
        for line in advice:
            render.print_line(f"  - {line}")


def _advice(row: MapRow) -> Iterable[str]:
    if row.health is not Health.OPTIMAL:
        meaning = glossary.HEALTH[row.health]
        yield f"{row.health.value}: {meaning.says}; {meaning.remedy}"
    for flag in row.flags:
        meaning = glossary.FLAGS[flag]
        yield f"{flag.value}: {meaning.says}; {meaning.remedy}".replace("WWID", row.wwid)
    for group in row.path_groups:
        for path in group.paths:
            if path.remedy:
                yield f"{path.path}: {path.meaning}; {path.remedy}"
