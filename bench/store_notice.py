"""From one node's write to another node's having read it, on each engine: real etcd, pmxcfs's test server."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from bench.row import Row
from pathfleet.store import Store
from tests.store import etcd_servers
from tests.store.engines import Cluster, EtcdCluster, PmxcfsCluster, SQLiteCluster
from tests.store.etcd_servers import EtcdServers

_REPEATS = 100
_VALUE_BYTES = 8_000
_ETCD_TARGET_MS = 500


def rows() -> Iterator[Row]:
    """Measure; the target, for etcd, is the 99th of 100."""
    with tempfile.TemporaryDirectory() as directory:
        yield from _measured("sqlite", SQLiteCluster(Path(directory)), None)
    for members in (1, 3):
        name = f"etcd, {members} member(s)"
        if etcd_servers.PROGRAM is None:
            yield Row(name, skipped="etcd-server is not installed")
            continue
        with (
            tempfile.TemporaryDirectory() as directory,
            closing(EtcdServers(Path(directory) / "etcd", members)) as servers,
        ):
            yield from _measured(name, EtcdCluster(servers, "bench"), _ETCD_TARGET_MS)
    with tempfile.TemporaryDirectory() as directory:
        try:
            pmxcfs = PmxcfsCluster(Path(directory))
        except OSError as error:
            yield Row("pmxcfs test server", skipped=str(error))
            return
        with closing(pmxcfs):
            yield from _measured("pmxcfs test server", pmxcfs, None)


def _measured(name: str, cluster: Cluster, target: float | None) -> Iterator[Row]:
    times = sorted(asyncio.run(_noticed(cluster)))
    yield Row(f"{name}: write to read elsewhere", times[0], statistics.median(times), "ms")
    yield Row(f"{name}: the 99th of {len(times)}", times[int(len(times) * 0.99) - 1], unit="ms", at_most=target)


async def _noticed(cluster: Cluster) -> list[float]:
    async with cluster.store("a") as writer, cluster.store("b") as watcher:
        await writer.put("multipath", b"0")
        await watcher.alive()
        seen = asyncio.Queue[tuple[bytes, float]]()
        task = asyncio.create_task(_watch(watcher, seen))
        try:
            return [await _once(writer, number, seen) for number in range(1, _REPEATS + 1)]
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _once(writer: Store, number: int, seen: asyncio.Queue[tuple[bytes, float]]) -> float:
    value = str(number).encode().rjust(_VALUE_BYTES, b" ")
    began = time.perf_counter()
    await writer.put("multipath", value)
    async with asyncio.timeout(20):
        while True:
            read, when = await seen.get()
            if read == value:
                await asyncio.sleep(0.05)
                return (when - began) * 1000


async def _watch(store: Store, seen: asyncio.Queue[tuple[bytes, float]]) -> None:
    async for _ in store.changes():
        values = await store.values("a")
        await seen.put((values.get("multipath", b""), time.perf_counter()))
