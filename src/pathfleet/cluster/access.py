"""Who may do what: tokens that the cluster remembers in one file of the store, only as hashes, each with a role.

A secret is 256 random bits, so its plain SHA-256 gives nothing away. Nothing here logs or repeats one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from pathfleet.core.wire import Time
from pathfleet.errors import BadRequest, Busy, Conflict, NotFound, StoreError, StoreUnavailable
from pathfleet.store import File, Store

#: The file of the store. Proxmox VE shows what is below `priv/` to root only.
FILE: Final = "priv/pathfleet-tokens.json"
#: A token that was added or removed counts after this long at most.
FRESH_SECONDS: Final = 1.0
#: While the store cannot be read, the tokens read last count for this long.
GRACE_SECONDS: Final = 60.0

#: How the names of principals begin that are no tokens: other nodes, and users of this one.
NODE: Final = "node-"
USER: Final = "uid-"
_NOT_TOKENS: Final = (NODE, USER)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_READ_SECONDS: Final = 2.0
_TRIES: Final = 10


class Role(StrEnum):
    """What a principal may do; each role may also do what those before it may."""

    AUDITOR = "auditor"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, needed: Role) -> bool:
        """Return whether this role may do what `needed` may."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(needed)


class Principal(Struct, frozen=True):
    """Who asks, in a word for the log, and in which role."""

    name: str
    role: Role

    @property
    def is_node(self) -> bool:
        """Whether another node of the cluster asks."""
        return self.name.startswith(NODE)


class Token(Struct, frozen=True, rename="kebab"):
    """What is remembered of a token. `hash`: SHA-256 of its secret, in hexadecimal; times in epoch seconds.

    `role` is a word, not a Role: a token with a role of a later version is nobody here, and spoils no other.
    """

    hash: str
    role: str
    created: Time
    expires: Time | None = None
    comment: str | None = None


class _Tokens(Struct, frozen=True):
    tokens: dict[str, Token] = {}


_decoder = msgspec.json.Decoder(_Tokens)


def digest(secret: str) -> str:
    """Return what is stored of a secret: its SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret() -> str:
    """Return 256 random bits in letters that need no quoting in a URL, a header or a shell."""
    return secrets.token_urlsafe(32)


class Access:
    """The cluster's tokens, in an open store."""

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
        self._known: dict[str, Token] = {}
        self._looked = self._read = float("-inf")
        self._trouble: StoreError | None = None
        self._reading = asyncio.Lock()

    async def verify(self, secret: str) -> Principal | None:
        """Return whose secret this is, None if nobody's. Raises StoreUnavailable where the tokens are not known."""
        return await self.holder(digest(secret))

    async def holder(self, given: str) -> Principal | None:
        """Return who has the token whose secret has the hash `given`, None if nobody. Raises StoreUnavailable.

        Compares with every token, so that the time taken tells nothing.
        """
        known, now = await self._current(), self._wall_clock()
        found = None
        for name, token in known.items():
            same = hmac.compare_digest(given.encode(), token.hash.encode())
            if same and token.role in list(Role) and (token.expires is None or now < token.expires):
                found = Principal(name, Role(token.role))
        return found

    async def tokens(self) -> dict[str, Token]:
        """Return all tokens by name. Raises StoreError."""
        return _decoded(await self._store.read(FILE))

    async def add(self, name: str, role: Role, *, expires: int | None = None, comment: str | None = None) -> str:
        """Add a token and return its secret, which nothing can show again. Raises BadRequest, Busy, StoreError.

        `expires` in epoch seconds.
        """
        if not _NAME.fullmatch(name):
            raise BadRequest({"name": "letters, digits, '.', '_' and '-', beginning with a letter or digit, up to 64"})
        if name.startswith(_NOT_TOKENS):
            raise BadRequest({"name": f"{' and '.join(_NOT_TOKENS)} begin names of nodes and users, not of tokens"})
        secret = new_secret()
        token = Token(digest(secret), role, int(self._wall_clock()), expires, comment)

        def change(tokens: dict[str, Token]) -> None:
            if name in tokens:
                raise Busy(f"there is a token {name!r} already: remove it, or take another name")
            tokens[name] = token

        await self._change(change)
        return secret

    async def remove(self, name: str) -> None:
        """Remove a token; its secret is refused within a second. Raises NotFound, StoreError."""

        def change(tokens: dict[str, Token]) -> None:
            if tokens.pop(name, None) is None:
                raise NotFound(f"there is no token {name!r}; `pathfleet token list` shows all")

        await self._change(change)

    async def _change(self, change: Callable[[dict[str, Token]], None]) -> None:
        for attempt in range(_TRIES):
            file = await self._store.read(FILE)
            tokens = _decoded(file)
            change(tokens)
            content = msgspec.json.format(msgspec.json.encode(_Tokens(tokens)), indent=1)
            try:
                await self._store.swap(FILE, content, file.revision if file else None)
            except Conflict:
                if attempt == _TRIES - 1:
                    raise
            else:
                return

    async def _current(self) -> dict[str, Token]:
        """Return the tokens as they were a second ago or later; while the store is in trouble, the last known."""
        async with self._reading:
            now = self._clock()
            if now - self._looked >= FRESH_SECONDS:
                await self._look(now)
            if self._trouble is not None and now - self._read > GRACE_SECONDS:
                raise StoreUnavailable(f"tokens cannot be checked: {self._trouble}") from self._trouble
            return self._known

    async def _look(self, now: float) -> None:
        try:
            async with asyncio.timeout(_READ_SECONDS):
                self._known = _decoded(await self._store.read(FILE))
        except TimeoutError:
            self._trouble = StoreUnavailable(f"the store did not answer within {_READ_SECONDS:g} s")
        except StoreError as error:
            self._trouble = error
        else:
            self._read, self._trouble = now, None
        self._looked = self._clock()


def _decoded(file: File | None) -> dict[str, Token]:
    """Return the tokens of the file. Raises StoreError: tokens that cannot be read are not "no tokens"."""
    if file is None:
        return {}
    try:
        return dict(_decoder.decode(file.content).tokens)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(
            f"{FILE} in the store is not a list of tokens ({error}): remove it, and add the tokens again"
        ) from error
