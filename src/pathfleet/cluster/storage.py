"""The cluster's storages: storage.cfg in the store, read and changed, and one made on a LUN (specification 6)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from msgspec import Struct

from pathfleet.cluster import config, locks
from pathfleet.cluster.nodes import Nodes, Stopped, ask, names, refuse_silent
from pathfleet.cluster.retire import InUse
from pathfleet.core import configuration, storagecfg, storagechange, volumes, work
from pathfleet.core.storagecfg import Storage, Storages
from pathfleet.core.storagechange import Unfit
from pathfleet.core.work import MadeGroup, MapUse
from pathfleet.errors import BadRequest, Conflict, NotFound, PathfleetError, Refused
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
        before = await _unchanged(store, digest)
        content = edit(before.text).encode(errors="surrogateescape")
        if content == before.content:
            return before
        return Current(content, await store.swap(storagecfg.FILE, content or None, before.revision))


async def _unchanged(store: Store, digest: str | None) -> Current:
    """Return the file. Raises Conflict if `digest` is named and no longer its own."""
    current = await read(store)
    if digest is not None and digest != current.digest:
        raise Conflict(
            f"{storagecfg.FILE} was changed since it was read: its digest is {current.digest}, not {digest}; it stays"
            " as it is: read it again, merge, retry"
        )
    return current


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


async def make(
    store: Store, nodes: Nodes, plan: Plan, *, digest: str | None = None, without: Collection[str] = ()
) -> MadeGroup:
    """Make the volume group of a storage of type lvm on its base, or adopt it where it is there, and add the storage.

    `without`: nodes that are down. Raises Refused and its kinds where the LUN holds data, is in use on any node, is
    not allowed or has a single path, Unreachable where a node does not say, Conflict, StoreError, and what the node's
    executor raises; then the storage is not added. Stopped: the group is made, and the storage is not added.
    """
    wwid = await _fitting(store, plan, digest)
    await _refuse_users(store, nodes, plan.vgname, wwid, without)
    async with locks.of_lun(store, wwid) as held, locks.of_group(store, plan.vgname):
        await _fitting(store, plan, digest)
        held.begin()
        made = await nodes.do(plan.node, work.CreateGroup(wwid, plan.vgname))
        try:
            await add(store, "lvm", plan.name, plan.properties, digest=digest)
        except PathfleetError as error:
            raise Stopped(
                f"group {plan.vgname} is on LUN {wwid}, but storage {plan.name} is not added: {error}. Put that right"
                " and run the same again (without an old digest): it takes the group as it is"
            ) from error
        return made


async def _fitting(store: Store, plan: Plan, digest: str | None) -> str:
    """Return the WWID that the group is to be made on, if the storage can be added."""
    current = await _unchanged(store, digest)
    storagechange.add(current.text, "lvm", plan.name, plan.properties)
    known = current.storages.storages
    wwid = storagechange.base_of(known, plan.base)
    base = known[plan.base.partition(":")[0]]
    for storage_nodes in (base.nodes, frozenset(plan.nodes.split(",")) if plan.nodes else None):
        _refuse_elsewhere(plan.name, storage_nodes, plan.node)
    if wwid not in (await config.read(store)).configuration.wwids:
        raise Refused(f"LUN {wwid} is not allowed in this cluster; allow it: `pathfleet config lun add {wwid}`")
    return wwid


async def _refuse_users(store: Store, nodes: Nodes, vgname: str, wwid: str, without: Collection[str]) -> None:
    """Raise InUse for a LUN that any node uses: a blank disk of a guest looks like one of nobody.

    Where the group is on it already, it is taken as it is, and its volumes may well be in use.
    """
    uses, errors = await ask(nodes, await names(store, without), work.Holders(wwid))
    refuse_silent(f"whether LUN {wwid} is in use there", errors)
    if any(_has_group(use, vgname) for use in uses.values()):
        return
    if users := {node: use.users for node, use in uses.items() if use.users}:
        told = "; ".join(f"node {node}: {', '.join(map(str, holders))}" for node, holders in users.items())
        remedy = "End that first, or choose another LUN"
        raise InUse(f"LUN {wwid} is in use, nothing was changed: {told}. {remedy}", users, ())


def _has_group(use: MapUse, vgname: str) -> bool:
    return any(holder.kind == "group" and holder.name.partition(" ")[0] == vgname for holder in use.holders)


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


async def luns_below(nodes: Nodes, storages: Mapping[str, Storage], storage: Storage, node: str) -> tuple[str, ...]:
    """Return the LUNs that a storage of type lvm lies on: its base or, without one, what LVM says on a node.

    A base of another type than multipath names no LUN: an iscsi storage's volumes are called by their addresses.
    Raises what the executor does.
    """
    base = storagecfg.volume(storage.base) if storage.base else None
    below = storages.get(base.storage) if base else None
    if base and below and below.kind == "multipath":
        return (base.name,)
    group = await nodes.do(node, work.GroupStatus(group_of(storage)))
    return tuple(sorted({disk.wwid for disk in group.disks if disk.wwid}))


async def lun_named(store: Store, nodes: Nodes, name: str, node: str) -> str:
    """Return the one LUN that the storage of type lvm of this name lies on; the name, if there is no such storage.

    Raises Refused where it lies on several or on none; what the executor raises.
    """
    known = (await read(store)).storages.storages
    if name not in known or known[name].kind != "lvm":
        return name
    luns = await luns_below(nodes, known, known[name], node)
    if len(luns) != 1:
        raise Refused(f"storage {name} lies on {', '.join(luns) or 'no LUN'}: name the LUN itself by its WWID")
    return luns[0]


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
