"""What the store knows of every node: its liveness, its reports, and what is wrong with either."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from msgspec import Struct

from pathfleet.core import detail, node, report
from pathfleet.core.detail import MapDetail
from pathfleet.core.node import Daemon, Versions
from pathfleet.core.report import MapReport
from pathfleet.core.wire import STALE
from pathfleet.errors import Malformed, Torn
from pathfleet.store import Member, Store


class NodeView(Struct, frozen=True, rename="kebab", kw_only=True):
    """One node as the others see it.

    `online` None: the engine cannot tell. `daemon` is a word of Daemon, or None where the node does not say.
    `maps` is what it reported last; None: it reported nothing, or nothing readable. `age` in seconds, negative when
    the node's clock is ahead. `doubt` says why `maps` cannot be taken for the present, None if it can.
    """

    node: str
    online: bool | None
    daemon: str | None = None
    reason: str | None = None
    age: int | None = None
    maps: dict[str, MapReport] | None = None
    details: dict[str, MapDetail] = {}
    doubt: str | None = None
    versions: Versions = Versions()
    warnings: tuple[str, ...] = ()


#: After which a report that was read while it was being written is whole.
_WRITTEN_SECONDS = 0.2


async def nodes(store: Store, now: float) -> list[NodeView]:
    """Return all nodes by name. Raises StoreError."""
    members = await store.members()
    values = await store.all_values()
    if any(_is_torn(of_node) for of_node in values.values()):
        await asyncio.sleep(_WRITTEN_SECONDS)
        values = await store.all_values()
    names = sorted({*members.nodes, *values})
    return [
        view(name, members.nodes.get(name, Member(online=False)), values.get(name, {}), int(now)) for name in names
    ]


def _is_torn(values: Mapping[str, bytes]) -> bool:
    try:
        report.decode(values)
    except Torn:
        return True
    except Malformed:
        return False
    return False


def view(name: str, member: Member, values: Mapping[str, bytes], now: int) -> NodeView:
    """Return one node as its values show it. Garbage in them costs what it was to say, and is named."""
    warnings: list[str] = []
    info = details = said = None
    doubt = _absence(member)
    try:
        info = node.decode(values[node.KEY]) if node.KEY in values else None
    except Malformed as error:
        warnings.append(str(error))
    try:
        details = detail.decode(values[detail.KEY]) if detail.KEY in values else None
    except Malformed as error:
        warnings.append(str(error))
    try:
        said = report.decode(values)
    except Malformed as error:
        doubt = doubt or str(error)
    age = None if said is None else now - said.time
    doubt = doubt or _age_doubt(age) or _silence_doubt(info, age, now) or _daemon_doubt(info, age)
    return NodeView(
        node=name,
        online=member.online,
        daemon=info.multipathd if info else None,
        reason=info.reason if info else None,
        age=age,
        maps=said.maps if said else None,
        details=details.maps if details else {},
        doubt=doubt,
        versions=info.versions if info else Versions(),
        warnings=tuple(warnings),
    )


def _absence(member: Member) -> str | None:
    if member.online is None:
        return "the store has no quorum: nobody knows whether the node is there"
    return None if member.online else "the node is offline"


def _age_doubt(age: int | None) -> str | None:
    if age is None or abs(age) <= STALE:
        return None
    if age < 0:
        return f"the node's clock is {-age} s ahead of this one"
    return f"the report is {age} s old: its reporter has stopped"


def _silence_doubt(info: node.PublishedNodeInfo | None, age: int | None, now: int) -> str | None:
    """A node without maps has no report that could age; then what it says of itself does."""
    if info is None or age is not None or abs(now - info.time) <= STALE:
        return None
    if info.time > now:
        return f"the node's clock is {info.time - now} s ahead of this one"
    return f"the node said last {now - info.time} s ago that it has no report: its agent has stopped"


def _daemon_doubt(info: node.PublishedNodeInfo | None, age: int | None) -> str | None:
    if info is None or info.multipathd != Daemon.CANNOT_TELL:
        return None
    kept = "nothing was ever reported" if age is None else f"the report is the last one, {age} s old"
    return f"the node cannot tell: {info.reason or 'it does not say why'}; {kept}"
