"""Who asks: by a token, a session at the page, the node's own secret, or as the user at the end of the unix socket."""

from __future__ import annotations

import hmac
import logging
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from pathfleet.api.forward import ROLE_HEADER
from pathfleet.api.session import CSRF_HEADER, Sessions, proven
from pathfleet.cluster.access import NODE, USER, Access, Principal, Role, digest
from pathfleet.core.column import Column
from pathfleet.errors import Forbidden, TooMany, Unauthorised

log = logging.getLogger(__name__)

#: Wrong secrets from one address within so many seconds, before the answer is 429.
FAILURES: Final = 10
WINDOW_SECONDS: Final = 60.0
#: So many addresses are remembered, the latest ones.
_ADDRESSES: Final = 1024

_BEARER: Final = re.compile(r"Bearer +(?P<secret>[\x21-\x7e]{1,256})", re.IGNORECASE)
_PROXMOX: Final = re.compile(r"PVEAPIToken=[^!=\s]{1,128}!(?P<name>[^!=\s]{1,64})=(?P<secret>[\x21-\x7e]{1,256})")
_NODE: Final = re.compile(r"PathfleetNode +(?P<name>[^:\s]{1,253}):(?P<secret>[\x21-\x7e]{1,256})")
_REMEDY: Final = "send a token of `pathfleet token add` as `Authorization: Bearer SECRET`"


@dataclass
class _Failures:
    since: float
    count: int = 0


def secret_of(header: str) -> str | None:
    """Return the secret of the token that an `Authorization` header carries, None if it carries none."""
    found = _BEARER.fullmatch(header) or _PROXMOX.fullmatch(header)
    return found["secret"] if found else None


class Doorkeeper:
    """Tells who asks.

    A right secret passes whatever else came from its address: 256 random bits are not found by trying, and nobody
    is locked out by a neighbour. The limit spares the log, and tells who tries that it is seen.
    """

    def __init__(
        self,
        access: Access,
        columns: Callable[[], Mapping[str, Column]],
        sessions: Sessions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = access
        self._columns = columns
        self._sessions = sessions or Sessions()
        self._clock = clock
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    async def principal(self, request: Request) -> Principal:
        """Return who asks. Raises Unauthorised, Forbidden, TooMany, StoreUnavailable."""
        peer = request.scope.get("state", {}).get("peer-uid")
        if peer in (0, os.geteuid()):
            return Principal(f"{USER}{peer}", Role.ADMIN)
        header = request.headers.get("authorization")
        if header is None:
            return await self._signed_in(request)
        found = await self._known(header)
        if found is None:
            raise self._refusal(request.client.host if request.client else "unix")
        asked = request.headers.get(ROLE_HEADER)
        return Principal(found.name, Role(asked)) if asked in list(Role) and _NODE.fullmatch(header) else found

    async def _signed_in(self, request: Request) -> Principal:
        session = self._sessions.of(request)
        found = await self._access.holder(session.token) if session is not None else None
        if session is None or found is None:
            raise Unauthorised(f"nobody knows who asks: {_REMEDY}, or sign in at the page")
        if not proven(request, session):
            raise Forbidden(f"a change by cookie needs the session's own {CSRF_HEADER}: load the page again")
        return found

    async def _known(self, header: str) -> Principal | None:
        if bearer := _BEARER.fullmatch(header):
            return await self._access.verify(bearer["secret"])
        if proxmox := _PROXMOX.fullmatch(header):
            found = await self._access.verify(proxmox["secret"])
            return found if found is not None and found.name == proxmox["name"] else None
        if node := _NODE.fullmatch(header):
            return self._node(node["name"], node["secret"])
        return None

    def _node(self, name: str, secret: str) -> Principal | None:
        """Another node, whose published value has the hash of its secret, may read, and do what who asks it may do."""
        column = self._columns().get(name)
        info = column.said.info if column is not None else None
        expected = (info.api_token_hash if info is not None else None) or ""
        same = hmac.compare_digest(digest(secret).encode(), expected.encode())
        return Principal(f"{NODE}{name}", Role.AUDITOR) if same else None

    def _refusal(self, address: str) -> Unauthorised | TooMany:
        """Count a wrong secret, and return what to answer."""
        now = self._clock()
        failures = self._failures.pop(address, None)
        if failures is None or now - failures.since >= WINDOW_SECONDS:
            failures = _Failures(now)
            log.warning("secret-refused address=%s", address)
        failures.count += 1
        self._failures[address] = failures
        if len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)
        if failures.count > FAILURES:
            wait = int(failures.since + WINDOW_SECONDS - now) + 1
            return TooMany(f"too many wrong secrets from {address}: the next is looked at in {wait} s", wait)
        return Unauthorised(f"the token is not known, or its time is over: {_REMEDY}")
