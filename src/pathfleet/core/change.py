"""The matrix kept up to date: one column placed, the changes it made."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from msgspec import Struct

from pathfleet.core.agreement import Told, told
from pathfleet.core.column import Column
from pathfleet.core.matrix import (
    Cell,
    Document,
    Lun,
    LunHead,
    NodeHead,
    State,
    age,
    cells,
    document,
    head,
    lun,
    node_head,
    somewhere,
)
from pathfleet.core.storagecfg import Expectations


class CellChange(Struct, frozen=True, rename="kebab"):
    """A cell is another. `cell` None: it is gone; `before` None: there was none.

    `cluster_state` is the row's from now on, None: the row is gone.
    """

    wwid: str
    node: str
    cell: Cell | None
    before: State | None
    cluster_state: State | None


class LunChange(Struct, frozen=True, rename="kebab"):
    """A row's head is another; None: the row is gone."""

    wwid: str
    lun: LunHead | None


class NodeChange(Struct, frozen=True, rename="kebab"):
    """A node's head is another (its age alone is no change); None: the node is gone."""

    node: str
    head: NodeHead | None


class WarningsChange(Struct, frozen=True, rename="kebab"):
    """What is wrong with the matrix as a whole is something else; these are all of its warnings from now on."""

    warnings: tuple[str, ...]


Change = CellChange | LunChange | NodeChange | WarningsChange


class _Row(Struct):
    """A row being kept: its cells by node, in the order of names, and what was last said of it as a whole."""

    cells: dict[str, Cell]
    aliases: frozenset[str] = frozenset()
    head: LunHead | None = None


class _Touched(Struct):
    """What one step changed: cells with what was before, and the rows to look at again."""

    cells: dict[tuple[str, str], Cell | None]
    rows: set[str]
    nodes: list[NodeChange]


