"""How I/O waits when a map has no path: `no_path_retry` of multipath.conf(5), and its countdown."""

from __future__ import annotations

import math

from pathfleet.lab.clock import Clock
from pathfleet.lab.configuration import Configuration
from pathfleet.lab.devices import Map


class Queueing:
    """Keeps each map's queueing as the configuration wants it. One for each daemon."""

    def __init__(self, clock: Clock, configuration: Configuration) -> None:
        self._clock = clock
        self._configuration = configuration

    def retries(self, map_: Map) -> int:
        """Return for how many checks I/O waits; 0 unless `no_path_retry` is a number."""
        value = self._setting(map_)
        return int(value) if value.isdigit() else 0

    def restore(self, map_: Map) -> None:
        """Queue, or not, as configured."""
        map_.exhausted = False
        map_.queue = not map_.queue_disabled and (self._setting(map_) == "queue" or self.retries(map_) > 0)
        map_.changed()

    def lost_last_path(self, map_: Map) -> None:
        """A map has no usable path any more: I/O fails, or waits."""
        setting = self._setting(map_)
        if setting == "queue" or map_.retry_until is not None:
            return
        map_.failures += 1
        if self.retries(map_) and not map_.queue_disabled:
            map_.q_timeouts += 1
            map_.retry_since = self._clock.now
            until = map_.retry_until = self._clock.now + self.retries(map_) * self._configuration.polling_interval
            self._clock.at(until, lambda: self._expired(map_, until))
        map_.changed()

    def regained_path(self, map_: Map) -> None:
        """A map has a usable path again."""
        self._end_wait(map_)
        self.restore(map_)

    def disable(self, map_: Map) -> None:
        """Let what waits fail, whatever is configured (`disablequeueing`)."""
        map_.queue_disabled = True
        map_.failures += bool(not map_.usable)
        self._end_wait(map_)
        self.restore(map_)

    def enable(self, map_: Map) -> None:
        """Go by the configuration again (`restorequeueing`)."""
        map_.queue_disabled = False
        self.restore(map_)
        if not map_.usable:
            self.lost_last_path(map_)

    def word(self, map_: Map) -> str:
        """Return the `queueing` of a map as multipathd words it."""
        setting = self._setting(map_)
        if not map_.watched or setting in ("", "undef"):
            return "-"
        if setting in ("fail", "0") or map_.queue_disabled or map_.exhausted:
            return "off"
        if map_.retry_until is not None:
            return f"{max(1, math.ceil(map_.retry_until - self._clock.now))} sec"
        return "on" if setting == "queue" else f"{setting} chk"

    def waited_seconds(self, map_: Map) -> int:
        """Return for how long I/O has waited for paths in all, since the daemon began."""
        running = 0.0 if map_.retry_since is None else self._clock.now - map_.retry_since
        return int(map_.queue_seconds + running)

    def _setting(self, map_: Map) -> str:
        return self._configuration.of(map_.wwid, "no_path_retry") or ""

    def _end_wait(self, map_: Map) -> None:
        if map_.retry_since is not None:
            map_.queue_seconds += self._clock.now - map_.retry_since
        map_.retry_since = map_.retry_until = None

    def _expired(self, map_: Map, until: float) -> None:
        if map_.retry_until == until:
            self._end_wait(map_)
            map_.failures += 1
            map_.exhausted = True
            map_.queue = False
            map_.changed()
