"""The configuration over the API: what is read, what is changed, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from pathfleet.api import configure
from pathfleet.api.openapi import document
from pathfleet.api.server import OPERATIONS
from pathfleet.cluster.access import Role
from pathfleet.core import configuration, roll, schema
from pathfleet.core.property import Property
from pathfleet.store import File
from tests.api.site import Site, site
from tests.fakes import Memory

LUN = "3600a098038314c6c6e3f4b6f4c6c5a30"
OTHER = "3600a098038314c6c6e3f4b6f4c6c5a31"
CFG = f"defaults: defaults\n\tno-path-retry 12\n\nwwid: {LUN}\n\talias db\n\n"
DIGEST = configuration.digest(CFG.encode())
EMPTY = configuration.digest(b"")
ROOT = "/cluster/multipath"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Site]:
    memory = Memory(files={configuration.FILE: File(CFG.encode(), "c1")})
    async with site(directory=tmp_path, memory=memory) as there:
        yield there


@pytest.fixture
async def client(served: Site) -> AsyncIterator[httpx2.AsyncClient]:
    async with served.connected(Role.ADMIN) as there:
        yield there


async def said(client: httpx2.AsyncClient) -> Any:
    answer = await client.get(ROOT)
    assert answer.status_code == 200
    return answer.json()["data"]


async def test_the_whole_configuration_is_read_with_its_digests(client: httpx2.AsyncClient) -> None:
    found = await said(client)
    assert found["defaults"] == {"no-path-retry": "12"}
    assert found["wwids"] == {LUN: {"alias": "db"}}
    assert (found["digest"], found["overrides-digest"], found["combined-digest"]) == (DIGEST, EMPTY, DIGEST)


async def test_the_properties_are_told_as_the_table_has_them(client: httpx2.AsyncClient) -> None:
    told = (await client.get(f"{ROOT}/properties")).json()["data"]
    assert msgspec.convert(told, tuple[Property, ...]) == schema.PROPERTIES
    assert {"in-defaults", "in-wwid", "newer-words"} <= told[0].keys()


@pytest.mark.parametrize("as_form", [True, False])
async def test_defaults_are_changed_and_unset_from_json_and_from_forms(
    client: httpx2.AsyncClient, as_form: bool
) -> None:
    sent = {"digest": DIGEST, "polling-interval": "3", "detect-prio": "1", "delete": "no-path-retry"}
    given: dict[str, Any] = {"data": sent} if as_form else {"json": sent}
    answer = await client.put(f"{ROOT}/defaults", **given)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert data["written"]
    assert (await client.get(f"{ROOT}/defaults")).json()["data"] == {
        "polling-interval": "3",
        "detect-prio": "yes",
        "digest": data["digest"],
    }


async def test_numbers_and_booleans_of_json_are_taken_for_their_words(client: httpx2.AsyncClient) -> None:
    sent = {"digest": DIGEST, "polling-interval": 3, "skip-kpartx": True, "delete": ["no-path-retry"]}
    assert (await client.put(f"{ROOT}/defaults", json=sent)).status_code == 200
    assert (await said(client))["defaults"] == {"polling-interval": "3", "skip-kpartx": "yes"}


@pytest.mark.parametrize(
    ("method", "path", "sent", "named"),
    [
        ("PUT", "defaults", {"failback": "manual"}, "digest"),
        ("PUT", "defaults", {"digest": DIGEST, "polling-interval": 0}, "polling-interval"),
        ("PUT", "defaults", {"digest": DIGEST, "no-such": 1}, "no-such"),
        ("PUT", "defaults", {"digest": DIGEST, "alias": "x"}, "alias"),
        ("PUT", "defaults", {"digest": DIGEST, "delete": "no-such"}, "no-such"),
        ("PUT", "defaults", {"digest": DIGEST, "failback": "manual", "delete": "failback"}, "failback"),
        ("POST", "wwid", {"digest": DIGEST}, "wwid"),
        ("POST", "wwid", {"digest": DIGEST, "wwid": LUN}, "wwid"),
        ("POST", "wwid", {"digest": DIGEST, "wwid": "defaults"}, "wwid"),
        ("POST", "wwid", {"digest": DIGEST, "wwid": OTHER, "alias": "db"}, "alias"),
        ("PUT", f"wwid/{LUN}", {"digest": DIGEST, "polling-interval": 5}, "polling-interval"),
        ("POST", f"wwid/{LUN}/alias", {"digest": DIGEST}, "alias"),
        ("POST", f"wwid/{LUN}/alias", {"digest": DIGEST, "alias": "a/b"}, "alias"),
        ("PUT", "overrides", {"digest": EMPTY}, "content"),
        ("PUT", "overrides", {"digest": EMPTY, "content": "defaults {\n}\n"}, "content"),
    ],
)
async def test_what_cannot_be_used_is_refused_by_its_name_and_nothing_changes(
    client: httpx2.AsyncClient, method: str, path: str, sent: dict[str, object], named: str
) -> None:
    answer = await client.request(method, f"{ROOT}/{path}", json=sent)
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [named]
    assert (await said(client))["digest"] == DIGEST


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("PUT", "defaults", {"failback": "manual"}),
        ("POST", "wwid", {"wwid": OTHER}),
        ("PUT", f"wwid/{LUN}", {"prio": "alua"}),
        ("POST", f"wwid/{LUN}/alias", {"alias": "new"}),
        ("PUT", "overrides", {"content": ""}),
    ],
)
async def test_a_stale_digest_is_a_conflict_and_changes_nothing(
    client: httpx2.AsyncClient, method: str, path: str, sent: dict[str, object]
) -> None:
    answer = await client.request(method, f"{ROOT}/{path}", json=sent | {"digest": "0" * 40})
    assert answer.status_code == 409
    assert "read it again" in answer.json()["message"]
    assert (await said(client))["digest"] == DIGEST


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR])
async def test_only_an_admin_changes_the_configuration(served: Site, role: Role) -> None:
    async with served.connected(role) as client:
        answer = await client.put(f"{ROOT}/defaults", json={"digest": DIGEST, "failback": "manual"})
        assert answer.status_code == 403
        assert (await said(client))["digest"] == DIGEST


async def test_a_lun_is_added_changed_named_and_removed(client: httpx2.AsyncClient) -> None:
    digest = DIGEST
    for method, path, sent in (
        ("POST", "wwid", {"wwid": OTHER, "prio": "alua"}),
        ("PUT", f"wwid/{OTHER}", {"no-path-retry": "queue", "delete": "prio"}),
        ("POST", f"wwid/{OTHER}/alias", {"alias": "data"}),
    ):
        answer = await client.request(method, f"{ROOT}/{path}", json=sent | {"digest": digest})
        assert answer.status_code == 200, answer.text
        digest = answer.json()["data"]["digest"]
    found = (await client.get(f"{ROOT}/wwid/{OTHER}")).json()["data"]
    assert found == {"wwid": OTHER, "no-path-retry": "queue", "alias": "data", "digest": digest}
    answer = await client.delete(f"{ROOT}/wwid/{OTHER}", params={"digest": digest})
    assert answer.status_code == 200, answer.text
    assert (await said(client))["digest"] == DIGEST


@pytest.mark.parametrize("method", ["PUT", "DELETE", "GET"])
async def test_a_lun_that_is_not_there_is_not_found(client: httpx2.AsyncClient, method: str) -> None:
    given: dict[str, Any] = {
        "PUT": {"json": {"digest": DIGEST}},
        "DELETE": {"params": {"digest": DIGEST}},
        "GET": {},
    }[method]
    answer = await client.request(method, f"{ROOT}/wwid/{OTHER}", **given)
    assert answer.status_code == 404
    assert OTHER in answer.json()["message"]


async def test_a_lun_that_a_storage_uses_is_removed_only_by_force(served: Site, client: httpx2.AsyncClient) -> None:
    storage = f"multipath: san\n\tcontent none\n\nlvm: vg\n\tvgname vg\n\tbase san:{LUN}\n\n"
    served.store.memory.files["storage.cfg"] = File(storage.encode(), "s1")
    answer = await client.delete(f"{ROOT}/wwid/{LUN}", params={"digest": DIGEST})
    assert answer.status_code == 409
    assert "used by storage vg" in answer.json()["message"]
    answer = await client.delete(f"{ROOT}/wwid/{LUN}", params={"digest": DIGEST, "force": "1"})
    assert answer.status_code == 200


async def test_overrides_have_a_digest_of_their_own(client: httpx2.AsyncClient) -> None:
    text = 'blacklist {\n\tdevnode "^sda$"   \n}\n\n'
    answer = await client.put(f"{ROOT}/overrides", json={"digest": EMPTY, "content": text})
    assert answer.status_code == 200, answer.text
    found = (await client.get(f"{ROOT}/overrides")).json()["data"]
    assert found["content"] == 'blacklist {\n\tdevnode "^sda$"\n}\n'
    assert found["digest"] == answer.json()["data"]["overrides-digest"]
    assert (await said(client))["digest"] == DIGEST


async def test_the_errors_of_overrides_are_named_by_line(client: httpx2.AsyncClient) -> None:
    text = "blacklist {\n\tfrobnicate x\n}\n"
    answer = await client.put(f"{ROOT}/overrides", json={"digest": EMPTY, "content": text})
    assert answer.json()["errors"]["content"].startswith("line 2: ")
    answer = await client.post(f"{ROOT}/overrides/lint", json={"content": text})
    assert [(each["severity"], each["line"]) for each in answer.json()["data"]] == [("error", 2)]


async def test_a_dry_run_tells_what_nodes_would_render_and_writes_nothing(client: httpx2.AsyncClient) -> None:
    sent = {"digest": DIGEST, "failback": "manual", "dry-run": True}
    data = (await client.put(f"{ROOT}/defaults", json=sent)).json()["data"]
    assert not data["written"]
    assert '+\tfailback "manual"' in data["diff"]
    assert (await said(client))["digest"] == DIGEST


async def test_at_once_is_for_this_change_alone(served: Site, client: httpx2.AsyncClient) -> None:
    sent: dict[str, object] = {"digest": DIGEST, "failback": "manual", "at-once": 1}
    digest = (await client.put(f"{ROOT}/defaults", data=sent)).json()["data"]["digest"]
    files = served.store.memory.files
    assert roll.decode(files[roll.FILE].content) == roll.Roll(digest, at_once=True)
    sent = {"digest": digest, "failback": "immediate"}
    digest = (await client.put(f"{ROOT}/defaults", json=sent)).json()["data"]["digest"]
    assert roll.decode(files[roll.FILE].content) == roll.Roll(digest)


SCHEMAS = document(OPERATIONS)["components"]["schemas"]


@pytest.mark.parametrize("row", schema.PROPERTIES, ids=lambda row: row.name)
def test_the_documentation_has_every_property_where_it_can_be_set(row: Property) -> None:
    for name, there in (("DefaultsChange", row.in_defaults), ("LunChange", row.in_wwid), ("NewLun", row.in_wwid)):
        field = SCHEMAS[name]["properties"].get(row.name)
        assert (field is not None) == there
        if field is not None:
            assert row.help in field["description"]
            assert row.allowed in field["description"]


@pytest.mark.parametrize(
    "row", [row for row in schema.PROPERTIES if row.minimum is not None], ids=lambda row: row.name
)
def test_the_documentation_has_the_range_of_a_number(row: Property) -> None:
    fields = SCHEMAS["DefaultsChange" if row.in_defaults else "LunChange"]["properties"]
    assert {"type": "integer", "minimum": row.minimum, "maximum": row.maximum} in fields[row.name]["anyOf"]


@pytest.mark.parametrize("row", [row for row in schema.PROPERTIES if row.in_defaults], ids=lambda row: row.name)
def test_every_word_and_number_is_taken_from_a_body_as_it_is(row: Property) -> None:
    words = [row.fixed] if row.fixed else [*row.words]
    for value in [*words, *([row.maximum, str(row.maximum)] if row.maximum is not None else [])]:
        body = msgspec.convert({"digest": "x", row.name: value}, configure.DefaultsChange, strict=False)
        assert body.values == {row.name: str(value)}
        assert schema.check(row.name, body.values[row.name]) == str(value)


def test_every_change_needs_the_digest() -> None:
    for operation in configure.OPERATIONS:
        if operation.handler.__name__ != "lint":
            fields = SCHEMAS[operation.body.__name__] if operation.body else None
            assert fields is None or "digest" in fields["required"]
