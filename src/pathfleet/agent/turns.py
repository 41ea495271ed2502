"""Whose turn it is: what changes a LUN or a group comes one after the other, and nobody waits for long."""

from __future__ import annotations

import asyncio
from asyncio import Future, Lock
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from pathfleet.errors import Busy
from pathfleet.system.program import StillRunning


class Turns:
    """The turns of one node, by what is changed."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, Lock] = WeakValueDictionary()
        #: What keeps a turn beyond the task that had it.
        self._still: dict[str, str] = {}

    @asynccontextmanager
    async def of(self, subjects: Iterable[str], seconds: float) -> AsyncIterator[None]:
        """Have the turns of all these while the body runs. Raises Busy if they do not come within `seconds`.

        If the body raises StillRunning, they end only when what it tells of does.
        """
        held: dict[str, Lock] = {}
        try:
            try:
                async with asyncio.timeout(seconds):
                    for subject in dict.fromkeys(subjects):
                        held[subject] = await self._taken(subject)
            except TimeoutError:
                raise _busy("another task on it is under way here") from None
            yield
        except StillRunning as error:
            self._still |= dict.fromkeys(held, str(error))
            error.end.add_done_callback(partial(self._ended, held))
            held = {}
            raise
        finally:
            _release(held)

    async def _taken(self, subject: str) -> Lock:
        if still := self._still.get(subject):
            raise _busy(still)
        lock = self._locks.setdefault(subject, Lock())
        await lock.acquire()
        return lock

    def _ended(self, held: dict[str, Lock], _: Future[Any]) -> None:
        for subject in held:
            del self._still[subject]
        _release(held)


def _release(held: dict[str, Lock]) -> None:
    for lock in held.values():
        lock.release()


def _busy(why: str) -> Busy:
    return Busy(f"{why}; this one did not begin, nothing was changed: try again")
