from __future__ import annotations

import asyncio
import itertools
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pathfleet.api import forward
from pathfleet.core.answer import Answer
from pathfleet.core.node import NodeInfo
from pathfleet.store import File
from pathfleet.system import certificates
from tests.api.site import LUN1, LUN2, Site, Speech, answer, info, site, until
from tests.fakes import Memory
from tests.replies import group, map_, path

BAD = answer(map_(LUN2, group(path("sdc", "failed", "faulty"), path("sdd")), name="logs"))


class Identity:
    """A certificate for 127.0.0.1, as an agent makes its own."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.settings: dict[str, Any] = {"api_certificate": str(certificate), "api_key": str(key)}
        self.fingerprint = certificates.fingerprint(certificate.read_text())
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> list[Identity]:
    directory = tmp_path_factory.mktemp("identities")
    made = []
    for name in ("one", "other"):
        certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
        asyncio.run(certificates.self_signed(certificate, key, ["127.0.0.1"]))
        made.append(Identity(certificate, key))
    return made


@asynccontextmanager
async def asked_of_a_for_b(identity: Identity, found: Answer = BAD) -> AsyncIterator[Site]:
    """Give the API of node a, in a cluster where node b has another."""
    memory = Memory()
    await Speech(info=info(secret="secret-of-a")).say(memory, "a")
    async with site({"b": Speech()}, name="b", memory=memory, found=found, **identity.settings) as b:
        said = info(api=f"https://{b.endpoint}", certificate=identity.fingerprint)
        await Speech(info=said).say(memory, "b")
        async with site(memory=memory, secret="secret-of-a") as a:
            await until(lambda: b.live.columns["a"].said.info)
            yield a


async def test_any_node_shows_the_maps_of_every_node(identities: list[Identity]) -> None:
    async with asked_of_a_for_b(identities[0]) as here:
        maps: Any = await here.data("/nodes/b/disks/multipath")
        assert [(each["wwid"], each["health"]) for each in maps] == [(LUN2, "degraded")]
        one: Any = await here.data(f"/nodes/b/disks/multipath/{LUN2}")
        assert one == maps[0]


async def test_what_the_other_node_cannot_tell_is_not_told_otherwise(identities: list[Identity]) -> None:
    async with asked_of_a_for_b(identities[0], Answer("cannot-tell", "it hangs", [])) as here:
        refused = await here.get("/nodes/b/disks/multipath")
        assert refused.status_code == 503
        assert refused.json()["errors"] == {"multipathd": "it hangs"}


async def test_what_the_other_node_does_not_have_is_not_found(identities: list[Identity]) -> None:
    async with asked_of_a_for_b(identities[0]) as here:
        missing = await here.get(f"/nodes/b/disks/multipath/{LUN1}")
        assert missing.status_code == 404
        assert "node b has no map" in missing.json()["message"]


async def test_volumes_and_status_of_a_storage_come_from_the_node_too(identities: list[Identity]) -> None:
    async with asked_of_a_for_b(identities[0]) as here:
        here.memory.files["storage.cfg"] = File(b"multipath: san\n\tcontent images\n", "1")
        volumes: Any = await here.data("/nodes/b/storage/san/content")
        assert [each["volid"] for each in volumes] == [f"san:{LUN2}"]
        status: Any = await here.data("/nodes/b/storage/san/status")
        assert status["active"] is True


async def test_a_name_is_one_part_of_the_path_whatever_is_in_it(identities: list[Identity]) -> None:
    async with asked_of_a_for_b(identities[0]) as here:
        for name in ("..%2f..", "%3Fx=1", "x%0d%0ay", "%C3%A4"):
            assert (await here.get(f"/nodes/b/disks/multipath/{name}")).status_code == 404


async def test_a_node_is_never_asked_for_what_a_third_one_knows(identities: list[Identity]) -> None:
    async with asked_of_a_for_b(identities[0]) as here:
        # as if node c had been told that node b is here
        here.client.headers["authorization"] = "PathfleetNode a:secret-of-a"
        refused = await here.get("/nodes/b/disks/multipath")
        assert refused.status_code == 503
        assert "this is node a, not b" in refused.json()["message"]
        assert (await here.get("/nodes/a/disks/multipath")).status_code == 200


#: What a peer does with a connection.
Behaviour = Callable[[StreamReader, StreamWriter], Awaitable[None]]


class Peer:
    """Something that listens where node b is said to have its API; `heard` is what reached it, unencrypted."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.heard = b""
        self.connections = 0
        self._behaviour = behaviour

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        try:
            self.heard += await reader.readuntil(b"\r\n\r\n")
            await self._behaviour(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def says(status: str, body: bytes, *headers: str) -> Behaviour:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]).encode()

    async def behave(_: StreamReader, writer: StreamWriter) -> None:
        writer.write(head + body)
        await writer.drain()

    return behave


async def hangs(reader: StreamReader, _: StreamWriter) -> None:
    await reader.read()


