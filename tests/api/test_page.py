from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from pathfleet.api.application import application
from pathfleet.api.page import POLICY, Page

FILES = {
    "index.html": b"<!doctype html>" + b" " * 100,
    "icon.svg": b"<svg/>",
    "assets/index-abc.js": b"1",
}


def asking(page: Page) -> httpx2.AsyncClient:
    """Return a client of nothing but the page."""
    app = application(None, (), None, page)  # type: ignore[arg-type]
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://agent")


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with asking(Page(FILES)) as found:
        yield found


async def test_the_page_runs_nothing_but_its_own_files(client: httpx2.AsyncClient) -> None:
    response = await client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in POLICY
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_the_page_is_always_asked_for_anew_and_its_parts_never(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/")).headers["cache-control"] == "no-store"
    assert "immutable" in (await client.get("/assets/index-abc.js")).headers["cache-control"]
    assert "immutable" not in (await client.get("/icon.svg")).headers["cache-control"]


async def test_scripts_and_pictures_come_as_what_they_are(client: httpx2.AsyncClient) -> None:
    assert "javascript" in (await client.get("/assets/index-abc.js")).headers["content-type"]
    assert (await client.get("/icon.svg")).headers["content-type"] == "image/svg+xml"


async def test_it_is_compressed_for_who_takes_that(client: httpx2.AsyncClient) -> None:
    response = await client.get("/", headers={"accept-encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert response.content == FILES["index.html"]
    plain = await client.get("/", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize(
    "path", ["/nothing", "/assets/", "/index.html", "/sources.sha256", "/../pyproject.toml", "/assets/..%2findex.html"]
)
async def test_there_is_nothing_else(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_a_page_is_read_and_nothing_else(client: httpx2.AsyncClient) -> None:
    assert (await client.head("/")).status_code == 200
    response = await client.post("/")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"


async def test_what_the_api_does_not_have_is_an_error_of_the_api(client: httpx2.AsyncClient) -> None:
    response = await client.get("/api2/json/nothing")
    assert response.status_code == 404
    assert response.json()["data"] is None


async def test_without_a_built_page_it_is_said_how_to_get_one() -> None:
    async with asking(Page({})) as client:
        response = await client.get("/")
        assert response.status_code == 404
        assert "uv sync" in response.text
