"""What growing or retiring a LUN would do, on which nodes, and what stands against it; nothing is changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from pathfleet.cluster import config
from pathfleet.cluster.grow import without_map
from pathfleet.cluster.nodes import Nodes, Step, ask, names
from pathfleet.cluster.retire import refuse_storages, refuse_used, storages_on
from pathfleet.core import work
from pathfleet.core.work import MapUse
from pathfleet.errors import PathfleetError
from pathfleet.store import Store


class Outlook(Struct, frozen=True, rename="kebab"):
    """What each node has of a LUN and who uses it there, the storages that lie on it, and what would be done.

    `cannot_tell`: nodes that do not answer, and why. `against`: each reason for which it would be refused now.
    """

    wwid: str
    nodes: Mapping[str, MapUse]
    cannot_tell: Mapping[str, str]
    storages: tuple[str, ...]
    steps: tuple[Step, ...]
    against: tuple[str, ...]


async def of_growing(
    store: Store, nodes: Nodes, wwid: str, *, first: str | None = None, without: Collection[str] = ()
) -> Outlook:
    """Return what growing would do now; the new size shows only when the paths are rescanned.

    Raises Unfit for a node in `without` that is none or online; StoreError.
    """
    uses, errors = await ask(nodes, await names(store, without), work.Holders(wwid))
    storages = await _storages(store, wwid, uses)
    having = {node: use for node, use in uses.items() if use.device is not None}
    against = list(_silent(errors))
    if not having and not errors:
        against.append(f"no node has a map of LUN {wwid}")
    against += [f"node {node}: {why}" for node, why in without_map(uses).items()]
    leader = first if first in having else next(iter(having), None)
    return Outlook(wwid, uses, _told(errors), storages, tuple(_growing(having, leader)), tuple(against))


async def of_retiring(
    store: Store, nodes: Nodes, wwid: str, *, without: Collection[str] = (), force: bool = False
) -> Outlook:
    """Return what retiring would do now. Raises Unfit for a node in `without` that is none or online; StoreError."""
    where = await names(store, without)
    uses, errors = await ask(nodes, where, work.Holders(wwid))
    storages = await _storages(store, wwid, uses)
    against = list(_silent(errors))
    try:
        await refuse_storages(store, wwid)
    except PathfleetError as error:
        against.append(str(error))
    try:
        refuse_used(wwid, uses, await storages_on(store, uses), force=force)
    except PathfleetError as error:
        against.append(str(error))
    return Outlook(wwid, uses, _told(errors), storages, tuple(_retiring(where, uses)), tuple(against))


async def _storages(store: Store, wwid: str, uses: Mapping[str, MapUse]) -> tuple[str, ...]:
    below = (await config.consumers(store)).get(wwid, [])
    return tuple(dict.fromkeys((*below, *await storages_on(store, uses))))


def _growing(having: Mapping[str, MapUse], leader: str | None) -> Iterator[Step]:
    for node, use in having.items():
        yield Step(node, f"asks the array for the size of {len(use.paths)} paths anew; all must show one size")
    for node, use in having.items():
        size = "an unknown size" if use.size is None else f"{use.size} bytes"
        yield Step(node, f"lets the map {use.device} grow from {size} to what the paths show")
    if leader is not None:
        yield Step(leader, "lets LVM use all of it, if a volume group is on it")
        for node in having:
            if node != leader:
                yield Step(node, "reads the group anew, and must see the new size")


def _retiring(where: Collection[str], uses: Mapping[str, MapUse]) -> Iterator[Step]:
    for node, use in uses.items():
        if use.device is not None:
            yield Step(node, f"flushes the map {use.device} with {len(use.paths)} paths and takes it away")
    for node in where:
        yield Step(node, "deletes the path devices of the LUN, if it has any")
    yield Step(None, "the LUN leaves the allow-list, if it is there")


def _silent(errors: Mapping[str, PathfleetError]) -> Iterator[str]:
    for node, error in errors.items():
        yield f"node {node} does not tell: {error}"


def _told(errors: Mapping[str, PathfleetError]) -> dict[str, str]:
    return {node: str(error) for node, error in errors.items()}
