"""Answers as they leave: `{"data": …}`, or `{"data": null, "errors", "message", "code"}` with the error's status."""

from __future__ import annotations

import asyncio
import gzip
import logging
from typing import Final

import msgspec
from msgspec import Struct
from starlette.responses import Response

from pathfleet.errors import NotAllowed, PathfleetError, TooMany, Unauthorised

log = logging.getLogger(__name__)

#: From this length on, JSON is compressed for who takes it.
_COMPRESS_BYTES: Final = 4096
#: From this length on, in a thread: the loop has better things to do for some milliseconds.
_THREAD_BYTES: Final = 64 * 1024
_LEVEL: Final = 5


class Failure(Struct, frozen=True, kw_only=True):
    """Why nothing was answered, or done. `errors`: what is wrong with which parameter.

    `code` is a word for programs, which never changes: of several errors with one status it tells which.
    """

    data: None = None
    errors: dict[str, str] = {}
    message: str
    code: str


class JSONResponse(Response):
    """JSON that is encoded already."""

    media_type = "application/json"


def envelope(data: object) -> bytes:
    """Return the answer that has `data`."""
    return msgspec.json.encode({"data": data})


async def answer(data: object, headers: dict[str, str], accept_encoding: str) -> Response:
    """Return the response that has `data`, compressed where that is worth it and accepted."""
    content = envelope(data)
    if len(content) < _COMPRESS_BYTES:
        return JSONResponse(content, headers=headers)
    headers = {**headers, "vary": "accept-encoding"}
    if takes_gzip(accept_encoding):
        headers["content-encoding"] = "gzip"
        if len(content) < _THREAD_BYTES:
            content = gzip.compress(content, _LEVEL, mtime=0)
        else:
            content = await asyncio.to_thread(gzip.compress, content, _LEVEL, mtime=0)
    return JSONResponse(content, headers=headers)


def failure(error: Exception) -> Response:
    """Return the response for an error; one that nobody foresaw is logged, and told without its details."""
    if not isinstance(error, PathfleetError):
        log.error("defect in=api", exc_info=error)
        return _failed(
            500, Failure(message="this is a defect; the agent's log on this node tells more", code="defect")
        )
    headers: dict[str, str] = {}
    match error:
        case Unauthorised():
            headers["www-authenticate"] = 'Bearer realm="pathfleet"'
        case TooMany():
            headers["retry-after"] = str(error.retry_seconds)
        case NotAllowed():
            headers["allow"] = ", ".join(error.allowed)
    body = Failure(message=str(error), errors=getattr(error, "errors", {}), code=error.code)
    return _failed(error.status, body, headers)


def _failed(status: int, body: Failure, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(msgspec.json.encode(body), status, headers)


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether an Accept-Encoding takes gzip."""
    for choice in accept_encoding.lower().split(","):
        coding, _, weight = choice.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
