"""What the operations work with: one value that holds this node's parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pathfleet.api.forward import Peers
from pathfleet.cluster.access import Access
from pathfleet.cluster.live import Live
from pathfleet.core.answer import Answer
from pathfleet.store import Store


@dataclass(frozen=True)
class Service:
    """This node as its API sees it.

    `maps` returns what the node found last; `peers` asks other nodes, with the node's own secret.
    """

    node: str
    store: Store
    live: Live
    maps: Callable[[], Answer]
    access: Access
    peers: Peers
