"""The matrix LUN x node: columns x expectations x now -> cells, rows and their roll-up (specification section 4)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

from msgspec import Struct

from pathfleet.core import reason
from pathfleet.core.agreement import Aliases, Told, taken, told, warnings
from pathfleet.core.column import Column
from pathfleet.core.detail import MapDetail
from pathfleet.core.node import Versions
from pathfleet.core.report import MapReport
from pathfleet.core.storagecfg import Expectations, Expected


class State(StrEnum):
    """How a LUN is on a node, or, as the worst of its cells, in the cluster."""

    OPTIMAL = "optimal"
    DEGRADED = "degraded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    MISSING = "missing"


#: The roll-up: a row is as bad as its worst cell.
WORST_FIRST = (State.FAILED, State.MISSING, State.DEGRADED, State.UNKNOWN, State.OPTIMAL)


class Cell(Struct, frozen=True, gc=False, rename="kebab"):
    """A LUN on a node. Paths are as last reported, None where nothing was; `reason` is for an operator."""

    state: State
    paths_active: int | None
    paths_total: int | None
    reason: str
    flags: tuple[str, ...] = ()


class AgedCell(Cell, frozen=True, gc=False, rename="kebab"):
    """A cell in a document. `age`: seconds since the node spoke; negative when its clock is ahead, None if never."""

    age: int | None = None


class LunHead(Struct, frozen=True, rename="kebab"):
    """A row without its cells. `size` in bytes; `storages` are those that consume the LUN.

    `array`: vendor and product of the LUN as far as nodes tell.
    """

    wwid: str
    alias: str | None
    cluster_state: State
    size: int | None = None
    transport: str | None = None
    storages: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    array: str | None = None


class Lun(LunHead, frozen=True, rename="kebab"):
    """A row, its cells by node; a node that neither has the LUN nor is expected to has none."""

    nodes: dict[str, AgedCell] = {}


class Apply(Struct, frozen=True, rename="kebab"):
    """The configuration in force on a node, and why not the wanted one; `time` in epoch seconds, None: not said."""

    digest: str | None = None
    error: str | None = None
    time: int | None = None


class NodeHead(Struct, frozen=True, rename="kebab"):
    """A column's head without its age. `reason`: why its cells are in doubt, or why multipathd does not run."""

    node: str
    online: bool | None
    daemon: str
    reason: str | None = None
    apply: Apply | None = None
    versions: Versions = Versions()
    warnings: tuple[str, ...] = ()


class NodeRow(NodeHead, frozen=True, rename="kebab"):
    """A node. `age` in seconds since it reported, or without a report, spoke of itself; negative: clock ahead."""

    age: int | None = None


class Document(Struct, frozen=True, rename="kebab"):
    """The matrix: LUNs worst first, then by alias or WWID; nodes by name; `warnings` are about the whole."""

    luns: list[Lun]
    nodes: list[NodeRow]
    warnings: tuple[str, ...] = ()


_REPORTED = {state.value: state for state in (State.OPTIMAL, State.DEGRADED, State.FAILED)}
_RANK = {state: place for place, state in enumerate(WORST_FIRST)}
_NO_DETAIL = MapDetail()


def matrix(columns: Iterable[Column], expectations: Expectations, now: int) -> Document:
    """Return the whole matrix."""
    by_name = {column.node: column for column in sorted(columns, key=lambda column: column.node)}
    rows: dict[str, dict[str, Cell]] = {wwid: {} for wwid, expected in expectations.items() if somewhere(expected)}
    for name, column in by_name.items():
        for wwid, cell in cells(column, expectations).items():
            rows.setdefault(wwid, {})[name] = cell
    said = {wwid: told(wwid, row, by_name) for wwid, row in rows.items()}
    aliases: dict[str, set[str]] = {}
    for wwid, each in said.items():
        for name in each.names:
            aliases.setdefault(name, set()).add(wwid)
    heads = (
        head(wwid, row.values(), said[wwid], expectations.get(wwid), nodes=by_name, aliases=aliases)
        for wwid, row in rows.items()
    )
    return document(zip(heads, rows.values(), strict=True), by_name, now)


def is_calm(lun: Lun) -> bool:
    """Whether there is nothing to say of a LUN but that all its paths are usable, on the nodes that it is shown of."""
    noticed = any(cell.state is not State.OPTIMAL or cell.flags for cell in lun.nodes.values())
    return bool(lun.nodes) and not noticed and not lun.warnings


def somewhere(expected: Expected | None) -> bool:
    """Whether a LUN is expected on any node at all."""
    return expected is not None and (expected.nodes is None or bool(expected.nodes))


