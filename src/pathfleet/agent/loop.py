"""The agent's one loop: wake on a uevent or after ten seconds, collect, publish.

Whatever fails inside is data or a line in the log; only cancellation (SIGTERM, SIGINT) ends it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Protocol

from pathfleet import __version__
from pathfleet.agent.collect import Collector, Snapshot
from pathfleet.agent.publish import Publisher
from pathfleet.agent.supervise import Body, for_ever, until_signalled
from pathfleet.core import arrays
from pathfleet.core.health import Health
from pathfleet.core.node import Daemon, NodeInfo, Versions
from pathfleet.errors import StoreError
from pathfleet.store import Store
from pathfleet.system.notify import Notifier
from pathfleet.system.uevents import Uevent

log = logging.getLogger(__name__)

#: What raises no uevent (standby, shaky, the daemon's death) is seen after at most this long.
POLL_SECONDS = 10.0
#: The checker follows the kernel: after a uevent the maps are read once more, this much later.
FOLLOW_UP_SECONDS = 1.0
#: A burst of uevents is one reading: this long is waited for its first ones.
SETTLE_SECONDS = 0.02
#: Readings start no closer than this, and in a storm that goes on, twice as far apart each time up to the second.
SPACING_SECONDS = 0.25
STORM_SPACING_SECONDS = 1.0
ALIVE_SECONDS = 4.0


class UeventSource(Protocol):
    """Where uevents come from: the kernel, or a simulated one."""

    async def next(self) -> Uevent:
        """Wait for the next one that concerns multipath maps."""


#: Further tasks by name: each is run again when it fails.
Tasks = Mapping[str, Body]


class Agent:
    """One node's agent on an open or still to be opened store.

    `on_store` are further tasks for while the store is open, `beside` for all the time. `introduce` adds to what the
    node says of itself.
    """

    def __init__(
        self,
        store: Store,
        collector: Collector,
        *,
        uevents: Callable[[], AbstractAsyncContextManager[UeventSource]],
        notifier: Notifier,
        on_store: Tasks = MappingProxyType({}),
        beside: Tasks = MappingProxyType({}),
        introduce: Callable[[NodeInfo], NodeInfo] = lambda info: info,
    ) -> None:
        self._store = store
        self._collector = collector
        self._publisher = Publisher(store)
        self._uevents = uevents
        self._notifier = notifier
        self._on_store = on_store
        self._beside = beside
        self._introduce = introduce
        #: What was found last; None before the first look, and while there is none.
        self.snapshot: Snapshot | None = None
        self._start = int(time.time())
        self._wake = asyncio.Event()
        self._seen: str | None = None

    async def run(self) -> None:
        """Run until SIGTERM, SIGINT or cancellation."""
        await until_signalled(self.serve, self._notifier)

    async def serve(self) -> None:
        """Run until cancelled."""
        log.info("agent-starts node=%s version=%s", self._store.node, __version__)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(for_ever("store", self._session, self._waits))
                for name, body in self._beside.items():
                    tasks.create_task(for_ever(name, body))
        finally:
            log.info("agent-stops node=%s", self._store.node)

    async def _session(self) -> None:
        async with self._store, asyncio.TaskGroup() as tasks:
            tasks.create_task(for_ever("uevents", self._listen))
            tasks.create_task(for_ever("alive", self._stay_alive))
            tasks.create_task(for_ever("cycles", self._cycles, self._waits))
            for name, body in self._on_store.items():
                tasks.create_task(for_ever(name, body))

    def _waits(self, reasons: str) -> None:
        """Say that the agent lives, though it cannot do its work now."""
        self._notifier.ready()
        self._notifier.watchdog()
        self._notifier.status(f"in trouble, trying again: {reasons}")
        self._seen = None  # so that the end of the trouble is shown, too
        self.snapshot = None  # nobody looks now: the last one says nothing of the present

    async def once(self) -> tuple[Snapshot, bool]:
        """Collect and publish once. Returns what was found and whether the store took all of it."""
        async with self._store:
            await self._store.alive()
            return await self._cycle()

    async def _cycle(self) -> tuple[Snapshot, bool]:
        snapshot = self.snapshot = await self._collector.collect()
        published = await self._publisher.publish(snapshot, self._info(snapshot))
        self._collector.accept_growth(snapshot)
        self._say(snapshot)
        return snapshot, published

    async def _cycles(self) -> None:
        loop = asyncio.get_running_loop()
        streak = 0
        while True:
            self._wake.clear()
            began = loop.time()
            await self._cycle()
            self._notifier.ready()
            self._notifier.watchdog()
            woken = await self._woken(FOLLOW_UP_SECONDS if streak else POLL_SECONDS)
            streak = streak + 1 if woken else 0
            if woken:
                spacing = min(SPACING_SECONDS * 2 ** min(streak - 1, 8), STORM_SPACING_SECONDS)
                await asyncio.sleep(max(SETTLE_SECONDS, began + spacing - loop.time()))

    async def _woken(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._wake.wait()
        except TimeoutError:
            return False

    async def _listen(self) -> None:
        async with self._uevents() as uevents:
            while True:
                event = await uevents.next()
                log.debug("uevent action=%s device=%s dm-action=%s", event.action, event.device, event.dm_action)
                self._collector.expect_change()
                self._wake.set()

    async def _stay_alive(self) -> None:
        while True:
            try:
                await self._store.alive()
            except StoreError as error:
                log.debug("alive-not-said error=%s", error)  # the publisher tells of the same trouble, once
            await asyncio.sleep(ALIVE_SECONDS)

    def _info(self, snapshot: Snapshot) -> NodeInfo:
        versions = Versions(__version__, snapshot.version)
        told = arrays.arrays(verdict.map for verdict in snapshot.verdicts)
        info = NodeInfo(snapshot.daemon.value, self._start, versions, snapshot.reason, arrays=told)
        return self._introduce(info)

    def _say(self, snapshot: Snapshot) -> None:
        """Log and show a change of what is true; one line for each."""
        line = summary(snapshot)
        if line != self._seen:
            self._seen = line
            level = logging.INFO if snapshot.daemon is Daemon.RUNNING else logging.WARNING
            log.log(level, "maps %s", line)
            self._notifier.status(line)


def summary(snapshot: Snapshot) -> str:
    """Return in one line what was found."""
    if snapshot.daemon is not Daemon.RUNNING:
        return f"{snapshot.daemon.value}: {snapshot.reason}"
    if not snapshot.verdicts:
        return "none: multipathd runs and has no maps"
    healths = Counter(verdict.health for verdict in snapshot.verdicts)
    return ", ".join(f"{healths[health]} {health.value}" for health in Health if healths[health])
