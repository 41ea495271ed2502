"""Say to the cluster how applying went: the node key `multipath-apply`, when it is due."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from pathfleet.core import applied, cadence, wire
from pathfleet.core.cadence import Held
from pathfleet.errors import StoreError
from pathfleet.store import Store

log = logging.getLogger(__name__)


class Status:
    """Writes this node's value. What the store does is logged, once for each trouble, and tried again."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._held: dict[str, Held] = {}
        self._trouble: str | None = None

    def check(self, stored: Mapping[str, bytes]) -> None:
        """Take notice of what the store has of this node: a store that restarted may have lost what was said."""
        for key in cadence.lost(self._held, stored):
            log.warning("value-lost key=%s next=writing-it-again", key)
            del self._held[key]

    async def say(self, digest: str | None, error: str | None) -> bool:
        """Write it if it is due. Returns whether the store says so now."""
        content, now = applied.content(digest, error), self._clock()
        if not cadence.due(content, self._held.get(applied.KEY), now, clears_return=self._store.clears_return):
            return True
        value = wire.stamp(content, int(self._wall_clock()))
        try:
            await self._store.put(applied.KEY, value)
        except StoreError as trouble:
            self._held.clear()
            if str(trouble) != self._trouble:
                self._trouble = str(trouble)
                log.warning("store-trouble %s error=%s next=trying-again-each-cycle", applied.KEY, trouble)
            return False
        self._held[applied.KEY] = Held(now, content, value)
        self._trouble = None
        return True
