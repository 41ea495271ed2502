"""Agents that are killed at random while a SAN fails and recovers: in the end every column is right, on every node,
and who listened and connected again has missed no change.

Real processes, real sockets. PATHFLEET_FAULT_SECONDS says for how long (default 40).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from socket import socket
from typing import Any

import httpx2
import pytest

from pathfleet.core import maps, report
from pathfleet.core.health import Facts, judge
from pathfleet.lab import san_file
from pathfleet.lab.commands import Commands
from pathfleet.lab.faults import inflict, relieve
from pathfleet.lab.node import Node
from pathfleet.lab.san import San
from pathfleet.lab.sysfs_tree import write_sysfs

SECONDS = float(os.environ.get("PATHFLEET_FAULT_SECONDS", "40"))
#: One poll, and what reading, writing, noticing and asking take beside it on a busy machine; less than two polls.
POLL_SECONDS = 10 + 8
START_SECONDS = 60
SAN = """
name = "killed"
switches = [{ name = "switch-a", fabric = "a" }, { name = "switch-b", fabric = "b" }]
arrays = [{ name = "array1" }]
hosts = [{ name = "node", count = 3, version = "0.11.1" }]
luns = [{ name = "lun", count = 6, size = "10G" }]
"""
BREAKABLE = ("switch-a", "switch-b")
API = "/api2/json/cluster/multipath"


class Host:
    """One host's agent, a process of its own."""

    def __init__(self, node: Node, directory: Path) -> None:
        self.node = node
        self.name = node.name
        self.socket = directory / f"{self.name}.api"
        self.settings = directory / f"{self.name}.toml"
        self.process: asyncio.subprocess.Process | None = None
        self._log = directory / f"{self.name}.log"
        (directory / self.name).mkdir()
        write_sysfs(node.kernel, directory / f"{self.name}.sysfs")
        lines = {
            "node": self.name,
            "store": f"sqlite://{directory}/cluster.db",
            "state-directory": f"{directory}/{self.name}",
            "multipathd-socket": node.multipathd_socket,
            "sysfs": f"{directory}/{self.name}.sysfs",
            "api-listen": f"127.0.0.1:{_free_port()}",
            "api-socket": str(self.socket),
        }
        self.settings.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items()))

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "pathfleet", "--config", str(self.settings), "agent"), stdout=log, stderr=log
            )

    async def kill(self) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    def client(self) -> httpx2.AsyncClient:
        transport = httpx2.AsyncHTTPTransport(uds=str(self.socket))
        return httpx2.AsyncClient(transport=transport, base_url="http://agent", timeout=httpx2.Timeout(5, read=20))

    async def status(self) -> dict[str, Any] | None:
        """Return the matrix that this node answers with, None while it does not."""
        try:
            async with self.client() as client:
                answer = await client.get(f"{API}/status")
            answer.raise_for_status()
        except httpx2.HTTPError:
            return None
        found: dict[str, Any] = answer.json()["data"]
        return found

    def truth(self) -> dict[str, tuple[str, int, int]]:
        """Return what the host's multipathd would say at this moment, judged."""
        reply = b"".join(Commands(self.node.daemon).answer("show maps json", uid=0))
        found = report.summarise(judge(map_, Facts()) for map_ in maps.decode(reply))
        return {wwid: (map_.state, map_.paths_active, map_.paths_total) for wwid, map_ in found.items()}


Cells = dict[tuple[str, str], dict[str, Any]]


def cells(status: dict[str, Any]) -> Cells:
    """Return the cells of a matrix without their ages."""
    return {
        (lun["wwid"], node): {key: value for key, value in cell.items() if key != "age"}
        for lun in status["luns"]
        for node, cell in lun["nodes"].items()
    }


