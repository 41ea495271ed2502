from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import zlib
from collections.abc import Mapping
from functools import cache

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core import report, wire
from pathfleet.core.health import Health, Verdict
from pathfleet.core.maps import Map
from pathfleet.core.report import KEY, MapReport, Report, contents, decode, is_chunk, pack, plain, summarise, unpack
from pathfleet.errors import Malformed, Torn

TIME = 1751546766
WWID = "3600a098038303053453f463045727a41"
LIMIT = 32 * 1024

Maps = dict[str, MapReport]


def values(maps: Mapping[str, MapReport], *, limit: int = LIMIT, time: int = TIME) -> dict[str, bytes]:
    return {key: wire.stamp(content, time) for key, content in contents(maps, limit=limit).items()}


@cache
def fleet(count: int, seed: int = 1) -> Maps:
    """A report of `count` LUNs with random WWIDs, of five sizes, 5 % of them degraded."""
    chance = random.Random(seed)
    return {
        f"3{chance.getrandbits(128):032x}": MapReport(
            "degraded" if (active := chance.choice([4] * 19 + [2])) == 2 else "optimal",
            active,
            4,
            chance.choice([32, 100, 512, 2048, 4096]) << 30,
            "fc",
        )
        for _ in range(count)
    }


def test_the_plain_form_is_the_one_that_others_read() -> None:
    maps = {WWID: MapReport("optimal", 2, 2, 34359738368, "iscsi")}
    assert plain(maps, TIME) == (
        b'{"maps":{"3600a098038303053453f463045727a41":{"paths-active":2,"paths-total":2,"size":34359738368,'
        b'"state":"optimal","transport":"iscsi"}},"time":1751546766}'
    )


def test_size_and_transport_are_said_only_when_known() -> None:
    assert plain({"a": MapReport("failed", 0, 4)}, 5) == (
        b'{"maps":{"a":{"paths-active":0,"paths-total":4,"state":"failed"}},"time":5}'
    )


def test_maps_are_sorted_by_wwid() -> None:
    one, two = MapReport("optimal", 1, 1), MapReport("failed", 0, 1)
    assert plain({"b": one, "a": two}, 5) == plain({"a": two, "b": one}, 5)


def verdict(wwid: str, health: Health, active: int = 1) -> Verdict:
    return Verdict(Map(uuid=wwid), health, active, 2, 0, None, 1 << 30, "fc")


def test_a_summary_says_what_was_judged() -> None:
    assert summarise([verdict("a", Health.DEGRADED)]) == {"a": MapReport("degraded", 1, 2, 1 << 30, "fc")}


def test_a_map_without_wwid_is_left_out() -> None:
    assert list(summarise([verdict("", Health.FAILED), verdict("a", Health.OPTIMAL)])) == ["a"]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (Health.OPTIMAL, Health.UNKNOWN),
        (Health.UNKNOWN, Health.DEGRADED),
        (Health.DEGRADED, Health.FAILED),
        (Health.OPTIMAL, Health.FAILED),
    ],
)
def test_of_two_maps_with_one_wwid_the_worse_stands(better: Health, worse: Health) -> None:
    pair = [verdict("a", better), verdict("a", worse)]
    assert summarise(pair)["a"].state == summarise(reversed(pair))["a"].state == worse.value


COUNTS = st.integers(0, 2**31 - 1)
SIZES = st.none() | st.integers(0, 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WWIDS = (
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=24)
    | st.text("0123456789abcdef", min_size=1, max_size=40)
    | st.builds("{}{}".format, st.sampled_from(["3600", "eui.", "uuid.", "1ATA "]), st.text("09af", max_size=32))
)
ROWS = st.builds(
    MapReport,
    st.sampled_from(["optimal", "degraded", "failed", "unknown", "new-word"]),
    COUNTS,
    COUNTS,
    SIZES,
    st.none() | st.sampled_from(["fc", "iscsi", "nvme-tcp"]) | TEXTS,
)
REPORTS = st.dictionaries(WWIDS, ROWS, max_size=12)
TIMES = st.integers(0, 10**12 - 1)


@given(REPORTS, TIMES)
def test_the_plain_form_says_everything(maps: Maps, time: int) -> None:
    assert decode({KEY: plain(maps, time)}) == Report(maps, time)


@given(REPORTS)
def test_the_packed_form_says_everything(maps: Maps) -> None:
    assert unpack(pack(maps)) == maps


@given(REPORTS, st.integers(220, 2000), TIMES)
def test_any_report_is_read_back_from_values_below_the_limit(maps: Maps, limit: int, time: int) -> None:
    said = values(maps, limit=limit, time=time)
    assert decode(said) == Report(maps, time)
    assert all(len(value) < limit for value in said.values())


@pytest.mark.parametrize(
    ("count", "limit"), [(5000, LIMIT), (5000, 400), (1000, 220), (1000, 1024), (1000, LIMIT), (300, 4096), (1, 220)]
)
def test_no_value_reaches_the_limit_however_many_maps(count: int, limit: int) -> None:
    said = values(fleet(count), limit=limit, time=10**12 - 1)
    assert max(len(value) for value in said.values()) < limit
    assert decode(said) == Report(dict(sorted(fleet(count).items())), 10**12 - 1)


