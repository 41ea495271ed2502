"""The page: what was built, from memory, with a policy under which nothing but its own files can run.

It knows no address but relative ones, so it works below any path that a proxy gives it.
"""

from __future__ import annotations

import gzip
import mimetypes
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from pathfleet.api.envelope import takes_gzip

#: Svelte puts its templates, which are constants, together through one policy of that name; nobody else may.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html"
)
_INDEX: Final = "index.html"
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_NOT_BUILT: Final = "The page was not built here: `uv sync` builds it from ui/. The API is at api2/json.\n"


class _Held(Struct, frozen=True):
    content: bytes
    compressed: bytes
    media: str
    headers: dict[str, str]


class Page:
    """An application that answers with the page's files."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._held = {"/" + name: _held(name, content) for name, content in files.items()}
        if index := self._held.pop("/" + _INDEX, None):
            self._held["/"] = index

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._respond(Request(scope))(scope, receive, send)

    def _respond(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("This is a page.\n", 405, {"allow": "GET, HEAD"})
        held = self._held.get(request.scope["path"])
        if held is None:
            return PlainTextResponse(_NOT_BUILT, 404)
        headers = held.headers | {"vary": "accept-encoding"}
        if takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(held.compressed, 200, headers | {"content-encoding": "gzip"}, held.media)
        return Response(held.content, 200, headers, held.media)


def _held(name: str, content: bytes) -> _Held:
    # the build gives what is in assets/ a name with a hash of its content
    headers = {"cache-control": _FOR_EVER if name.startswith("assets/") else "no-store"}
    if name == _INDEX:
        headers["content-security-policy"] = POLICY
    media = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return _Held(content, gzip.compress(content, 9, mtime=0), media, headers)
