"""The server's sockets: who gets one, what slow and rude clients get, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import stat
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.responses import Response, StreamingResponse

from pathfleet.api import listener
from pathfleet.api.listener import network_socket
from pathfleet.api.operation import Call, operation
from pathfleet.cluster.access import Role
from pathfleet.errors import SettingsError
from pathfleet.settings import Endpoint
from tests.api.site import Site, site, until
from tests.fakes import open_descriptors


@operation("GET", "/version", needs=None, summary="s", tag="t")
async def version(_: Call) -> str:
    return "1"


@operation("POST", "/version", needs=None, summary="s", tag="t")
async def say(_: Call) -> str:
    return "2"


@operation("GET", "/stream", needs=None, summary="s", tag="t")
async def stream(_: Call) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"piece\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(pieces())


OPERATIONS = (version, say, stream)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(directory=tmp_path, operations=OPERATIONS) as found:
        yield found


async def raw(here: Site, sent: bytes) -> bytes:
    """Return all that the server says to these bytes, until it closes."""
    assert here.server.endpoint is not None
    reader, writer = await asyncio.open_connection(here.server.endpoint.host, here.server.endpoint.port)
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


GET = b"GET /api2/json/version HTTP/1.1\r\nHost: x\r\n"


async def test_the_socket_is_its_owner_s_only_and_leaves_with_the_server(tmp_path: Path) -> None:
    file = tmp_path / "api.sock"
    async with site(directory=tmp_path, operations=OPERATIONS) as here:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        async with here.local() as local:
            assert (await local.get("/version")).json() == {"data": "1"}
        assert sorted(path.name for path in tmp_path.iterdir()) == ["api.sock"]
    assert not file.exists()


async def test_a_port_that_is_taken_is_named_and_the_unix_socket_is_served(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = Endpoint(*other.getsockname())
        async with site(directory=tmp_path, operations=OPERATIONS, api_listen="") as here:
            with pytest.raises(SettingsError, match=rf"api-listen = {taken}.*set another port"):
                network_socket(taken)
            async with here.local() as local:
                assert (await local.get("/version")).status_code == 200


async def test_an_address_that_is_not_this_machine_s_is_named() -> None:
    with pytest.raises(SettingsError, match=r"api-listen = 192\.0\.2\.1:1.*cannot listen there"):
        network_socket(Endpoint("192.0.2.1", 1))


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="needs IPv6")
async def test_ipv6_is_an_address_like_any_other(tmp_path: Path) -> None:
    async with (
        site(directory=tmp_path, operations=OPERATIONS, api_listen="[::1]:0") as here,
        here.connected(None) as client,
    ):
        assert here.url.startswith("http://[::1]:")
        assert (await client.get("/version")).status_code == 200


async def test_while_the_store_is_away_the_api_says_so(tmp_path: Path) -> None:
    async with site(directory=tmp_path) as here, here.local() as local:
        here.store.memory.lost = True
        assert (await local.get("/version")).status_code == 200
        await asyncio.sleep(0)
        response = await local.get("/cluster/status")
        assert response.status_code == 503
        assert response.json()["message"]
        here.store.memory.regain()


async def test_what_is_no_http_gets_an_error_like_any_other(here: Site) -> None:
    answer = await raw(here, b"\x16\x03\x01\x00\x05hello\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["data"] is None


async def test_a_header_that_is_too_long_is_refused(here: Site) -> None:
    with contextlib.suppress(ConnectionResetError):  # the answer may be lost: who sends on hears no more
        answer = await raw(here, GET + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("sent", [b"", b"GET /", GET, GET[:-2], b"POST" + GET[3:] + b"Content-Length: 9\r\n\r\nx"])
async def test_a_client_that_sends_too_slowly_loses_its_connection(
    here: Site, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(listener, "REQUEST_SECONDS", 0.2)
    with contextlib.suppress(ConnectionResetError):
        await raw(here, sent)


async def test_a_client_that_begins_a_second_request_slowly_does_too(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "REQUEST_SECONDS", 0.2)
    with contextlib.suppress(ConnectionResetError):
        assert (await raw(here, GET + b"\r\nGET /slow")).startswith(b"HTTP/1.1 200")


async def test_an_answer_that_takes_its_time_is_not_cut_off(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "REQUEST_SECONDS", 0.1)
    async with here.connected(None) as client, client.stream("GET", "/stream") as response:
        lines = response.aiter_lines()
        assert [await anext(lines) for _ in range(6)] == ["piece"] * 6


async def test_requests_in_one_piece_are_answered_in_order(here: Site) -> None:
    answer = await raw(here, (GET + b"\r\n") * 3 + GET + b"Connection: close\r\n\r\n")
    assert answer.count(b'{"data":"1"}') == 4


async def test_an_answer_waits_for_no_acknowledgement_of_its_head(here: Site) -> None:
    async with here.connected(None) as client:
        took = []
        for _ in range(25):
            began = time.monotonic()
            await client.get("/version")
            took.append(time.monotonic() - began)
    assert sorted(took)[5] < 0.035  # what waits for one waits 40 ms, but for a connection's first


async def test_there_are_only_so_many_connections_and_those_work_on(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CONNECTIONS", 2)
    async with here.connected(None) as client, here.connected(None) as other:
        assert (await client.get("/version")).status_code == 200
        assert (await other.get("/version")).status_code == 200
        with contextlib.suppress(ConnectionResetError):
            assert await raw(here, GET + b"\r\n") == b""
        assert (await client.get("/version")).status_code == 200


async def test_the_end_waits_for_no_stream_and_leaves_nothing_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    caplog.set_level(logging.INFO)
    before = open_descriptors()
    async with contextlib.AsyncExitStack() as stack:
        here = await stack.enter_async_context(site(directory=tmp_path, operations=OPERATIONS))
        reader, writer = await asyncio.open_unix_connection(here.settings.api_socket_file)
        writer.write(b"GET /api2/json/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"piece")
        began = loop.time()
    assert loop.time() - began < 20
    await asyncio.wait_for(reader.read(), 30)
    writer.close()
    await until(lambda: open_descriptors() == before)
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == []


async def test_a_request_is_answered_before_the_end(tmp_path: Path) -> None:
    began = asyncio.Event()

    @operation("GET", "/slow", needs=None, summary="s", tag="t")
    async def slow(_: Call) -> str:
        began.set()
        await asyncio.sleep(0.3)
        return "in time"

    async with site(directory=tmp_path, operations=(slow,)) as here:
        reader, writer = await asyncio.open_unix_connection(here.settings.api_socket_file)
        writer.write(b"GET /api2/json/slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await began.wait()
    assert b"in time" in await asyncio.wait_for(reader.read(), 30)
    writer.close()


AS_NOBODY = """
import os, socket, sys
os.setgroups([]); os.setresuid(65534, 65534, 65534)
client = socket.socket(socket.AF_UNIX)
try:
    client.connect(sys.argv[1])
except PermissionError:
    print("refused")
else:
    client.sendall(b"GET /api2/json/who HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    print(client.recv(1000).split(b"\\r")[0].decode())
"""


@operation("GET", "/who", needs=Role.AUDITOR, summary="s", tag="t")
async def who(call: Call) -> str:
    return call.principal.name


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
async def test_another_user_cannot_connect_and_would_need_a_token() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        async with site(directory=directory, operations=(who,)) as here:
            assert await said_to_nobody(here.settings.api_socket_file) == "refused"
            here.settings.api_socket_file.chmod(0o666)
            assert await said_to_nobody(here.settings.api_socket_file) == "HTTP/1.1 401 Unauthorized"


async def said_to_nobody(file: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", AS_NOBODY, str(file), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    return out.decode().strip()
