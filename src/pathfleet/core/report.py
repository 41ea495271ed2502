"""A node's report on the wire: verdicts to node values and back (specification section 3).

The plain form is the Proxmox series' own. When it would not fit into one node value, the packed form says the
same in a sixth of the space, over as many values as it takes:

    multipath    {"chunks":N,"digest":D,"packed":TEXT,"time":T}
    multipath.I  {"digest":D,"packed":TEXT,"time":T}                        I = 1 .. N-1

The texts, joined, are the base64 of a zlib stream and of the WWIDs that follow it as bytes. The stream holds JSON:
the columns `state`, `active`, `total`, `size`, `transport`, and `wwid`, a list of `[prefix, bytes, count]`: so
many WWIDs, each made of the prefix and of that many of the bytes as hexadecimal digits. D is the beginning of the
SHA-256 of stream and bytes: a reader that finds two digests has caught the writer at work and reads again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from pathfleet.core import wire
from pathfleet.core.health import Verdict
from pathfleet.core.wire import Bytes, Content, Count, Time
from pathfleet.errors import Malformed, Torn

#: The key of the report; its further chunks are `multipath.1`, ...
KEY = "multipath"

_CHUNK = re.compile(r"multipath\.([1-9][0-9]{0,2})")
_TIME_BYTES = len(',"time":') + 12
_ENVELOPE_BYTES = 100 + _TIME_BYTES
_UNPACKED_LIMIT = 16 * 1024 * 1024


class MapReport(Struct, frozen=True, gc=False, rename="kebab", omit_defaults=True):
    """What a node says of one map. `state` may be a word that this reader does not know."""

    state: str
    paths_active: Count
    paths_total: Count
    size: Bytes | None = None
    transport: str | None = None


class Report(Struct, frozen=True):
    """What a node said of all its maps, by WWID, at `time` (epoch seconds of its clock)."""

    maps: dict[str, MapReport]
    time: Time


def summarise(verdicts: Iterable[Verdict]) -> dict[str, MapReport]:
    """Return the report's maps by WWID; a map without WWID is left out.

    Should multipathd list one WWID twice, the worse of the two stands.
    """
    maps: dict[str, MapReport] = {}
    for verdict in verdicts:
        wwid = verdict.map.uuid
        if not wwid or (wwid in maps and _badness(maps[wwid].state) >= _badness(verdict.health)):
            continue
        maps[wwid] = MapReport(verdict.health.value, verdict.active, verdict.total, verdict.size, verdict.transport)
    return maps


_BADNESS = {state: place for place, state in enumerate(("optimal", "unknown", "degraded", "failed"))}


def _badness(state: str) -> int:
    return _BADNESS.get(state, 1)


def plain(maps: Mapping[str, MapReport], time: int) -> bytes:
    """Return the plain form, however long it is."""
    return wire.stamp({"maps": maps}, time)


def contents(maps: Mapping[str, MapReport], *, limit: int) -> dict[str, Content]:
    """Return what each key is to say so that all of `maps` is said, each value below `limit` bytes.

    The keys are in the order in which they are to be written: whoever finds the first chunk finds the others.
    """
    body: Content = {"maps": maps}
    if len(msgspec.json.encode(body, order="sorted")) + _TIME_BYTES < limit:
        return {KEY: body}
    packed = pack(maps)
    digest = _digest(packed)
    text = base64.b64encode(packed).decode()
    width = limit - _ENVELOPE_BYTES
    chunks = [text[start : start + width] for start in range(0, len(text), width)]
    values: dict[str, Content] = {
        f"{KEY}.{number}": {"digest": digest, "packed": chunk} for number, chunk in enumerate(chunks) if number > 0
    }
    values[KEY] = {"chunks": len(chunks), "digest": digest, "packed": chunks[0]}
    return values


def _digest(packed: bytes) -> str:
    return hashlib.sha256(packed).hexdigest()[:16]


def is_chunk(key: str) -> bool:
    """Whether a key is that of a further chunk of the packed form."""
    return _CHUNK.fullmatch(key) is not None


class _Columns(Struct):
    wwid: list[tuple[str, int, int]]
    state: list[str]
    active: list[Count]
    total: list[Count]
    size: list[Bytes | None]
    transport: list[str | None]


# A WWID of SCSI or NVMe is a short prefix and an even number of hexadecimal digits, which fit into half the bytes.
_HEX_TAIL = re.compile(r"(.*?)((?:[0-9a-f]{2}){4,})", re.DOTALL)


def pack(maps: Mapping[str, MapReport]) -> bytes:
    """Return the packed form of the maps, as the module describes it."""
    halves = sorted((prefix, len(tail), tail, wwid) for wwid in maps for prefix, tail in (_halves(wwid),))
    kinds = [
        (prefix, width, sum(1 for _ in alike))
        for (prefix, width), alike in itertools.groupby(halves, lambda half: half[:2])
    ]
    rows = [maps[wwid] for *_, wwid in halves]
    columns = _Columns(
        wwid=kinds,
        state=[row.state for row in rows],
        active=[row.paths_active for row in rows],
        total=[row.paths_total for row in rows],
        size=[row.size for row in rows],
        transport=[row.transport for row in rows],
    )
    return zlib.compress(msgspec.json.encode(columns), 9) + b"".join(tail for _, _, tail, _ in halves)


def _halves(wwid: str) -> tuple[str, bytes]:
    found = _HEX_TAIL.fullmatch(wwid)
    return (found[1], bytes.fromhex(found[2])) if found else (wwid, b"")


def unpack(packed: bytes) -> dict[str, MapReport]:
    """Return the maps of a packed form. Raises Malformed."""
    try:
        stream = zlib.decompressobj()
        columns = msgspec.json.decode(stream.decompress(packed, _UNPACKED_LIMIT), type=_Columns)
        if not stream.eof:
            raise Malformed("the packed report does not end, or is larger than any report can be")
        rows = zip(
            _wwids(columns.wwid, stream.unused_data),
            columns.state,
            columns.active,
            columns.total,
            columns.size,
            columns.transport,
            strict=True,
        )
        return dict(sorted({wwid: MapReport(*row) for wwid, *row in rows}.items()))
    except (zlib.error, msgspec.DecodeError, RecursionError, ValueError) as error:
        raise Malformed(f"the packed report cannot be unpacked: {error}") from error


def _wwids(kinds: Iterable[tuple[str, int, int]], tails: bytes) -> Iterator[str]:
    start = 0
    for prefix, width, count in kinds:
        for _ in range(count):
            tail = tails[start : start + width]
            if width < 0 or len(tail) != width:
                raise Malformed("the packed report lacks some of its WWIDs")
            yield prefix + tail.hex()
            start += width


class _Head(Struct, frozen=True):
    """Either form of the first value."""

    time: Time
    maps: dict[str, MapReport] | None = None
    chunks: Annotated[int, Meta(ge=1, le=1000)] = 1
    digest: str = ""
    packed: str = ""


class _Tail(Struct, frozen=True):
    digest: str
    packed: str


_head = msgspec.json.Decoder(_Head)
_tail = msgspec.json.Decoder(_Tail)


def decode(values: Mapping[str, bytes]) -> Report | None:
    """Return the report among a node's values, in either form; None if the node has none.

    Raises Torn when its chunks are not of one generation (read them again), Malformed for anything else.
    """
    if KEY not in values:
        return None
    head = wire.read(_head, values[KEY], KEY)
    if head.maps is not None:
        return Report(head.maps, head.time)
    if not head.packed:
        raise Malformed(f"the value of `{KEY}` has neither maps nor a packed report")
    return Report(unpack(_joined(head, values)), head.time)


def _joined(head: _Head, values: Mapping[str, bytes]) -> bytes:
    texts = [head.packed]
    for number in range(1, head.chunks):
        key = f"{KEY}.{number}"
        if key not in values:
            raise Torn(f"`{key}` of {head.chunks} chunks is missing; the report is being written, or incomplete")
        tail = wire.read(_tail, values[key], key)
        if tail.digest != head.digest:
            raise Torn(f"`{key}` is of another generation than `{KEY}`; the report is being written")
        texts.append(tail.packed)
    try:
        packed = base64.b64decode("".join(texts), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed(f"the packed report is not base64: {error}") from error
    if _digest(packed) != head.digest:
        raise Malformed("the packed report does not have the digest that it names")
    return packed
