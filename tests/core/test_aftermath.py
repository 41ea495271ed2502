from __future__ import annotations

import pytest

from pathfleet.core.aftermath import some, verdicts, worse
from pathfleet.core.health import Verdict
from pathfleet.core.maps import decode
from tests.replies import group, map_, path, reply


def seen(**checks: str) -> dict[str, Verdict]:
    """One map by each name, a path for each letter of its word: `r`eady or `f`aulty."""
    words = {"r": "ready", "f": "faulty"}
    return verdicts(
        decode(
            reply(
                *(map_(w, group(*(path(f"sd{n}", chk=words[c]) for n, c in enumerate(t)))) for w, t in checks.items())
            )
        )
    )


@pytest.mark.parametrize(
    ("before", "after", "losses"),
    [
        (seen(a="rr"), seen(a="rr"), ()),
        (seen(a="rf"), seen(a="rr"), ()),
        (seen(a="rr"), seen(a="rr", b="ff"), ()),
        (seen(a="rr"), seen(a="rf"), ("map a has 1 usable path(s), before it had 2",)),
        (seen(a="rr"), seen(a="ff"), ("map a has 0 usable path(s), before it had 2",)),
        (seen(a="rr", b="r"), seen(b="r"), ("map a is gone",)),
        (seen(a="ff"), seen(), ()),
    ],
)
def test_worse_is_who_lost_usable_paths_or_is_gone(
    before: dict[str, Verdict], after: dict[str, Verdict], losses: tuple[str, ...]
) -> None:
    assert worse(before, after) == losses
    assert worse(before, after, may_go={"a"}) == ()


def test_many_phrases_are_a_few_and_a_number() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some([*"abcde"]) == "a, b, c and 2 more"