def test_no_maps_are_a_report_too() -> None:
    assert values({}) == {KEY: b'{"maps":{},"time":1751546766}'}
    assert decode(values({})) == Report({}, TIME)


@given(REPORTS, st.integers(220, 3000))
def test_the_plain_form_is_used_whenever_it_fits(maps: Maps, limit: int) -> None:
    # A content is measured with the longest time, as it may be written again much later.
    fits = len(plain(maps, 10**11)) < limit
    assert (values(maps, limit=limit) == {KEY: plain(maps, TIME)}) is fits


def test_the_plain_form_holds_more_than_200_maps_below_32_kib() -> None:
    assert "maps" in contents(fleet(230), limit=LIMIT)[KEY]
    assert "packed" in contents(fleet(260), limit=LIMIT)[KEY]


@given(REPORTS, st.randoms(use_true_random=False), st.sampled_from([220, 500, LIMIT]))
def test_equal_content_gives_equal_bytes(maps: Maps, chance: random.Random, limit: int) -> None:
    items = list(maps.items())
    chance.shuffle(items)
    assert values(dict(items), limit=limit) == values(maps, limit=limit)


def test_the_first_value_is_written_last() -> None:
    keys = list(contents(fleet(5000), limit=LIMIT))
    assert keys == [*(f"{KEY}.{number}" for number in range(1, len(keys))), KEY]
    assert len(keys) > 2


@pytest.mark.parametrize("count", [1000, 5000])
def test_a_packed_map_takes_at_most_24_bytes(count: int) -> None:
    said = values(fleet(count))
    assert sum(map(len, said.values())) <= 24 * count


def test_wwids_of_several_lengths_are_packed_as_tightly() -> None:
    short = {wwid[:17]: row for wwid, row in list(fleet(1000).items())[:500]}
    mixed = short | dict(list(fleet(1000).items())[500:])
    assert len(pack(mixed)) < len(pack(fleet(1000)))
    assert unpack(pack(mixed)) == mixed


@pytest.mark.parametrize(
    ("key", "chunk"),
    [
        ("multipath.1", True),
        ("multipath.999", True),
        ("multipath", False),
        ("multipath.0", False),
        ("multipath.01", False),
        ("multipath.1000", False),
        ("multipath.1\n", False),
        ("multipath-detail", False),
        ("multipath.a", False),
    ],
)
def test_a_chunk_is_known_by_its_key(key: str, chunk: bool) -> None:
    assert is_chunk(key) is chunk


GENERATIONS = [
    values(fleet(40), limit=600, time=1000),
    values(fleet(40, seed=2), limit=600, time=1060),
    values(dict(list(fleet(40).items())[:20]), limit=600, time=1120),
    values(dict(list(fleet(40).items())[:1]), limit=600, time=1180),
]
SAID = [decode(generation) for generation in GENERATIONS]


@given(st.data())
def test_chunks_of_two_generations_are_never_mixed(data: st.DataObject) -> None:
    one, other = data.draw(st.permutations(GENERATIONS))[:2]
    mixture = {}
    for key in sorted(one.keys() | other.keys()):
        choice = data.draw(st.sampled_from([one.get(key), other.get(key), None]))
        if choice is not None:
            mixture[key] = choice
    try:
        read = decode(mixture)
    except Malformed:
        return
    assert read in SAID if KEY in mixture else read is None


def test_a_chunk_of_another_generation_is_torn() -> None:
    one, other = GENERATIONS[:2]
    with pytest.raises(Torn, match="another generation"):
        decode({**one, f"{KEY}.1": other[f"{KEY}.1"]})


def test_a_missing_chunk_is_torn() -> None:
    with pytest.raises(Torn, match="missing"):
        decode({KEY: GENERATIONS[0][KEY]})


def test_chunks_left_over_do_no_harm() -> None:
    assert decode({**GENERATIONS[0], **GENERATIONS[2]}) == SAID[2]


def test_the_same_maps_refreshed_later_may_be_read_across_generations() -> None:
    early, late = (values(fleet(40), limit=600, time=time) for time in (1000, 1060))
    assert decode({**late, KEY: early[KEY]}) == SAID[0]


def test_a_node_without_the_key_has_no_report() -> None:
    assert decode({}) is None
    assert decode({f"{KEY}.1": b"anything"}) is None


def test_a_word_that_this_reader_does_not_know_is_kept() -> None:
    value = b'{"maps":{"a":{"paths-active":1,"paths-total":1,"state":"brand-new","colour":"red"}},"time":5,"x":1}'
    assert decode({KEY: value}) == Report({"a": MapReport("brand-new", 1, 1)}, 5)


