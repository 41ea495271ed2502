"""Talks to etcd v3 over its HTTP/JSON gateway: one question, some endpoints, one deadline.

Knows endpoints, tokens and errors, not what the store keeps. Every question may be asked again of another endpoint
after an outcome that is not known: who asks must make sure that this does no harm. What the gateway says, and how:
https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/ (int64 as strings, empty fields left out, bytes as base64).
"""

from __future__ import annotations

import asyncio
import itertools
import math
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Generic, NamedTuple, TypeVar

import httpx2
import msgspec
from msgspec import Struct

from pathfleet.errors import StoreError, StoreUnavailable
from pathfleet.store.etcd_trouble import BELOW, Trouble, explained, no_gateway, unreadable
from pathfleet.store.etcd_url import Address

T = TypeVar("T")

#: The part of the deadline that one endpoint of several may use up: a silent one must leave time for two others.
_SHARE: Final = 0.4
#: Pauses between rounds through the endpoints; together longer than an election by etcd's defaults.
_PAUSES_SECONDS: Final = (0.1, 0.2, 0.4, 0.8)

# Codes of gRPC, https://grpc.io/docs/guides/status-codes/
_INVALID, _NOT_FOUND, _DENIED, _EXHAUSTED, EXISTS, _UNAUTHENTICATED = 3, 5, 7, 8, 9, 16
_REFUSALS_FOR_GOOD: Final = frozenset({_INVALID, _NOT_FOUND, _DENIED, EXISTS, 6, 11})
_STALE_TOKEN: Final = ("invalid auth token", "revision of auth store is old", "user name is empty")


class Answer(NamedTuple, Generic[T]):
    """What etcd said; not `certain`: an earlier attempt at the same may have been carried out."""

    found: T
    certain: bool


class EtcdRefused(StoreUnavailable):
    """Etcd answered that it does not do this, and no other endpoint will; `grpc_code` says why."""

    def __init__(self, text: str, grpc_code: int) -> None:
        super().__init__(text)
        self.grpc_code = grpc_code


class _StaleToken(Exception):
    """Etcd wants a (new) token; it did nothing."""


class _Error(Struct):
    code: int = 0
    message: str = ""


class _Token(Struct):
    token: str


class _StreamError(Struct):
    message: str = "no reason given"


class _Line(Struct):
    result: msgspec.Raw = msgspec.Raw()
    error: _StreamError | None = None


