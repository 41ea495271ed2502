"""What changed in the matrix, in order: a bounded ring of encoded events that all listeners share."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
from collections import deque
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from pathfleet.core.change import CellChange, Change, LunChange, NodeChange, WarningsChange

#: A listener that falls back further reads the whole matrix again.
LIMIT = 20_000

_ID = re.compile(r"([0-9a-f]{8})-([0-9]{1,18})")


class Event(Struct, frozen=True, gc=False):
    """One change. `kind`: `cell`, `lun`, `node` or `warnings`; `data`: the change as JSON, encoded once for all."""

    id: str
    kind: str
    data: bytes


class Journal:
    """The latest events. An id is `BOOT-NUMBER`: after a restart, no id of an earlier life is taken for one of this.

    A listener is only a cursor: the id of the last event that it has.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._boot = secrets.token_hex(4)
        self._number = 0
        self._events: deque[Event] = deque(maxlen=limit)
        self._limit = limit
        self._stirred = asyncio.Event()

    @property
    def latest(self) -> str:
        """The id of the latest event."""
        return f"{self._boot}-{self._number}"

    def append(self, changes: Sequence[Change]) -> None:
        """Remember changes and wake who waits. More than the ring holds are not worth telling one by one."""
        if not changes:
            return
        if len(changes) > self._limit:
            self.forget(len(changes))
            return
        for change in changes:
            self._number += 1
            self._events.append(Event(self.latest, _kind(change), msgspec.json.encode(change)))
        self._wake()

    def forget(self, count: int = 1) -> None:
        """Skip `count` events that nobody is told; every listener must read the whole matrix again."""
        self._number += count
        self._events.clear()
        self._wake()

    def since(self, last: str | None) -> list[Event] | None:
        """Return the events after the one with the id `last`, in order.

        None: that cannot be told, as it is too old, of another life, or no id: read the whole matrix again, which
        names the id to go on from.
        """
        missed = self._missed(last)
        if missed is None or missed > len(self._events):
            return None
        return list(itertools.islice(reversed(self._events), missed))[::-1]

    async def wait(self, last: str | None, timeout: float) -> bool:  # noqa: ASYNC109 - a deadline that is no failure
        """Wait until there is anything to say to a listener at `last`; return False after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while self._missed(last) == 0:
                    await self._stirred.wait()
        except TimeoutError:
            return False
        return True

    def _missed(self, last: str | None) -> int | None:
        found = _ID.fullmatch(last or "")
        if found is None or found[1] != self._boot or int(found[2]) > self._number:
            return None
        return self._number - int(found[2])

    def _wake(self) -> None:
        self._stirred.set()
        self._stirred = asyncio.Event()


def _kind(change: Change) -> str:
    match change:
        case CellChange():
            return "cell"
        case LunChange():
            return "lun"
        case NodeChange():
            return "node"
        case WarningsChange():
            return "warnings"
