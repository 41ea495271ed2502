from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core.wire import REFRESH, STALE, Bytes, Count, Time, read, stamp
from pathfleet.errors import Malformed

_times = msgspec.json.Decoder(Time)
_anything = msgspec.json.Decoder(dict[str, object])


def test_a_value_is_canonical_json_with_the_time() -> None:
    assert stamp({"b": {"z": 1, "a": None}, "a": "é"}, 5) == '{"a":"é","b":{"a":null,"z":1},"time":5}'.encode()


@given(st.dictionaries(st.text(max_size=5), st.dictionaries(st.text(max_size=5), st.integers(0, 9))))
def test_a_value_is_what_any_writer_of_canonical_json_writes(content: dict[str, object]) -> None:
    value = stamp(content, 5)
    assert read(_anything, value, "key") == {**content, "time": 5}
    ordered = list(json.loads(value))
    assert ordered == sorted(ordered, key=str.encode)


def test_the_time_is_that_of_writing_whatever_the_content_says() -> None:
    assert stamp({"time": 1}, 5) == b'{"time":5}'


def test_a_value_is_stale_after_three_refreshes() -> None:
    assert (REFRESH, STALE) == (60, 180)


@pytest.mark.parametrize("value", [b"0", b"1751546766", b"1099511627775"])
def test_a_time_is_a_second_that_a_clock_shows(value: bytes) -> None:
    assert read(_times, value, "key") == int(value)


@pytest.mark.parametrize("value", [b"-1", b"1099511627776", b"1.5", b'"5"', b"null", b"true", b"1e99"])
def test_any_other_number_is_no_time(value: bytes) -> None:
    with pytest.raises(Malformed, match="the value of `key`"):
        read(_times, value, "key")


@pytest.mark.parametrize(("kind", "most"), [(Count, 2**31 - 1), (Bytes, 2**63 - 1)])
def test_counts_and_sizes_fit_what_other_readers_hold(kind: object, most: int) -> None:
    decoder = msgspec.json.Decoder(kind)
    assert read(decoder, str(most).encode(), "key") == most
    for wrong in (b"-1", str(most + 1).encode()):
        with pytest.raises(Malformed):
            read(decoder, wrong, "key")


@given(st.binary())
def test_arbitrary_bytes_are_malformed_and_nothing_else(value: bytes) -> None:
    try:
        read(_anything, value, "key")
    except Malformed as malformed:
        assert "`key`" in str(malformed)  # noqa: PT017 - bytes that decode are as good


@pytest.mark.parametrize("value", [b'{"x":' + b"[" * 100_000, b'{"x":' * 100_000, b'{"\xff":1}', b'{"x":"\\ud800"}'])
def test_what_breaks_a_decoder_is_malformed(value: bytes) -> None:
    with pytest.raises(Malformed):
        read(_anything, value, "key")