def packed_value(stream: bytes, tails: bytes = b"", **fields: object) -> bytes:
    packed = stream + tails
    content = {
        "chunks": 1,
        "digest": hashlib.sha256(packed).hexdigest()[:16],
        "packed": base64.b64encode(packed).decode(),
    }
    return wire.stamp({**content, **fields}, TIME)


def columns(rows: int = 1, **fields: object) -> bytes:
    said: dict[str, object] = {"wwid": [["a", 0, 1]], "state": ["optimal"] * rows, "active": [1] * rows}
    said |= {"total": [1] * rows, "size": [None] * rows, "transport": [None] * rows}
    return zlib.compress(msgspec.json.encode({**said, **fields}))


def test_the_malformed_values_below_differ_from_a_good_one() -> None:
    assert decode({KEY: packed_value(columns())}) == Report({"a": MapReport("optimal", 1, 1)}, TIME)


MALFORMED = {
    "empty": b"",
    "no-json": b"hello",
    "not-utf8": b'{"maps":{"\xff":{}},"time":1}',
    "not-an-object": b"[]",
    "no-time": b'{"maps":{}}',
    "negative-time": b'{"maps":{},"time":-1}',
    "time-of-no-clock": b'{"maps":{},"time":99999999999999}',
    "time-is-a-float": b'{"maps":{},"time":1.5}',
    "neither-form": b'{"time":1}',
    "negative-count": b'{"maps":{"a":{"paths-active":-1,"paths-total":1,"state":"x"}},"time":1}',
    "huge-count": b'{"maps":{"a":{"paths-active":1e30,"paths-total":1,"state":"x"}},"time":1}',
    "huge-size": b'{"maps":{"a":{"paths-active":1,"paths-total":1,"size":9223372036854775808,"state":"x"}},"time":1}',
    "no-state": b'{"maps":{"a":{"paths-active":1,"paths-total":1}},"time":1}',
    "deep": b'{"x":' + b"[" * 100_000,
    "no-chunks": packed_value(columns(), chunks=0),
    "too-many-chunks": packed_value(columns(), chunks=1_000_000),
    "not-base64": packed_value(columns(), packed="!!!"),
    "base64-of-letters-outside-ascii": packed_value(columns(), packed="éé"),
    "other-digest": packed_value(columns(), digest="0" * 16),
    "not-zlib": packed_value(b"hello"),
    "cut-stream": packed_value(columns()[:-6]),
    "columns-of-two-lengths": packed_value(columns(state=[])),
    "rows-without-wwid": packed_value(columns(rows=2)),
    "wwids-without-end": packed_value(columns(wwid=[["a", 0, 10**18]])),
    "wwid-bytes-missing": packed_value(columns(wwid=[["3", 16, 1]]), b"short"),
    "wwid-bytes-without-end": packed_value(columns(wwid=[["3", 10**18, 1]]), b"short"),
    "negative-width": packed_value(columns(wwid=[["3", -1, 1]]), b"short"),
    "a-count-that-is-none": packed_value(columns(active=[-1])),
    "deep-columns": packed_value(zlib.compress(b"[" * 1_000_000)),
}


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_value_that_is_not_what_it_should_be_is_malformed(value: bytes) -> None:
    with pytest.raises(Malformed, match=r"multipath|packed report"):
        decode({KEY: value})


def test_a_wwid_that_a_peer_packed_twice_is_read_once() -> None:
    twice = packed_value(columns(rows=2, wwid=[["a", 0, 2]], state=["optimal", "failed"]))
    assert decode({KEY: twice}) == Report({"a": MapReport("failed", 1, 1)}, TIME)


def test_a_value_that_unpacks_without_end_is_malformed() -> None:
    bomb = zlib.compress(b'{"state":["' + b"x" * (64 << 20), 9)
    assert len(bomb) < 100_000
    with pytest.raises(Malformed):
        decode({KEY: packed_value(bomb)})


def test_no_more_is_unpacked_than_any_report_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pack(fleet(1000))
    monkeypatch.setattr(report, "_UNPACKED_LIMIT", 1000)
    with pytest.raises(Malformed):
        unpack(whole)


@given(st.dictionaries(st.sampled_from([KEY, f"{KEY}.1", f"{KEY}.2"]), st.binary(max_size=40)))
def test_arbitrary_bytes_are_malformed(stored: dict[str, bytes]) -> None:
    with contextlib.suppress(Malformed):
        assert (decode(stored) is None) is (KEY not in stored)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries({"time": JSON | TIMES}, optional=dict.fromkeys(["maps", "chunks", "digest", "packed"], JSON))
)
def test_arbitrary_json_is_malformed_or_a_report(content: dict[str, object]) -> None:
    with contextlib.suppress(Malformed):
        decode({KEY: msgspec.json.encode(content)})


@given(st.sampled_from(["wwid", "state", "active", "total", "size", "transport"]), JSON, st.binary(max_size=9))
def test_arbitrary_columns_are_malformed_or_maps(column: str, json: object, tails: bytes) -> None:
    with contextlib.suppress(Malformed):
        decode({KEY: packed_value(columns(1, **{column: json}), tails)})
