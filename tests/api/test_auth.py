from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from pathfleet.api import auth
from pathfleet.api.operation import Call, operation
from pathfleet.cluster.access import GRACE_SECONDS, Access, Role, digest
from pathfleet.core import node, wire
from pathfleet.core.node import NodeInfo, Versions
from pathfleet.store import Store
from tests.api.site import Site, site, until
from tests.fakes import MemoryStore


@operation("GET", "/who", needs=Role.AUDITOR, summary="s", tag="t")
async def who(call: Call) -> dict[str, str]:
    return {"name": call.principal.name, "role": call.principal.role}


@operation("POST", "/who", needs=Role.OPERATOR, summary="s", tag="t")
async def change(call: Call) -> str:
    return call.principal.name


@operation("DELETE", "/who", needs=Role.ADMIN, summary="s", tag="t")
async def remove(call: Call) -> str:
    return call.principal.name


@operation("GET", "/version", needs=None, summary="s", tag="t")
async def version(_: Call) -> str:
    return "1"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(directory=tmp_path, operations=(who, change, remove, version)) as found:
        yield found


@pytest.fixture
async def client(here: Site) -> AsyncIterator[httpx2.AsyncClient]:
    async with here.connected(None) as found:
        yield found


async def asked(client: httpx2.AsyncClient, authorization: str, path: str = "/who") -> httpx2.Response:
    return await client.get(path, headers={"Authorization": authorization})


async def test_without_a_token_there_is_nothing_but_what_needs_none(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/version")).status_code == 200
    response = await client.get("/who")
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert "pathfleet token add" in response.json()["message"]


@pytest.mark.parametrize(
    "form", ["Bearer {}", "bearer  {}", "PVEAPIToken=root@pam!auditor-a={}", "PVEAPIToken=x!auditor-a={}"]
)
async def test_a_token_is_sent_as_a_bearer_s_or_as_proxmox_s_clients_do(
    here: Site, client: httpx2.AsyncClient, form: str
) -> None:
    response = await asked(client, form.format(here.tokens[Role.AUDITOR]))
    assert response.json() == {"data": {"name": "auditor-a", "role": "auditor"}}


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "Basic {}",
        "Bearer",
        "Bearer {}x",
        "Bearer x{}",
        "PVEAPIToken=root@pam!admin-a={}",
        "PVEAPIToken=auditor-a={}",
        "PVEAPIToken={}",
        "PathfleetNode a:{}",
        "PathfleetNode :{}",
        "Bearer " + "x" * 300,
    ],
)
async def test_what_is_no_token_lets_nobody_in(here: Site, client: httpx2.AsyncClient, form: str) -> None:
    assert (await asked(client, form.format(here.tokens[Role.AUDITOR]))).status_code == 401


@pytest.mark.parametrize(
    ("role", "statuses"), [("auditor", (200, 403, 403)), ("operator", (200, 200, 403)), ("admin", (200, 200, 200))]
)
async def test_each_role_may_what_it_may(
    here: Site, client: httpx2.AsyncClient, role: str, statuses: tuple[int, ...]
) -> None:
    headers = here.headers(Role(role))
    found = [(await client.request(method, "/who", headers=headers)) for method in ("GET", "POST", "DELETE")]
    assert tuple(response.status_code for response in found) == statuses
    if role == "auditor":
        assert "auditor-a is auditor" in found[1].json()["message"]
        assert "needs operator" in found[1].json()["message"]


async def test_who_asks_for_a_change_is_in_the_log(here: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pathfleet.api")
    async with here.connected(Role.OPERATOR) as client:
        await client.post("/who")
    assert "api-asked by=operator-a method=POST path=/api2/json/who" in caplog.text


async def test_at_the_unix_socket_root_and_the_agent_s_user_are_admins(here: Site) -> None:
    async with here.local() as local:
        response = await local.get("/who")
    assert response.json() == {"data": {"name": f"uid-{os.geteuid()}", "role": "admin"}}


async def introduced(store: Store, token_hash: str | None) -> None:
    info = NodeInfo("running", 1, Versions(), api_token_hash=token_hash)
    await store.put(node.KEY, wire.stamp(node.content(info), 1))


async def test_another_node_may_read_with_the_secret_whose_hash_it_published(
    here: Site, client: httpx2.AsyncClient
) -> None:
    async with MemoryStore("b", here.store.memory) as b, MemoryStore("c", here.store.memory) as c:
        await introduced(b, digest("of-b"))
        await introduced(c, None)
        await until(lambda: {"b", "c"} <= {*here.service.live.columns})
        response = await asked(client, "PathfleetNode b:of-b")
        assert response.json() == {"data": {"name": "node-b", "role": "auditor"}}
        for wrong in ("b:of-c", "c:of-b", "d:of-b", "c:", "b:" + digest("of-b")):
            assert (await asked(client, f"PathfleetNode {wrong}")).status_code == 401


async def test_wrong_secrets_are_counted_for_their_address_and_the_right_one_still_passes(
    here: Site, client: httpx2.AsyncClient
) -> None:
    statuses = [(await asked(client, "Bearer wrong")).status_code for _ in range(auth.FAILURES + 1)]
    assert statuses == [401] * auth.FAILURES + [429]
    response = await asked(client, "Bearer wrong")
    assert 1 <= int(response.headers["retry-after"]) <= auth.WINDOW_SECONDS + 1
    assert (await client.get("/who", headers=here.headers())).status_code == 200
    assert (await client.get("/who")).status_code == 401


async def test_no_secret_is_in_the_log_or_in_an_answer(
    here: Site, client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "pathfleet")
    answers = [
        (await asked(client, f"Bearer {'wrong-secret'}")).text,
        (await asked(client, f"PathfleetNode b:{'wrong-secret'}")).text,
        (await client.get("/who", headers=here.headers())).text,
    ]
    for secret in ("wrong-secret", *here.tokens.values()):
        assert secret not in caplog.text
        assert not any(secret in answer for answer in answers)
    assert "secret-refused address=127.0.0.1" in caplog.text


async def test_a_flood_of_addresses_is_remembered_in_bounds() -> None:
    async with MemoryStore() as store:
        doorkeeper = auth.Doorkeeper(Access(store), dict)
        for number in range(5000):
            doorkeeper._refusal(f"address-{number}")
        assert len(doorkeeper._failures) == 1024


async def test_while_the_store_is_away_the_tokens_count_for_a_while_and_then_nobody_knows(
    here: Site, client: httpx2.AsyncClient
) -> None:
    assert (await client.get("/who", headers=here.headers())).status_code == 200
    here.store.memory.lost = True
    here.service.access._looked -= 2
    assert (await client.get("/who", headers=here.headers())).status_code == 200
    here.service.access._looked -= GRACE_SECONDS
    here.service.access._read -= GRACE_SECONDS + 1
    response = await client.get("/who", headers=here.headers())
    assert response.status_code == 503
    assert "taken away" in response.json()["message"]
    assert (await client.get("/version")).status_code == 200
    async with here.local() as local:
        assert (await local.get("/who")).status_code == 200
    here.store.memory.regain()
