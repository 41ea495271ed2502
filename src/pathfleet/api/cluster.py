"""The cluster as a whole: who belongs to it, and the matrix LUN x node."""

from __future__ import annotations

import asyncio
import gzip
import time
from dataclasses import replace
from weakref import WeakKeyDictionary

import msgspec
from msgspec import Struct
from starlette.responses import Response

from pathfleet import __version__
from pathfleet.api.envelope import JSONResponse, envelope, takes_gzip
from pathfleet.api.operation import Call, operation
from pathfleet.cluster.access import Role
from pathfleet.cluster.live import Live
from pathfleet.core.matrix import Document, is_calm
from pathfleet.errors import StoreUnavailable

# Most of what a level more would save is not worth its time for what changes every second.
_GZIP_LEVEL = 1


class VersionDocument(Struct, frozen=True):
    """What answers. `release` is what clients compare: the first two numbers."""

    version: str
    release: str


class ClusterEntry(Struct, frozen=True, tag_field="type", tag="cluster"):
    """The cluster. `quorate` 0: what is said of other nodes may be out of date."""

    id: str
    name: str
    nodes: int
    quorate: bool


class MemberEntry(Struct, frozen=True, tag_field="type", tag="node"):
    """A node. `online` null: the store cannot tell; `local`: the one that answers."""

    id: str
    name: str
    local: bool
    online: bool | None


class StatusDocument(Document, frozen=True, kw_only=True, rename="kebab"):
    """The matrix; `event` is the id of the latest event in it: follow /cluster/multipath/events after that."""

    event: str


class StatusQuery(Struct, frozen=True):
    """`problems`: only LUNs that are not optimal, or have flags or warnings. `node`: only what concerns this node."""

    problems: bool = False
    node: str | None = None


@operation("GET", "/version", needs=None, summary="The version of what answers", tag="cluster")
async def version(call: Call) -> VersionDocument:  # noqa: ARG001 - every operation has its call
    """Return the version, to anybody."""
    return VersionDocument(__version__, ".".join(__version__.split(".")[:2]))


@operation("GET", "/cluster/status", needs=Role.AUDITOR, summary="The cluster and its nodes", tag="cluster")
async def members(call: Call) -> list[ClusterEntry | MemberEntry]:
    """Return the cluster, then its nodes by name, in the shape of Proxmox VE."""
    found = await call.service.store.members()
    names = sorted(found.nodes)
    return [
        ClusterEntry("cluster", "pathfleet", len(names), found.quorate),
        *(MemberEntry(f"node/{name}", name, name == call.service.node, found.nodes[name].online) for name in names),
    ]


@operation(
    "GET",
    "/cluster/multipath/status",
    needs=Role.AUDITOR,
    summary="How every LUN is on every node, the worst first",
    tag="cluster",
)
async def status(call: Call, query: StatusQuery) -> Response | StatusDocument:
    """Return the matrix. Its ETag is that of the latest event: ages alone make no new version.

    While the store cannot be read, the first of `warnings` says since when.
    """
    live = call.service.live
    ready(live)
    call.version(f'W/"{live.journal.latest}"')
    call.headers["cache-control"] = "no-cache"
    matrix = await _matrices.setdefault(live, _Matrix(live)).current()
    if query == StatusQuery():
        return matrix.response(call)
    return narrowed(matrix.document, query)


# What most ask for is encoded here, once for all of them.
status = replace(status, returns=StatusDocument)


def ready(live: Live) -> None:
    """Raise StoreUnavailable while nothing has been read: an empty matrix would say that all is well."""
    if not live.ready:
        raise StoreUnavailable(f"the store is still being read: {live.trouble or 'try again in a moment'}")


def narrowed(document: StatusDocument, query: StatusQuery) -> StatusDocument:
    """Return what the query wants of a matrix. With both, the LUNs with a problem on the node."""
    luns, nodes = document.luns, document.nodes
    if query.node is not None:
        nodes = [row for row in nodes if row.node == query.node]
        luns = [
            msgspec.structs.replace(lun, nodes={query.node: lun.nodes[query.node]})
            for lun in luns
            if query.node in lun.nodes
        ]
    if query.problems:
        luns = [lun for lun in luns if not is_calm(lun)]
    return msgspec.structs.replace(document, luns=luns, nodes=nodes)


class _Encoded(Struct, frozen=True):
    document: StatusDocument
    plain: bytes
    compressed: bytes

    def response(self, call: Call) -> Response:
        call.headers["vary"] = "accept-encoding"
        if takes_gzip(call.request.headers.get("accept-encoding", "")):
            return JSONResponse(self.compressed, headers={"content-encoding": "gzip"})
        return JSONResponse(self.plain)


class _Matrix:
    """The matrix as it leaves, made once for all who ask within a second while nothing changes."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._made_for: tuple[str, int] | None = None
        self._encoded: _Encoded | None = None
        self._making = asyncio.Lock()

    async def current(self) -> _Encoded:
        async with self._making:
            wanted = (self._live.journal.latest, int(time.time()))
            if self._encoded is None or wanted != self._made_for:
                self._encoded, self._made_for = await self._make(), wanted
            return self._encoded

    async def _make(self) -> _Encoded:
        found = self._live.document()
        document = StatusDocument(found.luns, found.nodes, found.warnings, event=self._live.journal.latest)
        plain = envelope(document)
        return _Encoded(document, plain, await asyncio.to_thread(gzip.compress, plain, _GZIP_LEVEL, mtime=0))


_matrices: WeakKeyDictionary[Live, _Matrix] = WeakKeyDictionary()

OPERATIONS = (version, members, status)
