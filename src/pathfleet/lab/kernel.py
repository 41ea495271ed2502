"""A host's kernel: its block devices, the dm-multipath tables, I/O that finds dead paths, and uevents.

It works on whether or not a multipathd runs. What changes is told to `observer`, as dm events tell multipathd.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from pathfleet.core.dmstatus import KernelPath
from pathfleet.lab.clock import Clock
from pathfleet.lab.devices import Map, Path
from pathfleet.lab.fabric import Access, Change, Fabric, LiveLun, Nexus
from pathfleet.system.uevents import Uevent

#: I/O is so dense that a dead path which carries it fails within this time (simulated seconds).
IO_SECONDS = 0.1


class _Numbers:
    """Gives the lowest number that is free, as the kernel does."""

    def __init__(self) -> None:
        self._next = 0
        self._free: list[int] = []

    def take(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def give_back(self, number: int) -> None:
        heapq.heappush(self._free, number)


class Observer(Protocol):
    """Who hears of devices and dm events: multipathd."""

    def devices_came(self, paths: list[Path]) -> None:
        """The kernel found devices."""

    def devices_went(self, paths: list[Path]) -> None:
        """The kernel removed devices."""

    def devices_changed(self, paths: list[Path]) -> None:
        """Something on the way to these changed, which only a check tells: no event in the real world."""

    def path_failed(self, map_: Map, path: Path) -> None:
        """I/O failed on a path, and the kernel took it out."""


class Kernel:
    """The kernel of one host of the fabric."""

    def __init__(self, fabric: Fabric, host: str, clock: Clock, emit: Callable[[Uevent], None]) -> None:
        self.host = host
        self.fabric = fabric
        self.clock = clock
        self.paths: dict[str, Path] = {}
        self.maps: dict[str, Map] = {}
        self.observer: Observer | None = None
        self._emit = emit
        self._by_nexus: dict[Nexus, dict[LiveLun, Path]] = {}
        self.by_minor: dict[int, Map] = {}
        self.by_wwid: dict[str, list[Path]] = {}
        self._numbers = {"sd": _Numbers(), "nvme": _Numbers(), "dm": _Numbers()}
        self._io: dict[str, None] = {}
        for nexus in fabric.nexuses[host]:
            if nexus.logged_in:
                self._find(nexus, fabric.luns_over(nexus))
        fabric.listen(host, self._changed)

    # what is true of a device

    def carries(self, path: Path) -> bool:
        """Whether I/O on a device succeeds now."""
        fabric, nexus = self.fabric, path.nexus
        return (
            not path.offline
            and fabric.reachable(nexus)
            and fabric.visible(nexus, path.lun)
            and fabric.access(nexus, path.lun) is not Access.UNAVAILABLE
        )

    def kernel_paths(self) -> dict[str, tuple[KernelPath, ...]]:
        """Return what `dmsetup status` tells, by map name."""
        return {
            map_.name: tuple([KernelPath(path.dev_t, path.active) for path in map_.paths])
            for map_ in self.maps.values()
        }

    # tables

    def create(self, wwid: str, name: str, groups: list[list[Path]]) -> Map:
        """Make a map."""
        lun = groups[0][0].lun
        map_ = self.maps[wwid] = Map(wwid, name, self._numbers["dm"].take(), is_open=lun.lun.in_use)
        self.by_minor[map_.minor] = map_
        self.load(map_, groups, action="add")
        return map_

    def load(self, map_: Map, groups: list[list[Path]], *, action: str = "change") -> None:
        """Give a map another table; the first group with a path that works is in use."""
        map_.groups = groups
        map_.size = groups[0][0].lun.size if groups and action == "add" else map_.size
        map_.current = _first_alive(groups)
        map_.loads += 1
        map_.changed()
        self._emit(Uevent(action, f"dm-{map_.minor}"))
        self._expect_io(map_)

    def remove(self, map_: Map) -> None:
        """Remove a map."""
        del self.maps[map_.wwid]
        del self.by_minor[map_.minor]
        self._numbers["dm"].give_back(map_.minor)
        self._emit(Uevent("remove", f"dm-{map_.minor}"))

    def rename(self, map_: Map, name: str) -> None:
        """Rename a map."""
        map_.name = name
        map_.changed()
        self._emit(Uevent("change", f"dm-{map_.minor}"))

    def resize(self, map_: Map, size: int) -> None:
        """Give a map another size (bytes)."""
        map_.size = size
        self.load(map_, map_.groups)

    def suspend(self, map_: Map, *, suspended: bool) -> None:
        """Suspend a map, or resume it."""
        map_.suspended = suspended
        map_.changed()
        self._emit(Uevent("change", f"dm-{map_.minor}"))

    def switch(self, map_: Map, group: int) -> None:
        """Let another group carry the I/O. No uevent tells of it."""
        map_.current = group
        map_.changed()
        self._expect_io(map_)

    def fail(self, map_: Map, path: Path) -> None:
        """Take a path out of use; the next group takes over if it was its group's last."""
        if not path.active:
            return
        path.active = False
        path.failures += 1
        map_.changed()
        if not any(each.active for each in map_.groups[map_.current]):
            map_.current = _first_alive(map_.groups, otherwise=map_.current)
        self._emit(Uevent("change", f"dm-{map_.minor}", "PATH_FAILED", path.dev_t))
        if self.observer:
            self.observer.path_failed(map_, path)

    def reinstate(self, map_: Map, path: Path) -> None:
        """Let a path be used again."""
        if path.active:
            return
        path.active = True
        map_.changed()
        self._emit(Uevent("change", f"dm-{map_.minor}", "PATH_REINSTATED", path.dev_t))
        self._expect_io(map_)

    # I/O

    def _expect_io(self, map_: Map) -> None:
        """Let the map's I/O find out, soon, whether the paths that carry it work."""
        if map_.open and not map_.suspended:
            if not self._io:
                self.clock.after(IO_SECONDS, self._do_io)
            self._io[map_.wwid] = None

    def _do_io(self) -> None:
        maps, self._io = self._io, {}
        for wwid in maps:
            map_ = self.maps.get(wwid)
            if map_ is None or not map_.groups or not map_.open or map_.suspended:
                continue
            dead = [path for path in map_.groups[map_.current] if path.active and not self.carries(path)]
            for path in dead:
                self.fail(map_, path)
            if dead:
                self._expect_io(map_)

    # the fabric's news

    def set_offline(self, path: Path, *, offline: bool) -> None:
        """Do what `echo offline > /sys/block/sdX/device/state` does."""
        path.offline = offline
        self._looks_at([path])

    def _changed(self, change: Change) -> None:
        if change.what == "back":
            self._come(change)
        elif change.what == "gone":
            self._go(list(self._touched(change)))
        elif change.what == "size":
            for path in self._touched(change):
                path.size = path.lun.size
        else:
            self._looks_at(list(self._touched(change)))

    def _touched(self, change: Change) -> Iterator[Path]:
        if change.nexus is not None:
            yield from self._by_nexus.get(change.nexus, {}).values()
        elif change.lun is not None:
            for by_lun in self._by_nexus.values():
                if change.lun in by_lun:
                    yield by_lun[change.lun]

    def _looks_at(self, paths: list[Path]) -> None:
        for path in paths:
            map_ = self.maps.get(path.lun.wwid)
            if map_ is not None:
                map_.changed()
                self._expect_io(map_)
        if self.observer:
            self.observer.devices_changed(paths)

    def _come(self, change: Change) -> None:
        found = []
        for nexus in self.fabric.nexuses[self.host]:
            if change.nexus in (None, nexus) and nexus.logged_in:
                luns = self.fabric.luns_over(nexus)
                found += self._find(nexus, luns if change.lun is None else [lun for lun in luns if lun is change.lun])
        if self.observer:
            self.observer.devices_came(found)

    def _find(self, nexus: Nexus, luns: Iterable[LiveLun]) -> list[Path]:
        found = []
        known = self._by_nexus.setdefault(nexus, {})
        numbers = self._numbers[_kind(nexus)]
        for lun in luns:
            if lun not in known and self.fabric.visible(nexus, lun):
                path = known[lun] = Path(nexus, lun, numbers.take())
                self.paths[path.name] = path
                self.by_wwid.setdefault(lun.wwid, []).append(path)
                found.append(path)
        return found

    def _go(self, paths: list[Path]) -> None:
        for path in paths:
            del self.paths[path.name]
            del self._by_nexus[path.nexus][path.lun]
            self.by_wwid[path.lun.wwid].remove(path)
            self._numbers[_kind(path.nexus)].give_back(path.number)
            path.active = False
        if self.observer:
            self.observer.devices_went(paths)


def _first_alive(groups: list[list[Path]], otherwise: int = 0) -> int:
    return next((n for n, group in enumerate(groups) if any(path.active for path in group)), otherwise)


def _kind(nexus: Nexus) -> str:
    return "nvme" if nexus.transport == "nvme-tcp" else "sd"
