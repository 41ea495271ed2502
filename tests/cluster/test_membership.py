from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pathfleet.cluster import departure, membership
from pathfleet.cluster.token import Token
from pathfleet.errors import SettingsError, StoreError
from pathfleet.store import open_store
from tests.cluster.etcd_nodes import Node

pytestmark = pytest.mark.skipif(
    not (shutil.which("etcd") and shutil.which("openssl")), reason="needs etcd: apt install etcd-server openssl"
)


def say(_: str) -> None:
    """Nobody waits."""


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    made = [Node(tmp_path, name, number) for number, name in enumerate(("a", "b", "c"), 11)]
    yield made
    for node in made:
        node.end()


async def _init(node: Node) -> None:
    await membership.init(node.machine, node.name, node.address, say)


async def _token(node: Node, new: Node) -> Token:
    return Token.parse((await membership.token(node.machine, new.name, new.address, say)).text())


async def _let_in(node: Node, new: Node) -> None:
    await membership.join(new.machine, new.name, await _token(node, new), say)


def _url(node: Node) -> str:
    record = node.machine.record()
    assert record is not None
    return node.machine.store_url(record.endpoints)


async def test_three_nodes_come_share_a_store_and_one_leaves(nodes: list[Node]) -> None:
    a, b, c = nodes
    await _init(a)
    await _let_in(a, b)
    await _let_in(a, c)
    seen = await membership.members(b.machine)
    assert sorted((member.name, member.state, member.healthy) for member in seen) == [
        ("a", "started", True), ("b", "started", True), ("c", "started", True)
    ]  # fmt: skip
    assert [member.leader for member in seen].count(True) == 1
    for node in nodes:
        async with open_store(_url(node), node=node.name) as store:
            await store.put("multipath", node.name.encode())
    for node in nodes:
        async with open_store(_url(node)) as store:
            assert {name: values["multipath"] for name, values in (await store.all_values()).items()} == {
                "a": b"a", "b": b"b", "c": b"c"
            }  # fmt: skip
    kept = await departure.leave(c.machine, say)
    assert not c.runs
    assert c.asked[-1] == "systemctl disable --now etcd"
    assert [".left-" in path.name and path.is_dir() for path in kept] == [True, True]
    assert sorted(str(member.name) for member in await membership.members(a.machine)) == ["a", "b"]
    await _let_in(a, c)
    assert len(await membership.members(c.machine)) == 3


async def test_a_token_that_is_never_used_does_not_stop_the_cluster(nodes: list[Node]) -> None:
    a, b, c = nodes
    await _init(a)
    first = await _token(a, b)
    assert len(first.text()) < 4096  # what a terminal takes as one line, termios(3)
    async with open_store(_url(a), node="a") as store:
        await store.put("multipath", b"x")
    assert [member.state for member in await membership.members(a.machine)].count("unstarted") == 1
    with pytest.raises(StoreError, match=r"has not joined yet.*cluster leave"):
        await _token(a, c)
    second = await _token(a, b)
    with pytest.raises(SettingsError, match="does not know this token any more"):
        await membership.join(b.machine, "b", first, say)
    await membership.join(b.machine, "b", second, say)
    assert len(await membership.members(b.machine)) == 2


async def test_init_can_be_tried_again_after_a_failure(nodes: list[Node]) -> None:
    a = nodes[0]
    a.environment.parent.mkdir()
    a.environment.write_text("## comments only\n")
    a.breaks = True
    with pytest.raises(StoreError, match="broken for the test"):
        await _init(a)
    assert a.machine.record() is None
    authority = a.machine.authority.certificate.read_bytes()
    a.breaks = False
    await _init(a)
    assert a.machine.authority.certificate.read_bytes() == authority
    assert (await membership.members(a.machine))[0].healthy
    await departure.leave(a.machine, say, force=True)
    assert a.environment.read_text() == "## comments only\n"


async def test_join_can_be_tried_again_with_the_same_token(nodes: list[Node]) -> None:
    a, b, _ = nodes
    await _init(a)
    token = await _token(a, b)
    b.breaks = True
    with pytest.raises(StoreError, match="broken for the test"):
        await membership.join(b.machine, "b", token, say)
    b.breaks = False
    await membership.join(b.machine, "b", token, say)
    assert {member.healthy for member in await membership.members(b.machine)} == {True}


async def test_join_can_be_tried_again_after_etcd_had_joined(nodes: list[Node]) -> None:
    a, b, _ = nodes
    await _init(a)
    token = await _token(a, b)
    await membership.join(b.machine, "b", token, say)
    (b.machine.directory / "node.json").unlink()
    await membership.join(b.machine, "b", token, say)
    assert len(await membership.members(b.machine)) == 2


