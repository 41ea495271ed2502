"""A simulated multipathd: what it believes of paths and maps, and when it comes to believe it.

Nothing is looked at until something may have changed: then a path is looked at when its next check would be due,
which gives the lags of the real checker without a tick for each of half a million paths.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

from pathfleet.lab.assembly import Assembly
from pathfleet.lab.checker import Checker
from pathfleet.lab.clock import Clock
from pathfleet.lab.configuration import Configuration, Fate
from pathfleet.lab.devices import Map, Path
from pathfleet.lab.dialect import Dialect, dialect
from pathfleet.lab.kernel import Kernel
from pathfleet.lab.queueing import Queueing
from pathfleet.lab.topology import Version

#: Reading the configuration anew takes a moment, and another one for each map (measured with 0.9.4).
_RECONFIGURE_SECONDS, _RECONFIGURE_SECONDS_PER_MAP = 0.1, 0.004
#: A device is taken in when udev is done with it.
_UDEV_SECONDS = 0.2


class Daemon:
    """multipathd of one host. `state` is its word in `show daemon`; `idle` is set while its maps are not locked.

    `pending`: it was told to read its configuration while it did so. `on_life_change` is called as it starts and ends.
    """

    def __init__(
        self,
        kernel: Kernel,
        version: Version,
        clock: Clock,
        read: Callable[[Dialect], Configuration],
        *,
        first_pid: int = 1000,
    ) -> None:
        self.kernel = kernel
        self.dialect = dialect(version)
        self.clock = clock
        self.alive = self.hung = False
        self.state = "idle"
        self.idle = asyncio.Event()
        self._read = read
        self._pids = count(first_pid)
        self._bindings: dict[str, str] = {}
        self.pending = False
        self.on_life_change: Callable[[], None] = lambda: None
        self.start()

    def start(self) -> None:
        """Start, as systemd does: read the configuration, look at every device, take over the maps that are there."""
        self.pid = next(self._pids)
        self.alive, self.hung = True, False
        self.kernel.observer = self
        for map_ in self.kernel.maps.values():
            map_.forget()
        for path in self.kernel.paths.values():
            path.pinned = False
        self.checker = Checker(self.kernel, self.clock, self.check)
        for path in self.kernel.paths.values():
            self.checker.look(path)
        self._configure()
        self.on_life_change()

    def stop(self) -> None:
        """End, leaving the kernel's maps as they are."""
        self.alive = False
        self.on_life_change()
        self.checker.forget()

    def hang(self) -> None:
        """Do nothing any more, and not end either."""
        self.hung = True
        self.checker.forget()

    @property
    def works(self) -> bool:
        """Whether it takes notice of anything."""
        return self.alive and not self.hung

    # configuration

    def reconfigure(self) -> None:
        """Begin to read the configuration anew; it is done later, and may be the daemon's end."""
        if self.state == "configure":
            self.pending = True
            return
        self.state = "configure"
        self.idle.clear()
        seconds = _RECONFIGURE_SECONDS + _RECONFIGURE_SECONDS_PER_MAP * len(self.kernel.maps)
        pid = self.pid
        self.clock.after(seconds, lambda: self._configured(pid))

    def _configured(self, pid: int) -> None:
        if not self.works or pid != self.pid:
            return
        for map_ in self.kernel.maps.values():
            map_.forget()
        self._configure()
        if self.pending:
            self.pending = False
            self.reconfigure()

    def _configure(self) -> None:
        self.configuration = self._read(self.dialect)
        self.checker.configuration = self.configuration
        self.state = "idle"
        self.idle.set()
        self.queueing = Queueing(self.clock, self.configuration)
        self.assembly = Assembly(self.kernel, self.configuration, self.queueing, self._bindings)
        if self.configuration.fate is Fate.DIES:
            self.stop()
        elif self.configuration.fate is Fate.HANGS:
            self.hang()
        else:
            self.assembly.assemble()
            for map_ in self.kernel.maps.values():
                if not map_.usable:
                    self.queueing.lost_last_path(map_)
            self.checker.check_later(
                path for path in self.kernel.paths.values() if not self.checker.is_as_believed(path)
            )

    # what the kernel tells

    def devices_came(self, paths: list[Path]) -> None:
        """Take devices in, as udev announces them."""
        self.clock.after(_UDEV_SECONDS, lambda: self._take_in(paths))

    def _take_in(self, paths: list[Path]) -> None:
        if not self.works:
            return
        for path in paths:
            self.checker.look(path)
        for wwid in dict.fromkeys(path.lun.wwid for path in paths):
            map_ = self.kernel.maps.get(wwid)
            had_path = map_ is not None and map_.usable > 0
            self.assembly.assemble_one(wwid, self.kernel.by_wwid.get(wwid, []))
            if map_ is not None and map_.usable and not had_path:
                self.queueing.regained_path(map_)
        self.checker.check_later(path for path in paths if not self.checker.is_as_believed(path))

    def devices_went(self, paths: list[Path]) -> None:
        """Take devices out of their maps."""
        if not self.works:
            return
        for map_ in dict.fromkeys(self.kernel.maps.get(path.lun.wwid) for path in paths):
            if map_ is None:
                continue
            had_path = map_.usable > 0
            self.assembly.regroup(map_)
            if had_path and not map_.usable:
                self.queueing.lost_last_path(map_)

    def devices_changed(self, paths: list[Path]) -> None:
        """Find out at the next check of each."""
        if self.works:
            self.checker.check_later(paths)

    def path_failed(self, map_: Map, path: Path) -> None:
        """Believe the kernel at once: dm tells it of an I/O error."""
        if not self.works or not map_.watched:
            return
        map_.path_faults += 1
        was_usable = path.usable
        path.check = "faulty"
        if was_usable and not map_.usable:
            self.queueing.lost_last_path(map_)
        self.checker.check_later([path])

    # checks

    def check(self, path: Path) -> None:
        """Run the path's checker and act on what it finds."""
        map_ = self.kernel.maps.get(path.lun.wwid)
        if map_ is None or not map_.watched or path.pinned:
            return
        found = self.checker.found(path)
        path.marginal = self.checker.is_marginal(path)
        map_.changed()
        if found == "faulty":
            self._lost(map_, path)
        else:
            self._works_again(map_, path, found)

    def _lost(self, map_: Map, path: Path) -> None:
        if path.active:
            self.kernel.fail(map_, path)  # which comes back here as path_failed
        elif path.usable:
            path.check = "faulty"
            if not map_.usable:
                self.queueing.lost_last_path(map_)
        self._fail_back(map_)

    def _works_again(self, map_: Map, path: Path, found: str) -> None:
        first = not map_.usable
        path.check = found
        self.kernel.reinstate(map_, path)
        if first:
            self.queueing.regained_path(map_)
        priority = self.checker.priority(path)
        changed, path.pri = priority != path.pri, priority
        grouped = self.configuration.of(map_.wwid, "path_grouping_policy") == "group_by_prio"
        if changed and grouped and self._failback(map_) == "immediate":
            self.assembly.regroup(map_)
        else:
            self._fail_back(map_)

    def _failback(self, map_: Map) -> str:
        return self.configuration.of(map_.wwid, "failback") or "manual"

    def _fail_back(self, map_: Map) -> None:
        """Go to the best group: at once, after some seconds, or not by itself, as `failback` says."""
        setting = self._failback(map_)
        if setting == "immediate":
            self._go_to_best(map_)
        elif setting.isdigit():
            self.clock.after(int(setting), lambda: self._go_to_best(map_))

    def _go_to_best(self, map_: Map) -> None:
        if not map_.groups or not map_.usable or self.kernel.maps.get(map_.wwid) is not map_:
            return
        best = self.assembly.best_group(map_)
        if self.dialect.sorts_groups_again and not self.assembly.is_sorted(map_):
            self.assembly.regroup(map_)
        elif best != map_.current:
            map_.switches += 1
            self.kernel.switch(map_, best)

    # commands

    @property
    def maps(self) -> list[Map]:
        """The maps that it tells of."""
        return [map_ for map_ in self.kernel.maps.values() if self._tells_of(map_)]

    def _tells_of(self, map_: Map) -> bool:
        return map_.watched or self.dialect.lists_maps_given_up

    def find_map(self, name: str) -> Map | None:
        """Return a map by alias, WWID, `dm-N` or minor number."""
        map_ = self.kernel.maps.get(name) or next(
            (m for m in self.kernel.maps.values() if name in (m.name, f"dm-{m.minor}", str(m.minor))), None
        )
        return map_ if map_ is not None and self._tells_of(map_) else None

    def find_path(self, name: str) -> Path | None:
        """Return a path by name or `MAJOR:MINOR`."""
        name = name.removeprefix("/dev/")
        return self.kernel.paths.get(name) or next((p for p in self.kernel.paths.values() if p.dev_t == name), None)

    def make_map(self, wwid: str) -> None:
        """Make a map of a LUN though it is not listed (`add map`)."""
        paths = self.kernel.by_wwid[wwid]
        map_ = self.kernel.create(wwid, self.assembly.name(wwid), self.assembly.groups(wwid, paths))
        self.queueing.restore(map_)

    def drop(self, map_: Map, path: Path) -> None:
        """Take a path out of its map until it is added again (`del path`)."""
        had_path = map_.usable > 0
        groups = [[each for each in group if each is not path] for group in map_.groups]
        self.kernel.load(map_, [group for group in groups if group])
        if had_path and not map_.usable:
            self.queueing.lost_last_path(map_)

    def set_marginal(self, path: Path, *, marginal: bool) -> None:
        """Call a path marginal, or not; its map is loaded anew."""
        self.checker.mark(path, marginal=marginal)
        map_ = self.kernel.maps.get(path.lun.wwid)
        if map_ is not None:
            self.assembly.regroup(map_)
