"""The LUNs that the cluster allows, and those that it does not but that are seen on some node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping

from msgspec import Struct

from pathfleet.cluster import config
from pathfleet.cluster.nodes import asked
from pathfleet.core import report
from pathfleet.core.facts import Disk
from pathfleet.core.wire import Bytes
from pathfleet.errors import Malformed
from pathfleet.store import Store


class LunThere(Struct, frozen=True, rename="kebab"):
    """A LUN on a node. `map`: the node reported a map of it last. `disks` None: nobody can tell.

    `holds`: what is on the disks beside a map: partitions, other devices built on them, mount points.
    """

    map: bool
    disks: tuple[str, ...] | None
    holds: tuple[str, ...] = ()


class LunSeen(Struct, frozen=True, rename="kebab"):
    """A LUN. `nodes`: those that have a map or a disk of it. `size` in bytes, of the largest of its disks."""

    wwid: str
    allowed: bool
    alias: str | None
    size: Bytes | None
    vendor: str | None
    product: str | None
    storages: list[str]
    nodes: dict[str, LunThere]


class LunsSeen(Struct, frozen=True, rename="kebab"):
    """All LUNs, those that are allowed first, on the cluster's `nodes`. `silent`: why those of some are not known."""

    nodes: list[str]
    luns: list[LunSeen]
    silent: dict[str, str]


#: Asks a node which disks it has. Raises PathfleetError.
Ask = Callable[[str], Awaitable[tuple[Disk, ...]]]


async def seen(store: Store, ask: Ask) -> LunsSeen:
    """Return the LUNs of the allow-list, of the storages, and of every node that can be asked. Raises StoreError."""
    allowed = (await config.read(store)).configuration.wwids
    storages = await config.consumers(store)
    maps = await _maps(store)
    nodes = sorted({*(await store.members()).nodes, *maps})
    answers, errors = await asked(nodes, ask)
    disks = {node: _by_wwid(answer) for node, answer in answers.items()}
    elsewhere = {*storages, *(wwid for found in (*maps.values(), *disks.values()) for wwid in found)} - {*allowed}
    return LunsSeen(
        nodes,
        [
            _lun(wwid, allowed.get(wwid), storages.get(wwid, []), maps, disks)
            for wwid in (*allowed, *sorted(elsewhere))
        ],
        {node: str(error) for node, error in errors.items()},
    )


def _lun(
    wwid: str,
    properties: Mapping[str, str] | None,
    storages: list[str],
    maps: Mapping[str, set[str]],
    disks: Mapping[str, Mapping[str, list[Disk]]],
) -> LunSeen:
    found = [disk for node in disks.values() for disk in node.get(wwid, ())]
    return LunSeen(
        wwid,
        properties is not None,
        (properties or {}).get("alias"),
        max((disk.size for disk in found if disk.size is not None), default=None),
        next((disk.vendor for disk in found if disk.vendor), None),
        next((disk.product for disk in found if disk.product), None),
        storages,
        {
            node: _there(wwid in maps.get(node, ()), disks[node].get(wwid, []) if node in disks else None)
            for node in sorted({*maps, *disks})
            if wwid in maps.get(node, ()) or wwid in disks.get(node, ())
        },
    )


def _there(map_: bool, disks: list[Disk] | None) -> LunThere:
    if disks is None:
        return LunThere(map_, None)
    holds = dict.fromkeys(each for disk in disks for each in _holds(disk))
    return LunThere(map_, tuple(disk.device for disk in disks), tuple(holds))


def _holds(disk: Disk) -> Iterator[str]:
    yield from disk.partitions
    for holder in disk.holders:
        if not (holder.uuid or "").startswith("mpath-"):
            yield holder.name or holder.device
    yield from disk.mounts


def _by_wwid(disks: tuple[Disk, ...]) -> dict[str, list[Disk]]:
    found: dict[str, list[Disk]] = {}
    for disk in disks:
        if disk.wwid is not None:
            found.setdefault(disk.wwid, []).append(disk)
    return found


async def _maps(store: Store) -> dict[str, set[str]]:
    """Return of which LUNs each node reported maps last."""
    found = {}
    for name, values in (await store.all_values()).items():
        try:
            said = report.decode(values)
        except Malformed:
            continue
        found[name] = {*said.maps} if said else set()
    return found
