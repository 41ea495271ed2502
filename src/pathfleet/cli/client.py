"""The agent on this machine, asked over its unix socket: where the API is that reaches every other node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from pathfleet.errors import Malformed, PathfleetError, Unreachable

T = TypeVar("T")

#: The agent may ask another node for this, and that one its multipathd.
DEADLINE_SECONDS = 20.0
_REPLY_LIMIT = 64 * 1024 * 1024


class _Reply(Struct, Generic[T], frozen=True):
    data: T


class _Failure(Struct, frozen=True):
    message: str = ""
    errors: dict[str, str] = {}

    def __str__(self) -> str:
        return ": ".join(filter(None, [self.message, "; ".join(self.errors.values())]))


class Client:
    """The API of the agent that listens at `socket`."""

    def __init__(self, socket: Path, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._socket = socket
        self._deadline_seconds = deadline_seconds

    async def get(self, path: tuple[str, ...], kind: type[T]) -> T:
        """Return what the API says at the path below its prefix.

        Raises Unreachable when no agent answers; PathfleetError with the agent's own words when it does not give it;
        Malformed.
        """
        return self._understood(await self._ask("GET", path, self._deadline_seconds), kind)

    async def post(self, path: tuple[str, ...], kind: type[T], content: bytes, *, deadline_seconds: float) -> T:
        """Return what the API answers to JSON that is posted to it. Raises what `get` does."""
        return self._understood(await self._ask("POST", path, deadline_seconds, content), kind)

    def _understood(self, answer: tuple[int, bytes], kind: type[T]) -> T:
        status, body = answer
        try:
            if status == 200:
                return msgspec.json.decode(body, type=_Reply[kind]).data  # type: ignore[valid-type]
            said = str(msgspec.json.decode(body, type=_Failure))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"what the agent at {self._socket} answers ({status}) is no answer: {error}") from error
        raise PathfleetError(said or f"the agent at {self._socket} answers {status} without a reason")

    async def _ask(
        self, method: str, path: tuple[str, ...], deadline_seconds: float, content: bytes | None = None
    ) -> tuple[int, bytes]:
        import httpx2  # noqa: PLC0415 - only a command that asks pays for it

        url = "http://agent/api2/json/" + "/".join(quote(part, safe="") for part in path)
        headers = {} if content is None else {"Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(deadline_seconds),
                httpx2.AsyncClient(
                    transport=httpx2.AsyncHTTPTransport(uds=str(self._socket)), timeout=deadline_seconds
                ) as client,
                client.stream(method, url, content=content, headers=headers) as response,
            ):
                return response.status_code, await _read(response.aiter_bytes())
        except TimeoutError:
            raise Unreachable(f"the agent at {self._socket} did not answer within {deadline_seconds:.3g} s") from None
        except (httpx2.HTTPError, OSError) as error:
            why = str(error) or type(error).__name__
            raise Unreachable(
                f"no agent with an API answers at {self._socket} on this machine ({why}); `pathfleet agent` is one"
            ) from error


async def _read(pieces: AsyncIterator[bytes]) -> bytes:
    body = bytearray()
    async for piece in pieces:
        body += piece
        if len(body) > _REPLY_LIMIT:
            raise Malformed(f"the agent's answer has more than {_REPLY_LIMIT} bytes")
    return bytes(body)