async def trickles(_: StreamReader, writer: StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def never_ends(_: StreamReader, writer: StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    for _number in itertools.count():
        writer.write(b" " * 65536)
        await writer.drain()


@asynccontextmanager
async def peer(
    behaviour: Behaviour,
    identity: Identity,
    fingerprint: str | None,
    scheme: str = "https",
    *,
    deadline_seconds: float = 5.0,
) -> AsyncIterator[tuple[Site, Peer]]:
    """Give the API of node a, and what is said to be that of node b."""
    there = Peer(behaviour)
    tls = identity.context if scheme == "https" else None
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        said = info(api=f"{scheme}://127.0.0.1:{port}", certificate=fingerprint)
        async with site({"b": Speech(info=said)}, deadline_seconds=deadline_seconds) as here:
            yield here, there


async def test_the_secret_is_sent_to_nobody_with_another_certificate(identities: list[Identity]) -> None:
    one, other = identities
    async with peer(says("200 OK", b'{"data":[]}'), one, other.fingerprint) as (here, there):
        refused = await here.get("/nodes/b/disks/multipath")
        assert refused.status_code == 503
        assert "certificate is another one" in refused.json()["message"]
        assert there.heard == b""


async def test_the_certificate_that_was_published_is_taken_in_capitals_too(identities: list[Identity]) -> None:
    one = identities[0]
    async with peer(says("200 OK", b'{"data":[]}'), one, one.fingerprint.upper()) as (here, there):
        assert await here.data("/nodes/b/disks/multipath") == []
        assert b"authorization: pathfleetnode a:the-node's-own\r\n" in there.heard.lower()


async def test_without_a_published_certificate_nobody_is_asked(identities: list[Identity]) -> None:
    async with peer(says("200 OK", b'{"data":[]}'), identities[0], None) as (here, there):
        assert (await here.get("/nodes/b/disks/multipath")).status_code == 503
        assert there.connections == 0


async def test_on_loopback_a_node_needs_no_tls(identities: list[Identity]) -> None:
    async with peer(says("200 OK", b'{"data":[]}'), identities[0], None, scheme="http") as (here, _):
        assert await here.data("/nodes/b/disks/multipath") == []


GARBAGE = {
    "no JSON": says("200 OK", b"<html>"),
    "another shape": says("200 OK", b'{"data":{"maps":[]}}'),
    "no data": says("200 OK", b"{}"),
    "not UTF-8": says("200 OK", b'{"data":"\xff"}'),
    "an encoding that was not asked for": says("200 OK", b"\x1f\x8b", "Content-Encoding: gzip"),
    "a redirect": says("302 Found", b"{}", "Location: https://192.0.2.1/"),
    "an error without a shape": says("500 Oops", b"oops"),
    "an error of its own": says("500 Oops", b'{"message":"oops"}'),
    "more than there can be": never_ends,
    "very deep": says("200 OK", b'{"data":' + b"[" * 100_000),
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_garbage_is_a_bad_gateway_and_costs_nothing_else(
    what: str, identities: list[Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "ANSWER_LIMIT", 1024 * 1024)
    one = identities[0]
    async with peer(GARBAGE[what], one, one.fingerprint) as (here, _):
        assert (await here.get("/nodes/b/disks/multipath")).status_code == 502
        assert (await here.get("/nodes/a/disks/multipath")).status_code == 200


@pytest.mark.parametrize("behaviour", [hangs, trickles])
async def test_a_node_that_does_not_answer_in_time_is_a_gateway_timeout(
    behaviour: Behaviour, identities: list[Identity]
) -> None:
    one = identities[0]
    async with peer(behaviour, one, one.fingerprint, deadline_seconds=0.5) as (here, _):
        late = await here.get("/nodes/b/disks/multipath")
        assert late.status_code == 504
        assert "within 0.5 s" in late.json()["message"]


async def test_a_node_that_does_not_know_this_ones_secret_yet_is_unreachable(identities: list[Identity]) -> None:
    one = identities[0]
    async with peer(says("401 No", b'{"message":"who are you"}'), one, one.fingerprint) as (here, _):
        refused = await here.get("/nodes/b/disks/multipath")
        assert refused.status_code == 503
        assert "does not know this node's secret" in refused.json()["message"]


async def _refused(said: NodeInfo, *, offline: bool = False) -> tuple[int, str]:
    memory = Memory()
    await Speech(info=said).say(memory, "b")
    if offline:
        memory.seen["b"] -= 60
    async with site(memory=memory) as here:
        refused = await here.get("/nodes/b/disks/multipath")
        return refused.status_code, refused.json()["message"]


async def test_a_node_that_is_offline_is_not_asked() -> None:
    status, message = await _refused(info(api="https://127.0.0.1:1", certificate="00"), offline=True)
    assert status == 503
    assert "offline" in message


async def test_a_node_where_nobody_listens_is_unreachable() -> None:
    status, message = await _refused(info(api="https://127.0.0.1:1", certificate="00"))
    assert status == 503
    assert "node b cannot be asked at https://127.0.0.1:1" in message


async def test_a_node_without_an_api_is_unreachable() -> None:
    status, message = await _refused(info())
    assert status == 503
    assert "no address" in message


async def test_beyond_loopback_the_secret_goes_encrypted_only() -> None:
    for api in ("http://192.0.2.1:8440", "http://localhost:8440", "ftp://192.0.2.1:8440"):
        status, message = await _refused(info(api=api))
        assert status == 503
        assert "needs https" in message


@pytest.mark.parametrize(
    "api",
    [
        "https://192.0.2.1:8440/else",
        "https://192.0.2.1:8440?x",
        "https://user@192.0.2.1:8440",
        "https://192.0.2.1",
        "https://[::1",
        "https://192.0.2.1:99999",
        "https://a\nb:8440",
        "8440",
        "x" * 100_000,
    ],
)
async def test_an_address_that_is_none_is_not_followed(api: str) -> None:
    status, message = await _refused(info(api=api[:20_000], certificate="00"))
    assert status == 502
    assert len(message) < 300
