"""What the kernel says of the maps beside multipathd: sizes, ports, states of paths, and maps that multipathd forgot.

Reads sysfs, and device-mapper where multipathd shows a map without paths. Remembers what changes only with an event.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from pathfleet.core.dmstatus import KernelPath, unmangled
from pathfleet.core.health import Facts, KernelMap
from pathfleet.core.maps import Map
from pathfleet.errors import CannotTell
from pathfleet.system import devicemapper
from pathfleet.system.sysfs import Sysfs

log = logging.getLogger(__name__)

# What changes with an event if at all (sizes, ports) is read again after this.
_KEEP_SECONDS = 60.0
#: A map that multipathd does not list may be about to be: only after this long it counts as forgotten.
SETTLE_SECONDS = 5.0

KernelPaths = Mapping[str, tuple[KernelPath, ...]]


class Kernel:
    """The kernel of this node, looked at again and again."""

    def __init__(
        self,
        sysfs: Sysfs,
        *,
        kernel_paths: Callable[[], Awaitable[KernelPaths]] = devicemapper.kernel_paths,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._sysfs = sysfs
        self._kernel_paths = kernel_paths
        self._settle_seconds = settle_seconds
        self._maps: Sequence[Map] | None = None
        self._from_sysfs = Facts()
        self._read_again = -math.inf
        self._missed_since: dict[str, float] = {}
        self._forgotten: tuple[Map, ...] = ()

    async def look(self, maps: Sequence[Map]) -> tuple[Facts, tuple[Map, ...]]:
        """Return what the kernel says of the maps that multipathd lists, and those which multipathd forgot.

        A forgotten map has no paths of multipathd's: what the kernel has of it is in `Facts.kernel`.
        """
        now = asyncio.get_running_loop().time()
        if maps is not self._maps or now > self._read_again:
            self._from_sysfs, self._maps = await asyncio.to_thread(self._read_sysfs, maps, now), maps
            settled = len(self._missed_since) == len(self._forgotten)
            self._read_again = now + (_KEEP_SECONDS if settled else self._settle_seconds)
        pathless = [map_ for map_ in maps if not any(group.paths for group in map_.path_groups)]
        pathless += self._forgotten
        known = await self._paths_of(pathless) if pathless else {}
        return msgspec.structs.replace(self._from_sysfs, kernel=known), self._forgotten

    def expect_change(self) -> None:
        """Read sysfs again at the next look, although multipathd may say the same: something happened."""
        self._read_again = -math.inf

    async def map_count(self) -> int:
        """Return how many multipath maps the kernel has, 0 where that cannot be read."""
        maps = await asyncio.to_thread(self._sysfs.multipath_maps)
        return len(maps or {})

    def _read_sysfs(self, maps: Sequence[Map], now: float) -> Facts:
        self._forgotten = self._forgotten_of(maps, now)
        maps = (*maps, *self._forgotten)
        sizes = {map_.sysfs: self._sysfs.size_bytes(map_.sysfs) for map_ in maps}
        ports = self._sysfs.ports(path.dev for map_ in maps for group in map_.path_groups for path in group.paths)
        return Facts(sizes={dm: size for dm, size in sizes.items() if size is not None}, ports=ports)

    def _forgotten_of(self, maps: Sequence[Map], now: float) -> tuple[Map, ...]:
        """Return the kernel's maps that multipathd does not list, as maps without paths.

        0.8.5 drops a map from its list when its LUN is blacklisted, although the kernel goes on using it. A map that
        is just being made is not listed either, so one counts when it has been missed for a while.
        """
        listed = {map_.uuid for map_ in maps}
        kernel = self._sysfs.multipath_maps() or {}
        self._missed_since = {wwid: self._missed_since.get(wwid, now) for wwid in kernel if wwid not in listed}
        return tuple(
            Map(kernel[wwid].name or wwid, wwid, kernel[wwid].dm)
            for wwid, since in sorted(self._missed_since.items())
            if now - since >= self._settle_seconds
        )

    async def _paths_of(self, pathless: Sequence[Map]) -> dict[str, KernelMap]:
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
