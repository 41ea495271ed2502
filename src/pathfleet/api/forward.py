"""Node to node: ask the API of the node that knows, once, and hand on its answer as data.

The address and the certificate's fingerprint are what the node published of itself in the store. The connection is
nobody else's: the fingerprint is compared within the TLS handshake, before anything is sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import ssl
from collections.abc import Mapping
from typing import Final, Generic, TypeVar
from urllib.parse import quote, urlsplit

import httpx2
import msgspec
from msgspec import Struct

from pathfleet.cluster.access import Role
from pathfleet.cluster.live import Live
from pathfleet.core.node import PublishedNodeInfo
from pathfleet.errors import Malformed, NotFound, Unreachable

T = TypeVar("T")

DEADLINE_SECONDS: Final = 5.0
#: A node of 2,000 maps with 16 paths each says less.
ANSWER_LIMIT: Final = 32 * 1024 * 1024
PREFIX: Final = "/api2/json"
#: In which role a node asks; only from a node that is known does it count.
ROLE_HEADER: Final = "X-Pathfleet-Role"

_MESSAGE_LIMIT: Final = 1000


class NoAnswerInTime(Unreachable):
    """The other node did not answer before the deadline."""

    code = "no-answer-in-time"
    status = 504


class Refusal(Unreachable):
    """The other node answered that it cannot say; `errors` are its reasons, by name."""

    code = "peer-cannot-tell"

    def __init__(self, message: str, errors: dict[str, str]) -> None:
        super().__init__(message)
        self.errors = errors


class _Answer(Struct, Generic[T]):
    data: T


class _Failure(Struct):
    message: str = "it does not say why"
    errors: dict[str, str] = {}


class _Handshake(ssl.SSLObject):
    """A handshake that ends well with one certificate only."""

    def do_handshake(self) -> None:
        super().do_handshake()
        context = self.context
        assert isinstance(context, _Pinned)  # noqa: S101 - only such a context makes these
        found = hashlib.sha256(self.getpeercert(binary_form=True) or b"").hexdigest()
        if found != context.fingerprint:
            raise ssl.SSLCertVerificationError(1, f"its certificate is another one ({found[:16]}…) than it published")


class _Pinned(ssl.SSLContext):
    """Trusts the certificate with this SHA-256 fingerprint, whatever else is in it, and no other."""

    sslobject_class = _Handshake
    fingerprint: str

    @classmethod
    def to(cls, fingerprint: str) -> _Pinned:
        """Return the context that trusts `fingerprint` (hexadecimal)."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the handshake compares instead
        context.fingerprint = fingerprint.lower()
        return context


