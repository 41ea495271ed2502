"""The cluster's storages, and the volumes in them on each node (specification section 6)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from pathfleet.api.luns import Names
from pathfleet.api.nodes import NoMapsKnown, forwarded, own_maps
from pathfleet.api.operation import Call, operation
from pathfleet.api.work import Executors
from pathfleet.cluster import config
from pathfleet.cluster import storage as storages_
from pathfleet.cluster.access import Role
from pathfleet.cluster.storage import Plan
from pathfleet.core import storagechange, volumes, work
from pathfleet.core.storagecfg import Storage
from pathfleet.core.storagechange import Content, Id, NodeNames, Unfit
from pathfleet.core.volumes import GroupName
from pathfleet.errors import PathfleetError

Digest = Annotated[str, Meta(description="The digest that was read with the storages; another one now is 409.")]
Base = Annotated[str, Meta(max_length=200, description="STORAGE:WWID, a LUN of a storage of type multipath.")]
Delete = Annotated[str, Meta(pattern=r"^(content|disable|nodes|saferemove|[,; ])*$(?!\n)")]


class NotYet(PathfleetError):
    """A question that is understood, and that nobody here can answer."""

    code = "not-yet"
    status = 501


class Volume(Struct, frozen=True, rename="kebab"):
    """A volume: a map that is present on the node, or a logical volume. `size` in bytes, null where nobody knows it.

    Of a map, `health` and the `storages` that consume it; of a logical volume, whether it is `active` on the node, and
    the guest `vmid` that it is for by its name.
    """

    volid: str
    name: str
    size: int | None
    path: str
    format: Literal["raw"] = "raw"
    content: Literal["images"] = "images"
    health: str | None = None
    storages: list[str] = []
    active: bool | None = None
    vmid: int | None = None


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


class NewStorage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A storage that is to be. One of type lvm is made on its `base`, STORAGE:WWID, by the node that is asked.

    All other nodes are asked who uses the LUN, but those in `without`.
    """

    storage: Id
    type: Literal["multipath", "lvm"]
    base: Base | UnsetType = UNSET
    vgname: GroupName | UnsetType = UNSET
    nodes: NodeNames | UnsetType = UNSET
    content: Content | UnsetType = UNSET
    saferemove: bool = False
    without: Names | UnsetType = UNSET
    digest: Digest | UnsetType = UNSET


class StorageChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be set, and in `delete`, with commas between them, what is to be unset; the rest stays."""

    nodes: NodeNames | UnsetType = UNSET
    content: Content | UnsetType = UNSET
    disable: bool | UnsetType = UNSET
    saferemove: bool | UnsetType = UNSET
    delete: Delete = ""
    digest: Digest | UnsetType = UNSET

    @property
    def values(self) -> dict[str, str]:
        """What is to be set, as text."""
        given = {key: getattr(self, key) for key in storagechange.SETTABLE}
        return {
            key: str(int(value)) if isinstance(value, bool) else value
            for key, value in given.items()
            if value is not UNSET
        }


class RemovalQuery(Struct, frozen=True):
    """`digest`: of what was read before."""

    digest: Digest | None = None


@operation("GET", "/storage", needs=Role.AUDITOR, summary="The storages of the cluster", tag="storage")
async def storages(call: Call) -> list[dict[str, str]]:
    """Return each storage with its properties as the file has them, and the file's `digest`."""
    current = await storages_.read(call.service.store)
    return [_entry(storage, current.digest) for storage in current.storages.storages.values()]


@operation("GET", "/storage/{storage}", needs=Role.AUDITOR, summary="One storage of the cluster", tag="storage")
async def one_storage(call: Call, storage: str) -> dict[str, str]:
    """Return the storage with its properties as the file has them, and the file's `digest`."""
    current = await storages_.read(call.service.store)
    return _entry(storagechange.found(current.storages.storages, storage), current.digest)


@operation("POST", "/storage", needs=Role.ADMIN, summary="Add a storage; make one of type lvm on a LUN", tag="storage")
async def add(call: Call, body: NewStorage) -> dict[str, str]:
    """Add it. A LUN that holds data, is in use on any node, is not allowed, or has a single path is refused."""
    store = call.service.store
    given = {
        key: value for key in ("base", "vgname", "nodes", "content") if (value := getattr(body, key)) is not UNSET
    }
    if body.type == "lvm":
        if missing := [key for key in ("base", "vgname") if key not in given]:
            raise Unfit(dict.fromkeys(missing, "must be given"))
        plan = Plan(body.storage, node=call.service.node, saferemove=body.saferemove, **given)
        await storages_.make(store, Executors(call), plan, digest=body.digest or None, without=body.without or ())
    else:
        await storages_.add(
            store, "multipath", body.storage, {"content": "images"} | given, digest=body.digest or None
        )
    return {"storage": body.storage, "type": body.type}


