"""What changes in an etcd: a watch that goes on after trouble, its events gathered until somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final

from pathfleet.errors import StoreError, StoreUnavailable
from pathfleet.store import Change
from pathfleet.store.etcd_gateway import Gateway
from pathfleet.store.etcd_wire import Event, Range, Watched, below

#: Events that come so soon one after the other are one Change.
GATHER_SECONDS: Final = 0.02

_RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0)


class Watch:
    """The changes below `prefix` ("…/"). `check_seconds`: how long an endpoint may say nothing without being asked."""

    def __init__(self, gateway: Gateway, prefix: str, *, check_seconds: float) -> None:
        self._gateway = gateway
        self._prefix = prefix
        self._check_seconds = check_seconds
        self._pending: Change | None = None
        self._something = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._failed = 0

    async def start(self) -> None:
        """Follow from now on: what is written after this has returned is told."""
        position = None
        try:
            position = await self._position()
        except StoreError:  # then what comes first, later, is that anything may have changed
            self._failed = 1
        if not self._stopped:
            self._task = asyncio.create_task(self._go_on(position))
            self._task.add_done_callback(lambda _: self._something.set())

    async def stop(self) -> None:
        """Follow no longer; `next` returns None."""
        self._stopped = True
        self._something.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def next(self) -> Change | None:
        """Wait for changes and return them all as one; None: stopped."""
        while not self._stopped:
            await self._something.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._something.clear()
            change, self._pending = self._pending, None
            if change is not None:
                return change
            if self._task is not None and self._task.done() and not self._stopped:
                if self._task.cancelled():
                    raise StoreUnavailable("the watch of etcd has ended by itself; this is a defect")
                self._task.result()
        return None

    async def _go_on(self, position: int | None) -> None:
        while True:
            try:
                if position is None:
                    await asyncio.sleep(_RETRY_SECONDS[min(self._failed, len(_RETRY_SECONDS)) - 1])
                    position = await self._position()
                    self._add(Change())
                # in a task of its own: before Python 3.13 a TaskGroup with a child that failed leaves its task counted
                # as cancelled, and up to 3.11.2 no deadline ends with a TimeoutError in such a task
                await asyncio.create_task(self._follow(position))
            except StoreError:
                pass
            self._failed += 1
            position = None

    async def _follow(self, position: int) -> None:
        """Gather what changes after revision `position`; return when there is trouble."""
        request = {**below(self._prefix), "start_revision": str(position + 1)}
        async with self._gateway.stream("watch", {"create_request": request}, Watched) as (endpoint, pieces):
            told = asyncio.Event()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._read(pieces, told))
                    group.create_task(self._check(endpoint, told))
            except* StoreError:
                pass

    async def _read(self, pieces: AsyncIterator[Watched], told: asyncio.Event) -> None:
        async for piece in pieces:
            if piece.canceled:
                why = "compacted" if piece.compact_revision else piece.cancel_reason[:200]
                raise StoreUnavailable(f"the watch was ended by etcd: {why}")
            told.set()
            self._failed = 0
            change = changed(piece.events, self._prefix)
            if change != Change():
                self._add(change)

    async def _check(self, endpoint: str, told: asyncio.Event) -> None:
        """Ask an endpoint that says nothing: it may have nothing to say, or be frozen, or cut off from the others."""
        while True:
            await asyncio.sleep(self._check_seconds)
            if not told.is_set():
                await self._position(only=endpoint)
            told.clear()

    async def _position(self, only: str | None = None) -> int:
        question = {**below(self._prefix), "limit": "1", "keys_only": True}
        return (await self._gateway.ask("kv/range", question, Range, only=only)).found.header.revision

    def _add(self, change: Change) -> None:
        self._pending = change if self._pending is None else merged(self._pending, change)
        self._something.set()


def changed(events: Iterable[Event], prefix: str) -> Change:
    """Return whose values or liveness and which files `events` are about; empty: nothing that is told."""
    nodes, files = set(), set()
    for event in events:
        kind, _, rest = event.kv.key.decode(errors="replace").removeprefix(prefix).partition("/")
        came_or_went = event.type == "DELETE" or event.kv.version == 1
        if kind == "value":
            nodes.add(rest.rpartition("/")[0])
        elif kind in ("alive", "member") and came_or_went:
            nodes.add(rest)
        elif kind == "file":
            files.add(rest)
    return Change(frozenset(nodes), frozenset(files))


def merged(one: Change, other: Change) -> Change:
    """Return both as one; a Change that says nothing stays so."""
    if Change() in (one, other):
        return Change()
    return Change(one.nodes | other.nodes, one.files | other.files)
