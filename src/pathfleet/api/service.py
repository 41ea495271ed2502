"""What the operations work with: one value that holds this node's parts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pathfleet.api.forward import Peers
from pathfleet.api.session import Sessions
from pathfleet.cluster.access import Access
from pathfleet.cluster.live import Live
from pathfleet.core.answer import Answer
from pathfleet.core.drift import Effective
from pathfleet.core.facts import Disk, NodeFacts
from pathfleet.store import Store
from pathfleet.system.executor import Executor


@dataclass(frozen=True)
class Service:
    """This node as its API sees it.

    `maps` returns what the node found last; `peers` asks other nodes, with the node's own secret.
    `executor` does what needs root here; `examine` is the doctor's look at this node, `effective` what its multipathd
    goes by, `disks` those of its disks that have a WWID.
    `under_way`: the work on LUNs that ends whoever listens, by WWID.
    """

    node: str
    store: Store
    live: Live
    maps: Callable[[], Answer]
    access: Access
    peers: Peers
    executor: Executor
    examine: Callable[[], Awaitable[NodeFacts]]
    effective: Callable[[], Awaitable[Effective]]
    disks: Callable[[], Awaitable[tuple[Disk, ...]]]
    sessions: Sessions = field(default_factory=Sessions)
    under_way: dict[str, asyncio.Task[object]] = field(default_factory=dict)
