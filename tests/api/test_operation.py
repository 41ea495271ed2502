"""What every operation has in common, seen by a client over a real connection."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
from msgspec import Meta, Struct
from starlette.responses import Response, StreamingResponse

from pathfleet.api.operation import Call, Handler, Method, Operation, operation
from pathfleet.api.parameters import BODY_LIMIT
from pathfleet.cluster.access import Role
from pathfleet.errors import Conflict, NotFound, StoreUnavailable
from tests.api.site import Site, site

Name = Annotated[str, Meta(pattern="^[a-z]+$")]


class Filter(Struct, frozen=True, rename="kebab"):
    only_bad: bool = False
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    word: str | None = None


class Names(Struct, frozen=True):
    names: list[str] = []
    delete: Annotated[str | tuple[str, ...], Meta(description="d")] = ""


class Change(Struct, frozen=True, rename="kebab", forbid_unknown_fields=True):
    user_name: str
    enabled: bool = True
    retries: int | None = None


def op(method: Method, path: str, needs: Role | None = Role.AUDITOR) -> Callable[[Handler], Operation]:
    return operation(method, path, needs=needs, summary="s", tag="t")


@op("GET", "/things/{name}")
async def show(_: Call, name: Name, query: Filter) -> dict[str, Any]:
    return {"name": name, "only-bad": query.only_bad, "limit": query.limit, "word": query.word}


@op("PUT", "/things/{name}", Role.OPERATOR)
async def change(call: Call, name: Name, body: Change) -> dict[str, Any]:
    return {"name": name, "by": call.principal.name, "user": body.user_name, "on": body.enabled, "n": body.retries}


@op("DELETE", "/things/{name}", Role.ADMIN)
async def remove(_: Call, name: Name) -> None:
    assert name


@op("GET", "/names")
async def names_(_: Call, query: Names) -> Any:
    return [query.names, query.delete]


@op("GET", "/open", None)
async def open_(call: Call) -> str:
    return "anybody" if call.asker is None else "somebody"


@op("GET", "/large")
async def large(_: Call) -> list[str]:
    return ["x" * 100] * 2000


@op("GET", "/versioned")
async def versioned(call: Call) -> str:
    call.version('W/"boot-7"')
    return "seven"


@op("GET", "/stream")
async def stream(_: Call) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    return StreamingResponse(pieces(), media_type="text/plain")


@op("GET", "/fails/{why}")
async def fails(_: Call, why: str) -> None:
    raise {
        "gone": NotFound("there is no such thing"),
        "conflict": Conflict("digest changed: fetch, merge, retry"),
        "store": StoreUnavailable("the store cannot be reached"),
        "defect": RuntimeError("a secret of the program"),
    }[why]


OPERATIONS: tuple[Operation, ...] = (show, change, remove, names_, open_, large, versioned, stream, fails)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(directory=tmp_path, operations=OPERATIONS) as found:
        yield found


@pytest.fixture
async def client(here: Site) -> AsyncIterator[httpx2.AsyncClient]:
    async with here.connected(Role.ADMIN) as found:
        yield found


def errors(response: httpx2.Response) -> dict[str, str]:
    body = response.json()
    assert set(body) == {"data", "errors", "message", "code"}
    assert body["data"] is None
    assert body["message"]
    found: dict[str, str] = body["errors"]
    return found


async def test_an_answer_is_in_its_envelope(client: httpx2.AsyncClient) -> None:
    response = await client.get("/things/abc")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"data": {"name": "abc", "only-bad": False, "limit": 10, "word": None}}


@pytest.mark.parametrize(("text", "value"), [("1", True), ("0", False), ("true", True), ("false", False)])
async def test_a_boolean_may_be_a_number(client: httpx2.AsyncClient, text: str, value: bool) -> None:
    response = await client.get(f"/things/abc?only-bad={text}&limit=7&word=1")
    assert response.json()["data"] == {"name": "abc", "only-bad": value, "limit": 7, "word": "1"}


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/things/abc?colour=red", {"colour"}),
        ("/things/abc?only_bad=1", {"only_bad"}),
        ("/things/abc?limit=0", {"limit"}),
        ("/things/abc?limit=many", {"limit"}),
        ("/things/abc?only-bad=yes", {"only-bad"}),
        ("/things/abc?limit=1&limit=2", {"limit"}),
        ("/things/abc?word=%ff", {"parameters"}),
        ("/things/ABC", {"name"}),
        ("/open?x", {"x"}),
        ("/open?" + "&".join(f"x{i}=1" for i in range(300)), {"parameters"}),
    ],
)
async def test_what_cannot_be_used_is_refused_by_name(client: httpx2.AsyncClient, path: str, names: set[str]) -> None:
    response = await client.get(path)
    assert response.status_code == 400
    assert set(errors(response)) == names


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("names=a", [["a"], ""]),
        ("names=a&names=b&delete=x,y", [["a", "b"], "x,y"]),
        ("delete=x&delete=y", [[], ["x", "y"]]),
    ],
)
async def test_what_may_be_a_list_may_be_given_more_than_once(
    client: httpx2.AsyncClient, query: str, found: list[Any]
) -> None:
    assert (await client.get(f"/names?{query}")).json()["data"] == found


@pytest.mark.parametrize(
    "sent",
    [
        {"json": {"user-name": "x", "enabled": False, "retries": 3}},
        {"json": {"user-name": "x", "enabled": 0, "retries": 3}},
        {"data": {"user-name": "x", "enabled": "0", "retries": "3"}},
    ],
)
async def test_a_body_is_json_or_a_form(client: httpx2.AsyncClient, sent: dict[str, Any]) -> None:
    response = await client.put("/things/abc", **sent)
    assert response.json() == {"data": {"name": "abc", "by": "admin-a", "user": "x", "on": False, "n": 3}}


@pytest.mark.parametrize(
    ("sent", "names"),
    [
        ({}, {"user-name"}),
        ({"json": {}}, {"user-name"}),
        ({"json": {"user-name": 7}}, {"user-name"}),
        ({"json": {"user-name": "x", "retries": []}}, {"retries"}),
        ({"json": {"user-name": "x", "user_name": "x"}}, {"user_name"}),
        ({"json": []}, {"body"}),
        ({"data": {"user-name": ["x", "y"]}}, {"user-name"}),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, {"body"}),
        ({"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, {"body"}),
        ({"content": b'"\xff"', "headers": {"content-type": "application/json"}}, {"body"}),
        ({"content": b"\xff", "headers": {"content-type": "application/x-www-form-urlencoded"}}, {"body"}),
        ({"content": b"user-name", "headers": {"content-type": "text/plain"}}, {"content-type"}),
        ({"content": b"user-name"}, {"content-type"}),
    ],
)
async def test_a_body_that_cannot_be_used_is_refused_by_name(
    client: httpx2.AsyncClient, sent: dict[str, Any], names: set[str]
) -> None:
    response = await client.put("/things/abc", **sent)
    assert response.status_code == 400
    assert set(errors(response)) == names


async def test_where_no_body_is_wanted_none_is_taken(client: httpx2.AsyncClient) -> None:
    response = await client.request("DELETE", "/things/abc", json={"force": 1})
    assert response.status_code == 400
    assert set(errors(response)) == {"body"}
    assert (await client.delete("/things/abc")).json() == {"data": None}


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65536):
        yield b"x" * 65536


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_long_is_not_read(client: httpx2.AsyncClient, chunked: bool) -> None:
    size = BODY_LIMIT + 65536
    response = await client.put("/things/abc", content=chunks(size) if chunked else b"x" * size)
    assert response.status_code == 413
    assert errors(response) == {}
    assert (await client.get("/open")).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/fails/gone", 404, "not-found"),
        ("/fails/conflict", 409, "conflict"),
        ("/fails/store", 503, "store-unavailable"),
        ("/nothing", 404, "not-found"),
        ("/things/", 404, "not-found"),
    ],
)
async def test_an_error_has_its_status_and_its_code_and_says_why(
    client: httpx2.AsyncClient, path: str, status: int, code: str
) -> None:
    response = await client.get(path)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert errors(response) == {}


async def test_what_is_outside_of_the_api_is_nowhere(here: Site) -> None:
    async with here.connected() as client:
        response = await client.get(here.url + "/api2/json/etc/passwd")
    assert response.status_code == 404
    assert errors(response) == {}


async def test_a_defect_tells_the_log_and_not_the_client(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    response = await client.get("/fails/defect")
    assert (response.status_code, response.json()["code"]) == (500, "defect")
    assert "a secret of the program" not in response.text
    assert "a secret of the program" in caplog.text


async def test_another_method_is_refused_and_those_that_are_not_are_named(client: httpx2.AsyncClient) -> None:
    response = await client.post("/things/abc")
    assert response.status_code == 405
    assert response.headers["allow"] == "DELETE, GET, HEAD, PUT"
    assert errors(response) == {}


@pytest.mark.parametrize("path", ["/things/abc", "/stream"])
async def test_head_is_get_without_its_body(client: httpx2.AsyncClient, path: str) -> None:
    response = await client.head(path)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == (await client.get(path)).headers["content-type"]


async def test_a_stream_leaves_as_it_is(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/stream")).text == "onetwo"


@pytest.mark.parametrize(
    ("known", "status"),
    [
        ('W/"boot-7"', 304),
        ('"boot-7"', 304),
        ('"x", W/"boot-7"', 304),
        ("*", 304),
        ('W/"boot-6"', 200),
        ("boot-7", 200),
        ("", 200),
    ],
)
async def test_an_answer_that_is_known_is_not_sent_again(client: httpx2.AsyncClient, known: str, status: int) -> None:
    response = await client.get("/versioned", headers={"if-none-match": known})
    assert response.status_code == status
    assert response.headers["etag"] == 'W/"boot-7"'
    assert response.content == (b"" if status == 304 else b'{"data":"seven"}')


@pytest.mark.parametrize(
    ("accepted", "coded"),
    [("gzip", True), ("br;q=1, GZIP;q=0.5", True), ("identity", False), ("gzip;q=0", False), ("", False)],
)
async def test_a_large_answer_is_compressed_for_who_takes_it(
    client: httpx2.AsyncClient, accepted: str, coded: bool
) -> None:
    async with client.stream("GET", "/large", headers={"accept-encoding": accepted}) as response:
        raw = b"".join([piece async for piece in response.aiter_raw()])
    assert (response.headers.get("content-encoding") == "gzip") is coded
    assert response.headers["vary"] == "accept-encoding"
    assert len(json.loads(gzip.decompress(raw) if coded else raw)["data"]) == 2000


async def test_a_small_answer_is_never_compressed(client: httpx2.AsyncClient) -> None:
    response = await client.get("/open", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in response.headers


@pytest.mark.parametrize("path", ["/open", "/nothing", "/fails/defect", "/stream", "/versioned"])
async def test_every_answer_is_guarded(client: httpx2.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "date" in headers
    assert "server" not in headers


async def test_a_function_that_does_not_fit_its_path_is_a_mistake_at_once() -> None:
    async def other(_: Call, thing: str) -> None:
        assert thing

    async def unsure(_: Call, query) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        assert query

    class Loose(Struct):
        x: int

    async def loose(_: Call, body: Loose) -> None:
        assert body.x

    loose.__annotations__["body"] = Loose
    for handler in (other, unsure, loose):
        with pytest.raises(TypeError):
            op("GET", "/things/{name}" if handler is other else "/things")(handler)
