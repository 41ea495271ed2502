"""From a uevent to the changed report in the store: real netlink frame, real agent, a daemon that answers at once.

Runs in a network namespace of its own, so that nobody else on the machine hears the frames. What multipathd itself
takes to notice is not in the figure.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec

from bench import node, san
from bench.node import Node
from bench.row import Row
from pathfleet.core import report
from pathfleet.core.report import MapReport
from pathfleet.errors import Torn
from pathfleet.store import Store, open_store

_COUNTS = (12, 1_000)
_REPEATS = 20
_DEADLINE_SECONDS = 20
_LOOK_SECONDS = 0.001
#: Past the second reading that follows a uevent, so that each frame meets an agent at rest.
_REST_SECONDS = 1.5
_NETLINK_KOBJECT_UEVENT, _KERNEL_GROUP = 15, 1
_HEALTHY = b'"dm_st" : "active",\n            "dev_st" : "running",\n            "chk_st" : "ready"'
_FAILED = b'"dm_st" : "failed",\n            "dev_st" : "running",\n            "chk_st" : "faulty"'


def rows() -> Iterator[Row]:
    if os.geteuid() != 0:
        yield Row("uevent to store", skipped="only root may send to the kernel's netlink group")
        return
    for count in _COUNTS:
        command = ["unshare", "--net", sys.executable, "-m", "bench.event_to_store", str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300)
        seconds = msgspec.json.decode(done.stdout, type=list[float])
        what = f"{count:,} maps, uevent to store, {_REPEATS} times"
        yield Row(what, min(seconds) * 1000, statistics.median(seconds) * 1000, "ms")
        yield Row(f"{what}: the longest", max(seconds) * 1000, unit="ms")


async def _measure(count: int) -> list[float]:
    made = san.make(count, troubled=0)
    replies = (made.reply.replace(_HEALTHY, _FAILED, 1), made.reply)
    pause = random.Random(1)
    with node.prepared(made) as one, one.running():
        while not (one.directory / "cluster.db").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.1)
        async with open_store(one.store_url, node="onlooker") as store:
            shown = await _changed(store, {})
            seconds = []
            for repeat in range(_REPEATS):
                await asyncio.sleep(_REST_SECONDS + pause.random())
                began = _fail(one, replies[repeat % 2])
                shown = await _changed(store, shown)
                seconds.append(time.monotonic() - began)
    return seconds


async def _changed(store: Store, before: dict[str, MapReport]) -> dict[str, MapReport]:
    """Wait until the report says something else, and return what."""
    seen: dict[str, bytes] = {}
    async with asyncio.timeout(_DEADLINE_SECONDS):
        while True:
            values = await store.values(node.NAME)
            if values != seen:
                seen, shown = values, _maps(values)
                if shown and shown != before:
                    return shown
            await asyncio.sleep(_LOOK_SECONDS)


def _maps(values: dict[str, bytes]) -> dict[str, MapReport] | None:
    try:
        found = report.decode(values)
    except Torn:
        return None
    return found.maps if found else None


def _fail(one: Node, reply: bytes) -> float:
    """Change what multipathd says, send the kernel's uevent of it, and return when."""
    properties = (
        "ACTION=change",
        "DEVPATH=/devices/virtual/block/dm-0",
        "SUBSYSTEM=block",
        "DM_TARGET=multipath",
        "DM_ACTION=PATH_FAILED",
        "DM_PATH=8:0",
        "DM_UUID=mpath-3600a0b80000f1e2d",
    )
    frame = "\0".join(("change@/devices/virtual/block/dm-0", *properties, "")).encode()
    one.say(reply)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_KOBJECT_UEVENT) as kernel:
        began = time.monotonic()
        kernel.sendto(frame, (0, _KERNEL_GROUP))
    return began


if __name__ == "__main__":
    print(msgspec.json.encode(asyncio.run(_measure(int(sys.argv[1])))).decode())
