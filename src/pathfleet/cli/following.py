"""The matrix followed by a command, through whatever trouble the store has, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

from msgspec.structs import replace

from pathfleet.cluster.live import Live
from pathfleet.core.matrix import Document
from pathfleet.errors import StoreError
from pathfleet.store import Store

#: The store is tried again after this.
_AGAIN_SECONDS = 1.0
_READY_SECONDS = 0.05


class Followed:
    """What is followed."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self._running: asyncio.Task[None] | None = None

    @property
    def document(self) -> Document:
        """The matrix as of now, without the warning that it may be old: that is `trouble`."""
        found = self.live.document()
        return replace(found, warnings=tuple(warning for warning in found.warnings if warning != self.trouble))

    @property
    def trouble(self) -> str | None:
        """Why what `live` has may be old, None if it is not."""
        return self.live.trouble

    async def wait(self, last: str | None, seconds: float) -> bool:
        """Wait until the journal has more than `last`, or for so long; return whether it has."""
        if self._running is not None and self._running.done():
            self._running.result()
        return await self.live.journal.wait(last, seconds)

    async def keep(self) -> None:
        """Follow until cancelled."""
        self._running = asyncio.current_task()
        while True:
            try:
                await self.live.run()
            except StoreError:
                if not self.live.ready:
                    raise
            await asyncio.sleep(_AGAIN_SECONDS)

    async def ready(self) -> None:
        """Wait until everything was read once. Raises StoreError, if the store does not let itself be read."""
        while not self.live.ready:
            await self.wait(self.live.journal.latest, _READY_SECONDS)


@asynccontextmanager
async def following(store: Store) -> AsyncIterator[Followed]:
    """Open the store and follow it in this context. Raises StoreError when it cannot be read at the start."""
    async with store:
        followed = Followed(Live(store))
        keeping = asyncio.create_task(followed.keep())
        try:
            await followed.ready()
            yield followed
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


def until_interrupted(main: Coroutine[None, None, None]) -> None:
    """Run to the end, or to Ctrl-C or SIGTERM, which are how one ends what follows: quietly."""

    async def interruptible() -> None:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(interruptible())