async def test_join_after_an_init_that_came_to_nothing_keeps_no_authority_of_its_own(nodes: list[Node]) -> None:
    a, b, c = nodes
    await _init(a)
    b.breaks = True
    with pytest.raises(StoreError, match="broken for the test"):
        await _init(b)
    b.breaks = False
    await _let_in(a, b)
    with pytest.raises(StoreError, match=r"ca\.key is not on this node"):
        await _token(b, c)
    shutil.copy(a.machine.authority.key, b.machine.authority.key)
    await _let_in(b, c)
    assert len(await membership.members(c.machine)) == 3


async def test_a_member_is_not_made_twice(nodes: list[Node]) -> None:
    a, b, _ = nodes
    await _init(a)
    with pytest.raises(StoreError, match=r"is a member already \(a at "):
        await _init(a)
    token = await _token(a, b)
    await membership.join(b.machine, "b", token, say)
    with pytest.raises(StoreError, match="is a member already"):
        await membership.join(b.machine, "b", token, say)
    with pytest.raises(StoreError, match="is a member already, as b"):
        await _token(a, b)


async def test_the_last_member_and_one_that_others_need_do_not_leave(nodes: list[Node]) -> None:
    a, b, _ = nodes
    await _init(a)
    with pytest.raises(StoreError, match="is the last member"):
        await departure.leave(a.machine, say)
    await _let_in(a, b)
    b.end()
    with pytest.raises(StoreError, match="without a the cluster has no quorum: 0 of the other 1"):
        await departure.leave(a.machine, say)
    assert a.machine.record() is not None
    assert a.runs
    said: list[str] = []
    await departure.leave(a.machine, said.append, force=True)
    assert "tell it there: pathfleet cluster leave a" in said[-1]
    assert not a.runs


async def test_a_dead_node_is_taken_out_by_another(nodes: list[Node]) -> None:
    a, b, c = nodes
    await _init(a)
    await _let_in(a, b)
    await _let_in(a, c)
    with pytest.raises(StoreError, match="a is this node"):
        await departure.expel(a.machine, "a", say, force=True)
    with pytest.raises(StoreError, match="c is alive"):
        await departure.expel(a.machine, "c", say)
    c.end()
    assert {m.name: m.healthy for m in await membership.members(a.machine)} == {"a": True, "b": True, "c": False}
    await departure.expel(a.machine, "c", say)
    assert len(await membership.members(a.machine)) == 2
    with pytest.raises(StoreError, match="no member 'c'; there are: "):
        await departure.expel(a.machine, "c", say)


async def test_strangers_do_not_get_in(nodes: list[Node]) -> None:
    a, b, _ = nodes
    await _init(a)
    assert _without_certificate(a) == b""
    await _init(b)
    theirs = await membership.token(b.machine, "x", a.address.rpartition(".")[0] + ".44", say)
    record = a.machine.record()
    assert record is not None
    wrong = msgspec.structs.replace(theirs, endpoints=record.endpoints, address=theirs.address)
    x = Node(a.directory, "x", 44)
    with pytest.raises(StoreError, match="TLS"):
        await membership.join(x.machine, "x", wrong, say)
    assert not (x.machine.directory / "ca.crt").exists()


def _without_certificate(node: Node) -> bytes:
    """Return what etcd says to a client that has none."""
    context = ssl.create_default_context(cafile=str(node.machine.authority.certificate))
    try:
        with (
            socket.create_connection((node.address, 2379), 5) as plain,
            context.wrap_socket(plain, server_hostname=node.address) as stranger,
        ):
            stranger.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return stranger.recv(1)
    except (ssl.SSLError, ConnectionError):
        return b""


