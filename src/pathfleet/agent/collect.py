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

#: A daemon that was upgraded is asked for its version again after this long.
_VERSION_SECONDS = 60.0

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
    ) -> None:
        self._multipathd = multipathd
        self._sysfs = sysfs or Sysfs()
        self._baseline = baseline
        self._kernel_paths = kernel_paths
        self._baseline_trouble: str | None = None
        self._transports: dict[str, str] = {}
        self._version: str | None = None
        self._version_asked = -math.inf

    async def collect(self) -> Snapshot:
        """Return what is true now; whatever goes wrong is said in it. Never raises."""
        try:
            maps = await self._multipathd.maps()
        except NotRunning as error:
            self._version_asked = -math.inf
            return Snapshot(Daemon.NOT_RUNNING, f"{error}{await asyncio.to_thread(self._unwatched)}")
        except CannotTell as error:
            return Snapshot(Daemon.CANNOT_TELL, str(error), version=self._version)
        facts = await self._facts(maps)
        verdicts = tuple([judge(map_, facts) for map_ in maps])
        self._transports = {v.map.uuid: v.transport for v in verdicts if v.transport}
        return Snapshot(Daemon.RUNNING, None, verdicts, facts, await self._known_version())

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

    async def _facts(self, maps: Sequence[Map]) -> Facts:
        facts = await asyncio.to_thread(self._from_sysfs, maps)
        pathless = [map_ for map_ in maps if not any(group.paths for group in map_.path_groups)]
        return msgspec.structs.replace(facts, kernel=await self._kernel(pathless)) if pathless else facts

    def _from_sysfs(self, maps: Sequence[Map]) -> Facts:
        sizes = {map_.sysfs: self._sysfs.size_bytes(map_.sysfs) for map_ in maps}
        return Facts(
            sizes={dm: size for dm, size in sizes.items() if size is not None},
            ports=self._sysfs.ports(path.dev for map_ in maps for group in map_.path_groups for path in group.paths),
            baseline=self._accepted(),
            transports=self._transports,
        )

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
        if now - self._version_asked > _VERSION_SECONDS:
            try:
                self._version = await self._multipathd.version()
                self._version_asked = now
            except (NotRunning, CannotTell) as error:
                log.debug("version-unknown reason=%s", error)
        return self._version
