from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pathfleet.cluster.access import FILE, Access, Principal, Role
from pathfleet.store.sqlite import SQLiteStore
from tests.cli.commands import Ran, run, run_beside


@pytest.fixture
def place(tmp_path: Path) -> dict[str, Any]:
    return {"node": "n1", "state_directory": str(tmp_path)}


async def verified(place: dict[str, Any], secret: str) -> Principal | None:
    async with SQLiteStore(Path(place["state_directory"]) / "cluster.db") as store:
        return await Access(store).verify(secret)


def rows(place: dict[str, Any]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(run("token", "list", "-o", "json", **place).out)
    return found


def add(place: dict[str, Any], *arguments: str) -> Ran:
    return run("token", "add", *arguments, **place)


async def test_the_secret_that_is_printed_counts_and_stands_nowhere_else(place: dict[str, Any]) -> None:
    ran = await run_beside("token", "add", "page", "--role", "operator", **place)
    assert ran.code == 0
    secret = ran.out.removesuffix("\n")
    assert await verified(place, secret) == Principal("page", Role.OPERATOR)
    assert secret not in ran.err
    async with SQLiteStore(Path(place["state_directory"]) / "cluster.db") as store:
        file = await store.read(FILE)
    assert file is not None
    assert secret.encode() not in file.content


def test_how_to_use_it_is_said_beside_it(place: dict[str, Any]) -> None:
    err = add(place, "page", "--role", "auditor").err
    assert 'curl --header "Authorization: Bearer $SECRET" http://127.0.0.1:8440/api2/json/cluster/status' in err
    assert "PVEAPIToken=root@pam!page=$SECRET" in err


def test_with_tls_the_certificate_that_vouches_for_itself_is_named(place: dict[str, Any]) -> None:
    err = add({**place, "api_listen": "192.0.2.7:8440"}, "page", "--role", "auditor").err
    assert f"--cacert {place['state_directory']}/api.crt https://192.0.2.7:8440/api2/json/cluster/status" in err


def test_tokens_are_listed_without_secret_or_hash(place: dict[str, Any]) -> None:
    add(place, "robot", "--role", "admin", "--expires", "2", "--comment", "nightly\x1b[2J")
    add(place, "page", "--role", "auditor")
    found = rows(place)
    assert [(row["name"], row["role"], row["comment"]) for row in found] == [
        ("page", "auditor", None),
        ("robot", "admin", "nightly\x1b[2J"),
    ]
    created, expires = found[1]["created"], found[1]["expires"]
    assert isinstance(created, int)
    assert expires == created + 2 * 86400
    assert set(found[0]) == {"name", "role", "created", "expires", "expired", "comment"}
    table = run("token", "list", **place).out
    assert "\x1b" not in table
    assert table.splitlines()[0].split() == ["NAME", "ROLE", "CREATED", "EXPIRES", "COMMENT"]


async def test_a_removed_token_counts_no_more(place: dict[str, Any]) -> None:
    secret = (await run_beside("token", "add", "page", "--role", "auditor", **place)).out.strip()
    assert (await run_beside("token", "remove", "page", **place)).code == 0
    assert await verified(place, secret) is None


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("add", "page"), 64, "--role"),
        (("add", "page", "--role", "king"), 64, "king"),
        (("add", "page", "--role", "admin", "--expires", "0"), 64, "expires"),
        (("add", "a b", "--role", "admin"), 64, "name: letters"),
        (("remove", "nobody"), 69, "there is no token 'nobody'"),
    ],
)
def test_what_cannot_be_is_refused(place: dict[str, Any], arguments: tuple[str, ...], code: int, says: str) -> None:
    ran = run("token", *arguments, **place)
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err


def test_a_name_is_given_once(place: dict[str, Any]) -> None:
    add(place, "page", "--role", "auditor")
    ran = add(place, "page", "--role", "admin")
    assert (ran.code, ran.out) == (69, "")
    assert rows(place)[0]["role"] == "auditor"
