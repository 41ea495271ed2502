"""One node as the others see it: what its values say, and whether that can be taken for the present."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

from msgspec import Struct

from pathfleet.core import applied, arrays, detail, node, report
from pathfleet.core.applied import Applied
from pathfleet.core.detail import Detail, MapDetail
from pathfleet.core.node import Daemon, PublishedNodeInfo
from pathfleet.core.reason import shortened
from pathfleet.core.report import MapReport, Report
from pathfleet.core.wire import STALE
from pathfleet.errors import Malformed, Torn

T = TypeVar("T")

#: A column's `daemon` where multipathd runs and has no maps, and where the node does not say how it is.
NO_MAPS = "no-maps"
UNKNOWN = "unknown"

_WORDS = frozenset(word.value for word in Daemon)


class Said(Struct, frozen=True):
    """What a node's values say.

    `report` is the last that could be read, None if there is none; `trouble` says why the one in the store cannot be
    read, `torn` that this may be because it is being written. `details` by WWID, of which `cut` found no room.
    `values` is what all of it was read from.
    """

    report: Report | None = None
    trouble: str | None = None
    details: dict[str, MapDetail] = {}
    cut: int = 0
    info: PublishedNodeInfo | None = None
    applied: Applied | None = None
    warnings: tuple[str, ...] = ()
    torn: bool = False
    values: Mapping[str, bytes] = {}


class Column(Struct, frozen=True):
    """A node, judged. `online` None: the engine cannot tell.

    `daemon` is a word of Daemon, NO_MAPS or UNKNOWN. `doubt` says why what was reported cannot be taken for the
    present, None if it can; no number in it moves with time.
    """

    node: str
    online: bool | None
    said: Said = Said()
    daemon: str = UNKNOWN
    doubt: str | None = None

    @property
    def maps(self) -> Mapping[str, MapReport]:
        """What the node reported last, by WWID; empty if it reported nothing, or nothing readable."""
        return self.said.report.maps if self.said.report else {}

    def array_of(self, wwid: str) -> str | None:
        """Return which array the node says that a LUN comes from, None if it does not say."""
        return arrays.array_of(wwid, self.said.info.arrays) if self.said.info else None

    @property
    def spoke_at(self) -> int | None:
        """When the node reported last, or without a report, spoke of itself (epoch seconds of its clock)."""
        word = self.said.report or self.said.info
        return word.time if word else None


def read(values: Mapping[str, bytes], before: Said | None = None) -> Said:
    """Return what a node's values say. Never raises: garbage costs what it was to say, and is named.

    `before` is what the same node said earlier: what has not changed is not read again but shared with it, and its
    report stands while the new one cannot be read.
    """
    before = before or Said()
    warnings: list[str] = []
    said = before.report
    trouble, torn = None, False
    try:
        said = _report(values, before)
    except Malformed as error:
        trouble, torn = str(error), isinstance(error, Torn)
    more = _of_key(values, detail.KEY, lambda value: _detail(value, before), warnings)
    if more and said and abs(more.time - said.time) > STALE:
        warnings.append(
            f"`{detail.KEY}` is not of the time of `{report.KEY}`, so its flags, names and paths are left out"
        )
        more = None
    details = more.maps if more else {}
    if more and more.cut:
        warnings.append("not all flags, names and paths of its maps are known: they found no room")
    return Said(
        report=said,
        trouble=trouble,
        details=before.details if details == before.details else details,
        cut=more.cut if more else 0,
        info=_of_key(values, node.KEY, node.decode, warnings),
        applied=_of_key(values, applied.KEY, applied.decode, warnings),
        warnings=tuple(warnings),
        torn=torn,
        values=values,
    )


def _of_key(values: Mapping[str, bytes], key: str, decode: Callable[[bytes], T], warnings: list[str]) -> T | None:
    try:
        return decode(values[key]) if key in values else None
    except Malformed as error:
        warnings.append(str(error))
        return None


def _report(values: Mapping[str, bytes], before: Said) -> Report | None:
    """Return the report, its maps those of `before` where they are equal. Raises Malformed, Torn."""
    old = before.report
    if old and not before.trouble:
        keys = {key for key in (*values, *before.values) if key == report.KEY or report.is_chunk(key)}
        times = {key: _refreshed_at(values.get(key), before.values.get(key)) for key in keys}
        if (time := times.get(report.KEY)) and all(times.values()):
            return Report(old.maps, time)
    found = report.decode(values)
    if found is None:
        return None
    return Report(old.maps if old and old.maps == found.maps else _shared(found.maps), found.time)


def _detail(value: bytes, before: Said) -> Detail:
    """Return the detail, its maps those of `before` where they are equal. Raises Malformed."""
    time = _refreshed_at(value, before.values.get(detail.KEY)) if before.details else None
    if time:
        return Detail(time, before.details, before.cut)
    found = detail.decode(value)
    return Detail(found.time, before.details, found.cut) if found.maps == before.details else found


_END = re.compile(rb"([1-9][0-9]{0,11})\}")


def _refreshed_at(value: bytes | None, before: bytes | None) -> int | None:
    """Return the time of a value that is the old one but for that, as all are most of the time; else None."""
    if value is None or before is None:
        return None
    body, _, end = value.rpartition(b',"time":')
    old_body, _, old_end = before.rpartition(b',"time":')
    found = _END.fullmatch(end)
    return int(found[1]) if found and _END.fullmatch(old_end) and body == old_body else None


def _shared(maps: Mapping[str, MapReport]) -> dict[str, MapReport]:
    """Return the maps, equal ones as one object and WWIDs as one text for all nodes: there may be 64,000 of them.

    What has no WWID has no place in the matrix.
    """
    seen: dict[MapReport, MapReport] = {}
    return {sys.intern(wwid): seen.setdefault(map_, map_) for wwid, map_ in maps.items() if wwid}


def judge(name: str, online: bool | None, said: Said, now: int) -> Column:
    """Return the column of a node at `now` (epoch seconds of this node's clock)."""
    return Column(name, online, said, _daemon(said), _doubt(online, said, now))


def again(column: Column, now: int) -> Column:
    """Return the column as time has passed, itself if that changes nothing.

    A node whose clock is ahead is in doubt until it speaks again; else a doubt would come and go with each report.
    """
    doubt = _doubt(column.online, column.said, now)
    if doubt == column.doubt or (doubt is None and column.doubt == _AHEAD):
        return column
    return Column(column.node, column.online, column.said, column.daemon, doubt)


def _daemon(said: Said) -> str:
    if said.info is None:
        return UNKNOWN
    word = said.info.multipathd
    if word == Daemon.RUNNING and not said.trouble and not (said.report and said.report.maps):
        return NO_MAPS
    return word if word in _WORDS else UNKNOWN


def _doubt(online: bool | None, said: Said, now: int) -> str | None:
    if online is None:
        return "the store has no quorum: nobody knows whether the node is there"
    if not online:
        return "the node is offline"
    if said.trouble:
        return shortened(said.trouble)
    info, told = said.info, said.report
    if info and info.multipathd == Daemon.CANNOT_TELL and abs(now - info.time) <= STALE:
        return f"the node cannot tell: {shortened(info.reason or 'it does not say why')}"
    if told and abs(now - told.time) > STALE:
        return _AHEAD if told.time > now else f"the report is more than {STALE} s old: its reporter has stopped"
    if info and not told and abs(now - info.time) > STALE:
        # a node without maps has no report that could age; what it says of itself does
        return _AHEAD if info.time > now else f"the node spoke last more than {STALE} s ago: its agent has stopped"
    return None


_AHEAD = f"the node's clock is more than {STALE} s ahead of this one"