@operation("PUT", "/storage/{storage}", needs=Role.ADMIN, summary="Change a storage", tag="storage")
async def change(call: Call, storage: str, body: StorageChange) -> None:
    """Change what is named. What a storage is made of (`base`, `vgname`) cannot be changed."""
    delete = [key for key in re.split(r"[,;\s]+", body.delete) if key]
    await storages_.change(
        call.service.store,
        lambda text: storagechange.change(text, storage, body.values, delete),
        digest=body.digest or None,
    )


@operation("DELETE", "/storage/{storage}", needs=Role.ADMIN, summary="Remove a storage", tag="storage")
async def remove(call: Call, storage: str, query: RemovalQuery) -> None:
    """Remove it from the configuration; its data stays. Refused while it is the base of another one."""
    await storages_.change(call.service.store, lambda text: storagechange.remove(text, storage), digest=query.digest)


@operation(
    "GET",
    "/nodes/{node}/storage/{storage}/content",
    needs=Role.AUDITOR,
    summary="The volumes of a storage on a node",
    tag="storage",
)
async def content(call: Call, node: str, storage: str, query: ContentQuery) -> list[Volume]:
    """Return the volumes; none is an answer, 503 says that nobody can tell."""
    found = await _on(call, node, storage)
    if query.content not in (None, "images"):
        return []
    if node != call.service.node:
        return await forwarded(call, node, ("storage", storage, "content"), list[Volume])
    if found.kind == "lvm":
        listed = await Executors(call).do(node, work.Volumes(storages_.group_of(found)))
        return [
            Volume(
                f"{storage}:{each.name}", each.name, each.size, each.path, active=each.active,
                vmid=volumes.owner_in(each.name),
            )
            for each in listed.volumes
        ]  # fmt: skip
    consumers = await config.consumers(call.service.store)
    return [
        Volume(
            f"{storage}:{row.wwid}", row.alias or row.wwid, row.size, volumes.map_path(row.wwid), health=row.health,
            storages=consumers.get(row.wwid, []),
        )
        for row in own_maps(call)
        if row.wwid
    ]  # fmt: skip


@operation(
    "GET",
    "/nodes/{node}/storage/{storage}/status",
    needs=Role.AUDITOR,
    summary="How a storage is on a node",
    tag="storage",
)
async def status(call: Call, node: str, storage: str) -> StorageStatus:
    """Return what there is of it."""
    found = await _on(call, node, storage)
    if node != call.service.node:
        return await forwarded(call, node, ("storage", storage, "status"), StorageStatus)
    kinds = ",".join(sorted(found.content)) or "none"
    try:
        if found.kind == "lvm":
            group = await Executors(call).do(node, work.GroupStatus(storages_.group_of(found)))
            total, free = group.size, group.free
            partial = "disks of the group are missing" if group.partial else None
            return StorageStatus(found.kind, kinds, True, not partial, True, total, total - free, free, partial)
        sizes = [row.size for row in own_maps(call)]
    except PathfleetError as error:
        reason = f"{error}: {error.errors['multipathd']}" if isinstance(error, NoMapsKnown) else str(error)
        return StorageStatus(found.kind, kinds, True, False, True, None, None, None, reason)
    known = [size for size in sizes if size is not None]
    whole = sum(known) if len(known) == len(sizes) else None
    return StorageStatus(found.kind, kinds, True, True, True, whole, whole, 0)


def _entry(storage: Storage, file_digest: str) -> dict[str, str]:
    return {**storage.properties, "storage": storage.id, "type": storage.kind, "digest": file_digest}


async def _on(call: Call, node: str, storage: str) -> Storage:
    """Return a storage that a node has and that can be looked into. Raises NotFound, BadRequest, NotYet."""
    current = await storages_.read(call.service.store)
    found = storagechange.found(current.storages.storages, storage)
    if found.kind not in storagechange.KINDS:
        raise NotYet(f"storage {storage} is of type {found.kind}: only types multipath and lvm can be looked into")
    return await storages_.on_node(call.service.store, storage, node)


OPERATIONS = (storages, one_storage, add, change, remove, content, status)
