"""Find out what is true of this node's maps at this moment."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from pathfleet.agent.baseline import Baseline, Counts, counts
from pathfleet.core.dmstatus import KernelPath, unmangled
from pathfleet.core.health import Facts, KernelMap, Verdict, judge
from pathfleet.core.maps import Map
from pathfleet.core.node import Daemon
from pathfleet.errors import CannotTell, NotRunning, SettingsError
from pathfleet.system import devicemapper
from pathfleet.system.sysfs import Sysfs

log = logging.getLogger(__name__)

# What changes with an event if at all (sizes, ports), or with an upgrade (the version), is asked again after this.
_KEEP_SECONDS = 60.0
# A map that multipathd does not list may be about to be: only after this long it counts as forgotten.
_SETTLE_SECONDS = 5.0

KernelPaths = Mapping[str, tuple[KernelPath, ...]]


class Daemonlike(Protocol):
    """What is asked of multipathd, or of a simulated one."""

    async def maps(self) -> tuple[Map, ...]:
        """Return all maps. Raises NotRunning or CannotTell."""

    async def version(self) -> str | None:
        """Return the version of multipath-tools. Raises NotRunning or CannotTell."""


class Snapshot(Struct, frozen=True):
    """What was found: multipathd's state with the reason if it is not `running`, and its maps, judged.

    `verdicts` is empty unless multipathd runs; empty with it running means that it has no maps.
    """

    daemon: Daemon
    reason: str | None = None
    verdicts: tuple[Verdict, ...] = ()
    facts: Facts = Facts()
    version: str | None = None


class Collector:
    """Collects again and again; remembers what only a living path tells (its transport) and what rarely changes."""

    def __init__(
        self,
        multipathd: Daemonlike,
        *,
        sysfs: Sysfs | None = None,
        baseline: Baseline | None = None,
        kernel_paths: Callable[[], Awaitable[KernelPaths]] = devicemapper.kernel_paths,
        settle_seconds: float = _SETTLE_SECONDS,
    ) -> None:
        self._multipathd = multipathd
        self._sysfs = sysfs or Sysfs()
        self._baseline = baseline
        self._kernel_paths = kernel_paths
        self._settle_seconds = settle_seconds
        self._baseline_trouble: str | None = None
        self._last: Snapshot | None = None
        self._maps: tuple[Map, ...] = ()
        self._forgotten: list[Map] = []
        self._missed_since: dict[str, float] = {}
        self._from_sysfs = Facts()
        self._sysfs_until = -math.inf
        self._transports: dict[str, str] = {}
        self._version: str | None = None
        self._version_until = -math.inf

    async def collect(self) -> Snapshot:
        """Return what is true now, whatever it is; the same Snapshot again, while nothing changed."""
        try:
            maps = await self._multipathd.maps()
        except NotRunning as error:
            self._version_until = -math.inf
            return Snapshot(Daemon.NOT_RUNNING, f"{error}{await asyncio.to_thread(self._unwatched)}")
        except CannotTell as error:
            return Snapshot(Daemon.CANNOT_TELL, str(error), version=self._version)
        facts, version = await self._facts(maps), await self._known_version()
        last = self._last
        if last is None or maps is not self._maps or (facts, version) != (last.facts, last.version):
            verdicts = tuple([judge(map_, facts) for map_ in (*maps, *self._forgotten)])
            self._transports = {v.map.uuid: v.transport for v in verdicts if v.transport}
            self._last, self._maps = Snapshot(Daemon.RUNNING, None, verdicts, facts, version), maps
            return self._last
        return last

    def expect_change(self) -> None:
        """Ask sysfs again, although multipathd may say the same: something happened."""
        self._sysfs_until = -math.inf

    def accept_growth(self, snapshot: Snapshot) -> None:
        """Let the accepted number of paths rise to what was seen; trouble is logged, not raised."""
        if self._baseline and snapshot.verdicts:
            try:
                self._baseline.raise_to(counts(snapshot.verdicts))
            except SettingsError as error:
                self._baseline_troubled(str(error))
            else:
                self._baseline_trouble = None

    def _accepted(self) -> Counts:
        try:
            return self._baseline.read() if self._baseline else {}
        except SettingsError as error:
            self._baseline_troubled(str(error))
            return {}

    def _baseline_troubled(self, error: str) -> None:
        """Log trouble with the accepted numbers once, not in each cycle."""
        if error != self._baseline_trouble:
            self._baseline_trouble = error
            log.warning("baseline-not-kept error=%s", error)

    async def _facts(self, maps: tuple[Map, ...]) -> Facts:
        now = asyncio.get_running_loop().time()
        if maps is not self._maps or now > self._sysfs_until:
            self._from_sysfs = await asyncio.to_thread(self._read_sysfs, maps, now)
            settled = len(self._missed_since) == len(self._forgotten)
            self._sysfs_until = now + (_KEEP_SECONDS if settled else self._settle_seconds)
        pathless = [map_ for map_ in maps if not any(group.paths for group in map_.path_groups)]
        pathless += self._forgotten
        return msgspec.structs.replace(
            self._from_sysfs,
            kernel=await self._kernel(pathless) if pathless else {},
            baseline=self._accepted(),
            transports=self._transports,
        )

    def _read_sysfs(self, maps: Sequence[Map], now: float) -> Facts:
        self._forgotten = self._forgotten_of(maps, now)
        maps = (*maps, *self._forgotten)
        sizes = {map_.sysfs: self._sysfs.size_bytes(map_.sysfs) for map_ in maps}
        ports = self._sysfs.ports(path.dev for map_ in maps for group in map_.path_groups for path in group.paths)
        return Facts(sizes={dm: size for dm, size in sizes.items() if size is not None}, ports=ports)

    def _forgotten_of(self, maps: Sequence[Map], now: float) -> list[Map]:
        """Return the kernel's maps that multipathd does not list, as maps without paths.

        0.8.5 drops a map from its list when its LUN is blacklisted, although the kernel goes on using it. A map that
        is just being made is not listed either, so one counts when it has been missed for a while.
        """
        listed = {map_.uuid for map_ in maps}
        kernel = self._sysfs.multipath_maps() or {}
        self._missed_since = {wwid: self._missed_since.get(wwid, now) for wwid in kernel if wwid not in listed}
        return [
            Map(kernel[wwid].name or wwid, wwid, kernel[wwid].dm)
            for wwid, since in sorted(self._missed_since.items())
            if now - since >= self._settle_seconds
        ]

    async def _kernel(self, pathless: Sequence[Map]) -> dict[str, KernelMap]:
        """Return what the kernel has of maps that multipathd shows without paths."""
        try:
            known = await self._kernel_paths()
        except CannotTell as error:
            log.info("kernel-not-asked reason=%s", error)
            known = {}
        kernel = {}
        for map_ in pathless:
            paths = known.get(unmangled(map_.name))
            if paths is None:
                slaves = await asyncio.to_thread(self._sysfs.map_slaves, map_.sysfs)
                kernel[map_.uuid] = KernelMap(len(slaves or ()))
            else:
                kernel[map_.uuid] = KernelMap(len(paths), paths)
        return kernel

    def _unwatched(self) -> str:
        maps = self._sysfs.multipath_maps()
        if not maps:
            return ""
        return f"; the kernel has {len(maps)} multipath map(s) whose paths nobody checks now"

    async def _known_version(self) -> str | None:
        now = asyncio.get_running_loop().time()
        if now > self._version_until:
            try:
                self._version = await self._multipathd.version()
                self._version_until = now + _KEEP_SECONDS
            except (NotRunning, CannotTell) as error:
                log.debug("version-unknown reason=%s", error)
        return self._version
