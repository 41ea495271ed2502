"""Who is signed in at the page: sessions by a random id that a cookie carries, kept in this process alone.

A session is a token presented once: it ends with the token, when it is not used for a while, after some days, and
with the agent. Only hashes are kept, of the id and of the token.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from starlette.requests import Request

from pathfleet.cluster.access import digest, new_secret

#: A session that nobody uses ends after this long. A page that is open uses it.
IDLE_SECONDS: Final = 3600.0
#: And every session after this long.
LIFE_SECONDS: Final = 7 * 86_400.0
#: So many at a time for one token; the one that was not used for the longest time makes room.
PER_TOKEN: Final = 32
#: The header with which a page proves that it, and no other site, asks for a change.
CSRF_HEADER: Final = "x-pathfleet-csrf"

_HARMLESS: Final = frozenset(("GET", "HEAD"))


class Session(Struct, frozen=True):
    """A session. `token`: the hash of the token's secret; `csrf`: what each change must carry in its header."""

    token: str
    csrf: str
    began: float
    used: float


class Sessions:
    """The sessions of one agent."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_id: dict[str, Session] = {}

    def begin(self, token: str) -> tuple[str, Session]:
        """Begin a session of the token with this hash; return its id, which is kept nowhere here, and itself."""
        now = self._clock()
        self._by_id = {key: each for key, each in self._by_id.items() if _lasts(each, now)}
        mine = [key for key, each in self._by_id.items() if each.token == token]
        if len(mine) >= PER_TOKEN:
            del self._by_id[min(mine, key=lambda key: self._by_id[key].used)]
        id_, session = new_secret(), Session(token, new_secret(), now, now)
        self._by_id[digest(id_)] = session
        return id_, session

    def of(self, request: Request) -> Session | None:
        """Return the session that the request's cookie names, None if it has none that lasts; this is a use of it."""
        key, now = digest(request.cookies.get(cookie(request), "")), self._clock()
        session = self._by_id.get(key)
        if session is None:
            return None
        if not _lasts(session, now):
            del self._by_id[key]
            return None
        self._by_id[key] = replace(session, used=now)
        return session

    def end(self, request: Request) -> None:
        """End the session that the request's cookie names, if any."""
        self._by_id.pop(digest(request.cookies.get(cookie(request), "")), None)


def cookie(request: Request) -> str:
    """Return the cookie's name. Cookies are of a host, whatever the port: agents beside each other need several."""
    server = request.scope.get("server") or ("", None)
    return f"{'__Host-' if request.url.scheme == 'https' else ''}pathfleet-{server[1] or 0}"


def proven(request: Request, session: Session) -> bool:
    """Return whether the page itself asks: for what changes nothing that does not matter."""
    given = request.headers.get(CSRF_HEADER, "")
    return request.method in _HARMLESS or hmac.compare_digest(given.encode(), session.csrf.encode())


def _lasts(session: Session, now: float) -> bool:
    return now - session.used < IDLE_SECONDS and now - session.began < LIFE_SECONDS
