"""How an answer of one node's maps is printed, and the exit code that is its verdict."""

from __future__ import annotations

from collections.abc import Iterable

from pathfleet.agent.collect import Snapshot
from pathfleet.cli import render
from pathfleet.core import glossary
from pathfleet.core.answer import Answer, MapRow, answer_of
from pathfleet.core.health import Flag, Health

_HEALTH_CODES = {Health.OPTIMAL: 0, Health.DEGRADED: 1, Health.FAILED: 2, Health.UNKNOWN: 3}
_ANSWER_CODES = {"no-maps": 0, "cannot-tell": 3, "not-running": 4, "not-installed": 4}


def answer(snapshot: Snapshot) -> Answer:
    """Return the document of what was found."""
    return answer_of(snapshot.daemon, snapshot.reason, snapshot.verdicts, snapshot.facts)


def exit_code(found: Answer) -> int:
    """Return the verdict as an exit code: 0 optimal or no maps, 1 degraded, 2 failed, 3 cannot tell, 4 not running."""
    if found.maps:
        return _HEALTH_CODES[found.maps[0].health]
    return _ANSWER_CODES[found.answer]


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
