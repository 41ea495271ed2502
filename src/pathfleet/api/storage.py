"""The cluster's storages, and what is in those of type multipath on each node (specification section 6)."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pathfleet.api.nodes import NoMapsKnown, forwarded, own_maps
from pathfleet.api.operation import Call, operation
from pathfleet.cluster.access import Role
from pathfleet.core import storagecfg
from pathfleet.core.configuration import digest
from pathfleet.core.storagecfg import Storage, Storages
from pathfleet.errors import BadRequest, NotFound, PathfleetError


class NotYet(PathfleetError):
    """A question that is understood, and that nobody here can answer."""

    code = "not-yet"
    status = 501


class Volume(Struct, frozen=True):
    """A volume: a map that is present on the node. `size` in bytes, null where nobody knows it."""

    volid: str
    name: str
    size: int | None
    path: str
    format: Literal["raw"] = "raw"
    content: Literal["images"] = "images"


class StorageStatus(Struct, frozen=True):
    """A storage on a node, in bytes. All of a multipath storage is used: nothing can be allocated in it.

    `total` and `used` are null where a size is not known; `active` false: `reason` says why.
    """

    type: str
    content: str
    enabled: bool
    active: bool
    shared: bool
    total: int | None
    used: int | None
    avail: int | None
    reason: str | None = None


class ContentQuery(Struct, frozen=True):
    """`content`: only volumes for this kind of content."""

    content: str | None = None


@operation("GET", "/storage", needs=Role.AUDITOR, summary="The storages of the cluster", tag="storage")
async def storages(call: Call) -> list[dict[str, str]]:
    """Return each storage with its properties as the file has them, and the file's `digest`."""
    found, file_digest = await _read(call)
    return [_entry(storage, file_digest) for storage in found.storages.values()]


@operation("GET", "/storage/{storage}", needs=Role.AUDITOR, summary="One storage of the cluster", tag="storage")
async def one_storage(call: Call, storage: str) -> dict[str, str]:
    """Return the storage with its properties as the file has them, and the file's `digest`."""
    found, file_digest = await _read(call)
    return _entry(_named(found, storage), file_digest)


@operation(
    "GET",
    "/nodes/{node}/storage/{storage}/content",
    needs=Role.AUDITOR,
    summary="The volumes of a storage on a node",
    tag="storage",
)
async def content(call: Call, node: str, storage: str, query: ContentQuery) -> list[Volume]:
    """Return the volumes; none is an answer, 503 says that nobody can tell."""
    await _multipath_on(call, node, storage)
    if query.content not in (None, "images"):
        return []
    if node != call.service.node:
        return await forwarded(call, node, ("storage", storage, "content"), list[Volume])
    return [
        Volume(f"{storage}:{row.wwid}", row.alias or row.wwid, row.size, f"/dev/disk/by-id/dm-uuid-mpath-{row.wwid}")
        for row in own_maps(call)
        if row.wwid
    ]


@operation(
    "GET",
    "/nodes/{node}/storage/{storage}/status",
    needs=Role.AUDITOR,
    summary="How a storage is on a node",
    tag="storage",
)
async def status(call: Call, node: str, storage: str) -> StorageStatus:
    """Return what there is of it."""
    found = await _multipath_on(call, node, storage)
    if node != call.service.node:
        return await forwarded(call, node, ("storage", storage, "status"), StorageStatus)
    kinds = ",".join(sorted(found.content)) or "none"
    try:
        sizes = [row.size for row in own_maps(call)]
    except NoMapsKnown as error:
        reason = f"{error}: {error.errors['multipathd']}"
        return StorageStatus(found.kind, kinds, True, False, True, None, None, None, reason)
    known = [size for size in sizes if size is not None]
    total = sum(known) if len(known) == len(sizes) else None
    return StorageStatus(found.kind, kinds, True, True, True, total, total, 0)


async def _read(call: Call) -> tuple[Storages, str]:
    file = await call.service.store.read(storagecfg.FILE)
    data = file.content if file else b""
    return storagecfg.parse(data.decode(errors="replace")), digest(data)


def _entry(storage: Storage, file_digest: str) -> dict[str, str]:
    return {**storage.properties, "storage": storage.id, "type": storage.kind, "digest": file_digest}


def _named(found: Storages, storage: str) -> Storage:
    if storage not in found.storages:
        raise NotFound(f"there is no storage {storage!r}; GET /storage names all")
    return found.storages[storage]


async def _multipath_on(call: Call, node: str, storage: str) -> Storage:
    """Return the storage of type multipath that a node has. Raises NotFound, BadRequest, NotYet, StoreError."""
    found = _named((await _read(call))[0], storage)
    if found.kind != "multipath":
        raise NotYet(f"storage {storage} is of type {found.kind}: only those of type multipath can be looked into")
    if found.disabled:
        raise BadRequest({"storage": f"{storage} is disabled"})
    if found.nodes is not None and node not in found.nodes:
        raise BadRequest(
            {"storage": f"{storage} is not for node {node}: its nodes are {','.join(sorted(found.nodes))}"}
        )
    return found


OPERATIONS = (storages, one_storage, content, status)
