from __future__ import annotations

import pytest

from pathfleet.core import mutes
from pathfleet.core.findings import Finding
from pathfleet.core.mutes import Mute
from pathfleet.errors import Malformed

NOW = 1_800_000_000
LATER = NOW + 86400


def finding(code: str = "stale-map", subject: str = "3600", nodes: tuple[str, ...] = ("a",)) -> Finding:
    return Finding(code, "warning", "lun", subject, nodes, "seen", "meaning", "remedy")


@pytest.mark.parametrize(
    ("mute", "covers"),
    [
        (Mute("stale-map", LATER, "known"), True),
        (Mute("stale-map", LATER, "known", "3600"), True),
        (Mute("stale-map", LATER, "known", "a"), True),
        (Mute("stale-map", LATER, "known", "b"), False),
        (Mute("single-path", LATER, "known"), False),
        (Mute("stale-map", NOW, "known"), False),
    ],
)
def test_a_mute_covers_its_code_and_subject_until_it_ends(mute: Mute, *, covers: bool) -> None:
    assert mute.covers(finding(), NOW) is covers


def test_a_mute_for_a_node_does_not_cover_what_others_have_too() -> None:
    assert not Mute("stale-map", LATER, "known", "a").covers(finding(nodes=("a", "b")), NOW)


def test_a_new_mute_replaces_its_like_and_forgets_those_that_are_over() -> None:
    known = (Mute("a", LATER, "old"), Mute("b", NOW - 1, "over"), Mute("c", LATER, "stays"))
    changed = mutes.with_one(known, Mute("a", LATER, "new"), NOW)
    assert [(mute.code, mute.reason) for mute in changed] == [("c", "stays"), ("a", "new")]


def test_the_file_reads_as_it_was_written_and_no_mutes_are_no_file() -> None:
    known = (Mute("a", LATER, "why"), Mute("a", LATER, "why", "x"))
    assert mutes.decode(mutes.encode(known)) == known
    assert mutes.encode(()) is None
    assert mutes.decode(None) == ()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"mutes":[{}]}', b'{"mutes":[{"code":1}]}', b"\xff"])
def test_what_is_no_list_of_mutes_is_malformed(content: bytes) -> None:
    with pytest.raises(Malformed, match="nothing is muted"):
        mutes.decode(content)
