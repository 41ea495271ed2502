"""What `pathfleet agent` costs a node on which nothing happens, from /proc, with few maps and with many."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from bench import node, san
from bench.node import Node
from bench.row import Row
from pathfleet.core import report
from pathfleet.store import open_store

_COUNTS = (12, 1_000)
_WARM_UP_SECONDS = 15  # past the first poll after the start
_SECONDS = 60  # six polls, and one rewriting of what did not change
_DEADLINE_SECONDS = 30
_MEGABYTE = 1 << 20


class _Cost(Struct, frozen=True):
    cpu_seconds: float
    rss_bytes: int
    pss_bytes: int


def rows() -> Iterator[Row]:
    with ExitStack() as stack:
        nodes = {count: stack.enter_context(node.prepared(san.make(count))) for count in _COUNTS}
        for one in nodes.values():
            stack.enter_context(one.running())
            asyncio.run(_published(one))
        time.sleep(_WARM_UP_SECONDS)
        began, before = time.monotonic(), {count: _cost(one.pid) for count, one in nodes.items()}
        time.sleep(_SECONDS)
        seconds, after = time.monotonic() - began, {count: _cost(one.pid) for count, one in nodes.items()}
    for count in _COUNTS:
        what = f"{count:,} maps{'' if node.sees_sysfs() else ' (without sysfs: not root)'}, {{}}".format
        cpu = after[count].cpu_seconds - before[count].cpu_seconds
        yield Row(what("CPU"), cpu / seconds * 100, unit="% of a core", at_most=0.5)
        yield Row(what("RSS"), after[count].rss_bytes / _MEGABYTE, unit="MiB", at_most=60)
        yield Row(what("PSS"), after[count].pss_bytes / _MEGABYTE, unit="MiB")


async def _published(one: Node) -> None:
    """Wait until the agent has made its store and published."""
    async with asyncio.timeout(_DEADLINE_SECONDS):
        while not (one.directory / "cluster.db").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.1)
        async with open_store(one.store_url, node="onlooker") as store:
            while report.KEY not in await store.values(node.NAME):  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.1)


def _cost(pid: int) -> _Cost:
    process = Path("/proc", str(pid))
    fields = (process / "stat").read_text("ascii").rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime and stime, proc(5)
    sizes = dict(line.split()[:2] for line in (process / "smaps_rollup").read_text("ascii").splitlines()[1:])
    return _Cost(ticks / os.sysconf("SC_CLK_TCK"), int(sizes["Rss:"]) * 1024, int(sizes["Pss:"]) * 1024)