def cells(column: Column, expectations: Expectations) -> dict[str, Cell]:
    """Return a column's cells by WWID, equal ones as one object."""
    made: dict[object, Cell] = {}
    found: dict[str, Cell] = {}
    details, doubt = column.said.details, column.doubt
    for wwid, map_ in column.maps.items():
        detail = details.get(wwid, _NO_DETAIL)
        if detail.down and len(detail.down) != map_.paths_total - map_.paths_active:
            detail = _NO_DETAIL  # of another moment: the node writes the two values one after the other
        key = (map_.state, map_.paths_active, map_.paths_total, detail.flags, detail.down)
        cell = made.get(key)
        if cell is None:
            cell = made[key] = _reported(map_, detail, doubt)
        found[wwid] = cell
    for wwid, expected in expectations.items():
        if wwid not in found and (expected.nodes is None or column.node in expected.nodes):
            cell = made.get(expected.storages)
            if cell is None:
                cell = made[expected.storages] = _absent(column, expected)
            found[wwid] = cell
    return found


def _reported(map_: MapReport, detail: MapDetail, doubt: str | None) -> Cell:
    active, total = map_.paths_active, map_.paths_total
    if doubt:
        return Cell(State.UNKNOWN, active, total, reason.of_doubt(doubt, map_))
    state = _REPORTED.get(map_.state)
    why = reason.of_report(map_, detail) if state else reason.of_word(map_.state)
    return Cell(state or State.UNKNOWN, active, total, why, reason.known_flags(detail))


def _absent(column: Column, expected: Expected) -> Cell:
    if column.doubt:
        return Cell(State.UNKNOWN, None, None, f"{column.doubt}; {reason.expected_by(expected.storages)}")
    why = reason.of_absence(column.daemon, expected.storages, reported=bool(column.maps))
    return Cell(State.MISSING, None, None, why)


def head(
    wwid: str, row: Iterable[Cell], said: Told, expected: Expected | None, *, nodes: Collection[str], aliases: Aliases
) -> LunHead:
    """Return a row's head; `nodes` are those of the cluster. Expected, but on no node that there is: unknown."""
    alias, transport, array = taken(said.names), taken(said.transports), taken(said.arrays)
    states = {cell.state for cell in row}
    return LunHead(
        wwid,
        alias and reason.shortened(alias, 128),
        next((state for state in WORST_FIRST if state in states), State.UNKNOWN),
        taken(said.sizes),
        transport and reason.shortened(transport, 40),
        expected.storages if expected else (),
        warnings(wwid, said, expected, nodes, aliases),
        array and reason.shortened(array, 40),
    )


def node_head(column: Column) -> NodeHead:
    """Return a node's head."""
    info, applied = column.said.info, column.said.applied
    why = column.doubt or (info and info.reason and reason.shortened(info.reason)) or None
    return NodeHead(
        column.node,
        column.online,
        column.daemon,
        why,
        Apply(applied.digest, applied.error, applied.time) if applied else None,
        info.versions if info else Versions(),
        column.said.warnings,
    )


def document(rows: Iterable[tuple[LunHead, Mapping[str, Cell]]], columns: Mapping[str, Column], now: int) -> Document:
    """Return rows and columns as they leave, with ages as of `now`."""
    ages = {name: age(column, now) for name, column in columns.items()}
    made: dict[str, dict[int, AgedCell]] = {name: {} for name in columns}
    luns = [lun(head, row, ages, made) for head, row in rows]
    luns.sort(key=lambda lun: (_RANK[lun.cluster_state], lun.alias or lun.wwid, lun.wwid))
    return Document(luns, [_node_row(columns[name], ages[name]) for name in sorted(columns)])


def age(column: Column, now: int) -> int | None:
    """Return how many seconds ago a node spoke, None if never."""
    return None if column.spoke_at is None else now - column.spoke_at


def lun(
    head: LunHead, row: Mapping[str, Cell], ages: Mapping[str, int | None], made: Mapping[str, dict[int, AgedCell]]
) -> Lun:
    """Return a row as it leaves. `made` has each node's aged cells by the identity of the cell: most are alike."""
    nodes = {}
    for node, cell in row.items():
        known = made[node]
        aged = known.get(id(cell))
        if aged is None:
            aged = known[id(cell)] = AgedCell(
                cell.state, cell.paths_active, cell.paths_total, cell.reason, cell.flags, ages[node]
            )
        nodes[node] = aged
    return Lun(
        head.wwid,
        head.alias,
        head.cluster_state,
        head.size,
        head.transport,
        head.storages,
        head.warnings,
        head.array,
        nodes,
    )


def _node_row(column: Column, age: int | None) -> NodeRow:
    head = node_head(column)
    return NodeRow(head.node, head.online, head.daemon, head.reason, head.apply, head.versions, head.warnings, age)
