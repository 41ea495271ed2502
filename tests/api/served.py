"""A node's API as clients find it: real sockets and TLS, over a store in memory; and a client that is httpx2."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from pathfleet.api.forward import Peers
from pathfleet.api.operation import Operation
from pathfleet.api.server import OPERATIONS, Server
from pathfleet.api.service import Service
from pathfleet.cluster.access import Access, Role
from pathfleet.cluster.live import Live
from pathfleet.core.answer import Answer
from pathfleet.settings import Settings
from tests.fakes import MemoryStore

NOTHING = Answer("no-maps", "multipathd has no maps", [])
SECRET = "the-node's-own"


@dataclass
class Api:
    """A server with what it works on; `tokens` are secrets by role."""

    settings: Settings
    store: MemoryStore
    service: Service
    server: Server
    tokens: dict[Role, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the port is."""
        assert self.server.endpoint is not None
        return f"{'https' if self.settings.api_has_tls else 'http'}://{self.server.endpoint}"

    def headers(self, role: Role = Role.AUDITOR) -> dict[str, str]:
        """Return what a client with a token of this role sends."""
        return {"Authorization": f"Bearer {self.tokens[role]}"}

    @asynccontextmanager
    async def client(self, role: Role | None = Role.AUDITOR) -> AsyncIterator[httpx2.AsyncClient]:
        """Give a client of the port, with a token or without."""
        verify: ssl.SSLContext | bool = True
        if self.settings.api_has_tls:
            verify = ssl.create_default_context(cafile=str(Path(self.settings.state_directory) / "api.crt"))
        base = self.url + "/api2/json"
        headers = self.headers(role) if role else {}
        async with httpx2.AsyncClient(base_url=base, headers=headers, verify=verify, trust_env=False) as client:
            yield client

    @asynccontextmanager
    async def local(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Give a client of the unix socket."""
        transport = httpx2.AsyncHTTPTransport(uds=str(self.settings.api_socket_file))
        async with httpx2.AsyncClient(base_url="http://local/api2/json", transport=transport) as client:
            yield client


@asynccontextmanager
async def api(
    directory: Path,
    *,
    store: MemoryStore | None = None,
    operations: Iterable[Operation] = OPERATIONS,
    maps: Callable[[], Answer] = lambda: NOTHING,
    **settings: Any,
) -> AsyncIterator[Api]:
    """Serve a node's API on loopback and on a socket in `directory`; `settings` are further ones."""
    chosen = {"api_listen": "127.0.0.1:0", "api_socket": str(directory / "api.sock")} | settings
    current = Settings(node="a", state_directory=str(directory), **chosen)
    async with store or MemoryStore("a") as opened:
        live, access = Live(opened), Access(opened)
        service = Service("a", opened, live, maps, access, Peers(live, f"PathfleetNode a:{SECRET}"))
        server = Server(current, service, SECRET, operations)
        found = Api(current, opened, service, server)
        for role in Role:
            found.tokens[role] = await access.add(role.value, role)
        async with running(live.run, server.serve_socket, server.serve_network):
            await until(lambda: live.ready and current.api_socket_file.exists())
            await until(lambda: server.endpoint is not None or not current.api_listen)
            yield found


@asynccontextmanager
async def running(*bodies: Callable[[], Any]) -> AsyncIterator[None]:
    """Run these until the context ends; what one of them raises ends it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(body()) for body in bodies]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(tasks)


async def until(true: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until something is true."""
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, true
        await asyncio.sleep(0.01)
