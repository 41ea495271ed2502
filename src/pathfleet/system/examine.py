"""What only this node can find out about its multipathing, for the doctor: it changes nothing, and needs no root.

Without root LVM and the allow-list cannot be read. What could not be examined is said; it is never taken for healthy.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from pathfleet.core.facts import ConfFile, Lvm, MapFacts, NodeFacts, Unexamined, without_keys
from pathfleet.core.health import Facts, KernelMap, flags, judge
from pathfleet.core.maps import Map
from pathfleet.core.node import Daemon
from pathfleet.errors import CannotTell, NotInstalled, NotRunning
from pathfleet.system import examine_disks, examine_lvm, program, wwids
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.program import Runner
from pathfleet.system.sysfs import MapDevice, Sysfs

SYSFS = Path("/sys")
#: A file of multipath's is not longer, or not one.
_FILE_LIMIT = 256 * 1024
_FILES_LIMIT = 100
#: A map that the kernel has and multipathd does not list may be about to be listed.
_SETTLE_SECONDS = 1.0
_ASK_SECONDS = 3.0


async def examine(
    node: str,
    *,
    multipathd: Multipathd,
    sysfs: Path = SYSFS,
    run: Runner = program.ended,
    lvm: Path | None = None,
    settle_seconds: float = _SETTLE_SECONDS,
    wall_clock: Callable[[], float] = time.time,
) -> NodeFacts:
    """Return what there is to find out now, within some seconds; never raises for what the node is like.

    The node's files are looked for beside `sysfs`, so that a file system mounted elsewhere is examined as a whole; its
    LVM (or what is at `lvm`) is asked only where that is this machine's.
    """
    daemon = await _daemon(multipathd)
    kernel = await asyncio.to_thread(_look, Sysfs(sysfs), daemon.maps or ())
    if daemon.maps is not None and kernel.maps and kernel.maps.keys() - {map_.uuid for map_ in daemon.maps}:
        await asyncio.sleep(settle_seconds)
        daemon = await _daemon(multipathd)
        kernel = await asyncio.to_thread(_look, Sysfs(sysfs), daemon.maps or ())
    maps = _maps(daemon.maps, kernel)
    found, why_not = await _lvm(maps, sysfs, run, lvm)
    files = await asyncio.to_thread(_files, sysfs.parent)
    disks, why_no_disks = await asyncio.to_thread(examine_disks.disks, sysfs, kernel.maps or {}, kernel.targets)
    unexamined = [*daemon.unexamined, *files.unexamined]
    unexamined += [Unexamined("LVM", why_not)] if why_not else []
    unexamined += [Unexamined("disks", why) for why in why_no_disks]
    return NodeFacts(
        node,
        int(wall_clock()),
        daemon.word,
        daemon.reason,
        daemon.version,
        maps,
        disks,
        found,
        files.files,
        files.wwids,
        daemon.effective,
        tuple(replace(each, node=node) for each in unexamined),
    )


class _Said(Struct, frozen=True):
    """What multipathd says; `maps` None: it cannot be asked."""

    word: str
    reason: str | None = None
    maps: tuple[Map, ...] | None = None
    version: str | None = None
    effective: str | None = None
    unexamined: tuple[Unexamined, ...] = ()


async def _daemon(multipathd: Multipathd) -> _Said:
    try:
        maps = await multipathd.maps(deadline_seconds=_ASK_SECONDS)
        version = await multipathd.version()
    except NotInstalled as error:
        return _Said(Daemon.NOT_INSTALLED.value, str(error))
    except NotRunning as error:
        return _Said(Daemon.NOT_RUNNING.value, str(error))
    except CannotTell as error:
        return _Said(Daemon.CANNOT_TELL.value, str(error), unexamined=(Unexamined("multipathd", str(error)),))
    try:
        effective = without_keys(await multipathd.effective())
    except (CannotTell, NotRunning) as error:
        why = Unexamined("the configuration in force", str(error))
        return _Said(Daemon.RUNNING.value, None, maps, version, None, (why,))
    return _Said(Daemon.RUNNING.value, None, maps, version, effective)


class _Kernel(Struct, frozen=True):
    """The kernel's maps by WWID, None if nobody can tell; facts to judge maps by; target ports by path device."""

    maps: dict[str, MapDevice] | None
    facts: Facts
    targets: dict[str, str]


