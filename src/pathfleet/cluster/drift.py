"""Which configuration each node has in force, against the one that the cluster has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from pathfleet.cluster import config, rolling
from pathfleet.cluster.config import Current
from pathfleet.cluster.nodes import asked
from pathfleet.core import applied, drift
from pathfleet.core.applied import Applied
from pathfleet.core.drift import Difference, Effective
from pathfleet.core.roll import Roll
from pathfleet.core.wire import STALE
from pathfleet.errors import Malformed
from pathfleet.store import Member, Store
from pathfleet.system.multipathd import Multipathd


class Standing(StrEnum):
    """How a node stands to the cluster's configuration."""

    IN_FORCE = "in-force"
    DRIFTED = "drifted"
    BEHIND = "behind"
    FAILED = "failed"
    UNKNOWN = "unknown"


class NodeDrift(Struct, frozen=True, rename="kebab"):
    """One node. `digest` is of what it says that it has in force; `differences` is None where nobody looked.

    `drifted`: the digest is the wanted one, and multipathd goes by something else. `behind`: the node has not taken
    the configuration yet; `reason` says whom it waits for. `age` in seconds.
    """

    node: str
    state: Standing
    digest: str | None = None
    error: str | None = None
    age: int | None = None
    reason: str | None = None
    differences: list[Difference] | None = None


class ClusterDrift(Struct, frozen=True, rename="kebab"):
    """All nodes. `digest` is of the cluster's configuration, None if there is none."""

    digest: str | None
    nodes: list[NodeDrift]


#: Asks a node what its multipathd goes by. Raises PathfleetError.
Ask = Callable[[str], Awaitable[Effective]]


async def look(store: Store, ask: Ask | None = None) -> ClusterDrift:
    """Return how all nodes stand; with `ask`, also by keyword, as far as the nodes can be asked. Raises StoreError."""
    current, known = await config.read(store), await rolling.read(store)
    members, values = await asyncio.gather(store.members(), store.all_values())
    now = int(time.time())
    rows = {
        name: _row(
            name, members.nodes.get(name, Member(online=False)), values.get(name, {}), current.wanted_digest, now
        )
        for name in sorted({*members.nodes, *values})
    }
    rows = _with_waits(rows, known, current.wanted_digest)
    if ask is not None:
        compared = await compare(current, rows, ask)
        rows = {name: _with_differences(row, compared[name]) for name, row in rows.items()}
    return ClusterDrift(current.wanted_digest, list(rows.values()))


async def compare(current: Current, nodes: Iterable[str], ask: Ask) -> dict[str, list[Difference] | str]:
    """Ask nodes what their multipathd goes by; return where that is not what `current` wants, or why nobody knows."""
    answers, errors = await asked(nodes, ask)
    return {
        **{node: str(error) for node, error in errors.items()},
        **{
            node: drift.differences(current.drop_ins(effective.version), effective.text)
            for node, effective in answers.items()
        },
    }


async def effective(multipathd: Multipathd) -> Effective:
    """Return what this node's multipathd goes by. Raises NotRunning, CannotTell."""
    return Effective(await multipathd.effective(), await multipathd.version())


def _row(name: str, member: Member, values: Mapping[str, bytes], digest: str | None, now: int) -> NodeDrift:
    if applied.KEY not in values:
        reason = "it has not said what it has in force: neither pathfleet-executor nor pathfleet-apply has run there"
        return NodeDrift(name, Standing.UNKNOWN, reason=reason)
    try:
        said = applied.decode(values[applied.KEY])
    except Malformed as error:
        return NodeDrift(name, Standing.UNKNOWN, reason=str(error))
    age = now - said.time
    row = NodeDrift(name, _state(said, digest), said.digest, said.error, age)
    doubt = _doubt(member, age)
    if doubt is None:
        return row
    return NodeDrift(name, Standing.UNKNOWN, said.digest, said.error, age, doubt)


def _state(said: Applied, digest: str | None) -> Standing:
    if said.error is not None:
        return Standing.FAILED
    return Standing.IN_FORCE if said.digest == digest else Standing.BEHIND


def _doubt(member: Member, age: int) -> str | None:
    if member.online is None:
        return "the store has no quorum: nobody knows whether the node is there"
    if not member.online:
        return "the node is offline"
    return None if abs(age) <= STALE else "what it said is old: its agent has stopped, or its clock is wrong"


def _with_waits(rows: dict[str, NodeDrift], known: Roll | None, digest: str | None) -> dict[str, NodeDrift]:
    """Say of the nodes that are behind which one they wait for; nodes themselves publish only what they have."""
    if known is None or known.digest != digest or known.first is None or known.at_once or known.failed:
        return rows
    first = rows.get(known.first)
    if first is not None and first.state is Standing.IN_FORCE:
        return rows
    waits = f"waits for node {known.first}, which goes first"
    if first is None or first.state is Standing.UNKNOWN:
        waits += " and is not heard of; `pathfleet config apply --retry` lets another one try"
    return {
        name: replace(row, reason=waits) if row.state is Standing.BEHIND and name != known.first else row
        for name, row in rows.items()
    }


def _with_differences(row: NodeDrift, found: list[Difference] | str) -> NodeDrift:
    if isinstance(found, str):
        return replace(row, reason=row.reason or found)
    proven = any(difference.proven for difference in found)
    state = Standing.DRIFTED if proven and row.state is Standing.IN_FORCE else row.state
    return replace(row, state=state, differences=found)
