"""The nodes, and all paths of one: from what this node found last, or from the node that knows."""

from __future__ import annotations

from typing import TypeVar

from pathfleet.api.cluster import ready
from pathfleet.api.operation import Call, operation
from pathfleet.cluster.access import Role
from pathfleet.core.answer import MapRow
from pathfleet.core.matrix import NodeRow
from pathfleet.errors import NotFound, PathfleetError, Unreachable

T = TypeVar("T")


class NodeEntry(NodeRow, frozen=True, kw_only=True, rename="kebab"):
    """A node with how it is called elsewhere. `status`: online, offline or unknown; `local`: the one that answers."""

    status: str
    local: bool


class NoMapsKnown(PathfleetError):
    """multipathd cannot be asked, which is not "no maps"; `errors` says why."""

    code = "no-maps-known"
    status = 503

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.errors = {"multipathd": reason}


@operation("GET", "/nodes", needs=Role.AUDITOR, summary="The nodes, and what runs on them", tag="nodes")
async def nodes(call: Call) -> list[NodeEntry]:
    """Return all nodes by name."""
    live = call.service.live
    ready(live)
    return [_entry(row, local=row.node == call.service.node) for row in live.document().nodes]


@operation(
    "GET",
    "/nodes/{node}/disks/multipath",
    needs=Role.AUDITOR,
    summary="All maps of a node with all their paths, the worst first",
    tag="nodes",
)
async def maps(call: Call, node: str) -> list[MapRow]:
    """Return the node's maps; none is an answer, 503 says that nobody can tell."""
    if node != call.service.node:
        return await forwarded(call, node, ("disks", "multipath"), list[MapRow])
    return own_maps(call)


@operation(
    "GET",
    "/nodes/{node}/disks/multipath/{wwid}",
    needs=Role.AUDITOR,
    summary="One map of a node with all its paths",
    tag="nodes",
)
async def one_map(call: Call, node: str, wwid: str) -> MapRow:
    """Return the map of this WWID, or of this alias."""
    if node != call.service.node:
        return await forwarded(call, node, ("disks", "multipath", wwid), MapRow)
    found = own_maps(call)
    for row in (*(row for row in found if row.wwid == wwid), *(row for row in found if row.alias == wwid)):
        return row
    raise NotFound(f"node {node} has no map {wwid!r}; GET /nodes/{node}/disks/multipath names all")


def own_maps(call: Call) -> list[MapRow]:
    """Return the maps that this node found last. Raises NoMapsKnown."""
    answer = call.service.maps()
    if answer.answer not in ("maps", "no-maps"):
        raise NoMapsKnown(
            f"the maps of node {call.service.node} are not known: multipathd is {answer.answer}",
            answer.reason or "it does not say why",
        )
    return answer.maps


async def forwarded(call: Call, node: str, path: tuple[str, ...], kind: type[T]) -> T:
    """Return what another node answers to the path below it.

    Raises NotFound, Unreachable and its kinds, Malformed. What a node asks is never asked of a third one.
    """
    if call.principal.is_node:
        raise Unreachable(
            f"this is node {call.service.node}, not {node}: the address that node {node} published leads here"
        )
    return await call.service.peers.get(node, ("nodes", node, *path), kind)


def _entry(row: NodeRow, *, local: bool) -> NodeEntry:
    status = "unknown" if row.online is None else "online" if row.online else "offline"
    fields = {name: getattr(row, name) for name in row.__struct_fields__}
    return NodeEntry(**fields, status=status, local=local)


OPERATIONS = (nodes, maps, one_map)
