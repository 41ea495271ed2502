from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from pathfleet.cluster import rolling
from pathfleet.core.roll import FILE, Roll
from pathfleet.errors import Conflict
from tests.fakes import MemoryStore


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore() as opened:
        yield opened


async def test_there_is_no_roll_before_one_begins(store: MemoryStore) -> None:
    assert await rolling.read(store) is None
    await rolling.begin(store, "d", at_once=True)
    assert await rolling.read(store) == Roll("d", at_once=True)


async def test_failures_of_several_nodes_at_once_are_all_noted(store: MemoryStore) -> None:
    await asyncio.gather(*(rolling.note_failure(store, "d", node, "x") for node in ("a", "b", "c")))
    assert await rolling.read(store) == Roll("d", failed={"a": "x", "b": "x", "c": "x"})


async def test_beginning_the_same_again_keeps_its_failures_and_another_one_has_none(store: MemoryStore) -> None:
    await rolling.note_failure(store, "d", "a", "x")
    await rolling.begin(store, "d")
    assert await rolling.read(store) == Roll("d", failed={"a": "x"})
    await rolling.begin(store, "e")
    assert await rolling.read(store) == Roll("e")


async def test_beginning_what_a_quicker_node_is_already_first_with_keeps_who_that_is(store: MemoryStore) -> None:
    await rolling.note_first(store, "d", "a")
    await rolling.begin(store, "d", at_once=True)
    assert await rolling.read(store) == Roll("d", at_once=True, first="a")
    await rolling.begin(store, "e")
    assert await rolling.read(store) == Roll("e")


async def test_the_first_ones_turn_is_given_back_by_itself_alone(store: MemoryStore) -> None:
    await rolling.note_first(store, "d", "a")
    await rolling.give_back(store, "d", "b")
    assert await rolling.read(store) == Roll("d", first="a")
    await rolling.give_back(store, "d", "a")
    assert await rolling.read(store) == Roll("d")


async def test_a_retry_forgets_the_failures(store: MemoryStore) -> None:
    await rolling.note_failure(store, "d", "a", "x")
    await rolling.retry(store, "d")
    assert await rolling.read(store) == Roll("d")


async def test_what_says_the_same_is_not_written(store: MemoryStore) -> None:
    await rolling.begin(store, "d")
    revision = store.memory.revision
    await rolling.begin(store, "d")
    assert store.memory.revision == revision


async def test_a_file_of_garbage_is_written_anew(store: MemoryStore) -> None:
    await store.swap(FILE, b"garbage", None)
    assert await rolling.read(store) is None
    await rolling.note_failure(store, None, "a", "x")
    assert await rolling.read(store) == Roll(None, failed={"a": "x"})


async def test_a_file_that_always_changes_is_given_up(store: MemoryStore) -> None:
    store.faults["swap"] = Conflict("somebody else wrote first")
    with pytest.raises(Conflict):
        await rolling.begin(store, "d")
