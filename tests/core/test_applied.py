from __future__ import annotations

import pytest

from pathfleet.core import wire
from pathfleet.core.applied import ERROR_LIMIT, Applied, content, decode
from pathfleet.errors import Malformed


def test_the_value_is_as_others_read_it() -> None:
    assert wire.stamp(content("d1", None), 7) == b'{"digest":"d1","error":null,"time":7}'


def test_what_was_said_is_read_back_with_its_time() -> None:
    assert decode(wire.stamp(content("d1", "it hangs"), 7)) == Applied(7, "d1", "it hangs")


def test_nothing_of_ours_is_no_digest() -> None:
    assert content("", None) == content(None, None) == {"digest": None, "error": None}


def test_a_long_error_is_cut_visibly() -> None:
    error = decode(wire.stamp(content(None, "x" * (ERROR_LIMIT + 1)), 7)).error
    assert error == "x" * (ERROR_LIMIT - 1) + "…"


def test_what_a_newer_node_adds_is_ignored() -> None:
    assert decode(b'{"digest":"d","error":null,"new":{},"time":1}') == Applied(1, "d")


@pytest.mark.parametrize(
    "value",
    [b"", b"[]", b"{}", b'{"time":-1}', b'{"digest":1,"time":1}', b'{"error":[],"time":1}', b'{"time":"\xff"}'],
)
def test_anything_else_is_malformed(value: bytes) -> None:
    with pytest.raises(Malformed, match="`multipath-apply`"):
        decode(value)
