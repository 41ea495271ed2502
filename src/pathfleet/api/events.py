"""What changes in the matrix, as server-sent events.

A listener is a cursor into the journal that all share: it keeps nothing but the piece that is being written. Who
falls behind what the journal holds is told to read the whole status again. The format:
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final
from weakref import WeakKeyDictionary

import msgspec
from msgspec import Struct
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from pathfleet.api.auth import Doorkeeper
from pathfleet.api.cluster import ready
from pathfleet.api.operation import Call, operation
from pathfleet.cluster.access import Role
from pathfleet.cluster.journal import Event, Journal
from pathfleet.cluster.live import Live
from pathfleet.errors import PathfleetError

#: So many listeners at a time; browsers come back by themselves.
LISTENERS_LIMIT: Final = 500
#: A comment this often keeps proxies from closing what is only quiet.
HEARTBEAT_SECONDS: Final = 15.0
#: A token that was removed ends its streams after this long at most.
CHECK_SECONDS: Final = 30.0

_PIECE_BYTES: Final = 64 * 1024
_HELLO: Final = b"retry: 1000\n\n"
_HEARTBEAT: Final = b":\n\n"


class TooManyListeners(PathfleetError):
    """No more listeners are served."""

    code = "too-many-listeners"
    status = 503


class _Seats:
    """How many listeners are served now."""

    taken = 0


_seats: WeakKeyDictionary[Live, _Seats] = WeakKeyDictionary()


class EventsQuery(Struct, frozen=True):
    """`after`: the id of the last event that the listener has. A header `Last-Event-ID` counts before it."""

    after: str | None = None


@operation(
    "GET",
    "/cluster/multipath/events",
    needs=Role.AUDITOR,
    summary="What changes in the status from now on, as server-sent events",
    tag="cluster",
    media="text/event-stream",
)
async def events(call: Call, query: EventsQuery) -> StreamingResponse:
    """Return a stream of events `cell`, `lun`, `node` and `warnings`, each with what is now, after a named one.

    `reset`: something may have been missed. Read the status again, and listen anew after the event that the status
    names: what this stream goes on with may be older. It comes first where no event is named, or a forgotten one. The
    stream ends when the token does.
    """
    live = call.service.live
    ready(live)
    seats = _seats.setdefault(live, _Seats())
    if seats.taken >= LISTENERS_LIMIT:
        raise TooManyListeners(f"{LISTENERS_LIMIT} listeners are served already: ask another node, or later again")
    # The header that the browser sends when it comes back knows more than the address that it came by first.
    cursor = call.request.headers.get("last-event-id") or query.after
    return EventStream(follow(live.journal, cursor, lambda: _may_still(call)), seats)


class EventStream(StreamingResponse):
    """Pieces of an event stream, each written before the next is asked for."""

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncIterator[bytes], seats: _Seats) -> None:
        super().__init__(pieces, headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        self._listeners = seats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write until the listener leaves or the pieces end."""
        self._listeners.taken += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._listeners.taken -= 1


async def follow(
    journal: Journal,
    cursor: str | None,
    may_still: Callable[[], Awaitable[bool]],
    *,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    check_seconds: float = CHECK_SECONDS,
) -> AsyncIterator[bytes]:
    """Yield what to write to a listener that has the event `cursor`, until it may not listen any more."""
    now = asyncio.get_running_loop().time
    check_at = now() + check_seconds
    yield _HELLO
    while True:
        if now() >= check_at:
            if not await may_still():
                return
            check_at = now() + check_seconds
        found = journal.since(cursor)
        if found is None:
            cursor = journal.latest
            yield _framed("reset", cursor, msgspec.json.encode({"event": cursor}))
        elif found:
            piece, cursor = _piece(found)
            yield piece
        elif not await journal.wait(cursor, heartbeat_seconds):
            yield _HEARTBEAT


def _piece(events_: Iterable[Event]) -> tuple[bytes, str]:
    """Return the first events as one piece, and the last one's id; the journal keeps the others."""
    piece, last = bytearray(), ""
    for event in events_:
        piece += _framed(event.kind, event.id, event.data)
        last = event.id
        if len(piece) >= _PIECE_BYTES:
            break
    return bytes(piece), last


def _framed(kind: str, id_: str, data: bytes) -> bytes:
    # JSON has no line break outside of its strings, and none unescaped within
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (id_.encode(), kind.encode(), data)


async def _may_still(call: Call) -> bool:
    """Whether who asked would be let in again. Nobody knows while the store is away, and then nobody is."""
    service = call.service
    doorkeeper = Doorkeeper(service.access, lambda: service.live.columns, service.sessions)
    try:
        await doorkeeper.principal(call.request)
    except PathfleetError:
        return False
    return True


OPERATIONS = (events,)
