"""The matrix LUN x node as lines of a table that fits: a node that has no room is counted, never silently left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from msgspec import Struct

from pathfleet.cli import render
from pathfleet.cli.remarks import counted, name_of
from pathfleet.cli.render import STYLES, Line
from pathfleet.core.matrix import WORST_FIRST, AgedCell, Lun, State

#: An alias may be any long; on a terminal a name has no more room than a WWID.
_NAME_COLUMNS = 34


class Glyphs(Struct, frozen=True):
    """What stands before the paths of a cell that is not optimal, so that its colour never is all there is."""

    failed: str = "✗"
    missing: str = "—"
    degraded: str = "!"
    unknown: str = "?"
    absent: str = "·"
    flagged: str = "*"
    ellipsis: str = "…"


ASCII = Glyphs(failed="x", missing="-", absent=".", ellipsis="...")


class Grid(Struct, frozen=True):
    """The lines of a table, and the nodes that found no room in it."""

    lines: list[Line]
    legend: str
    left_out: tuple[str, ...] = ()
    in_words: bool = False


def grid(luns: Sequence[Lun], nodes: Sequence[str], glyphs: Glyphs, width: int | None) -> Grid:
    """Return the table of these LUNs: of all nodes, else of those with problems, else with the nodes in words."""
    names = _names(luns, None if width is None else _NAME_COLUMNS, glyphs)
    troubled = [node for node in nodes if any(_is_troubled(lun.nodes.get(node)) for lun in luns)]
    for chosen in dict.fromkeys((tuple(nodes), tuple(troubled))):
        lines = render.columns(_rows(luns, names, chosen, glyphs))
        if chosen and (width is None or _width(lines) <= width):
            left_out = tuple(node for node in nodes if node not in chosen)
            return Grid(_with_extras(lines, luns, width), _legend(luns, chosen, glyphs), left_out)
    return Grid(render.columns(_rows_in_words(luns, names)), "", in_words=True)


def _is_troubled(cell: AgedCell | None) -> bool:
    return cell is not None and (cell.state is not State.OPTIMAL or bool(cell.flags))


def _width(lines: Sequence[Line]) -> int:
    return max((sum(render.width_of(text) for text, _ in line) for line in lines), default=0)


def _names(luns: Sequence[Lun], room: int | None, glyphs: Glyphs) -> list[str]:
    """Return what each LUN is called; one that shares its name with another is called by its WWID too."""
    times = Counter(map(name_of, luns))
    names = [name_of(lun) if times[name_of(lun)] == 1 else f"{name_of(lun)} ({lun.wwid})" for lun in luns]
    return [render.cut(name, room, glyphs.ellipsis) for name in names] if room else names


def _rows(luns: Sequence[Lun], names: Sequence[str], nodes: Sequence[str], glyphs: Glyphs) -> list[Line]:
    head = [(word, "bold") for word in ("LUN", "STATE", *nodes)]
    body = [
        [(name, ""), _word(lun.cluster_state), *[_cell(lun.nodes.get(node), glyphs) for node in nodes]]
        for name, lun in zip(names, luns, strict=True)
    ]
    return [head, *body]


def _word(state: State) -> tuple[str, str]:
    return state.value, STYLES.get(state.value, "")


def _cell(cell: AgedCell | None, glyphs: Glyphs) -> tuple[str, str]:
    if cell is None:
        return f" {glyphs.absent}", "dim"
    paths = f"{cell.paths_active}/{cell.paths_total}"
    star = glyphs.flagged if cell.flags else ""
    match cell.state:
        case State.OPTIMAL:
            return f" {paths}{star}", "yellow" if star else ""
        case State.DEGRADED:
            text = f"{glyphs.degraded}{paths}{star}"
        case State.FAILED:
            text = f"{glyphs.failed}{paths}{star}"
        case State.MISSING:
            text = f"{glyphs.missing}missing"
        case State.UNKNOWN:
            # the last word is not shown: it would be taken for the present
            text = glyphs.unknown
    return text, STYLES[cell.state.value]


def _legend(luns: Sequence[Lun], nodes: Sequence[str], glyphs: Glyphs) -> str:
    """Return what the signs mean, of those that are there."""
    cells = [lun.nodes.get(node) for lun in luns for node in nodes]
    states = {cell.state for cell in cells if cell}
    signs = (
        (State.FAILED in states, f"{glyphs.failed} failed"),
        (State.DEGRADED in states, f"{glyphs.degraded} degraded"),
        (State.UNKNOWN in states, f"{glyphs.unknown} unknown"),
        (any(cell.flags for cell in cells if cell), f"{glyphs.flagged} flagged, see below"),
        (None in cells, f"{glyphs.absent} not here, nor expected"),
    )
    return "   ".join(["usable/all paths", *[meaning for is_there, meaning in signs if is_there]])


def _with_extras(lines: Sequence[Line], luns: Sequence[Lun], width: int | None) -> list[Line]:
    """Return the lines with as many further facts as there is room for."""
    extras: tuple[tuple[str, list[str]], ...] = (
        ("SIZE", [render.size(lun.size) for lun in luns]),
        ("TRANSPORT", [lun.transport or "?" for lun in luns]),
        ("STORAGES", [", ".join(lun.storages) or "-" for lun in luns] if any(lun.storages for lun in luns) else []),
        ("WWID", [lun.wwid for lun in luns] if any(lun.alias for lun in luns) else []),
    )
    drawn = [list(line) for line in lines]
    for head, facts in extras:
        if not facts:
            continue
        words: list[Line] = [[(head, "bold")], *[[(fact, "")] for fact in facts]]
        column = render.columns(words, right=[0] if head == "SIZE" else [])
        if width is not None and _width(drawn) + 2 + _width(column) > width:
            break
        drawn = [[*line, ("  ", ""), *fact] for line, fact in zip(drawn, column, strict=True)]
    return list(drawn)


def _rows_in_words(luns: Sequence[Lun], names: Sequence[str]) -> list[Line]:
    head = [("LUN", "bold"), ("STATE", "bold"), ("NODES", "bold")]
    body = [
        [(name, ""), _word(lun.cluster_state), (_in_words(lun), "")] for name, lun in zip(names, luns, strict=True)
    ]
    return [head, *body]


def _in_words(lun: Lun) -> str:
    nodes: defaultdict[State, list[str]] = defaultdict(list)
    for node, cell in lun.nodes.items():
        nodes[cell.state].append(node)
    return "; ".join(f"{counted(nodes[state], 'node')} {state.value}" for state in WORST_FIRST if state in nodes)
