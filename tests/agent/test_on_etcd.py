"""Real agents on a real etcd cluster that loses its members: none dies, and what they say is there in the end."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import pytest

from pathfleet.agent.collect import Collector
from pathfleet.agent.loop import Agent
from pathfleet.errors import StoreError
from pathfleet.store.etcd import EtcdStore
from pathfleet.store.etcd_url import Address
from pathfleet.system.notify import Notifier
from pathfleet.system.sysfs import Sysfs
from tests.agent.test_loop import BAD, GOOD, Node
from tests.store import etcd_servers
from tests.store.etcd_servers import EtcdServers

pytestmark = pytest.mark.skipif(etcd_servers.PROGRAM is None, reason="package etcd-server is not installed")

NAMES = ("n1", "n2")
#: Seconds in which a cluster finds a leader and an agent comes round to its next cycle.
PATIENCE_SECONDS = 40


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[EtcdServers]:
    with closing(EtcdServers(tmp_path / "etcd", 3)) as started:
        yield started


def store(servers: EtcdServers, node: str | None) -> EtcdStore:
    return EtcdStore(Address(tuple(servers.endpoints)), node=node, deadline_seconds=2)


@asynccontextmanager
async def agents(servers: EtcdServers, root: Path) -> AsyncIterator[tuple[dict[str, Node], list[asyncio.Task[None]]]]:
    nodes = {name: Node() for name in NAMES}
    async with AsyncExitStack() as stack:
        tasks = []
        for name, node in nodes.items():
            collector = Collector(node, sysfs=Sysfs(root))
            agent = Agent(store(servers, name), collector, uevents=node.uevents, notifier=Notifier(None))
            tasks.append(asyncio.create_task(agent.serve()))
        stack.push_async_callback(_ended, tasks)
        yield nodes, tasks


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until_all_say(servers: EtcdServers, word: bytes) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS), store(servers, None) as reader:
        while True:
            try:
                values = await reader.all_values()
            except StoreError:
                values = {}
            if all(word in values.get(name, {}).get("multipath", b"") for name in NAMES):
                return
            await asyncio.sleep(0.1)


async def test_the_log_has_a_line_for_each_change_and_none_for_each_question_to_etcd(
    servers: EtcdServers, tmp_path: Path
) -> None:
    environment = {
        "PATHFLEET_STORE": f"etcd://{','.join(servers.endpoints)}/log",
        "PATHFLEET_STATE_DIRECTORY": str(tmp_path),
        "PATHFLEET_MULTIPATHD_SOCKET": str(tmp_path / "absent"),
        "PATHFLEET_NODE": "n1",
    }
    command = [sys.executable, "-m", "pathfleet", "agent", "--once"]
    agent = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE)
    _, log = await asyncio.wait_for(agent.communicate(), PATIENCE_SECONDS)
    assert b"not-running" in log
    assert b"httpx" not in log


async def test_a_leader_killed_and_a_quorum_lost_end_no_agent_and_lose_no_report(
    servers: EtcdServers, tmp_path: Path
) -> None:
    async with agents(servers, tmp_path) as (nodes, tasks):
        await until_all_say(servers, b"optimal")
        leader = servers.leader()
        servers.kill(leader)
        for node in nodes.values():
            node.answer = BAD
        await until_all_say(servers, b"degraded")
        other = next(member for member in servers.running)
        servers.kill(other)  # one of three is left: no quorum
        for node in nodes.values():
            node.answer = GOOD
            await node.read()
        servers.start(leader, other)
        await until_all_say(servers, b"optimal")
        assert not any(task.done() for task in tasks)
