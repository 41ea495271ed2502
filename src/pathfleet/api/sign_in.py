"""Signing in at the page: a token, presented once, becomes a session in a cookie that no script can read."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from msgspec import Struct
from starlette.responses import Response

from pathfleet.api.auth import secret_of
from pathfleet.api.envelope import JSONResponse, envelope
from pathfleet.api.operation import Call, operation
from pathfleet.api.session import cookie
from pathfleet.cluster.access import Role, digest
from pathfleet.errors import BadRequest

_PATH: Final = "/access/session"


class SessionDocument(Struct, frozen=True, rename="kebab"):
    """Who asks, and whom. `csrf`: what a page sends as `X-Pathfleet-CSRF` with each change; None without a session."""

    name: str
    role: Role
    node: str
    csrf: str | None = None


@operation("GET", _PATH, needs=Role.AUDITOR, summary="Who asks, in which role", tag="access")
async def session(call: Call) -> SessionDocument:
    """Return who asks."""
    found = call.service.sessions.of(call.request)
    return _document(call, found.csrf if found else None)


@operation("POST", _PATH, needs=Role.AUDITOR, summary="Sign in: a token becomes a session", tag="access")
async def sign_in(call: Call) -> Response:
    """Begin a session for the token in `Authorization`. The cookie of the answer stands for the token from then on.

    The session ends with the token, after an hour without use, after a week, and with the agent.
    """
    secret = secret_of(call.request.headers.get("authorization", ""))
    if secret is None:
        raise BadRequest({"authorization": "send the token to sign in with as `Authorization: Bearer SECRET`"})
    id_, found = call.service.sessions.begin(digest(secret))
    response = JSONResponse(envelope(_document(call, found.csrf)))
    return _with_cookie(call, response, id_)


@operation("DELETE", _PATH, needs=Role.AUDITOR, summary="Sign out", tag="access")
async def sign_out(call: Call) -> Response:
    """End the session; its cookie is nothing from then on."""
    call.service.sessions.end(call.request)
    return _with_cookie(call, JSONResponse(envelope(None)), None)


def _document(call: Call, csrf: str | None) -> SessionDocument:
    return SessionDocument(call.principal.name, call.principal.role, call.service.node, csrf)


def _with_cookie(call: Call, response: Response, value: str | None) -> Response:
    secure = call.request.url.scheme == "https"
    response.set_cookie(
        cookie(call.request),
        value or "",
        max_age=None if value else 0,  # a browser that is closed forgets it
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )
    return response


# What they answer with is in the envelope already.
sign_in, sign_out = replace(sign_in, returns=SessionDocument), replace(sign_out, returns=None)

OPERATIONS = (session, sign_in, sign_out)
