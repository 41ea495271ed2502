"""Say to the cluster what was found on this node: snapshots to node values, when they are due."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from pathfleet.agent.collect import Snapshot
from pathfleet.core import cadence, detail, node, report, wire
from pathfleet.core.cadence import Held
from pathfleet.core.node import Daemon, NodeInfo
from pathfleet.core.wire import Content
from pathfleet.errors import StoreError
from pathfleet.store import VALUE_LIMIT, Store

log = logging.getLogger(__name__)


def contents(snapshot: Snapshot) -> dict[str, Content | None]:
    """Return what each key is to say, None to be cleared, in the order of writing; a key that is absent is kept.

    Not running and no maps clear the report; where nobody can tell, the last one stays and ages.
    """
    if snapshot.daemon is Daemon.CANNOT_TELL:
        return {}
    if not snapshot.verdicts:
        return {report.KEY: None, detail.KEY: None}
    return {
        **report.contents(report.summarise(snapshot.verdicts), limit=VALUE_LIMIT),
        detail.KEY: detail.content(snapshot.verdicts, snapshot.facts, limit=VALUE_LIMIT),
    }


class Publisher:
    """Writes this node's values. Whatever the store does is logged, once for each trouble, and tried again."""

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
        self._snapshot: Snapshot | None = None
        self._contents: dict[str, Content | None] = {}
        self._held: dict[str, Held] = {}
        self._troubles: dict[str, str] = {}

    async def publish(self, snapshot: Snapshot, info: NodeInfo) -> bool:
        """Write what is due. Returns whether the store now says all of it. Never raises."""
        if snapshot is not self._snapshot:
            self._snapshot, self._contents = snapshot, contents(snapshot)
        wanted: dict[str, Content | None] = {**self._contents, node.KEY: node.content(info)}
        try:
            stored = await self._store.values(self._store.node or "")
        except Exception as error:  # noqa: BLE001 - nothing that a store does may reach the loop
            self._troubled("reading", error)
            return False
        self._well("reading")
        for key in cadence.lost(self._held, stored):
            log.warning("value-lost key=%s next=writing-it-again", key)
            del self._held[key]
        if snapshot.daemon is not Daemon.CANNOT_TELL:
            wanted |= {key: None for key in stored if report.is_chunk(key) and key not in wanted}
        outcomes: list[bool] = []
        for key, content in wanted.items():
            # the first value leads to its chunks: without all of them, the last report stays
            waits = key == report.KEY and not all(outcomes)
            outcomes.append(not waits and await self._say(key, content, stored))
        return all(outcomes)

    async def _say(self, key: str, content: Content | None, stored: Mapping[str, bytes]) -> bool:
        """Write or clear one key if it is due; only what the store took is taken as said."""
        now = self._clock()
        if content is None and key not in stored and not self._store.clears_return:
            self._held[key] = Held(now, None, None)
            return True
        if not cadence.due(content, self._held.get(key), now, clears_return=self._store.clears_return):
            return True
        self._held.pop(key, None)
        value = None if content is None else wire.stamp(content, int(self._wall_clock()))
        try:
            await (self._store.clear(key) if value is None else self._store.put(key, value))
        except Exception as error:  # noqa: BLE001 - likewise
            self._troubled(key, error)
            return False
        self._held[key] = Held(now, content, value)
        self._well(key)
        return True

    def _troubled(self, what: str, error: Exception) -> None:
        text = str(error) or repr(error)
        if self._troubles.get(what) == text:
            return
        self._troubles[what] = text
        surprise = None if isinstance(error, StoreError) else error
        log.warning("store-trouble %s error=%s next=trying-again-each-cycle", what, text, exc_info=surprise)

    def _well(self, what: str) -> None:
        if self._troubles.pop(what, None) is not None:
            log.info("store-well-again %s", what)
