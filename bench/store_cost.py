"""What a cluster writes into its store: at rest and in a storm, against a poller that writes each report every 10 s.

32 nodes see the same 1,000 LUNs. Counted, not timed: the real publisher on a store that counts, its clock moved by
hand through ten minutes; the poller writes the same plain report as one value, as if no store had a limit.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

from msgspec import Struct

from bench import san
from bench.row import Row
from pathfleet.agent.collect import Snapshot
from pathfleet.agent.loop import STORM_SPACING_SECONDS
from pathfleet.agent.publish import Publisher
from pathfleet.core import maps, report
from pathfleet.core.health import judge
from pathfleet.core.node import Daemon, NodeInfo, Versions
from tests.fakes import MemoryStore

_NODES, _LUNS = 32, 1_000
_MINUTES = 10
_POLL_SECONDS = 10
#: In the storm each node reads as often as its agent lets it, and each reading finds other maps in trouble.
_STORM_SECONDS, _STORM_READING_SECONDS = 60, STORM_SPACING_SECONDS
_INFO = NodeInfo("running", 1_751_540_000, Versions("0", "0.9.4"))


class Cost(Struct):
    """What was written by one node."""

    writes: float = 0
    bytes: float = 0


def rows() -> Iterator[Row]:
    """Count both; figures are of the whole cluster and of one minute."""
    calm = [_snapshot(seed=1)]
    rest = asyncio.run(_published(calm, _MINUTES * 60, _POLL_SECONDS))
    yield from _compared("at rest", rest, _poller(calm[0]), _MINUTES)
    stormy = [_snapshot(seed=seed, troubled=0.5) for seed in range(20)]
    storm = asyncio.run(_published(stormy, _STORM_SECONDS, _STORM_READING_SECONDS))
    yield from _compared("in a storm", storm, _poller(stormy[0]), _STORM_SECONDS / 60)


def _compared(what: str, ours: Cost, poller: Cost, minutes: float) -> Iterator[Row]:
    for name in ("writes", "bytes"):
        each = getattr(ours, name) / minutes * _NODES
        polled = getattr(poller, name) * _NODES
        yield Row(f"{what}: {name} per minute", each)
        yield Row(f"{what}: {name} per minute, poller", polled)
        yield Row(f"{what}: {name}, poller : pathfleet", polled / each, unit="x")


def _snapshot(*, seed: int, troubled: float = 0.05) -> Snapshot:
    made = san.make(_LUNS, seed=1, troubled=0)
    reply = made.reply
    chance = random.Random(seed)
    pieces = reply.split(b'"chk_st" : "ready"')
    words = [b"faulty" if chance.random() < troubled / 4 else b"ready" for _ in pieces[1:]]
    reply = pieces[0] + b"".join(
        b'"chk_st" : "' + word + b'"' + piece for word, piece in zip(words, pieces[1:], strict=True)
    )
    verdicts = tuple(judge(map_, made.facts) for map_ in maps.decode(reply))
    return Snapshot(Daemon.RUNNING, None, verdicts, made.facts, "0.9.4")


async def _published(snapshots: list[Snapshot], seconds: float, each: float) -> Cost:
    now = 0.0
    store = MemoryStore("a")
    cost = Cost()
    async with store:
        publisher = Publisher(store, clock=lambda: now, wall_clock=lambda: 1_751_546_766 + now)
        await publisher.publish(snapshots[0], _INFO)
        store.writes.clear()
        for step in range(1, int(seconds / each) + 1):
            now = step * each
            await publisher.publish(snapshots[step % len(snapshots)], _INFO)
    cost.writes = len(store.writes)
    cost.bytes = sum(len(value or b"") for _, value in store.writes)
    return cost


def _poller(snapshot: Snapshot) -> Cost:
    value = report.plain(report.summarise(snapshot.verdicts), 1_751_546_766)
    return Cost(60 / _POLL_SECONDS, len(value) * 60 / _POLL_SECONDS)