class Matrix:
    """The matrix, changed column by column; each change is returned, so that who applies them misses nothing."""

    def __init__(self) -> None:
        self._columns: dict[str, Column] = {}
        self._cells: dict[str, dict[str, Cell]] = {}
        self._rows: dict[str, _Row] = {}
        self._aliases: dict[str, set[str]] = {}
        self._expectations: Expectations = {}

    @property
    def columns(self) -> Mapping[str, Column]:
        """The columns by node."""
        return MappingProxyType(self._columns)

    def place(self, *columns: Column) -> list[Change]:
        """Set these nodes' columns; return what that changed."""
        touched = _Touched({}, set(), [])
        for column in columns:
            self._place(column, touched)
        return self._settled(touched)

    def drop(self, *nodes: str) -> list[Change]:
        """Forget these nodes; return what that changed."""
        touched = _Touched({}, set(), [])
        for node in nodes:
            if self._columns.pop(node, None) is not None:
                touched.nodes.append(NodeChange(node, None))
                self._fill(node, {}, touched)
                del self._cells[node]
        return self._settled(touched)

    def expect(self, expectations: Expectations) -> list[Change]:
        """Set who is expected to carry what; return what that changed."""
        old, self._expectations = self._expectations, expectations
        changed = {wwid for wwid in {*old, *expectations} if old.get(wwid) != expectations.get(wwid)}
        touched = _Touched({}, changed, [])
        for column in self._columns.values() if changed else ():
            self._fill(column.node, cells(column, expectations), touched)
        return self._settled(touched)

    def document(self, now: int) -> Document:
        """Return the whole matrix as of `now`."""
        return document(((row.head, row.cells) for row in self._rows.values() if row.head), self._columns, now)

    def lun(self, wwid: str, now: int) -> Lun | None:
        """Return one row as of `now`, None if there is none."""
        row = self._rows.get(wwid)
        if row is None or row.head is None:
            return None
        ages = {node: age(self._columns[node], now) for node in row.cells}
        return lun(row.head, row.cells, ages, {node: {} for node in row.cells})

    def _place(self, column: Column, touched: _Touched) -> None:
        node, old = column.node, self._columns.get(column.node)
        self._columns[node] = column
        if old is None or _timeless(node_head(old)) != _timeless(node_head(column)):
            touched.nodes.append(NodeChange(node, node_head(column)))
        if old is None or not _says_the_same(old, column):
            touched.rows |= _told_otherwise(old, column) if old else frozenset()
            self._fill(node, cells(column, self._expectations), touched)

    def _fill(self, node: str, new: dict[str, Cell], touched: _Touched) -> None:
        """Set a node's cells, keeping those objects that are equal."""
        old = self._cells.get(node, {})
        for wwid, cell in new.items():
            before = old.get(wwid)
            if before is not None and before == cell:
                new[wwid] = before
            else:
                self._rows.setdefault(wwid, _Row({})).cells[node] = cell
                touched.cells.setdefault((wwid, node), before)
        for wwid in old.keys() - new.keys():
            del self._rows[wwid].cells[node]
            touched.cells.setdefault((wwid, node), old[wwid])
        self._cells[node] = new

    def _settled(self, touched: _Touched) -> list[Change]:
        """Bring the touched rows, and those that share an alias with them, up to date; return all changes."""
        said = {wwid: self._told(wwid) for wwid in sorted(touched.rows.union(wwid for wwid, _ in touched.cells))}
        for wwid in self._realiased(said) - said.keys():
            said[wwid] = self._told(wwid)
        changes: list[Change] = list(touched.nodes)
        changes += [change for wwid, each in said.items() if (change := self._reheaded(wwid, each))]
        for (wwid, node), before in touched.cells.items():
            row = self._rows.get(wwid)
            cell = row.cells.get(node) if row else None
            if cell != before:
                state = row.head.cluster_state if row and row.head else None
                changes.append(CellChange(wwid, node, cell, before.state if before else None, state))
        return changes

    def _told(self, wwid: str) -> Told:
        row = self._rows.setdefault(wwid, _Row({}))
        row.cells = dict(sorted(row.cells.items()))
        return told(wwid, row.cells, self._columns)

    def _realiased(self, said: Mapping[str, Told]) -> set[str]:
        """Note the aliases of these rows; return all rows that have, or had, one of those that came or went."""
        moved: set[str] = set()
        for wwid, each in said.items():
            row, new = self._rows[wwid], frozenset(each.names)
            for alias in row.aliases - new:
                self._aliases[alias].discard(wwid)
            for alias in new - row.aliases:
                self._aliases.setdefault(alias, set()).add(wwid)
            moved |= row.aliases ^ new
            row.aliases = new
        rows = {wwid for alias in moved for wwid in self._aliases[alias]}
        for alias in moved:
            if not self._aliases[alias]:
                del self._aliases[alias]
        return rows

    def _reheaded(self, wwid: str, said: Told) -> LunChange | None:
        row, expected = self._rows[wwid], self._expectations.get(wwid)
        if not row.cells and not somewhere(expected):
            del self._rows[wwid]
            return LunChange(wwid, None) if row.head else None
        before = row.head
        row.head = head(wwid, row.cells.values(), said, expected, nodes=self._columns, aliases=self._aliases)
        return LunChange(wwid, row.head) if row.head != before else None


def _timeless(head: NodeHead) -> NodeHead:
    """A node says again and again how applying went; when it last did is no change."""
    if head.apply is None:
        return head
    return msgspec.structs.replace(head, apply=msgspec.structs.replace(head.apply, time=None))


def _says_the_same(old: Column, new: Column) -> bool:
    """Whether nothing but time has passed: then no cell can be another."""
    return (
        old.said.report is not None
        and new.said.report is not None
        and old.said.report.maps is new.said.report.maps
        and old.said.details is new.said.details
        and _arrays(old) == _arrays(new)
        and (old.doubt, old.daemon) == (new.doubt, new.daemon)
    )


def _told_otherwise(old: Column, new: Column) -> frozenset[str]:
    """Return the LUNs of which the node says another size, transport, array or name."""
    return frozenset(wwid for wwid in {*old.maps, *new.maps} if _facts(old, wwid) != _facts(new, wwid))


def _facts(column: Column, wwid: str) -> object:
    map_, detail = column.maps.get(wwid), column.said.details.get(wwid)
    return map_ and (map_.size, map_.transport, column.array_of(wwid), detail and detail.name)


def _arrays(column: Column) -> dict[str, str]:
    return column.said.info.arrays if column.said.info else {}
