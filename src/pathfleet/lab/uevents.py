"""The uevents of a simulated host, heard as those of the real kernel are: see `system.uevents.Uevents`."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Self

from pathfleet.system.uevents import LOST, Uevent

#: As much as the real listener's buffer holds, more or less; beyond it uevents are lost, which is told.
_LIMIT = 4096


class LabUevents:
    """Who listens. Any number may, each hears everything."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiting: deque[Uevent] = deque(maxlen=_LIMIT)
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Start to hear."""
        self._channel.listeners.append(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to hear."""
        self._channel.listeners.remove(self)

    async def next(self) -> Uevent:
        """Wait, without a deadline, for the next uevent and return it."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    def hear(self, event: Uevent) -> None:
        """Take in a uevent."""
        if len(self._waiting) == _LIMIT:
            self._waiting.clear()
            event = LOST
        self._waiting.append(event)
        self._arrived.set()


class Channel:
    """Where a host's kernel sends its uevents; `sent` counts them."""

    def __init__(self) -> None:
        self.listeners: list[LabUevents] = []
        self.sent = 0

    def send(self, event: Uevent) -> None:
        """Let everybody hear a uevent."""
        self.sent += 1
        for listener in self.listeners:
            listener.hear(event)
