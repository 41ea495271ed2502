"""What a client sends, as typed values: from the path, the query and the body; what cannot be used is named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect
from starlette.requests import Request

from pathfleet.errors import BadRequest, TooBig

#: A body is at most this long.
BODY_LIMIT: Final = 1024 * 1024
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

#: What a query or a form says, by name.
Pairs = dict[str, str | list[str]]

_FIELDS_LIMIT: Final = 200
_AT: Final = re.compile(r"^(?P<why>.*) - at `\$\.?(?P<where>[^`]*)`$", re.DOTALL)
_FIELD: Final = re.compile(r"^Object (?P<what>missing required|contains unknown) field `(?P<name>.*)`$", re.DOTALL)


def of_path(request: Request, types: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of the path, each as its type. Raises BadRequest."""
    return {name: _one(name, request.path_params[name], type_) for name, type_ in types.items()}


def of_query(request: Request, type_: Any) -> Any:  # noqa: ANN401 - the operation's Struct, or None for none
    """Return the query as `type_`; without one, every parameter is refused. Raises BadRequest."""
    given = _pairs(request.scope["query_string"].decode("latin-1"), type_)
    known = {field.encode_name for field in msgspec.structs.fields(type_)} if type_ is not None else set[str]()
    unknown = sorted(given.keys() - known)
    if unknown:
        raise BadRequest(dict.fromkeys(unknown, "there is no such parameter"))
    return None if type_ is None else _converted(given, type_, "query")


async def of_body(request: Request, type_: Any) -> Any:  # noqa: ANN401 - likewise
    """Return the body as `type_`; without one, a body is refused. Raises BadRequest, TooBig."""
    if type_ is None:
        if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
            raise BadRequest({"body": "this takes none"})
        return None
    content = await _read(request)
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not content:
        return _converted({}, type_, "body")
    if media == FORM:
        return _converted(_form(content, type_), type_, "body")
    if media == JSON:
        return _converted(_json(content), type_, "body")
    raise BadRequest({"content-type": f"a body is {JSON} or {FORM}"})


async def _read(request: Request) -> bytes:
    declared = request.headers.get("content-length", "0")
    content = bytearray()
    if len(declared) < 20 and int(declared) <= BODY_LIMIT:  # h11 has checked that these are digits
        async for chunk in request.stream():
            content += chunk
            if len(content) > BODY_LIMIT:
                break
        else:
            return bytes(content)
    raise TooBig(f"the body is longer than {BODY_LIMIT} bytes")


def _json(content: bytes) -> object:
    try:
        found: object = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest({"body": f"not JSON: {error}"}) from error
    return found


def _form(content: bytes, type_: Any) -> Pairs:  # noqa: ANN401 - likewise
    try:
        return _pairs(content.decode("ascii"), type_)
    except UnicodeDecodeError as error:
        raise BadRequest({"body": "not a form: bytes beyond ASCII are to be written as %XX"}) from error


def _pairs(text: str, type_: Any) -> Pairs:  # noqa: ANN401 - likewise
    """Return what a query or a form says. Raises BadRequest for what it says twice, unless that may be a list."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_LIMIT)
    except ValueError as error:
        raise BadRequest({"parameters": f"up to {_FIELDS_LIMIT}, as name=value in UTF-8: {error}"}) from error
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    lists = _lists(type_)
    twice = [name for name, values in found.items() if len(values) > 1 and name not in lists]
    if twice:
        raise BadRequest(dict.fromkeys(twice, "given more than once"))
    return {
        name: values if lists.get(name) == "list" or len(values) > 1 else values[0] for name, values in found.items()
    }


@cache
def _lists(type_: Any) -> Mapping[str, str]:  # noqa: ANN401 - likewise
    """Return which fields of a Struct may be a list: `list`, or `either` where a single text will do as well."""
    found = {}
    for field in () if type_ is None else inspect.type_info(type_).fields:  # type: ignore[attr-defined]
        kinds = [type(kind) for kind in _alternatives(field.type)]
        if inspect.ListType in kinds or inspect.VarTupleType in kinds:
            found[field.encode_name] = "either" if inspect.StrType in kinds else "list"
    return found


def _alternatives(type_: inspect.Type) -> Iterator[inspect.Type]:
    match type_:
        case inspect.Metadata():
            yield from _alternatives(type_.type)
        case inspect.UnionType():
            for kind in type_.types:
                yield from _alternatives(kind)
        case _:
            yield type_


def _one(name: str, text: str, type_: Any) -> Any:  # noqa: ANN401 - a type of the operation's
    try:
        return msgspec.convert(text, type_, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest({name: str(error)}) from error


def _converted(given: object, type_: Any, whole: str) -> Any:  # noqa: ANN401 - likewise
    # not strict: Proxmox's clients send every value as text, and 1 or 0 where JSON has true or false
    try:
        return msgspec.convert(given, type_, strict=False)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BadRequest(_problem(str(error), whole)) from error


def _problem(text: str, whole: str) -> dict[str, str]:
    """Return a complaint of msgspec's by the name of the parameter that it is about."""
    at = _AT.match(text)
    why, where = (at["why"], at["where"]) if at else (text, "")
    field = _FIELD.match(why)
    if field is None:
        return {where or whole: why}
    name = f"{where}.{field['name']}" if where else field["name"]
    return {name: "must be given" if field["what"] == "missing required" else "there is no such parameter"}
