"""A cluster in memory, what its nodes say in it, and the API of one of them on a port of loopback."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx2

from pathfleet.api import cluster, config, events, metrics, nodes, storage
from pathfleet.api.application import application
from pathfleet.api.auth import Doorkeeper
from pathfleet.api.forward import Peers
from pathfleet.api.listener import network_socket, serving
from pathfleet.api.operation import Operation
from pathfleet.api.service import Service
from pathfleet.cluster.access import Access, Role, digest
from pathfleet.cluster.live import Live
from pathfleet.core import maps, node, wire
from pathfleet.core.answer import Answer, answer_of
from pathfleet.core.health import Facts, judge
from pathfleet.core.node import Daemon, NodeInfo, Versions
from pathfleet.settings import Endpoint
from tests.fakes import Memory, MemoryStore
from tests.replies import Fields, group, map_, path, reply

LUN1 = "3600a098038314c6c6e3f4b6f4c6c5a30"
LUN2 = "3600a098038314c6c6e3f4b6f4c6c5a31"
BASE = "/api2/json"
OPERATIONS = tuple(
    operation for module in (cluster, config, events, metrics, nodes, storage) for operation in module.OPERATIONS
)


@dataclass
class Site:
    """What the nodes have in common, and this one's API."""

    memory: Memory
    service: Service
    live: Live
    client: httpx2.AsyncClient
    secret: str
    endpoint: Endpoint
    found: Answer

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.client.get(BASE + path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    async def data(self, path: str) -> object:
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


@dataclass
class Speech:
    """What a node says in the store."""

    report: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)
    info: NodeInfo | None = None

    async def say(self, memory: Memory, name: str) -> None:
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


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds that no event tells of."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - as it says
            await asyncio.sleep(0.005)


@asynccontextmanager
async def site(
    speeches: Mapping[str, Speech] | None = None,
    *,
    name: str = "a",
    memory: Memory | None = None,
    found: Answer = GOOD,
    tls: ssl.SSLContext | None = None,
    secret: str = "the-node's-own",
    deadline_seconds: float = 5.0,
    operations: Iterable[Operation] = OPERATIONS,
) -> AsyncIterator[Site]:
    """Serve the API of node `name` of a cluster in which the nodes have said this."""
    memory = memory or Memory()
    for speaker, speech in (speeches or {}).items():
        await speech.say(memory, speaker)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(MemoryStore(name, memory))
        await store.alive()
        live, access = Live(store), Access(store)
        token = await access.add(f"auditor-{name}", Role.AUDITOR)
        peers = Peers(live, f"PathfleetNode {name}:{secret}", deadline_seconds=deadline_seconds)
        this: list[Site] = []
        service = Service(name, store, live, lambda: this[0].found, access, peers)
        app = application(service, operations, Doorkeeper(access, lambda: live.columns))
        listening = network_socket(Endpoint("127.0.0.1", 0))
        endpoint = Endpoint("127.0.0.1", listening.getsockname()[1])
        following = asyncio.create_task(live.run())
        stack.callback(following.cancel)
        await until(lambda: live.ready)
        await stack.enter_async_context(serving(app, listening, tls))
        client = await stack.enter_async_context(
            httpx2.AsyncClient(
                base_url=f"{'https' if tls else 'http'}://{endpoint}",
                headers={"authorization": f"Bearer {token}"},
                trust_env=False,
                verify=False,
            )
        )
        this.append(Site(memory, service, live, client, token, endpoint, found))
        yield this[0]


def info(*, api: str | None = None, certificate: str | None = None, secret: str = "the-node's-own") -> NodeInfo:
    """Return what a node says of itself."""
    return NodeInfo("running", 1, Versions("1.0", "0.9.4"), None, api, certificate, digest(secret))