async def test_keys_are_secret_and_belong_to_who_needs_them(nodes: list[Node]) -> None:
    a = nodes[0]
    await _init(a)
    for name in ("ca.key", "node.key", "store.key"):
        assert (a.machine.directory / name).stat().st_mode & 0o777 == 0o600
    if os.geteuid() == 0:
        assert (a.machine.directory / "store.key").stat().st_uid != 0
    assert sorted(path.name for path in a.machine.directory.iterdir()) == [
        "ca.crt", "ca.key", "node.crt", "node.json", "node.key", "store.key"
    ]  # fmt: skip
    said = subprocess.run(
        ["openssl", "x509", "-noout", "-text", "-in", str(a.machine.directory / "node.crt")],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert f"DNS:a, IP Address:{a.address}, IP Address:127.0.0.1" in said
    assert "TLS Web Server Authentication, TLS Web Client Authentication" in said


@pytest.fixture
def token(tmp_path: Path) -> Token:
    address = Node(tmp_path, "t", 11).address
    return Token("b", address, "17", ("127.0.0.1:1",), 2**40, "no certificate", "none", "none")


async def test_a_token_for_another_node_is_refused(nodes: list[Node], token: Token) -> None:
    with pytest.raises(SettingsError, match="for node 'b', and this is 'c'"):
        await membership.join(nodes[2].machine, "c", token, say)


async def test_an_expired_token_is_refused_with_the_next_step(nodes: list[Node], token: Token) -> None:
    old = msgspec.structs.replace(token, expires=1)
    with pytest.raises(SettingsError, match=r"expired .*pathfleet cluster token b 127"):
        await membership.join(nodes[1].machine, "b", old, say)


async def test_a_damaged_certificate_changes_nothing(nodes: list[Node], token: Token) -> None:
    with pytest.raises(StoreError, match="do not belong together or are damaged"):
        await membership.join(nodes[1].machine, "b", token, say)
    assert not any(nodes[1].machine.directory.iterdir())
    assert nodes[1].asked == []


@pytest.mark.parametrize(
    "text",
    ["", "-", "garbage", "é", "A" * 70_000, base64.urlsafe_b64encode(json.dumps({"node": "a"}).encode()).decode()],
)
def test_garbage_is_no_token(text: str) -> None:
    with pytest.raises(SettingsError, match="no whole token"):
        Token.parse(text)


def test_half_a_token_is_none(token: Token) -> None:
    assert Token.parse(f" {token.text()}\n") == token
    with pytest.raises(SettingsError, match="no whole token"):
        Token.parse(token.text()[:-20])


@pytest.mark.parametrize("missing", ["openssl", "etcd"])
async def test_a_missing_program_is_named_with_its_package(
    nodes: list[Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    other = "etcd" if missing == "openssl" else "openssl"
    found = shutil.which(other)
    assert found is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / other).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(StoreError, match=f"no program `{missing}`.*apt install"):
        await _init(nodes[0])
    assert not nodes[0].machine.directory.exists()


async def test_proxmox_has_its_own(nodes: list[Node]) -> None:
    (nodes[0].directory / "pve").mkdir()
    with pytest.raises(StoreError, match="Proxmox VE has its own cluster store; set store = pmxcfs:///etc/pve"):
        await _init(nodes[0])


async def test_an_etcd_that_somebody_else_set_up_is_left_alone(nodes: list[Node]) -> None:
    nodes[0].environment.parent.mkdir()
    nodes[0].environment.write_text("ETCD_NAME=theirs\n")
    with pytest.raises(StoreError, match="pathfleet did not make"):
        await _init(nodes[0])
    assert nodes[0].environment.read_text() == "ETCD_NAME=theirs\n"
    assert nodes[0].asked == []


@pytest.mark.parametrize("address", ["", "host", "0.0.0.0", "::", "192.0.2.1", "224.0.0.1", "127.0.0.1\n"])
async def test_an_address_must_be_this_nodes(nodes: list[Node], address: str) -> None:
    with pytest.raises(SettingsError, match="address"):
        await membership.init(nodes[0].machine, "a", address, say)


@pytest.mark.parametrize("name", ["", "a,b=c", "a b", "-a", "a\n", "x" * 64, "$(id)", 'a"'])
async def test_a_name_that_would_be_more_than_a_name_is_refused(nodes: list[Node], name: str) -> None:
    with pytest.raises(SettingsError, match="named by letters"):
        await membership.init(nodes[0].machine, name, nodes[0].address, say)


async def test_a_name_in_etcd_that_is_more_than_a_name_goes_nowhere(nodes: list[Node]) -> None:
    a, b, _ = nodes
    await _init(a)
    token = await _token(a, b)
    a.end()
    text = a.environment.read_text()
    a.environment.write_text(text.replace('NAME="a"', "NAME='a\"$(id)'"))
    a.start()
    with pytest.raises(StoreError, match="which pathfleet would not make"):
        await membership.join(b.machine, "b", token, say)
    assert not b.environment.exists()


async def test_a_cluster_that_does_not_answer_is_no_empty_one(nodes: list[Node]) -> None:
    await _init(nodes[0])
    nodes[0].end()
    with pytest.raises(StoreError, match="no connection"):
        await membership.members(nodes[0].machine)


async def test_two_steps_at_once_do_not_leave_half_a_member(nodes: list[Node]) -> None:
    a, b, c = nodes
    await _init(a)
    done = await asyncio.gather(_token(a, b), _token(a, c), return_exceptions=True)
    assert sum(isinstance(one, Token) for one in done) == 1
    assert sum(isinstance(one, StoreError) for one in done) == 1