class Gateway:
    """The gateway of the cluster at `address`. `deadline_seconds`: for a question that brings none."""

    def __init__(self, address: Address, *, deadline_seconds: float) -> None:
        self._address = address
        self._deadline_seconds = deadline_seconds
        self._client: httpx2.AsyncClient | None = None
        self._token: str | None = None
        self._first = 0

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self._client is not None

    def open(self) -> None:
        """Read the certificates. Raises StoreUnavailable."""
        # Of the environment nothing counts: a proxy for the web is none for the cluster's memory.
        self._client = httpx2.AsyncClient(
            verify=self._ssl(), timeout=None, trust_env=False, limits=httpx2.Limits(max_connections=None)
        )

    async def close(self) -> None:
        """Close all connections, those of streams too."""
        client, self._client, self._token = self._client, None, None
        if client is not None:
            await client.aclose()

    async def ask(
        self, path: str, body: Mapping[str, Any], kind: type[T], *, until: float | None = None, only: str | None = None
    ) -> Answer[T]:
        """Return the answer of the first endpoint that has one; `until`: loop time, `only`: no other endpoint.

        Raises StoreUnavailable, EtcdRefused.
        """
        now = asyncio.get_running_loop().time
        started, content = now(), msgspec.json.encode(body)
        until = started + self._deadline_seconds if until is None else until
        endpoints = self._in_turn() if only is None else (only,)
        share = (until - started) * (_SHARE if len(endpoints) > 1 else 1)
        troubles: dict[str, Trouble] = {}
        certain = True
        for turn in itertools.count(1):
            for endpoint in endpoints:
                try:
                    async with asyncio.timeout_at(min(until, now() + share)):
                        found = await self._ask_one(endpoint, path, content, kind)
                    self._first = self._address.endpoints.index(endpoint)
                    return Answer(found, certain)
                except TimeoutError:
                    troubles[endpoint] = Trouble("no answer in time")
                except Trouble as trouble:
                    troubles[endpoint] = trouble
                certain = certain and not troubles[endpoint].sent
                if now() >= until:
                    break
            pause = _PAUSES_SECONDS[min(turn, len(_PAUSES_SECONDS)) - 1]
            if now() + pause >= until or all(trouble.rounds <= turn for trouble in troubles.values()):
                break
            await asyncio.sleep(pause)
        raise self._unavailable(troubles, now() - started, certain=certain)

    @asynccontextmanager
    async def stream(
        self, path: str, body: Mapping[str, Any], kind: type[T]
    ) -> AsyncIterator[tuple[str, AsyncIterator[T]]]:
        """Give the endpoint that answered last, and what it says to `body`, piece by piece, until it has trouble.

        Pieces raise StoreUnavailable, also at the end; the stream has no deadline: ask the endpoint now and then.
        """
        endpoint = self._in_turn()[0]
        # Else a member that is cut off from the others would go on, with nothing to say.
        headers = {**self._headers(), "Grpc-Metadata-hasleader": "true"}
        url, content = self._address.base(endpoint) + path, msgspec.json.encode(body)
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._deadline_seconds):
                    asked = self._opened().stream("POST", url, content=content, headers=headers)
                    response = await stack.enter_async_context(asked)
            except TimeoutError as error:
                raise self._unavailable({endpoint: Trouble("no answer in time")}) from error
            except BELOW as error:
                raise self._unavailable({endpoint: explained(error)}) from error
            yield endpoint, self._pieces(response, endpoint, kind)

    async def _pieces(self, response: httpx2.Response, endpoint: str, kind: type[T]) -> AsyncIterator[T]:
        trouble = Trouble("it ended the stream")
        rest = line = b""
        try:
            async for chunk in response.aiter_bytes():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    piece = msgspec.json.decode(line, type=_Line)
                    if piece.error is not None:
                        raise Trouble(f"{piece.error.message[:200]!r}")  # noqa: TRY301
                    yield msgspec.json.decode(piece.result, type=kind, strict=False)
        except Trouble as error:
            trouble = error
        except BELOW as error:
            trouble = explained(error)
        except ValueError:
            trouble = Trouble(no_gateway(response.status_code, line))
        raise self._unavailable({endpoint: trouble})

    async def _ask_one(self, endpoint: str, path: str, content: bytes, kind: type[T]) -> T:
        if self._token is None and self._address.user is not None:
            await self._authenticate(endpoint)
        try:
            return await self._post(endpoint, path, content, kind)
        except _StaleToken as error:
            if self._address.user is None:
                raise EtcdRefused(
                    f"store {self._address.name}: etcd asks for a user; add user=NAME&password-file=FILE to the URL"
                    " (the name in a client certificate does not count at the gateway)",
                    _UNAUTHENTICATED,
                ) from error
        await self._authenticate(endpoint)
        try:
            return await self._post(endpoint, path, content, kind)
        except _StaleToken as error:
            self._token = None
            raise Trouble("it does not take the token that etcd gave a moment ago", sent=False) from error

    async def _authenticate(self, endpoint: str) -> None:
        self._token = None
        file = self._address.password_file
        try:
            password = "" if file is None else file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise unreadable(self._address.name, "password-file", file, error) from error
        body = msgspec.json.encode({"name": self._address.user, "password": password})
        try:
            self._token = (await self._post(endpoint, "auth/authenticate", body, _Token)).token
        except (EtcdRefused, _StaleToken) as error:
            if (
                isinstance(error, EtcdRefused) and error.grpc_code == EXISTS
            ):  # "authentication is not enabled": then it asks nobody
                return
            raise EtcdRefused(
                f"store {self._address.name}: etcd does not let user {self._address.user!r} in with the password in"
                f" {file}; check both (etcdctl user get {self._address.user})",
                _UNAUTHENTICATED,
            ) from None

    async def _post(self, endpoint: str, path: str, content: bytes, kind: type[T]) -> T:
        url = self._address.base(endpoint) + path
        try:
            response = await self._opened().post(url, content=content, headers=self._headers())
        except BELOW as error:
            raise explained(error) from error
        if response.status_code != 200:
            raise self._refusal(response.status_code, response.content)
        try:
            return msgspec.json.decode(response.content, type=kind, strict=False)
        except ValueError as error:
            raise Trouble(no_gateway(200, response.content), rounds=1) from error

    def _refusal(self, status: int, content: bytes) -> Exception:
        """Return what an answer other than 200 means."""
        try:
            error = msgspec.json.decode(content, type=_Error)
        except ValueError:
            return Trouble(no_gateway(status, content), rounds=1 if status < 500 else math.inf)
        name, said = self._address.name, f"{error.message[:200]!r}"
        if error.code == _UNAUTHENTICATED or any(text in error.message for text in _STALE_TOKEN):
            return _StaleToken()
        if error.code == _EXHAUSTED and "space" in error.message:
            return EtcdRefused(
                f"store {name}: etcd's database is full ({said}), it takes nothing any more; make room: etcdctl"
                " compact, etcdctl defrag, then etcdctl alarm disarm",
                _EXHAUSTED,
            )
        if error.code == _DENIED:
            return EtcdRefused(
                f"store {name}: etcd does not permit this to user {self._address.user!r}; etcdctl role"
                f" grant-permission ROLE readwrite --prefix {self._address.prefix}/",
                _DENIED,
            )
        if error.code in _REFUSALS_FOR_GOOD:
            return EtcdRefused(f"store {name}: etcd refused: {said}", error.code)
        return Trouble(said)

    def _ssl(self) -> ssl.SSLContext | bool:
        address = self._address
        if not address.tls:
            return False
        asked, file = "ca", address.ca
        try:
            context = ssl.create_default_context(cafile=file)
            if address.cert is not None:
                asked, file = "cert and key", address.cert
                context.load_cert_chain(address.cert, address.key, password=_no_passphrase)
        except (OSError, ValueError) as error:
            raise unreadable(address.name, asked, file, error) from error
        return context

    def _opened(self) -> httpx2.AsyncClient:
        if self._client is None:
            raise StoreError(f"store {self._address.name}: it is not open")
        return self._client

    def _headers(self) -> dict[str, str]:
        return {} if self._token is None else {"Authorization": self._token}

    def _in_turn(self) -> tuple[str, ...]:
        """Return the endpoints, the one that answered last at the head."""
        return self._address.endpoints[self._first :] + self._address.endpoints[: self._first]

    def _unavailable(
        self, troubles: Mapping[str, Trouble], seconds: float | None = None, *, certain: bool = True
    ) -> StoreUnavailable:
        tried = "; ".join(f"{endpoint}: {trouble}" for endpoint, trouble in troubles.items())
        remedies = dict.fromkeys(trouble.remedy for trouble in troubles.values() if trouble.remedy)
        remedy = ", ".join(remedies) or (
            "check that etcd runs there and that most of its members do (etcdctl endpoint status)"
        )
        if not self._address.tls and any("connection lost" in str(trouble) for trouble in troubles.values()):
            remedy += "; or perhaps it wants TLS: ca=FILE"
        tries = "" if seconds is None else f" (tried for {seconds:.1f} s)"
        done = "" if certain else "; a write may still be done"
        return StoreUnavailable(f"store {self._address.name}: {tried}{tries}{done}; {remedy}")


def _no_passphrase() -> str:
    """Keep OpenSSL from asking at the terminal."""
    return ""
