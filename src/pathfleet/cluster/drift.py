"""Which configuration each node has in force, against the one that the cluster has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from pathfleet.cluster import config
from pathfleet.cluster.config import Current
from pathfleet.core import applied, drift
from pathfleet.core.applied import Applied
from pathfleet.core.drift import Difference
from pathfleet.core.wire import STALE
from pathfleet.errors import CannotTell, Malformed, NotRunning
from pathfleet.store import Member, Store
from pathfleet.system.multipathd import Multipathd


class State(StrEnum):
    """How a node stands to the cluster's configuration."""

    IN_FORCE = "in-force"
    DRIFTED = "drifted"
    BEHIND = "behind"
    FAILED = "failed"
    UNKNOWN = "unknown"


class NodeDrift(Struct, frozen=True, rename="kebab"):
    """One node. `digest` is of what it says that it has in force; `differences` is None where nobody looked.

    `drifted`: the digest is the wanted one, and multipathd goes by something else. `behind`: the node has not taken
    the configuration yet. `age` in seconds.
    """

    node: str
    state: State
    digest: str | None = None
    error: str | None = None
    age: int | None = None
    reason: str | None = None
    differences: list[Difference] | None = None


class ClusterDrift(Struct, frozen=True, rename="kebab"):
    """All nodes. `digest` is of the cluster's configuration, None if there is none."""

    digest: str | None
    nodes: list[NodeDrift]


async def look(store: Store, *, here: str | None = None, multipathd: Multipathd | None = None) -> ClusterDrift:
    """Return how all nodes stand; of the node `here`, with what its `multipathd` goes by. Raises StoreError."""
    current = await config.read(store)
    members, values = await asyncio.gather(store.members(), store.all_values())
    now = int(time.time())
    rows = [
        _row(name, members.nodes.get(name, Member(online=False)), values.get(name, {}), current.wanted_digest, now)
        for name in sorted({*members.nodes, *values})
    ]
    if here is not None and multipathd is not None:
        rows = [await _with_differences(row, current, multipathd) if row.node == here else row for row in rows]
    return ClusterDrift(current.wanted_digest, rows)


def _row(name: str, member: Member, values: Mapping[str, bytes], digest: str | None, now: int) -> NodeDrift:
    if applied.KEY not in values:
        reason = "it has not said what it has in force; its agent is not running, or an older one"
        return NodeDrift(name, State.UNKNOWN, reason=reason)
    try:
        said = applied.decode(values[applied.KEY])
    except Malformed as error:
        return NodeDrift(name, State.UNKNOWN, reason=str(error))
    age = now - said.time
    row = NodeDrift(name, _state(said, digest), said.digest, said.error, age)
    doubt = _doubt(member, age)
    if doubt is None:
        return row
    return NodeDrift(name, State.UNKNOWN, said.digest, said.error, age, doubt)


def _state(said: Applied, digest: str | None) -> State:
    if said.error is not None:
        return State.FAILED
    return State.IN_FORCE if said.digest == digest else State.BEHIND


def _doubt(member: Member, age: int) -> str | None:
    if member.online is None:
        return "the store has no quorum: nobody knows whether the node is there"
    if not member.online:
        return "the node is offline"
    return None if abs(age) <= STALE else "what it said is old: its agent has stopped, or its clock is wrong"


async def _with_differences(row: NodeDrift, current: Current, multipathd: Multipathd) -> NodeDrift:
    found, reason = await differences(current, multipathd)
    proven = any(difference.proven for difference in found or ())
    state = State.DRIFTED if proven and row.state is State.IN_FORCE else row.state
    return NodeDrift(row.node, state, row.digest, row.error, row.age, row.reason or reason, found)


async def differences(current: Current, multipathd: Multipathd) -> tuple[list[Difference] | None, str | None]:
    """Return where this node's multipathd goes by other values than `current` wants; or None, and why not."""
    try:
        effective = await multipathd.ask("show config local")
        version = await multipathd.version()
    except (NotRunning, CannotTell) as error:
        return None, str(error)
    text = effective.decode(errors="replace")
    if "{" not in text:
        return None, f"multipathd answered `show config local` with {text[:80]!r}"
    return drift.differences(current.drop_ins(version), text), None
