"""A LUN that has grown on the array grows on every node: paths, then maps, then LVM, in this order and never another.

LVM must not use bytes that the map of any node does not have. Every step may be done again, so what was interrupted
goes on when it is run again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from pathfleet.cluster import locks
from pathfleet.cluster.nodes import Nodes, Step, Stopped, Tell, ask, names, stop
from pathfleet.core import work
from pathfleet.core.volumes import Group
from pathfleet.core.work import MapUse, Paths
from pathfleet.errors import NotFound, PathfleetError, Refused
from pathfleet.store import Store


class Grown(Struct, frozen=True, rename="kebab"):
    """A LUN as it is now on the nodes that have it, in bytes; `group`: the volume group that uses it."""

    wwid: str
    size: int
    nodes: tuple[str, ...]
    group: str | None


async def grow(
    store: Store, nodes: Nodes, wwid: str, tell: Tell, *, first: str | None = None, without: Collection[str] = ()
) -> Grown:
    """Let a LUN be as large everywhere as the array has it; `first`: the node that does what is done once.

    `without`: nodes that are down. Raises Stopped, which says which node failed and why; Unfit for one of `without`;
    NotFound, StoreError.
    """
    having = await _having(store, nodes, wwid, tell, without)
    size = await _rescan(nodes, wwid, having, tell)
    await _resize_maps(nodes, wwid, having, size, tell)
    leader = first if first in having else next(iter(having))
    lying = next(iter(having[leader].groups), None)
    async with locks.of_lun(store, wwid) if lying is None else locks.of_group(store, lying):
        group = await _resize_disk(nodes, wwid, leader, tell)
    if group is not None:
        others = [node for node in having if node != leader]
        answers, errors = await ask(nodes, others, work.GroupStatus(group))
        _seen_everywhere(answers, errors, wwid, size, tell)
    return Grown(wwid, size, tuple(having), group)


async def _having(store: Store, nodes: Nodes, wwid: str, tell: Tell, without: Collection[str]) -> dict[str, MapUse]:
    answers, errors = await ask(nodes, await names(store, without), work.Holders(wwid))
    if errors:
        raise stop("looking for the LUN", errors, tell)
    having = {node: use for node, use in answers.items() if use.device is not None}
    if not having:
        raise NotFound(f"no node has a map of LUN {wwid}; `pathfleet status` shows those that there are")
    if bare := without_map(answers):
        raise stop("looking for its map", bare, tell)
    for node, use in having.items():
        tell(Step(node, f"has the map {use.device} of {use.size} bytes with {len(use.paths)} paths"))
    return having


def without_map(uses: Mapping[str, MapUse]) -> dict[str, PathfleetError]:
    """Return why a LUN does not grow while nodes have disks of it without a map: one made later has the old size."""
    return {
        node: Refused(
            f"it has disks of the LUN ({' '.join(path.device for path in use.paths)}) but no map, and they would keep"
            " the old size: start multipathd there, allow the LUN (`pathfleet config lun add`), or take the disks from"
            " that node on the array and delete them there"
        )
        for node, use in uses.items()
        if use.device is None and use.paths
    }


async def _rescan(nodes: Nodes, wwid: str, having: dict[str, MapUse], tell: Tell) -> int:
    """Let every path be asked anew; return the one size that they all show."""
    answers, errors = await ask(nodes, having, work.Rescan(wwid))
    for node, paths in answers.items():
        if trouble := _odd(paths, having[node]):
            errors[node] = Refused(trouble)
    if errors:
        raise stop("rescanning", errors, tell)
    sizes = {node: paths.paths[0].size or 0 for node, paths in answers.items()}
    for node, size in sizes.items():
        tell(Step(node, f"all {len(answers[node].paths)} paths show {size} bytes"))
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{node} {size}" for node, size in sizes.items())
        raise Stopped(
            f"the nodes see different sizes ({told}): the array does not show all of them the same; nothing was grown"
        )
    return next(iter(sizes.values()))


def _odd(paths: Paths, use: MapUse) -> str | None:
    sizes = {path.size for path in paths.paths}
    if len(sizes) == 1 and None not in sizes and not paths.remarks:
        (size,) = sizes
        if use.size is not None and size is not None and size < use.size:
            return f"its paths show {size} bytes, less than its map has ({use.size}): a LUN in use never shrinks"
        return None
    told = ", ".join(
        f"{path.device} shows {path.size if path.size is not None else 'nothing'}" for path in paths.paths
    )
    return "; ".join(("its paths do not agree: " + told, *paths.remarks))


async def _resize_maps(nodes: Nodes, wwid: str, having: dict[str, MapUse], size: int, tell: Tell) -> None:
    # always asked: a map that has the size already stays as it is
    answers, errors = await ask(nodes, having, work.ResizeMap(wwid))
    for node, sizes in answers.items():
        if sizes.after != size:
            errors[node] = Refused(f"its map has {sizes.after} bytes and not {size}: its paths changed meanwhile")
        else:
            word = "had" if sizes.before == sizes.after else "grew to"
            tell(Step(node, f"the map {word} {sizes.after} bytes"))
    if errors:
        raise stop("resizing the map", errors, tell)


async def _resize_disk(nodes: Nodes, wwid: str, node: str, tell: Tell) -> str | None:
    try:
        sizes = await nodes.do(node, work.ResizeGroupDisk(wwid))
    except PathfleetError as error:
        raise stop("resizing LVM's disk", {node: error}, tell) from error
    if sizes.group is None:
        tell(Step(node, "no volume group uses it"))
        return None
    word = "had" if sizes.before == sizes.after else "grew to"
    tell(Step(node, f"the disk of group {sizes.group} {word} {sizes.after} bytes"))
    return sizes.group


def _seen_everywhere(
    answers: dict[str, Group], errors: dict[str, PathfleetError], wwid: str, size: int, tell: Tell
) -> None:
    """Check what the others read: nothing caches a group, but a node that reads something else is in trouble."""
    for node, found in answers.items():
        disk = next((disk for disk in found.disks if disk.wwid == wwid), None)
        if disk is None or disk.device_size != size:
            seen = f"{disk.device_size} bytes" if disk else "nothing"
            errors[node] = Refused(f"it sees {seen} of the disk of group {found.name}, not {size}")
        else:
            tell(Step(node, f"sees group {found.name} with {found.size} bytes"))
    if errors:
        raise stop("reading the group anew", errors, tell)
