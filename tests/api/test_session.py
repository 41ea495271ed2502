from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from pathfleet.api.operation import Call, operation
from pathfleet.api.session import IDLE_SECONDS, LIFE_SECONDS, PER_TOKEN, Sessions
from pathfleet.api.sign_in import OPERATIONS
from pathfleet.cluster.access import Role
from tests.api.site import Site, site


@operation("POST", "/change", needs=Role.AUDITOR, summary="s", tag="t")
async def change(call: Call) -> str:
    return call.principal.name


ALL = (*OPERATIONS, change)
PATH = "/access/session"


@pytest.fixture
async def here() -> AsyncIterator[Site]:
    async with site(operations=ALL) as found:
        yield found


@pytest.fixture
async def client(here: Site) -> AsyncIterator[httpx2.AsyncClient]:
    async with here.connected(None) as found:
        yield found


async def began(here: Site, client: httpx2.AsyncClient) -> dict[str, str]:
    """Sign in; return what the answer says."""
    response = await client.post(PATH, headers=here.headers())
    assert response.status_code == 200, response.text
    data: dict[str, str] = response.json()["data"]
    return data


async def test_a_token_presented_once_is_a_session_in_a_cookie_that_scripts_cannot_read(
    here: Site, client: httpx2.AsyncClient
) -> None:
    response = await client.post(PATH, headers=here.headers())
    name, _, attributes = response.headers["set-cookie"].partition("=")
    assert name == f"pathfleet-{here.endpoint.port}"
    assert "HttpOnly" in attributes
    assert "SameSite=strict" in attributes
    assert "Secure" not in attributes
    found = (await client.get(PATH)).json()["data"]
    assert found == {"name": "auditor-a", "role": "auditor", "node": "a", "csrf": response.json()["data"]["csrf"]}


async def test_over_tls_the_cookie_is_bound_to_it_and_to_this_host(tmp_path: Path) -> None:
    async with (
        site(operations=ALL, directory=tmp_path, api_address="localhost:8440") as here,
        here.connected(None) as client,
    ):
        cookie = (await client.post(PATH, headers=here.headers())).headers["set-cookie"]
        assert cookie.startswith("__Host-pathfleet-")
        assert "Secure" in cookie
        assert "Path=/" in cookie


async def test_a_change_by_cookie_needs_the_session_s_own_header(here: Site, client: httpx2.AsyncClient) -> None:
    csrf = (await began(here, client))["csrf"]
    assert (await client.post("/change")).status_code == 403
    assert (await client.post("/change", headers={"X-Pathfleet-CSRF": "another"})).status_code == 403
    assert (await client.post("/change", headers={"X-Pathfleet-CSRF": csrf})).json() == {"data": "auditor-a"}


async def test_a_change_by_token_needs_none(here: Site, client: httpx2.AsyncClient) -> None:
    assert (await client.post("/change", headers=here.headers())).status_code == 200


async def test_a_session_is_no_token_to_sign_in_with(here: Site, client: httpx2.AsyncClient) -> None:
    csrf = (await began(here, client))["csrf"]
    assert (await client.post(PATH, headers={"X-Pathfleet-CSRF": csrf})).status_code == 400


async def test_a_wrong_token_begins_nothing(client: httpx2.AsyncClient) -> None:
    response = await client.post(PATH, headers={"authorization": "Bearer wrong"})
    assert response.status_code == 401
    assert "set-cookie" not in response.headers


async def test_who_signs_out_is_nobody(here: Site, client: httpx2.AsyncClient) -> None:
    csrf = (await began(here, client))["csrf"]
    name = f"pathfleet-{here.endpoint.port}"
    kept = client.cookies[name]
    assert (await client.delete(PATH, headers={"X-Pathfleet-CSRF": csrf})).status_code == 200
    client.cookies.set(name, kept)
    assert (await client.get(PATH)).status_code == 401


async def test_a_session_ends_with_its_token(here: Site, client: httpx2.AsyncClient) -> None:
    await began(here, client)
    await here.service.access.remove("auditor-a")
    # the tokens are read again after a second
    here.service.access._looked = float("-inf")
    assert (await client.get(PATH)).status_code == 401


async def test_a_made_up_cookie_is_nobody_s(here: Site, client: httpx2.AsyncClient) -> None:
    client.cookies.set(f"pathfleet-{here.endpoint.port}", "made-up")
    assert (await client.get(PATH)).status_code == 401


class Asked:
    """As much of a request as a session looks at."""

    def __init__(self, id_: str) -> None:
        self.cookies = {"pathfleet-1": id_}
        self.scope = {"server": ("", 1)}
        self.url = httpx2.URL("http://a")


def test_a_session_ends_when_it_is_not_used_and_after_its_life() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    asked = Asked(sessions.begin("token")[0])
    now[0] = IDLE_SECONDS - 1
    assert sessions.of(asked)  # type: ignore[arg-type]
    now[0] += IDLE_SECONDS
    assert sessions.of(asked) is None  # type: ignore[arg-type]

    asked = Asked(sessions.begin("token")[0])
    end = now[0] + LIFE_SECONDS
    while now[0] < end - IDLE_SECONDS:
        now[0] += IDLE_SECONDS / 2
        assert sessions.of(asked)  # type: ignore[arg-type]
    now[0] = end
    assert sessions.of(asked) is None  # type: ignore[arg-type]


def test_a_token_has_so_many_sessions_and_no_more() -> None:
    sessions = Sessions(lambda: 0.0)
    others = Asked(sessions.begin("other")[0])
    all_ = [Asked(sessions.begin("token")[0]) for _ in range(PER_TOKEN + 1)]
    assert sum(sessions.of(asked) is not None for asked in all_) == PER_TOKEN  # type: ignore[arg-type]
    assert sessions.of(others)  # type: ignore[arg-type]
    assert len(sessions._by_id) == PER_TOKEN + 1


def test_what_is_kept_opens_nothing() -> None:
    sessions = Sessions(lambda: 0.0)
    id_, _ = sessions.begin("token")
    assert id_ not in sessions._by_id
    assert sessions.of(Asked(next(iter(sessions._by_id)))) is None  # type: ignore[arg-type]
