"""Matrices to be drawn: `lun("data", a=cell("degraded", 2, 4))`."""

from __future__ import annotations

from pathfleet.core.matrix import WORST_FIRST, AgedCell, Apply, Document, Lun, NodeRow, State
from pathfleet.core.node import Versions


def cell(
    state: str = "optimal", active: int | None = 4, total: int | None = 4, reason: str = "", *flags: str
) -> AgedCell:
    """A cell; its reason is what the matrix says of such paths."""
    return AgedCell(State(state), active, total, reason or f"{active} of {total} paths usable", flags, 3)


def lun(wwid: str, alias: str | None = None, warnings: tuple[str, ...] = (), /, **nodes: AgedCell) -> Lun:
    """A row, as bad as its worst cell."""
    worst = next(state for state in WORST_FIRST if any(each.state is state for each in nodes.values()))
    return Lun(wwid, alias, worst, 1 << 40, "fc", (), warnings, None, nodes)


def node(name: str, *, online: bool | None = True, daemon: str = "running", **more: object) -> NodeRow:
    """A node that is well, but for what is given."""
    fields: dict[str, object] = {"versions": Versions("0.1.0", "0.9.4"), "age": 3, **more}
    return NodeRow(node=name, online=online, daemon=daemon, **fields)  # type: ignore[arg-type]


def document(*luns: Lun, nodes: list[NodeRow] | None = None, warnings: tuple[str, ...] = ()) -> Document:
    """A matrix; its nodes are those of the rows unless given."""
    names = sorted({name for each in luns for name in each.nodes})
    rows = sorted(luns, key=lambda each: (WORST_FIRST.index(each.cluster_state), each.alias or each.wwid))
    return Document(rows, [node(name) for name in names] if nodes is None else nodes, warnings)


def applied(digest: str | None, error: str | None = None) -> Apply:
    """What a node says of its configuration."""
    return Apply(digest, error, 0)
