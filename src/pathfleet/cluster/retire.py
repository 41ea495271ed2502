"""A LUN leaves the cluster: nobody uses it, every map is flushed, its paths are gone, it is allowed no longer.

Only multipathd takes a map away, and only one that has a path: what waits in a map without one would be lost. Every
step may be done again, so what was interrupted goes on when it is run again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from pathfleet.cluster import config, locks
from pathfleet.cluster.nodes import Nodes, Step, Tell, ask, names, stop
from pathfleet.core import work
from pathfleet.core.work import Holder, MapUse, Paths
from pathfleet.errors import Busy, NotFound, PathfleetError, Refused
from pathfleet.store import Store


class InUse(Busy):
    """A LUN is used; `users` by node, and the storages in the configuration."""

    code = "in-use"

    def __init__(self, message: str, users: Mapping[str, tuple[Holder, ...]], storages: tuple[str, ...]) -> None:
        super().__init__(message)
        self.users = users
        self.storages = storages


class Retired(Struct, frozen=True, rename="kebab"):
    """A LUN that is gone from the nodes. `remarks`: what is still to be done, beside unmapping it on the array."""

    wwid: str
    nodes: tuple[str, ...]
    paths: Mapping[str, tuple[str, ...]]
    remarks: tuple[str, ...] = ()


async def retire(
    store: Store, nodes: Nodes, wwid: str, tell: Tell, *, without: Collection[str] = (), force: bool = False
) -> Retired:
    """Take a LUN out of use on every node. `force`: also where a volume group with volumes, or of a storage, is on it.

    `without`: nodes that are down. Raises InUse with who uses it, Refused where a map has no path, Unfit for one of
    `without`, and then nothing was changed; NotFound; Stopped, which says which node failed and why; StoreError.
    """
    where = await names(store, without)
    await refuse_storages(store, wwid)
    uses = await _unused(store, nodes, wwid, where, tell, force=force)
    paths = await _flush(nodes, wwid, [node for node, use in uses.items() if use.device], tell)
    retired = await _delete(nodes, wwid, where, paths, tell)
    # Only now: each node applies it by a reconfigure, in which multipathd makes a map of paths that are still there.
    was_allowed = await _disallow(store, wwid, tell)
    if not (paths or was_allowed or retired.paths):
        raise NotFound(f"no node has LUN {wwid}, and it is not on the allow-list: there is nothing to retire")
    return retired


async def refuse_storages(store: Store, wwid: str) -> None:
    """Raise InUse for a LUN that a storage lies on."""
    storages = tuple((await config.consumers(store)).get(wwid, ()))
    if storages:
        raise InUse(
            f"LUN {wwid} is the base of storage {', '.join(storages)}: free its volumes, `vgremove` the group, then"
            f" `pathfleet storage remove {storages[0]}`",
            {},
            storages,
        )


async def _unused(
    store: Store, nodes: Nodes, wwid: str, where: list[str], tell: Tell, *, force: bool
) -> dict[str, MapUse]:
    """Return what each node has of the LUN, if nobody there uses it."""
    uses, errors = await ask(nodes, where, work.Holders(wwid))
    if errors:
        raise stop("asking who uses the LUN", errors, tell)
    refuse_used(wwid, uses, await storages_on(store, uses), force=force)
    for node, use in uses.items():
        tell(Step(node, "nobody uses it" if use.device else "has no map of it"))
    return uses


async def storages_on(store: Store, uses: Mapping[str, MapUse]) -> tuple[str, ...]:
    """Return the storages whose volume group nodes see on a LUN, whatever their base is. Raises StoreError."""
    groups = sorted({group for use in uses.values() for group in use.groups})
    return tuple([name for group in groups for name in await locks.storages_of(store, group)])


def refuse_used(wwid: str, uses: Mapping[str, MapUse], storages: tuple[str, ...], *, force: bool) -> None:
    """Raise InUse for a LUN that somebody uses, and Refused for one whose map has no path, on any of the nodes.

    `storages`: those whose group is on it, for which it is in use, too, unless `force`.
    """
    users = {node: use.users for node, use in uses.items() if use.users}
    if users:
        told = "; ".join(f"node {node}: {', '.join(map(str, holders))}" for node, holders in users.items())
        raise InUse(
            f"LUN {wwid} is in use, nothing was changed: {told}. Stop or unmount what uses it, deactivate its volumes"
            " there (`pathfleet storage deactivate VOLUME`), then run the same again",
            users,
            (),
        )
    if dead := [node for node, use in uses.items() if use.device and not use.usable]:
        raise Refused(
            f"LUN {wwid} has no usable path on node {', '.join(dead)}, nothing was changed: what waits in its map"
            " would be lost; bring a path back first"
        )
    if not force:
        _refuse_groups(wwid, uses, storages)


def _refuse_groups(wwid: str, uses: Mapping[str, MapUse], storages: tuple[str, ...]) -> None:
    if storages:
        raise InUse(
            f"LUN {wwid} has the volume group of storage {', '.join(storages)} on it, nothing was changed: free its"
            f" volumes, `vgremove` the group, then `pathfleet storage remove {storages[0]}`, or say --force if its"
            " data is to stay on the LUN",
            {},
            storages,
        )
    groups = {node: tuple(h for h in use.holders if h.kind == "group") for node, use in uses.items()}
    if found := {node: holders for node, holders in groups.items() if holders}:
        name = next(iter(found.values()))[0].name
        raise InUse(
            f"LUN {wwid} has the volume group {name} on it, nothing was changed: remove it first, or say --force if"
            " its data is to stay on the LUN",
            found,
            (),
        )


async def _flush(nodes: Nodes, wwid: str, where: list[str], tell: Tell) -> dict[str, Paths]:
    answers, errors = await ask(nodes, where, work.Flush(wwid))
    for node in answers:
        tell(Step(node, "the map is flushed and gone"))
    if errors:
        raise stop("flushing the map", errors, tell)
    return answers


async def _disallow(store: Store, wwid: str, tell: Tell) -> bool:
    try:
        await config.write(store, await config.plan_removal(store, wwid))
    except NotFound:
        tell(Step(None, "it is not on the allow-list"))
        return False
    tell(Step(None, "off the allow-list: each node applies that by itself"))
    return True


async def _delete(nodes: Nodes, wwid: str, where: list[str], flushed: Mapping[str, Paths], tell: Tell) -> Retired:
    deleted: dict[str, tuple[str, ...]] = {}
    errors: dict[str, PathfleetError] = {}
    remarks: list[str] = []
    for node in where:
        known = flushed[node].paths if node in flushed else ()
        try:
            gone = await nodes.do(node, work.DeletePaths(wwid, known))
        except PathfleetError as error:
            errors[node] = error
            continue
        remarks += [f"node {node}: {remark}" for remark in gone.remarks]
        if gone.paths:
            deleted[node] = tuple(path.device for path in gone.paths)
            tell(Step(node, f"paths {' '.join(deleted[node])} are deleted"))
    if errors:
        raise stop("deleting the paths", errors, tell)
    return Retired(wwid, tuple(where), deleted, tuple(remarks))
