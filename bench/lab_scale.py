"""The lab at its largest: 64 hosts x 1,000 LUNs x 8 paths and their agents in one process; and a 5,000-map host."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.row import Row
from pathfleet.cluster import live
from pathfleet.core.column import Column
from pathfleet.store import open_store

_DEADLINE_SECONDS = 300
_REST_SECONDS = 20
_GIB = 1 << 30
_ONE_HOST = """
name = "one"
switches = [{ name = "switch-a", fabric = "a" }, { name = "switch-b", fabric = "b" }]
arrays = [{ name = "array1", ports = 2 }]
hosts = [{ name = "node1" }]
luns = [{ name = "lun", count = 5000, size = "100G" }]
"""


def rows() -> Iterator[Row]:
    """Measure both; the process is the command itself, `pathfleet demo`."""
    with tempfile.TemporaryDirectory() as directory:
        one = Path(directory) / "one.toml"
        one.write_text(_ONE_HOST)
        yield from _measured("64 hosts x 1,000 maps x 8", "large", Path(directory) / "large", 64)
        yield from _measured("1 host x 5,000 maps x 4", str(one), Path(directory) / "one", 1)


def _measured(what: str, topology: str, directory: Path, hosts: int) -> Iterator[Row]:
    command = [sys.executable, "-m", "pathfleet", "demo", "--topology", topology, "--directory", str(directory)]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as lab:
        try:
            _until(directory, lambda nodes: len(nodes) == hosts and all(node.maps for node in nodes))
            yield Row(f"{what}: start to all reported", time.monotonic() - began, unit="s")
            before = _cpu_seconds(lab.pid)
            time.sleep(_REST_SECONDS)
            yield Row(
                f"{what}: CPU at rest", (_cpu_seconds(lab.pid) - before) / _REST_SECONDS * 100, unit="% of a core"
            )
            yield Row(f"{what}: memory at rest", _memory(lab.pid, "VmRSS") / _GIB, unit="GiB", at_most=2)
            began = time.monotonic()
            _break(directory, "switch-a")
            _until(directory, _all_degraded)
            yield Row(f"{what}: a switch breaks, all maps degraded", time.monotonic() - began, unit="s")
            yield Row(f"{what}: memory at most", _memory(lab.pid, "VmHWM") / _GIB, unit="GiB", at_most=2)
        finally:
            lab.send_signal(signal.SIGTERM)


def _all_degraded(nodes: list[Column]) -> bool:
    return all(map_.state == "degraded" for node in nodes for map_ in node.maps.values())


def _until(directory: Path, reached: Callable[[list[Column]], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    database = directory / "store/cluster.db"
    while not database.exists() or not reached(asyncio.run(_nodes(f"sqlite://{database}"))):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the lab in {directory} did not come so far within {_DEADLINE_SECONDS} s")
        time.sleep(0.5)


async def _nodes(url: str) -> list[Column]:
    async with open_store(url) as store:
        return await live.columns(store, time.time())


def _break(directory: Path, component: str) -> None:
    command = [sys.executable, "-m", "pathfleet", "lab", "break", component, "--directory", str(directory)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)


def _memory(pid: int, field: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{field}:"))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
