"""One thing that a client can ask: a typed function, which is at once its route, its checks and its documentation.

    @operation("GET", "/nodes/{node}/disks/multipath", needs=Role.AUDITOR, summary="All paths of a node", tag="nodes")
    async def multipath(call: Call, node: str, query: Filter) -> Answer: ...

Parameters of the path are named in it; `query` and `body` are Structs in kebab-case, read from what clients of
Proxmox VE send as well as from JSON. What is returned leaves in the envelope, unless it is a Response already.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Final, Literal, get_type_hints

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from pathfleet.api import envelope, parameters
from pathfleet.api.service import Service
from pathfleet.cluster.access import Principal, Role
from pathfleet.errors import Unauthorised

Method = Literal["GET", "POST", "PUT", "DELETE"]
Handler = Callable[..., Awaitable[object]]

_IN_PATH: Final = re.compile(r"\{(\w+)\}")


class Unchanged(Exception):
    """The client has this version of the answer already."""


@dataclass(frozen=True)
class Call:
    """One request for an operation, by `asker` (None where the operation needs nobody in particular).

    `headers` are those of the answer.
    """

    service: Service
    asker: Principal | None
    request: Request
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def principal(self) -> Principal:
        """Who asks; known in every operation that needs a role."""
        if self.asker is None:
            raise Unauthorised("nobody knows who asks")
        return self.asker

    def version(self, etag: str) -> None:
        """Say which version the answer is of (`W/"…"`); where the client has it, the call ends here with 304."""
        self.headers["etag"] = etag
        known = self.request.headers.get("if-none-match", "")
        if known.strip() == "*" or etag.removeprefix("W/") in (
            tag.strip().removeprefix("W/") for tag in known.split(",")
        ):
            raise Unchanged


@dataclass(frozen=True)
class Operation:
    """A function with what its route and its documentation need. `needs` None: without a token.

    `returns` is the type of the data, or Response where the function makes one itself, of one of the types `media`.
    """

    method: Method
    path: str
    needs: Role | None
    summary: str
    tag: str
    media: tuple[str, ...]
    handler: Handler
    path_types: dict[str, Any]
    query: Any
    body: Any
    returns: Any

    @property
    def name(self) -> str:
        """A name that no other operation has, for programs that are made from the documentation."""
        return "-".join((self.method.lower(), *re.findall(r"[\w-]+", self.path)))

    @property
    def description(self) -> str | None:
        """What the function's docstring says."""
        return self.handler.__doc__

    async def respond(self, call: Call) -> Response:
        """Read the parameters, run the function, and return its answer. Raises whatever is wrong with either."""
        arguments = parameters.of_path(call.request, self.path_types)
        query = parameters.of_query(call.request, self.query)
        body = await parameters.of_body(call.request, self.body)
        if self.query is not None:
            arguments["query"] = query
        if self.body is not None:
            arguments["body"] = body
        try:
            found = await self.handler(call, **arguments)
        except Unchanged:
            return Response(status_code=304, headers=call.headers)
        if isinstance(found, Response):
            found.headers.update(call.headers)
            # the body of a stream would be waited for in vain
            head = call.request.method == "HEAD" and isinstance(found, StreamingResponse)
            return Response(headers=dict(found.headers)) if head else found
        return await envelope.answer(found, call.headers, call.request.headers.get("accept-encoding", ""))


def operation(
    method: Method,
    path: str,
    *,
    needs: Role | None,
    summary: str,
    tag: str,
    media: str | tuple[str, ...] = parameters.JSON,
) -> Callable[[Handler], Operation]:
    """Make an Operation of the function below. Raises TypeError where its parameters do not fit."""

    def decorate(handler: Handler) -> Operation:
        hints = get_type_hints(handler, include_extras=True)
        names = list(signature(handler).parameters)
        in_path = _IN_PATH.findall(path)
        if not {*names} <= {*hints} or hints[names[0]] is not Call or {*names[1:]} - {"query", "body"} != {*in_path}:
            raise TypeError(f"{handler.__qualname__}: takes a Call, {in_path}, `query`, `body`, each with its type")
        query, body = hints.get("query"), hints.get("body")
        if body is not None and not body.__struct_config__.forbid_unknown_fields:
            raise TypeError(f"{handler.__qualname__}: {body.__name__} would drop what it does not know")
        path_types = {name: hints[name] for name in in_path}
        medias = (media,) if isinstance(media, str) else media
        return Operation(method, path, needs, summary, tag, medias, handler, path_types, query, body, hints["return"])

    return decorate
