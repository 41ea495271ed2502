"""The LUNs that the cluster allows, and those that it does not but that are seen on some node."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from pathfleet.cluster import config
from pathfleet.cluster.nodes import asked
from pathfleet.core import report
from pathfleet.core.facts import Disk
from pathfleet.core.property import BadValue
from pathfleet.core.reason import shortened
from pathfleet.core.schema import check_wwid
from pathfleet.core.wire import Bytes
from pathfleet.errors import CannotTell, Malformed
from pathfleet.store import Store
from pathfleet.system import examine_disks

#: Looking at thousands of disks takes a tenth of it; a kernel that holds a reader up may do so for ever.
_LOOK_SECONDS: Final = 10.0
#: What a node says of a LUN is cut to this: a disk has more partitions only where somebody means harm.
_HOLDS_LIMIT: Final = 16


class LunThere(Struct, frozen=True, rename="kebab"):
    """A LUN on a node. `map`: the node reported a map of it last. None, of `map` and of `disks`: nobody can tell.

    `holds`: what the kernel has on the disks beside a map: partitions, other devices built on them, mount points.
    None of it does not prove a LUN empty: a volume group that is not active or a guest's file system is not told.
    """

    map: bool | None
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
    """All LUNs, those that are allowed first, on the cluster's `nodes`. `silent`: why the disks of some are not known.

    `unreported`: nodes of which there is no report, or none that can be read: nobody can tell which maps they have.
    """

    nodes: list[str]
    luns: list[LunSeen]
    silent: dict[str, str]
    unreported: list[str]


class _Disks(Struct, frozen=True):
    """The disks of one LUN on one node."""

    names: tuple[str, ...]
    holds: tuple[str, ...]
    size: int | None
    vendor: str | None
    product: str | None


#: Asks a node which disks it has. Raises PathfleetError.
Ask = Callable[[str], Awaitable[tuple[Disk, ...]]]


async def of_this_node(sysfs: Path, *, seconds: float = _LOOK_SECONDS) -> tuple[Disk, ...]:
    """Return the disks of this node that have a WWID. Raises CannotTell."""
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.to_thread(examine_disks.of_luns, sysfs)
    except TimeoutError as error:
        raise CannotTell(f"the kernel did not tell of this node's disks within {seconds:g} s") from error


async def seen(store: Store, ask: Ask) -> LunsSeen:
    """Return the LUNs of the allow-list, of the storages, and of every node that can be asked. Raises StoreError."""
    allowed = (await config.read(store)).configuration.wwids
    storages = await config.consumers(store)
    maps = await _maps(store)
    nodes = sorted({*(await store.members()).nodes, *maps})

    async def disks(node: str) -> dict[str, _Disks]:
        # not kept whole: with 64 nodes of 4,000 paths each that were hundreds of megabytes
        return _by_wwid(await ask(node))

    answers, errors = await asked(nodes, disks)
    return LunsSeen(
        nodes,
        # 30 to 70 ms for 64 nodes with 1,000 LUNs each, in which the event loop has others to serve
        await asyncio.to_thread(_merged, nodes, allowed, storages, maps, answers),
        {node: shortened(str(error), 400) for node, error in errors.items()},
        [node for node in nodes if maps.get(node) is None],
    )


def _merged(
    nodes: Iterable[str],
    allowed: Mapping[str, Mapping[str, str]],
    storages: Mapping[str, list[str]],
    maps: Mapping[str, frozenset[str] | None],
    disks: Mapping[str, Mapping[str, _Disks]],
) -> list[LunSeen]:
    # by node and not by LUN: few of them have all of each other's
    there: defaultdict[str, dict[str, LunThere]] = defaultdict(dict)
    found: defaultdict[str, list[_Disks]] = defaultdict(list)
    for node in nodes:
        reported, answer = maps.get(node), disks.get(node)
        for wwid in (reported or frozenset()).union(answer or ()):
            each = answer.get(wwid, _NO_DISKS) if answer is not None else None
            there[wwid][node] = _there(None if reported is None else wwid in reported, each)
            if each is not None:
                found[wwid].append(each)
    elsewhere = {*storages, *there} - {*allowed}
    return [
        LunSeen(
            wwid,
            wwid in allowed,
            allowed.get(wwid, {}).get("alias"),
            max((each.size for each in found[wwid] if each.size is not None), default=None),
            next((each.vendor for each in found[wwid] if each.vendor), None),
            next((each.product for each in found[wwid] if each.product), None),
            storages.get(wwid, []),
            there[wwid],
        )
        for wwid in (*allowed, *sorted(elsewhere))
    ]


_NO_DISKS: Final = _Disks((), (), None, None, None)


def _there(map_: bool | None, disks: _Disks | None) -> LunThere:
    return LunThere(map_, None) if disks is None else LunThere(map_, disks.names, disks.holds)


def _by_wwid(answer: tuple[Disk, ...]) -> dict[str, _Disks]:
    """Return what a node says of each LUN, without what can be none; a peer's texts are cut."""
    found: defaultdict[str, list[Disk]] = defaultdict(list)
    for disk in answer:
        if disk.wwid is not None:
            found[disk.wwid].append(disk)
    return {wwid: _disks(disks) for wwid, disks in found.items() if _is_wwid(wwid)}


def _disks(disks: list[Disk]) -> _Disks:
    holds = tuple(dict.fromkeys(each for disk in disks for each in _holds(disk)))
    more = len(holds) - _HOLDS_LIMIT
    return _Disks(
        tuple(shortened(disk.device, 40) for disk in disks),
        (*(shortened(each, 128) for each in holds[:_HOLDS_LIMIT]), *([f"{more} more"] if more > 0 else [])),
        max((disk.size for disk in disks if disk.size is not None), default=None),
        next((shortened(disk.vendor, 40) for disk in disks if disk.vendor), None),
        next((shortened(disk.product, 40) for disk in disks if disk.product), None),
    )


def _holds(disk: Disk) -> Iterator[str]:
    yield from disk.partitions
    for holder in disk.holders:
        if not (holder.uuid or "").startswith("mpath-"):
            yield holder.name or holder.device
    yield from disk.mounts


async def _maps(store: Store) -> dict[str, frozenset[str] | None]:
    """Return of which LUNs each node reported maps last; None where no report can be read."""
    return {name: _reported(values) for name, values in (await store.all_values()).items()}


def _reported(values: Mapping[str, bytes]) -> frozenset[str] | None:
    try:
        said = report.decode(values)
    except Malformed:
        return None
    return frozenset(filter(_is_wwid, said.maps)) if said else None


def _is_wwid(text: str) -> bool:
    try:
        check_wwid(text)
    except BadValue:
        return False
    return True
