"""The document says what the server does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from pathfleet.api import openapi
from pathfleet.api.operation import Call, operation
from pathfleet.api.server import OPERATIONS
from pathfleet.cluster.access import Role
from tests.api.site import site


class Filter(Struct, frozen=True, rename="kebab"):
    only_bad: bool = False
    limit: Annotated[int, Meta(ge=1)] | None = None


class Change(Struct, frozen=True, rename="kebab", forbid_unknown_fields=True):
    user_name: str


class Thing(Struct, frozen=True, rename="kebab"):
    user_name: str


@operation("GET", "/things/{name}", needs=Role.AUDITOR, summary="Show it", tag="things")
async def show(_: Call, name: Annotated[str, Meta(pattern="^[a-z]+$")], query: Filter) -> Thing:
    """Show a thing,
    all of it.
    """
    return Thing(f"{name}{query.limit}")


@operation("PUT", "/things/{name}", needs=Role.ADMIN, summary="Change it", tag="things")
async def change(_: Call, name: str, body: Change) -> None:
    assert name, body


@operation("GET", "/version", needs=None, summary="Version", tag="api")
async def version(_: Call) -> str:
    return "1"


BOOLEAN = [True, False, 1, 0]
DOCUMENT = openapi.document((show, change, version))
SHOW, CHANGE = DOCUMENT["paths"]["/things/{name}"]["get"], DOCUMENT["paths"]["/things/{name}"]["put"]


def test_an_operation_is_described_by_its_function() -> None:
    assert (SHOW["operationId"], SHOW["tags"], SHOW["summary"]) == ("get-things-name", ["things"], "Show it")
    assert SHOW["description"] == "Show a thing, all of it."
    assert (SHOW["x-role"], CHANGE["x-role"]) == ("auditor", "admin")


def test_parameters_have_their_kebab_names_and_limits() -> None:
    assert SHOW["parameters"] == [
        {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[a-z]+$"}},
        {"name": "only-bad", "in": "query", "required": False, "schema": {"default": False, "enum": BOOLEAN}},
        {"name": "limit", "in": "query", "required": False, "schema": {"type": "integer", "minimum": 1}},
    ]  # fmt: skip


def test_a_body_may_be_json_or_a_form() -> None:
    assert CHANGE["requestBody"]["required"] is True
    assert set(CHANGE["requestBody"]["content"]) == {"application/json", "application/x-www-form-urlencoded"}


def test_answers_and_errors_are_in_the_envelope() -> None:
    schema = SHOW["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema["properties"] == {"data": {"$ref": "#/components/schemas/Thing"}}
    assert DOCUMENT["components"]["schemas"]["Thing"]["required"] == ["user-name"]
    for status in ("400", "401", "403", "404", "429", "500", "503"):
        assert SHOW["responses"][status]["content"]["application/json"]["schema"] == {
            "$ref": "#/components/schemas/Failure"
        }


def test_what_needs_no_token_says_so() -> None:
    described = DOCUMENT["paths"]["/version"]["get"]
    assert described["security"] == []
    assert "401" not in described["responses"]
    assert SHOW["security"] == [{"token": []}, {"proxmox": []}]


def test_two_operations_with_one_name_are_a_mistake_at_once() -> None:
    with pytest.raises(ValueError, match="one name"):
        openapi.document((version, version))


def test_only_the_version_needs_no_token() -> None:
    assert [operation.path for operation in OPERATIONS if operation.needs is None] == ["/version"]


def test_who_changes_something_is_no_auditor() -> None:
    changing = [
        each
        for each in OPERATIONS
        if each.method != "GET" and each.tag != "access" and not each.path.endswith("/lint")
    ]
    assert [each.path for each in changing if each.needs not in (Role.OPERATOR, Role.ADMIN)] == []


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_names_are_in_kebab_case(each: Any) -> None:
    described = openapi.document((each,))
    names = [parameter["name"] for parameter in _one(described)["parameters"]]
    for schema in described["components"]["schemas"].values():
        names += schema.get("properties", {})
    assert [name for name in names if "_" in name or name != name.lower()] == []


def _one(described: dict[str, Any]) -> dict[str, Any]:
    (by_method,) = described["paths"].values()
    (found,) = by_method.values()
    return dict(found)


async def test_the_document_is_served_as_it_is_to_who_has_a_token(tmp_path: Path) -> None:
    async with site(directory=tmp_path) as here, here.connected() as client, here.connected(None) as stranger:
        response = await client.get("/openapi.json")
        assert (await stranger.get("/openapi.json")).status_code == 401
    assert response.json() == json.loads(json.dumps(openapi.document(OPERATIONS)))
    assert response.json()["openapi"] == "3.1.0"
