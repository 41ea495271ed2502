"""A node's API as clients find it: real sockets and TLS, over a cluster in memory."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from pathfleet.agent.supervise import for_ever
from pathfleet.api.forward import Peers
from pathfleet.api.operation import Operation
from pathfleet.api.server import OPERATIONS, Server
from pathfleet.api.service import Service
from pathfleet.cluster.access import Access, Role, digest
from pathfleet.cluster.live import Live
from pathfleet.core import maps, node, wire
from pathfleet.core.answer import Answer, answer_of
from pathfleet.core.drift import Effective
from pathfleet.core.facts import Disk, NodeFacts
from pathfleet.core.health import Facts, judge
from pathfleet.core.node import Daemon, NodeInfo, Versions
from pathfleet.errors import NotRunning
from pathfleet.settings import Endpoint, Settings
from pathfleet.system.executor import Executor
from tests.fakes import Memory, MemoryStore
from tests.replies import Fields, group, map_, path, reply

LUN1 = "3600a098038314c6c6e3f4b6f4c6c5a30"
LUN2 = "3600a098038314c6c6e3f4b6f4c6c5a31"
BASE = "/api2/json"
#: A node's own.
SECRET = "the-node's-own"


@dataclass
class Site:
    """What the nodes have in common, and this one's API; `tokens` are secrets by role, `client` an auditor's.

    `found` is what the node finds last, for a test to change.
    """

    settings: Settings
    store: MemoryStore
    service: Service
    server: Server
    tokens: dict[Role, str]
    found: Answer
    client: httpx2.AsyncClient = field(init=False)

    @property
    def memory(self) -> Memory:
        """What is stored."""
        return self.store.memory

    @property
    def live(self) -> Live:
        """The matrix."""
        return self.service.live

    @property
    def endpoint(self) -> Endpoint:
        """Where the port is."""
        assert self.server.endpoint is not None
        return self.server.endpoint

    @property
    def url(self) -> str:
        """The same, as a client needs it."""
        return f"{'https' if self.settings.api_has_tls else 'http'}://{self.endpoint}"

    def headers(self, role: Role = Role.AUDITOR) -> dict[str, str]:
        """Return what a client with a token of this role sends."""
        return {"Authorization": f"Bearer {self.tokens[role]}"}

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        """Return what the auditor is answered."""
        return await self.client.get(path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    async def data(self, path: str) -> object:
        """Return what the auditor is told, and nothing but that."""
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    @asynccontextmanager
    async def connected(self, role: Role | None = Role.AUDITOR) -> AsyncIterator[httpx2.AsyncClient]:
        """Give a client of the port, with a token or without."""
        verify: ssl.SSLContext | bool = True
        if self.settings.api_has_tls:
            certificate = self.settings.api_certificate or Path(self.settings.state_directory) / "api.crt"
            verify = ssl.create_default_context(cafile=str(certificate))
        headers = self.headers(role) if role else {}
        async with httpx2.AsyncClient(
            base_url=self.url + BASE, headers=headers, verify=verify, trust_env=False
        ) as client:
            yield client

    @asynccontextmanager
    async def local(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Give a client of the unix socket."""
        transport = httpx2.AsyncHTTPTransport(uds=str(self.settings.api_socket_file))
        async with httpx2.AsyncClient(base_url="http://local" + BASE, transport=transport) as client:
            yield client


@dataclass
class Speech:
    """What a node says in the store."""

    report: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)
    info: NodeInfo | None = None

    async def say(self, memory: Memory, name: str) -> None:
        """Say it."""
        async with MemoryStore(name, memory) as store:
            await store.alive()
            now = int(time.time())
            maps_ = {
                wwid: {"state": state, "paths-active": active, "paths-total": total}
                for wwid, (state, active, total) in self.report.items()
            }
            if maps_:
                await store.put("multipath", wire.stamp({"maps": maps_}, now))
            info = self.info or NodeInfo("running", now, Versions("1.0", "0.9.4"))
            await store.put(node.KEY, wire.stamp(node.content(info), now))


