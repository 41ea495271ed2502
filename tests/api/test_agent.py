"""The real agent with its API beside it: neither ends the other."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from pathfleet.core import node
from pathfleet.store.sqlite import SQLiteStore
from tests.api.site import until
from tests.fakes import FakeDaemon
from tests.replies import group, map_, path, reply

WWID = "3600a098038314c6c6e3f4b6f4c6c5a30"
MAPS = reply(map_(WWID, group(path("sda"), path("sdb", "failed", "faulty"))))


@asynccontextmanager
async def agent(directory: Path, **settings: str) -> AsyncIterator[Process]:
    """Run an agent; its log is its standard error."""
    environment = {
        "PATHFLEET_NODE": "n1",
        "PATHFLEET_STATE_DIRECTORY": str(directory),
        "PATHFLEET_MULTIPATHD_SOCKET": str(directory / "multipathd"),
        "PATHFLEET_API_SOCKET": str(directory / "api.sock"),
        "PATHFLEET_API_LISTEN": "",
        **{f"PATHFLEET_{name.upper()}": value for name, value in settings.items()},
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pathfleet", "agent", env={**os.environ, **environment}, stderr=PIPE
    )
    try:
        await until((directory / "api.sock").exists, 20)
        yield process
        assert process.returncode is None
    finally:
        process.terminate()
        await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0


def asking(directory: Path) -> httpx2.AsyncClient:
    transport = httpx2.AsyncHTTPTransport(uds=str(directory / "api.sock"))
    return httpx2.AsyncClient(base_url="http://local/api2/json", transport=transport)


async def test_what_the_agent_finds_can_be_asked_of_it(tmp_path: Path) -> None:
    async with FakeDaemon(str(tmp_path / "multipathd"), MAPS), agent(tmp_path), asking(tmp_path) as client:
        response = await client.get("/nodes/n1/disks/multipath")
        while response.status_code == 503:  # until it has looked
            response = await client.get("/nodes/n1/disks/multipath")
        assert WWID in response.text
        assert (await client.get("/version")).status_code == 200
    assert not (tmp_path / "api.sock").exists()


async def test_a_store_that_cannot_be_opened_leaves_the_api_to_say_so(tmp_path: Path) -> None:
    (tmp_path / "cluster.db").write_bytes(b"this is no database\n" * 100)
    async with agent(tmp_path), asking(tmp_path) as client:
        assert (await client.get("/version")).status_code == 200
        response = await client.get("/cluster/multipath/status")
        assert response.status_code == 503
        assert response.json()["message"]
        assert (await client.get("/nodes/n1/disks/multipath")).status_code == 503


async def test_a_port_that_is_taken_keeps_nobody_from_publishing(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        async with FakeDaemon(str(tmp_path / "multipathd"), MAPS), agent(tmp_path, api_listen=taken) as process:
            assert process.stderr is not None
            log = b""
            while b"set another port" not in log:
                log += await asyncio.wait_for(process.stderr.readline(), 30)
            assert f"task=api error=api-listen = {taken}".encode() in log
            async with SQLiteStore(tmp_path / "cluster.db") as store:
                await until_said(store)


async def until_said(store: SQLiteStore) -> None:
    """Wait until the node has published what it is."""
    async with asyncio.timeout(30):
        async for _ in store.changes():
            if node.KEY in await store.values("n1"):
                return


async def test_what_is_published_tells_others_how_to_ask(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with (
        FakeDaemon(str(tmp_path / "multipathd"), MAPS),
        agent(tmp_path, api_listen=f"127.0.0.1:{port}", api_address=f"localhost:{port}"),
        SQLiteStore(tmp_path / "cluster.db") as store,
    ):
        await until_said(store)
        info = node.decode((await store.values("n1"))[node.KEY])
    assert info.api == f"https://localhost:{port}"
    assert info.api_certificate is not None
    assert len(info.api_certificate) == len(info.api_token_hash or "") == 64
