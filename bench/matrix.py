"""The matrix of 64 nodes x 1,000 LUNs: whole, after one changed report, as an answer, and to an agent's listeners."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import msgspec

from bench import cluster_values
from bench.row import Row
from bench.timing import Times, here, take_turns
from pathfleet.core import column
from pathfleet.core.change import Matrix
from pathfleet.core.column import Column
from pathfleet.core.matrix import matrix
from pathfleet.core.report import MapReport
from pathfleet.store import open_store

NODES = 64
LUNS = 1_000
LISTENERS = 200
_REPEATS = 20
_MS = 1_000
_MIB = 1 << 20
_START_SECONDS = 60


def rows() -> Iterator[Row]:
    """Measure in this process, then on a real agent with its store and its socket."""
    yield from _in_process()
    yield from asyncio.run(_on_an_agent())


def _in_process() -> Iterator[Row]:
    now = int(time.time())
    reported = cluster_values.maps(LUNS)
    columns = [_column(f"node{number:02}", reported, now) for number in range(NODES)]
    times = take_turns(
        {
            "whole": here(lambda: matrix(columns, {}, now)),
            "encoded": here(lambda: msgspec.json.encode(matrix(columns, {}, now))),
        },
        rounds=5,
        repeats=1,
    )
    yield _row(f"{NODES} nodes x {LUNS} LUNs: the whole matrix", times["whole"], at_most=150)
    yield _row("and as JSON", times["encoded"])
    live = Matrix()
    for each in columns:
        live.place(each)
    changes = itertools.cycle(
        cluster_values.values(cluster_values.with_one_degraded(reported, place), now) for place in range(_REPEATS)
    )

    def change() -> None:
        said = column.read(next(changes))
        for told in live.place(column.judge("node07", online=True, said=said, now=now)):
            msgspec.json.encode(told)

    yield _row(
        "one changed report to its events", take_turns({"": here(change)}, rounds=_REPEATS, repeats=1)[""], at_most=20
    )
    document = msgspec.json.encode({"data": live.document(now)})
    yield Row("the answer, compressed", len(gzip.compress(document, 6)) / _MIB, unit="MiB", at_most=1_000_000 / _MIB)


def _column(name: str, reported: dict[str, MapReport], now: int) -> Column:
    return column.judge(name, online=True, said=column.read(cluster_values.values(reported, now)), now=now)


def _row(what: str, times: Times, *, at_most: float | None = None) -> Row:
    return Row(what, times.best * _MS, times.median * _MS, "ms", at_most=at_most)


async def _on_an_agent() -> list[Row]:
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite://{directory}/cluster.db"
        reported = cluster_values.maps(LUNS)
        for number in range(NODES):
            await _publish(url, f"node{number:02}", reported)
        environment = os.environ | {
            "PATHFLEET_NODE": "reader",
            "PATHFLEET_STORE": url,
            "PATHFLEET_STATE_DIRECTORY": directory,
            "PATHFLEET_MULTIPATHD_SOCKET": f"{directory}/nobody",
            "PATHFLEET_API_LISTEN": "",
            "PATHFLEET_API_SOCKET": f"{directory}/api.sock",
            "PATHFLEET_LOG_LEVEL": "error",
        }
        with subprocess.Popen([sys.executable, "-m", "pathfleet", "agent"], env=environment) as agent:  # noqa: ASYNC220
            try:
                return await _asked(agent.pid, url, f"{directory}/api.sock", reported)
            finally:
                agent.send_signal(signal.SIGTERM)


async def _publish(url: str, name: str, reported: dict[str, MapReport]) -> None:
    async with open_store(url, node=name) as store:
        await store.alive()
        for key, value in cluster_values.values(reported, int(time.time())).items():
            await store.put(key, value)


async def _asked(pid: int, url: str, address: str, reported: dict[str, MapReport]) -> list[Row]:
    found = []
    async with _client(address) as client:
        latest = await _whole(client)
        answers = [await _timed(client) for _ in range(10)]
        seconds, size, etag = answers[-1][0], answers[-1][1], answers[-1][2]
        best, median = min(answer[0] for answer in answers), statistics.median(answer[0] for answer in answers)
        found.append(Row("an agent's answer over its socket", best * _MS, median * _MS, "ms"))
        again = await client.get("/api2/json/cluster/multipath/status", headers={"If-None-Match": etag})
        found.append(Row("asked again: status", float(again.status_code), unit="(304: not sent again)"))
        assert size, seconds
    arrived: list[float] = []
    async with asyncio.TaskGroup() as tasks:
        ready = asyncio.Semaphore(0)
        listeners = [tasks.create_task(_listen(address, latest, ready, arrived)) for _ in range(LISTENERS)]
        for _ in listeners:
            await ready.acquire()
        began = time.time()
        await _publish(url, "node07", cluster_values.with_one_degraded(reported, 0))
    delays = sorted(when - began for when in arrived)
    found.append(
        Row(f"a write to its event at {LISTENERS} listeners", delays[0] * _MS, statistics.median(delays) * _MS, "ms")
    )
    found.append(Row("the last of them", delays[-1] * _MS, unit="ms"))
    found.append(Row("the agent's memory, at most", _peak_mib(pid), unit="MiB", at_most=250))
    return found


def _client(address: str) -> httpx2.AsyncClient:
    transport = httpx2.AsyncHTTPTransport(uds=address)
    return httpx2.AsyncClient(transport=transport, base_url="http://agent", timeout=60)


async def _whole(client: httpx2.AsyncClient) -> str:
    """Wait until the agent knows every node; return the id of its latest event."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            data = (await client.get("/api2/json/cluster/multipath/status")).json()["data"]
            if data and sum(len(lun["nodes"]) for lun in data["luns"]) >= NODES * LUNS:
                return str(data["event"])
        except (httpx2.HTTPError, json.JSONDecodeError):
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"the agent did not know the cluster within {_START_SECONDS} s")
        await asyncio.sleep(0.2)


async def _timed(client: httpx2.AsyncClient) -> tuple[float, int, str]:
    began = time.perf_counter()
    answer = await client.get("/api2/json/cluster/multipath/status")
    return time.perf_counter() - began, len(answer.content), answer.headers["etag"]


async def _listen(address: str, latest: str, ready: asyncio.Semaphore, arrived: list[float]) -> None:
    wanted = b'"node":"node07"'
    reader, writer = await asyncio.open_unix_connection(address)
    writer.write(f"GET /api2/json/cluster/multipath/events?after={latest} HTTP/1.1\r\nHost: agent\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    ready.release()
    while True:
        line = await reader.readline()
        if not line:
            raise ConnectionError("the agent ended a stream")
        if line.startswith(b"data:") and wanted in line and b"degraded" in line:
            arrived.append(time.time())
            writer.close()
            return


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024
