"""When multipathd looks at a path, and what it finds: the path checkers and prioritizers, without acting on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pathfleet.lab.clock import Clock
from pathfleet.lab.configuration import DEFAULTS, Configuration
from pathfleet.lab.devices import Path
from pathfleet.lab.fabric import Access
from pathfleet.lab.kernel import Kernel

#: What the prioritizers alua and ana give (libmultipath/prioritizers/alua.c).
_PRIORITIES = {Access.OPTIMIZED: 50, Access.NON_OPTIMIZED: 10, Access.STANDBY: 1, Access.UNAVAILABLE: 0}
#: Spreads the checks of neighbouring devices over the interval.
_SPREAD = 7
#: Checkers that read from the device, which a standby port refuses; the others ask how it is.
_READING = frozenset(("directio", "readsector0"))


class Checker:
    """Calls `check` for a path when its next check is due, once it was asked to. `configuration` may change."""

    def __init__(self, kernel: Kernel, clock: Clock, check: Callable[[Path], None]) -> None:
        self.configuration = Configuration(dict(DEFAULTS), {})
        self._kernel = kernel
        self._clock = clock
        self._check = check
        self._due: dict[int, dict[Path, None]] = {}
        self._marked: set[Path] = set()

    def forget(self) -> None:
        """Check nothing any more."""
        self._due.clear()

    def next_check(self, path: Path) -> int:
        """Return when a path is checked next (whole simulated seconds): seldom if it is well, else often."""
        settings = self.configuration
        interval = settings.max_polling_interval if path.usable and path.active else settings.polling_interval
        tick = int(self._clock.now) + 1
        return tick + (path.number * _SPREAD - tick) % interval

    def check_later(self, paths: Iterable[Path]) -> None:
        """Check these paths, each when it is its turn."""
        for path in paths:
            tick = self.next_check(path)
            due = self._due.get(tick)
            if due is None:
                due = self._due[tick] = {}
                self._clock.at(tick, lambda tick=tick: self._check_due(tick))  # type: ignore[misc]
            due[path] = None

    def _check_due(self, tick: int) -> None:
        for path in self._due.pop(tick, ()):
            if self._kernel.paths.get(path.name) is path:
                self._check(path)

    def name(self, path: Path) -> str:
        """Return the path's checker; that of a path with ALUA is detected, unless `detect_checker` is off."""
        if path.nexus.transport == "nvme-tcp":
            return "none"
        of, wwid = self.configuration.of, path.lun.wwid
        detected = path.nexus.array.alua and of(wwid, "detect_checker") not in ("no", "0")
        return "tur" if detected else of(wwid, "path_checker") or "tur"

    def found(self, path: Path) -> str:
        """Return what a check finds now, in the checker's words."""
        if not self._kernel.carries(path):
            return "faulty"
        if self._kernel.fabric.access(path.nexus, path.lun) is not Access.STANDBY:
            return "ready"
        return "faulty" if self.name(path) in _READING else "ghost"

    def priority(self, path: Path) -> int:
        """Return a path's priority now."""
        return _PRIORITIES[self._kernel.fabric.access(path.nexus, path.lun)] if path.nexus.array.alua else 1

    def is_marginal(self, path: Path) -> bool:
        """Whether a path counts as marginal now, by what it does or by command."""
        return path in self._marked or self._kernel.fabric.is_marginal(path.nexus)

    def mark(self, path: Path, *, marginal: bool) -> None:
        """Call a path marginal by command, or no longer."""
        (self._marked.add if marginal else self._marked.discard)(path)
        path.marginal = self.is_marginal(path)

    def is_as_believed(self, path: Path) -> bool:
        """Whether a check would find nothing new."""
        return path.active == path.usable and self.found(path) == path.check

    def look(self, path: Path) -> None:
        """Look at a path for the first time."""
        path.check = self.found(path)
        path.marginal = self.is_marginal(path)
        path.pri = self.priority(path) if path.usable else max(path.pri, 0)
