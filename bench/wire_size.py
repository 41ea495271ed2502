"""How many bytes a map costs in the store, in the report's two forms, with WWIDs that have nothing in common."""

from __future__ import annotations

from collections.abc import Iterator

from bench import san
from bench.row import Row
from pathfleet.core import maps, report, wire
from pathfleet.core.health import judge
from pathfleet.store import VALUE_LIMIT

_NOW = 1_751_546_766
_COUNTS = (10, 100, 250, 1_000, 5_000)
_PACKED_TARGET = 24


def rows() -> Iterator[Row]:
    for count in _COUNTS:
        made = san.make(count)
        summary = report.summarise(judge(map_, made.facts) for map_ in maps.decode(made.reply))
        plain = report.plain(summary, _NOW)
        # A limit that the plain form does not meet, so that few maps are packed too.
        contents = report.contents(summary, limit=min(VALUE_LIMIT, len(plain)))
        values = {key: wire.stamp(content, _NOW) for key, content in contents.items()}
        read = report.decode(values)
        if read is None or read.maps != summary:
            raise AssertionError("the packed report does not say what was put into it")
        packed = sum(map(len, values.values()))
        yield Row(f"{count:,} maps, plain", len(plain) / count, unit="bytes/map")
        target = _PACKED_TARGET if len(plain) >= VALUE_LIMIT else None
        what = f"{count:,} maps, packed, in {len(values)} value(s)"
        yield Row(what, packed / count, unit="bytes/map", at_most=target)
