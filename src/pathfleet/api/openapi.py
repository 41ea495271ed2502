"""The OpenAPI 3.1 document of operations: made from the same objects as the routes, so it cannot say anything else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from starlette.responses import Response

from pathfleet import __version__
from pathfleet.api.envelope import Failure
from pathfleet.api.operation import Operation
from pathfleet.api.parameters import FORM, JSON

PREFIX: Final = "/api2/json"

_REF: Final = "#/components/schemas/{name}"
_FAILURE: Final = {"$ref": _REF.format(name=Failure.__name__)}
_ABOUT: Final = """\
What a cluster knows of its multipath maps. Every answer is `{"data": …}`; every error has the status that fits and \
`{"data": null, "errors": {parameter: reason}, "message": …, "code": …}`. Where a boolean is asked for, `1` and `0` \
will do; a body may be JSON or a form.\
"""
_SECURITY: Final = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token of `pathfleet token add`."},
    "proxmox": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "The same token as Proxmox's clients send it: `PVEAPIToken=USER@REALM!NAME=SECRET`.",
    },
}
#: The errors that every operation may answer with, and those that it needs something for.
_ERRORS: Final = {
    400: "A parameter cannot be used; `errors` tells which and why.",
    404: "There is no such thing.",
    409: "Somebody else changed it, or is about to: read it again.",
    413: "More than is read or kept.",
    500: "A defect, or a setting of this node that cannot be used.",
    502: "What another node wrote cannot be read.",
    503: "The store, multipathd or another node cannot be asked now.",
}
_ERRORS_WITH_ROLE: Final = {
    401: "Without a token that counts.",
    403: "The token's role does not allow it.",
    429: "Too many attempts with wrong secrets.",
}

Json = dict[str, Any]


def document(operations: Sequence[Operation]) -> Json:
    """Return the document. Raises ValueError where two operations have one name."""
    names = [operation.name for operation in operations]
    if len({*names}) != len(names):
        raise ValueError(f"two operations have one name: {sorted(names)}")
    schemas, components = msgspec.json.schema_components(_types(operations), ref_template=_REF)
    of_type = dict(zip(map(id, _types(operations)), schemas, strict=True))
    for operation in operations:
        if operation.query is not None:
            components.pop(operation.query.__name__, None)  # its fields are parameters
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, of_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "pathfleet", "version": __version__, "description": _ABOUT},
        "servers": [{"url": PREFIX}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _SECURITY},
    }


def _types(operations: Iterable[Operation]) -> list[Any]:
    """Return all types that need a schema, always the same objects in the same order."""
    types: list[Any] = [Failure]
    for operation in operations:
        types += operation.path_types.values()
        types += [type_ for type_ in (operation.query, operation.body) if type_ is not None]
        if not _is_response(operation.returns):
            types.append(operation.returns)
    return types


def _is_response(type_: Any) -> bool:  # noqa: ANN401 - any type
    return isinstance(type_, type) and issubclass(type_, Response)


def _operation(operation: Operation, of_type: dict[int, Json]) -> Json:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": of_type[id(type_)]}
        for name, type_ in operation.path_types.items()
    ]
    found: Json = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "security": [] if operation.needs is None else [{name: []} for name in _SECURITY],
        "parameters": parameters + _query(operation.query),
        "responses": _responses(operation, of_type),
    }
    if operation.needs is not None:
        found["x-role"] = operation.needs.value
    if operation.description:
        found["description"] = " ".join(operation.description.split())
    if operation.body is not None:
        content = {"schema": of_type[id(operation.body)]}
        required = any(field.required for field in msgspec.structs.fields(operation.body))
        found["requestBody"] = {"required": required, "content": {JSON: content, FORM: content}}
    return found


def _query(type_: Any) -> list[Json]:  # noqa: ANN401 - a Struct's type, or None
    """Return one parameter for each field of a query's Struct."""
    if type_ is None:
        return []
    (_,), components = msgspec.json.schema_components([type_], ref_template=_REF)
    properties = components[type_.__name__]["properties"]
    return [
        {
            "name": field.encode_name,
            "in": "query",
            "required": field.required,
            "schema": _readable(properties[field.encode_name]),
        }
        for field in msgspec.structs.fields(type_)
    ]


def _readable(schema: Json) -> Json:
    """Return a query parameter's schema: a boolean may be 1 or 0, too; absence is how a query says null."""
    found = dict(schema)
    choices = [choice for choice in found.pop("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        found |= choices[0]
    elif choices:
        found["anyOf"] = choices
    if found.get("default", 0) is None:
        del found["default"]
    if found.get("type") == "boolean":
        del found["type"]
        found["enum"] = [True, False, 1, 0]
    return found


def _answer(operation: Operation, media: str, of_type: dict[int, Json]) -> Json:
    if _is_response(operation.returns):
        return {} if media == JSON else {"type": "string"}
    return {"type": "object", "properties": {"data": of_type[id(operation.returns)]}, "required": ["data"]}


def _responses(operation: Operation, of_type: dict[int, Json]) -> Json:
    content = {media: {"schema": _answer(operation, media, of_type)} for media in operation.media}
    found: Json = {"200": {"description": "Done.", "content": content}}
    if operation.method == "GET":
        found["304"] = {"description": "As `If-None-Match` knows it already."}
    errors = _ERRORS if operation.needs is None else _ERRORS | _ERRORS_WITH_ROLE
    for status, description in sorted(errors.items()):
        found[str(status)] = {"description": description, "content": {JSON: {"schema": _FAILURE}}}
    return found
