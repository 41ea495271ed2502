"""What the nodes of a made-up cluster have published: every node sees every LUN over four paths."""

from __future__ import annotations

import random

from bench import san
from pathfleet.core import node, report, wire
from pathfleet.core.node import NodeInfo, Versions
from pathfleet.core.report import MapReport
from pathfleet.store import VALUE_LIMIT

_GIB = 1 << 30


def maps(luns: int, *, seed: int = 1) -> dict[str, MapReport]:
    """Return one node's report; the same seed makes the same LUNs."""
    chance = random.Random(seed)
    return {
        san.wwid(chance): MapReport("optimal", 4, 4, chance.choice((32, 100, 512)) * _GIB, "fc") for _ in range(luns)
    }


def values(reported: dict[str, MapReport], now: int) -> dict[str, bytes]:
    """Return the node's values as they are in the store."""
    info = NodeInfo("running", now, Versions("0.1", "0.11.1"))
    contents = report.contents(reported, limit=VALUE_LIMIT) | {node.KEY: node.content(info)}
    return {key: wire.stamp(content, now) for key, content in contents.items()}


def with_one_degraded(reported: dict[str, MapReport], place: int) -> dict[str, MapReport]:
    """Return the report with one map, the one at `place`, that lost two paths."""
    wwid = list(reported)[place]
    return {**reported, wwid: MapReport("degraded", 2, 4, reported[wwid].size, "fc")}
