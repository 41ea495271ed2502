"""Operations as one application: which path leads where, who may, and the headers that every answer has."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from email.utils import formatdate

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pathfleet.api import envelope
from pathfleet.api.auth import Doorkeeper
from pathfleet.api.openapi import PREFIX
from pathfleet.api.operation import Call, Operation
from pathfleet.api.service import Service
from pathfleet.errors import Forbidden, NotAllowed, NotFound

log = logging.getLogger(__name__)

#: What an answer has unless it says otherwise: it is data, for this client, and no page. No Strict-Transport-Security:
#: browsers apply it to the whole host, and other programs serve plain HTTP at other ports of it (RFC 6797, 8.3).
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Resource:
    """What is at one path: its operations, by method."""

    def __init__(self, operations: Iterable[Operation], service: Service, doorkeeper: Doorkeeper) -> None:
        self._operations: dict[str, Operation] = {operation.method: operation for operation in operations}
        self._service = service
        self._doorkeeper = doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever becomes of it."""
        request = Request(scope, receive, send)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - every error has its answer, and what nobody foresaw is logged
            response = envelope.failure(error)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        operation = self._operations.get(method)
        if operation is None:
            raise NotAllowed(f"{request.method} is not for {request.url.path}", self._allowed())
        asker = None
        if operation.needs is not None:
            asker = await self._doorkeeper.principal(request)
            if not asker.role.includes(operation.needs):
                raise Forbidden(f"{asker.name} is {asker.role}; {method} {request.url.path} needs {operation.needs}")
            if method != "GET":
                log.info("api-asked by=%s method=%s path=%s", asker.name, method, request.scope["raw_path"].decode())
        return await operation.respond(Call(self._service, asker, request))

    def _allowed(self) -> tuple[str, ...]:
        return tuple(sorted({*self._operations, *(("HEAD",) if "GET" in self._operations else ())}))


def application(
    service: Service, operations: Iterable[Operation], doorkeeper: Doorkeeper, page: ASGIApp | None = None
) -> ASGIApp:
    """Return the application with these operations, and the page wherever the API is not."""
    at: dict[str, list[Operation]] = {}
    for operation in operations:
        at.setdefault(operation.path, []).append(operation)
    routes = [Route(PREFIX + path, Resource(here, service, doorkeeper)) for path, here in at.items()]
    return _with_headers(Router(routes, redirect_slashes=False, default=_elsewhere(page or _nothing_here)))


def _elsewhere(page: ASGIApp) -> ASGIApp:
    async def chosen(scope: Scope, receive: Receive, send: Send) -> None:
        of_api = scope["path"].startswith(PREFIX)
        await (_nothing_here if of_api else page)(scope, receive, send)

    return chosen


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    response = envelope.failure(NotFound(f"there is nothing at {scope['path']}; {PREFIX}/openapi.json names what is"))
    await response(scope, receive, send)


def _with_headers(app: ASGIApp) -> ASGIApp:
    """Return `app` with the headers that it does not set itself."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["date"] = formatdate(usegmt=True)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await app(scope, receive, send_with_headers)

    return wrapped
