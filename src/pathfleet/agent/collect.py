"""Find out what is true of this node's maps at this moment."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from msgspec import Struct

from pathfleet.agent.baseline import Baseline, Counts, counts
from pathfleet.agent.kernel import SETTLE_SECONDS, Kernel, KernelPaths
from pathfleet.core.health import Facts, Verdict, judge
from pathfleet.core.maps import Map
from pathfleet.core.node import Daemon
from pathfleet.errors import CannotTell, NotInstalled, NotRunning, SettingsError
from pathfleet.system import devicemapper
from pathfleet.system.sysfs import Sysfs

log = logging.getLogger(__name__)

# The version changes with an upgrade, which restarts the daemon; it is asked again after this anyway.
_KEEP_SECONDS = 60.0


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
    """Collects again and again; remembers what only a living path tells (its transport), and the last finding."""

    def __init__(
        self,
        multipathd: Daemonlike,
        *,
        sysfs: Sysfs | None = None,
        baseline: Baseline | None = None,
        kernel_paths: Callable[[], Awaitable[KernelPaths]] = devicemapper.kernel_paths,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._multipathd = multipathd
        self._kernel = Kernel(sysfs or Sysfs(), kernel_paths=kernel_paths, settle_seconds=settle_seconds)
        self._baseline = baseline
        self._baseline_trouble: str | None = None
        self._last: Snapshot | None = None
        self._maps: tuple[Map, ...] = ()
        self._transports: dict[str, str] = {}
        self._version: str | None = None
        self._version_until = -math.inf

    async def collect(self) -> Snapshot:
        """Return what is true now, whatever it is; the same Snapshot again, while nothing changed."""
        try:
            maps = await self._multipathd.maps()
        except NotRunning as error:
            self._version_until = -math.inf
            daemon = Daemon.NOT_INSTALLED if isinstance(error, NotInstalled) else Daemon.NOT_RUNNING
            return Snapshot(daemon, f"{error}{await self._unwatched()}")
        except CannotTell as error:
            return Snapshot(Daemon.CANNOT_TELL, str(error), version=self._version)
        of_kernel, forgotten = await self._kernel.look(maps)
        facts = msgspec.structs.replace(of_kernel, baseline=self._accepted(), transports=self._transports)
        version = await self._known_version()
        last = self._last
        # a map is forgotten or no longer with a change of `facts.kernel`
        if last is None or maps is not self._maps or (facts, version) != (last.facts, last.version):
            verdicts = tuple([judge(map_, facts) for map_ in (*maps, *forgotten)])
            self._transports = {v.map.uuid: v.transport for v in verdicts if v.transport}
            self._last, self._maps = Snapshot(Daemon.RUNNING, None, verdicts, facts, version), maps
            return self._last
        return last

    def expect_change(self) -> None:
        """Ask the kernel again, although multipathd may say the same: something happened."""
        self._kernel.expect_change()

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

    async def _unwatched(self) -> str:
        count = await self._kernel.map_count()
        return f"; the kernel has {count} multipath map(s) whose paths nobody checks now" if count else ""

    async def _known_version(self) -> str | None:
        now = asyncio.get_running_loop().time()
        if now > self._version_until:
            try:
                self._version = await self._multipathd.version()
                self._version_until = now + _KEEP_SECONDS
            except (NotRunning, CannotTell) as error:
                log.debug("version-unknown reason=%s", error)
        return self._version
