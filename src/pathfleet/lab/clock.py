"""Simulated time: what is due when, and nothing ticks in between.

A test moves the clock itself (`advance`); a running lab lets it follow the event loop's time, `speed` times as fast.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

Action = Callable[[], None]


class Clock:
    """`now` in simulated seconds since the lab began. Actions of one moment happen in the order of their asking."""

    def __init__(self, speed: float = 1.0) -> None:
        self.now = 0.0
        self.speed = speed
        self._due: list[tuple[float, int, Action]] = []
        self._count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._began = 0.0
        self._sooner = asyncio.Event()

    def at(self, when: float, action: Action) -> None:
        """Let `action` happen at `when`, or at the next chance if that has passed."""
        self._count += 1
        if not self._due or when < self._due[0][0]:
            self._sooner.set()
        heapq.heappush(self._due, (when, self._count, action))

    def after(self, seconds: float, action: Action) -> None:
        """Let `action` happen `seconds` from now."""
        self.at(self.now + seconds, action)

    def advance(self, to: float) -> None:
        """Let everything happen that is due until `to`."""
        while self._due and self._due[0][0] <= to:
            when, _, action = heapq.heappop(self._due)
            self.now = max(self.now, when)
            action()
        self.now = max(self.now, to)

    def catch_up(self) -> None:
        """Advance to the event loop's time, if the clock runs; to be called before the lab is looked at or touched."""
        if self._loop is not None:
            self.advance((self._loop.time() - self._began) * self.speed)

    async def run(self) -> None:
        """Follow the event loop's time until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time() - self.now / self.speed
        try:
            while True:
                self._sooner.clear()
                self.catch_up()
                await self._next_due()
        finally:
            self._loop = None

    async def _next_due(self) -> None:
        if not self._due:
            await self._sooner.wait()
            return
        try:
            async with asyncio.timeout(max(0.0, (self._due[0][0] - self.now) / self.speed)):
                await self._sooner.wait()
        except TimeoutError:
            return