def _look(sysfs: Sysfs, listed: Iterable[Map]) -> _Kernel:
    kernel = sysfs.multipath_maps()
    of_daemon = {path.dev for map_ in listed for group in map_.path_groups for path in group.paths}
    slaves = {device for map_ in (kernel or {}).values() for device in map_.slaves or ()}
    ports = sysfs.ports(of_daemon | slaves)
    names = {map_.sysfs for map_ in listed} | {map_.dm for map_ in (kernel or {}).values()}
    sizes = {name: size for name in names if (size := sysfs.size_bytes(name)) is not None}
    counts = {wwid: KernelMap(len(map_.slaves or ())) for wwid, map_ in (kernel or {}).items()}
    targets = {device: port.target for device, port in ports.items() if port.target}
    return _Kernel(kernel, Facts(sizes=sizes, ports=ports, kernel=counts), targets)


def _maps(listed: tuple[Map, ...] | None, kernel: _Kernel) -> tuple[MapFacts, ...] | None:
    """Return the maps of either; None if neither can be asked."""
    if listed is None and kernel.maps is None:
        return None
    of_kernel = kernel.maps or {}
    known = {map_.uuid for map_ in listed or ()}
    found = [_listed(map_, kernel, of_kernel.get(map_.uuid)) for map_ in listed or () if map_.uuid]
    for wwid, device in of_kernel.items():
        if wwid not in known:
            slaves = device.slaves or ()
            found.append(
                MapFacts(
                    wwid,
                    device.name or wwid,
                    device.dm,
                    kernel.facts.sizes.get(device.dm),
                    slaves,
                    None if listed is None else False,
                    0,
                    len(slaves),
                    () if listed is None else ("unmanaged",),
                )
            )
    return tuple(sorted(found, key=lambda map_: map_.wwid))


def _listed(map_: Map, kernel: _Kernel, device: MapDevice | None) -> MapFacts:
    verdict = judge(map_, kernel.facts)
    queues = map_.queueing == "on" or (map_.queueing in ("-", "") and "queue_if_no_path" in map_.features)
    return MapFacts(
        map_.uuid,
        map_.name or map_.uuid,
        map_.sysfs or None,
        verdict.size,
        (device.slaves if device else None) or (),
        True,
        verdict.active,
        verdict.total,
        tuple(flag.value for flag in flags(verdict, kernel.facts)),
        queues,
    )


async def _lvm(
    maps: tuple[MapFacts, ...] | None, sysfs: Path, run: Runner, lvm: Path | None
) -> tuple[Lvm | None, str | None]:
    """Return LVM's view, or why it was not examined; neither where there is no LVM."""
    if lvm is None and sysfs != SYSFS:
        return None, None
    if maps is None:
        return None, "nobody knows which maps there are, and on one without paths LVM would hang"
    # what is queueing would keep LVM waiting in the kernel, where nothing can end it
    if any(map_.listed is None for map_ in maps):
        return None, "multipathd cannot be asked, and on a map without a path that works LVM would hang"
    waiting = [map_.wwid for map_ in maps if map_.listed and not map_.paths_active]
    if waiting:
        return None, f"LVM would wait for a path of {', '.join(waiting[:3])}, which has none that works"
    return await examine_lvm.view(run, lvm)


class _Files(Struct, frozen=True):
    files: tuple[ConfFile, ...]
    wwids: tuple[str, ...] | None
    unexamined: tuple[Unexamined, ...]


def _files(root: Path) -> _Files:
    """Return multipath's files in the order in which multipathd reads them, and the LUNs of its allow-list."""
    directory = root / "etc/multipath/conf.d"
    unexamined: list[Unexamined] = []
    try:
        drop_ins = [name for name in os.listdir(directory) if name.endswith(".conf")]  # noqa: PTH208 - bytes' order
    except FileNotFoundError:
        drop_ins = []
    except OSError as error:
        drop_ins = []
        unexamined.append(Unexamined(str(directory), error.strerror or str(error)))
    paths = [root / "etc/multipath.conf", *(directory / name for name in sorted(drop_ins, key=os.fsencode))]
    found: list[ConfFile] = []
    for path in paths[:_FILES_LIMIT]:
        text = _text(path, unexamined)
        if text is not None:
            found.append(ConfFile(f"/{path.relative_to(root)}", without_keys(text)))
    listed = _text(root / "etc/multipath/wwids", unexamined)
    allowed = None if listed is None else tuple(sorted(wwids.entries(listed.encode(errors="replace"))))
    return _Files(tuple(found), allowed, tuple(unexamined))


def _text(path: Path, unexamined: list[Unexamined]) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_LIMIT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        unexamined.append(Unexamined(str(path), error.strerror or str(error)))
        return None
    if len(content) > _FILE_LIMIT:
        unexamined.append(Unexamined(str(path), f"it has more than {_FILE_LIMIT // 1024} KiB"))
        return None
    return content.decode(errors="replace")