def answer(*found: Fields, facts: Facts | None = None) -> Answer:
    """Return what a node answers whose multipathd shows these maps."""
    facts = facts or Facts()
    verdicts = [judge(each, facts) for each in maps.decode(reply(*found))]
    return answer_of(Daemon.RUNNING, None, verdicts, facts)


GOOD = answer(map_(LUN1, group(path("sda"), path("sdb")), name="db"))


def info(*, api: str | None = None, certificate: str | None = None, secret: str = SECRET) -> NodeInfo:
    """Return what a node says of itself."""
    return NodeInfo("running", 1, Versions("1.0", "0.9.4"), None, api, certificate, digest(secret))


@asynccontextmanager
async def site(
    speeches: Mapping[str, Speech] | None = None,
    *,
    name: str = "a",
    directory: Path | None = None,
    memory: Memory | None = None,
    found: Answer = GOOD,
    secret: str = SECRET,
    deadline_seconds: float = 5.0,
    operations: Iterable[Operation] = OPERATIONS,
    executor: Path | None = None,
    facts: NodeFacts | None = None,
    in_force: Effective | None = None,
    disks: tuple[Disk, ...] = (),
    **settings: Any,
) -> AsyncIterator[Site]:
    """Serve the API of node `name` on loopback and on a socket in `directory`; `settings` are further ones.

    `executor` is its executor's socket, `facts` what it finds on itself, `in_force` what its multipathd goes by,
    `disks` the ones it has.
    """
    memory = memory or Memory()
    for speaker, speech in (speeches or {}).items():
        await speech.say(memory, speaker)
    async with AsyncExitStack() as stack:
        where = str(directory or stack.enter_context(tempfile.TemporaryDirectory()))
        chosen = {"api_listen": "127.0.0.1:0", "api_socket": f"{where}/api.sock"} | settings
        current = Settings(node=name, state_directory=where, **chosen)
        store = await stack.enter_async_context(MemoryStore(name, memory))
        await store.alive()
        live, access = Live(store), Access(store)
        peers = Peers(live, f"PathfleetNode {name}:{secret}", deadline_seconds=deadline_seconds)
        this: list[Site] = []

        async def examine() -> NodeFacts:
            return facts or NodeFacts(name, int(time.time()), Daemon.RUNNING)

        async def of_luns() -> tuple[Disk, ...]:
            return disks

        async def effective() -> Effective:
            if in_force is None:
                raise NotRunning("nobody listens")
            return in_force

        hands = Executor(executor or Path(where, "no-executor"))
        service = Service(name, store, live, lambda: this[0].found, access, peers, hands, examine, effective, of_luns)
        server = Server(current, service, secret, operations)
        tokens = {role: await access.add(f"{role.value}-{name}", role) for role in Role}
        this.append(Site(current, store, service, server, tokens, found))
        await stack.enter_async_context(
            running(partial(for_ever, "live", live.run), server.serve_socket, server.serve_network)
        )
        await until(lambda: live.ready and current.api_socket_file.exists())
        await until(lambda: server.endpoint is not None or not current.api_listen)
        if server.endpoint is not None:
            this[0].client = await stack.enter_async_context(this[0].connected())
        yield this[0]


@asynccontextmanager
async def running(*bodies: Callable[[], Any]) -> AsyncIterator[None]:
    """Run these until the context ends; what one of them raised is raised then."""
    begun = [asyncio.create_task(body()) for body in bodies]
    try:
        yield
    finally:
        for task in begun:
            task.cancel()
        await asyncio.wait(begun)
        for task in begun:
            with contextlib.suppress(asyncio.CancelledError):
                task.result()


async def until(holds: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something holds that no event tells of."""
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, holds
        await asyncio.sleep(0.005)
