from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core.applied import Applied
from pathfleet.core.roll import Go, Roll, Stopped, Wait, begun, decode, encode, failed, given_back, turn

WELL = {"b": Applied(1, "new")}
TROUBLED = {"b": Applied(1, "new", "it went wrong")}
OLD = {"b": Applied(1, "old")}


@pytest.mark.parametrize("applied", [{}, OLD, TROUBLED, {"a": Applied(1, "new")}])
def test_while_no_other_node_is_well_with_it_somebody_must_be_first(applied: dict[str, Applied]) -> None:
    assert turn("new", "a", None, applied) == Wait()
    assert turn("new", "a", None, applied, first=True) == Go()


def test_the_rest_goes_when_one_is_well() -> None:
    assert turn("new", "a", None, WELL) == Go()
    assert turn("new", "a", Roll("new"), {**OLD, "c": Applied(1, "new")}) == Go()


def test_nobody_goes_after_a_failure_not_even_who_holds_the_lock() -> None:
    for first in (False, True):
        decision = turn("new", "a", Roll("new", failed={"b": "multipathd ended"}), WELL, first=first)
        assert isinstance(decision, Stopped)
        assert decision.reason.startswith("stopped: node b failed: multipathd ended; not applied here")
        assert "--retry" in decision.reason


def test_nobody_else_is_first_while_nobody_knows_how_it_went_on_the_first_node() -> None:
    known = begun(Roll("new"), "new", "b")
    assert turn("new", "a", known, TROUBLED, first=True) == Wait()
    assert turn("new", "b", known, {}, first=True) == Go()
    assert turn("new", "a", known, WELL) == Go()
    assert turn("newer", "a", known, {}, first=True) == Go()


def test_who_failed_says_its_own_error_again() -> None:
    assert turn("new", "a", Roll("new", failed={"a": "mine", "b": "theirs"}), WELL) == Stopped("mine")


def test_at_once_nobody_waits_but_a_failure_stops_all_the_same() -> None:
    assert turn("new", "a", Roll("new", at_once=True), {}) == Go()
    assert isinstance(turn("new", "a", Roll("new", at_once=True, failed={"b": "x"}), {}), Stopped)


def test_the_failures_of_another_configuration_do_not_count() -> None:
    assert turn("new", "a", Roll("old", at_once=True, failed={"b": "x"}), WELL) == Go()
    assert turn("new", "a", Roll("old", at_once=True), {}) == Wait()


def test_nothing_wanted_is_proved_by_who_took_it_off_first_and_not_by_who_never_had_anything() -> None:
    nothing = {"b": Applied(1, None)}
    assert turn(None, "a", Roll(None, first="b"), nothing) == Go()
    assert turn(None, "a", Roll(None, first="b"), {"b": Applied(1, None, "not installed")}) == Wait()
    assert turn(None, "a", Roll(None, first="c"), nothing, first=True) == Wait()
    for known in (None, Roll(None), Roll("old", first="b")):
        assert turn(None, "a", known, nothing) == Wait()
        assert turn(None, "a", known, nothing, first=True) == Go()


def test_who_was_first_and_could_not_try_leaves_it_to_another_and_only_that_one_does() -> None:
    known = begun(Roll("new", at_once=True), "new", "b")
    assert given_back(known, "new", "b") == Roll("new", at_once=True)
    for other in (None, Roll("new"), Roll("newer", first="b"), Roll("new", first="a")):
        assert given_back(other, "new", "b") == (other or Roll("new"))


def test_a_failure_is_added_and_starts_anew_with_another_configuration() -> None:
    roll = failed(None, "new", "a", "x")
    assert roll == Roll("new", failed={"a": "x"})
    assert failed(Roll("new", at_once=True, failed={"a": "x"}), "new", "b", "y") == Roll(
        "new", at_once=True, failed={"a": "x", "b": "y"}
    )
    assert failed(roll, "newer", "b", "y") == Roll("newer", failed={"b": "y"})


@given(st.none() | st.text(), st.booleans(), st.dictionaries(st.text(), st.text()))
def test_the_file_says_what_was_written(digest: str | None, at_once: bool, failures: dict[str, str]) -> None:
    assert decode(encode(Roll(digest, at_once, failures))) == Roll(digest, at_once, failures)


@given(st.binary())
def test_any_bytes_are_a_file_or_none(content: bytes) -> None:
    decode(content)
    assert decode(None) is None
    assert decode(b'{"digest":') is None