class Peers:
    """The other nodes. `authorization` is the header by which this node says who it is."""

    def __init__(self, live: Live, authorization: str, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._live = live
        self._authorization = authorization
        self._deadline_seconds = deadline_seconds

    async def get(self, node: str, path: tuple[str, ...], kind: type[T]) -> T:
        """Return what `node` answers to GET of the path (its parts, unquoted), which must be a `kind`.

        Raises NotFound (also for an unknown node), Unreachable and its kinds, Malformed for what is no such answer.
        """
        return await self._ask("GET", node, path, kind, deadline_seconds=self._deadline_seconds)

    async def post(
        self, node: str, path: tuple[str, ...], kind: type[T], *, content: bytes, role: Role, deadline_seconds: float
    ) -> T:
        """Return what `node` answers to POST of JSON, asked in the role of who asks here. Raises what `get` does."""
        headers = {"Content-Type": "application/json", ROLE_HEADER: role.value}
        return await self._ask(
            "POST", node, path, kind, deadline_seconds=deadline_seconds, headers=headers, content=content
        )

    async def _ask(
        self,
        method: str,
        node: str,
        path: tuple[str, ...],
        kind: type[T],
        *,
        deadline_seconds: float,
        headers: Mapping[str, str] = {},
        content: bytes | None = None,
    ) -> T:
        base, context = self._way_to(node)
        url = base + PREFIX + "".join("/" + quote(part, safe="") for part in path)
        try:
            async with asyncio.timeout(deadline_seconds):
                status, body = await self._fetch(method, node, url, context, headers=headers, content=content)
        except TimeoutError:
            raise NoAnswerInTime(
                f"node {node} did not answer at {base} within {deadline_seconds:g} s; "
                "ask it directly, or look at its agent: journalctl -u pathfleet-agent"
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            why = str(error) or type(error).__name__
            raise Unreachable(f"node {node} cannot be asked at {base}: {why}; is its agent running?") from error
        return _understood(node, status, body, kind)

    def _way_to(self, node: str) -> tuple[str, ssl.SSLContext | bool]:
        """Return the node's address and what to trust there. Raises NotFound, Unreachable."""
        column = self._live.columns.get(node)
        if column is None:
            raise NotFound(f"there is no node {node!r} in this cluster; GET /nodes names all")
        if not column.online:
            word = "offline" if column.online is False else "not known to be online: the store has no quorum"
            raise Unreachable(f"node {node} is {word}; what it reported last is in /cluster/multipath/status")
        info = column.said.info
        if info is None or not info.api:
            raise Unreachable(f"node {node} has published no address of an API; is its agent running with one?")
        return _trusted(node, info, info.api)

    async def _fetch(
        self,
        method: str,
        node: str,
        url: str,
        context: ssl.SSLContext | bool,
        *,
        headers: Mapping[str, str],
        content: bytes | None,
    ) -> tuple[int, bytes]:
        headers = {"Authorization": self._authorization, "Accept-Encoding": "identity", **headers}
        # Of the environment nothing counts: a proxy for the web has no business with a node's secret.
        async with (
            httpx2.AsyncClient(verify=context, trust_env=False, timeout=None, follow_redirects=False) as client,
            client.stream(method, url, headers=headers, content=content) as response,
        ):
            if "content-encoding" in response.headers:
                raise Malformed(f"node {node} answered in an encoding that was not asked for")
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > ANSWER_LIMIT:
                    raise Malformed(f"node {node} answered with more than {ANSWER_LIMIT} bytes")
            return response.status_code, bytes(body)


def _trusted(node: str, info: PublishedNodeInfo, api: str) -> tuple[str, ssl.SSLContext | bool]:
    try:
        parts = urlsplit(api)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if (
        host is None
        or port is None
        or api != f"{parts.scheme}://{parts.netloc}"
        or "@" in api
        or not api.isprintable()
    ):
        raise Malformed(f"node {node} has published {api[:100]!r} as its API: https://HOST:PORT is expected")
    if parts.scheme == "http" and _loopback(host):
        return api, False
    if parts.scheme != "https":
        raise Unreachable(f"node {node} has its API at {api}, where a secret could be overheard; it needs https")
    if not info.api_certificate:
        raise Unreachable(f"node {node} has published no fingerprint of its API's certificate; restart its agent")
    return api, _Pinned.to(info.api_certificate)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _understood(node: str, status: int, body: bytes, kind: type[T]) -> T:
    try:
        if status == 200:
            return msgspec.json.decode(body, type=_Answer[kind]).data  # type: ignore[valid-type]
        failure = msgspec.json.decode(body, type=_Failure)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"node {node} answered ({status}) with what is no answer to this: {error}") from error
    message = failure.message[:_MESSAGE_LIMIT]
    match status:
        case 404:
            raise NotFound(message)
        case 503 | 504:
            raise Refusal(message, _cut(failure.errors))
        case 401 | 403:
            raise Unreachable(
                f"node {node} does not know this node's secret, which it learns from the store: try again in a moment"
            )
        case _:
            raise Malformed(f"node {node} answered {status}: {message}")


def _cut(errors: Mapping[str, str]) -> dict[str, str]:
    return {name[:_MESSAGE_LIMIT]: why[:_MESSAGE_LIMIT] for name, why in list(errors.items())[:10]}
