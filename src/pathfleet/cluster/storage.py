"""The cluster's storages: storage.cfg in the store, read and changed, and one made on a LUN (specification 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from pathfleet.cluster import config
from pathfleet.cluster.grow import changing
from pathfleet.cluster.nodes import Nodes
from pathfleet.core import configuration, storagecfg, storagechange, volumes, work
from pathfleet.core.storagecfg import Storage, Storages
from pathfleet.core.storagechange import Unfit
from pathfleet.core.work import MadeGroup
from pathfleet.errors import BadRequest, Conflict, NotFound, Refused
from pathfleet.store import Store


class Current(Struct, frozen=True):
    """storage.cfg as it is; a file that is not there is an empty one."""

    content: bytes
    revision: str | None

    @property
    def text(self) -> str:
        """Its text; bytes that are no UTF-8 survive a change."""
        return self.content.decode(errors="surrogateescape")

    @property
    def storages(self) -> Storages:
        """What it says."""
        return storagecfg.parse(self.content.decode(errors="replace"))

    @property
    def digest(self) -> str:
        """The digest that a change may name."""
        return configuration.digest(self.content)


async def read(store: Store) -> Current:
    """Return the file. Raises StoreError."""
    file = await store.read(storagecfg.FILE)
    return Current(file.content if file else b"", file.revision if file else None)


async def change(store: Store, edit: Callable[[str], str], *, digest: str | None = None) -> Current:
    """Change the file by a function of its text; `digest`: of what was read before.

    Raises Conflict if the file has another one, and what `edit` raises; then nothing was changed. StoreError.
    """
    async with store.lock(storagecfg.FILE):
        before = await read(store)
        if digest is not None and digest != before.digest:
            raise Conflict(
                f"{storagecfg.FILE} was changed since it was read: its digest is {before.digest}, not {digest};"
                " nothing was changed: read it again, merge, retry"
            )
        content = edit(before.text).encode(errors="surrogateescape")
        if content == before.content:
            return before
        return Current(content, await store.swap(storagecfg.FILE, content or None, before.revision))


async def add(
    store: Store, kind: str, name: str, properties: Mapping[str, str], *, digest: str | None = None
) -> Current:
    """Add a storage. Raises BadRequest, Conflict, StoreError."""
    return await change(store, lambda text: storagechange.add(text, kind, name, properties), digest=digest)


class Plan(Struct, frozen=True):
    """A storage of type lvm that is to be made on a LUN. `node`: where its group is made."""

    name: str
    base: str
    vgname: str
    node: str
    nodes: str | None = None
    content: str = "images,rootdir"
    saferemove: bool = False

    @property
    def properties(self) -> dict[str, str]:
        """Its properties in storage.cfg."""
        found = {"base": self.base, "vgname": self.vgname, "content": self.content, "shared": "1"}
        more = {"nodes": self.nodes, "saferemove": "1" if self.saferemove else None}
        return found | {key: value for key, value in more.items() if value is not None}


async def make(store: Store, nodes: Nodes, plan: Plan, *, digest: str | None = None) -> MadeGroup:
    """Make the volume group of a storage of type lvm on its base, or adopt it where it is there, and add the storage.

    Raises Refused and its kinds where the LUN holds data, is not allowed or has a single path, Conflict, StoreError,
    and what the node's executor raises; then the storage is not added.
    """
    async with changing(store, plan.name):
        current = await read(store)
        storagechange.add(current.text, "lvm", plan.name, plan.properties)
        wwid = storagechange.base_of(current.storages.storages, plan.base)
        base = current.storages.storages[plan.base.partition(":")[0]]
        for storage_nodes in (base.nodes, frozenset(plan.nodes.split(",")) if plan.nodes else None):
            _refuse_elsewhere(plan.name, storage_nodes, plan.node)
        if wwid not in (await config.read(store)).configuration.wwids:
            raise Refused(f"LUN {wwid} is not allowed in this cluster; allow it: `pathfleet config lun add {wwid}`")
        made = await nodes.do(plan.node, work.CreateGroup(wwid, plan.vgname))
        await add(store, "lvm", plan.name, plan.properties, digest=digest)
        return made


async def on_node(store: Store, name: str, node: str) -> Storage:
    """Return a storage that a node has. Raises NotFound, BadRequest, StoreError."""
    storage = storagechange.found((await read(store)).storages.storages, name)
    if storage.disabled:
        raise BadRequest({"storage": f"{name} is disabled: `pathfleet storage set {name} disable=0`"})
    _refuse_elsewhere(name, storage.nodes, node)
    return storage


def _refuse_elsewhere(name: str, nodes: frozenset[str] | None, node: str) -> None:
    if nodes is not None and node not in nodes:
        raise BadRequest({"storage": f"{name} is not for node {node}: its nodes are {', '.join(sorted(nodes))}"})


def base_wwid(storage: Storage) -> str | None:
    """Return the WWID of the LUN that a storage of type lvm lies on, None if it has no base."""
    base = storagecfg.volume(storage.base) if storage.base else None
    return base.name if base else None


def path_of(storages: Mapping[str, Storage], volid: str) -> str:
    """Return the path of a volume, on every node that has it. Raises Unfit, NotFound."""
    storage, name = split(storages, volid)
    if storage.kind == "multipath":
        return volumes.map_path(name)
    return volumes.volume_path(group_of(storage), name)


def split(storages: Mapping[str, Storage], volid: str) -> tuple[Storage, str]:
    """Return the storage of a volume id, and the volume's name. Raises Unfit, NotFound."""
    volume = storagecfg.volume(volid)
    if volume is None:
        raise NotFound(f"there is no volume {volid[:100]!r}: it is STORAGE:NAME, or STORAGE:WWID")
    storage = storagechange.found(storages, volume.storage)
    if storage.kind not in storagechange.KINDS:
        raise Unfit({"storage": f"{storage.id} is of type {storage.kind}: only multipath and lvm are known here"})
    return storage, volume.name


def group_of(storage: Storage) -> str:
    """Return the volume group of a storage of type lvm. Raises Refused for another type."""
    if storage.kind != "lvm" or storage.vgname is None:
        raise Refused(
            f"storage {storage.id} is of type {storage.kind}: its volumes are the LUNs, which the array makes and"
            " removes, so nothing can be allocated, resized, freed or snapshotted in it; `pathfleet storage add lvm`"
            " makes a storage on a LUN, `storage grow` takes in a LUN that grew, `storage retire` lets go of one"
        )
    return storage.vgname