class Listener:
    """A client that keeps its own matrix from one node's events, and connects again when the node was killed.

    Each change names what was there before: were one missed, that would not be what the listener has.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.cells: Cells = {}
        self.last = ""
        self.changes = 0
        self.connections = 0

    async def listen(self) -> None:
        while True:
            with contextlib.suppress(httpx2.HTTPError):
                async with self._host.client() as client:
                    if not self.last:
                        await self._read_all(client)
                    await self._follow(client)
            await asyncio.sleep(0.1)

    async def _read_all(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get(f"{API}/status")
        answer.raise_for_status()
        data = answer.json()["data"]
        self.cells, self.last = cells(data), data["event"]

    async def _follow(self, client: httpx2.AsyncClient) -> None:
        async with client.stream("GET", f"{API}/events", headers={"Last-Event-ID": self.last}) as stream:
            stream.raise_for_status()
            self.connections += 1
            event: dict[str, str] = {}
            async for line in stream.aiter_lines():
                if event.get("event") == "reset":
                    self.last = ""
                    return
                if not line and "id" in event:
                    self._take(event)
                if not line:
                    event = {}
                elif not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    event[name] = value

    def _take(self, event: dict[str, str]) -> None:
        if event["event"] == "cell":
            change = json.loads(event["data"])
            place = (change["wwid"], change["node"])
            had = self.cells.get(place)
            assert change["before"] == (had["state"] if had else None), f"missed a change before {change}"
            self.changes += 1
            if change["cell"] is None:
                self.cells.pop(place)
            else:
                self.cells[place] = change["cell"]
        self.last = event["id"]


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[tuple[San, list[Host]]]:
    san = San(san_file.load(SAN), sockets=lambda host: str(tmp_path / f"{host}.socket"), files=tmp_path / "etc")
    for name in san.nodes:
        (tmp_path / "etc" / name / "multipath").mkdir(parents=True, exist_ok=True)
    async with san.running():
        found = [Host(node, tmp_path) for node in san.nodes.values()]
        try:
            for host in found:
                await host.start()
            yield san, found
        finally:
            for host in found:
                await host.kill()


async def test_agents_killed_at_random_leave_every_column_right_and_no_change_missed(
    hosts: tuple[San, list[Host]],
) -> None:
    san, nodes = hosts
    seed = int(time.time())
    chance = random.Random(seed)
    print(f"seed {seed}")
    await all_right(nodes, START_SECONDS)
    listeners = [Listener(host) for host in nodes]
    async with asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(listener.listen()) for listener in listeners]
        kills = await _mayhem(san, nodes, chance, time.monotonic() + SECONDS)
        took = await all_right(nodes, POLL_SECONDS)
        await _caught_up(nodes, listeners)
        for task in following:
            task.cancel()
    print(
        f"{kills} kills; all columns right after {took:.1f} s; "
        + ", ".join(f"{each.changes} changes, {each.connections} connections" for each in listeners)
    )
    assert kills > 0
    assert all(listener.connections > 1 for listener in listeners)
    assert all(listener.changes > 0 for listener in listeners)


async def _mayhem(san: San, nodes: list[Host], chance: random.Random, until: float) -> int:
    """Kill and start agents, break and mend switches, until then; leave all agents running and one switch broken."""
    kills = 0
    broken: set[str] = set()
    while time.monotonic() < until:
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        if chance.random() < 0.4:
            host = chance.choice(nodes)
            await host.kill()
            kills += 1
            await asyncio.sleep(chance.choice((0, 0, 1)))
            await host.start()
        else:
            switch = chance.choice(BREAKABLE)
            (relieve if switch in broken else inflict)(san, "break", switch, "")
            broken ^= {switch}
    for host in nodes:
        await host.kill()
        kills += 1
        await host.start()
    for switch in broken:
        relieve(san, "break", switch, "")
    inflict(san, "break", "switch-a", "")
    return kills


async def all_right(nodes: list[Host], seconds: float) -> float:
    """Wait until every node answers for every column with the truth; return how long that took."""
    began = time.monotonic()
    settled = began
    wrong: object = None
    while True:
        truth = {host.name: host.truth() for host in nodes}
        answers = {host.name: await host.status() for host in nodes}
        if truth != {host.name: host.truth() for host in nodes}:
            settled = time.monotonic()  # the SAN itself is still changing: paths return with their next check
        wrong = _wrong(truth, answers)
        if not wrong:
            return time.monotonic() - settled
        assert time.monotonic() < settled + seconds, wrong
        await asyncio.sleep(0.2)


def _wrong(truth: dict[str, dict[str, tuple[str, int, int]]], answers: dict[str, dict[str, Any] | None]) -> object:
    for answering, status in answers.items():
        if status is None:
            return f"{answering} does not answer"
        found: dict[str, dict[str, tuple[str, int, int]]] = {name: {} for name in truth}
        for (wwid, node), cell in cells(status).items():
            found[node][wwid] = (cell["state"], cell["paths-active"], cell["paths-total"])
        if found != truth:
            return answering, found, truth
    return None


async def _caught_up(nodes: list[Host], listeners: list[Listener]) -> None:
    deadline = time.monotonic() + POLL_SECONDS
    for host, listener in zip(nodes, listeners, strict=True):
        while (status := await host.status()) is None or listener.cells != cells(status):
            assert time.monotonic() < deadline, f"the listener of {host.name} has another matrix than its node"
            await asyncio.sleep(0.2)


def _free_port() -> int:
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
