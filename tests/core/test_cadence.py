from __future__ import annotations

import pytest

from pathfleet.core import wire
from pathfleet.core.cadence import Held, due, lost
from pathfleet.core.wire import Content

THEN = 1000.0
SAID: Content = {"maps": {"a": 1}}
WRITTEN = Held(THEN, SAID, wire.stamp(SAID, 5))
CLEARED = Held(THEN, None, None)

engines = pytest.mark.parametrize("clears_return", [False, True])


@engines
@pytest.mark.parametrize("wanted", [SAID, None])
def test_where_nothing_is_known_of_the_store_it_is_due(wanted: Content | None, clears_return: bool) -> None:
    assert due(wanted, None, THEN, clears_return=clears_return)


@engines
@pytest.mark.parametrize(
    ("wanted", "held"), [({"maps": {"a": 2}}, WRITTEN), ({}, WRITTEN), (SAID, CLEARED), (None, WRITTEN)]
)
def test_changed_content_is_due_at_once(wanted: Content | None, held: Held, clears_return: bool) -> None:
    assert due(wanted, held, THEN, clears_return=clears_return)


@engines
@pytest.mark.parametrize(("age", "is_due"), [(0, False), (59.9, False), (60, True), (61, True), (3600, True)])
def test_unchanged_content_is_due_every_60_seconds(age: float, is_due: bool, clears_return: bool) -> None:
    assert due(dict(SAID), WRITTEN, THEN + age, clears_return=clears_return) is is_due


def test_the_time_is_not_part_of_the_comparison() -> None:
    later = Held(THEN, SAID, wire.stamp(SAID, 99))
    assert later.value != WRITTEN.value
    assert not due(SAID, later, THEN + 10, clears_return=False)


@pytest.mark.parametrize("age", [0, 59.9, 60, 3600])
def test_a_clear_is_written_once(age: float) -> None:
    assert not due(None, CLEARED, THEN + age, clears_return=False)


@pytest.mark.parametrize(("age", "is_due"), [(0, False), (59.9, False), (60, True), (3600, True)])
def test_a_clear_is_repeated_where_a_cleared_value_can_return(age: float, is_due: bool) -> None:
    assert due(None, CLEARED, THEN + age, clears_return=True) is is_due


def test_nothing_is_lost_while_the_store_holds_what_was_written() -> None:
    assert WRITTEN.value is not None
    assert lost({"a": WRITTEN, "b": CLEARED}, {"a": WRITTEN.value, "other": b"x"}) == frozenset()


@pytest.mark.parametrize(
    ("held", "stored"),
    [
        pytest.param(WRITTEN, {}, id="forgotten"),
        pytest.param(WRITTEN, {"a": b"older"}, id="replaced"),
        pytest.param(CLEARED, {"a": b"back"}, id="came-back"),
    ],
)
def test_a_value_that_is_not_what_was_written_is_lost(held: Held, stored: dict[str, bytes]) -> None:
    assert lost({"a": held}, stored) == {"a"}
