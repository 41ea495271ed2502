from __future__ import annotations

from pathlib import Path

import pytest

from pathfleet.cluster.check import SCRATCH, check
from pathfleet.errors import StoreUnavailable
from pathfleet.store import open_store
from tests.fakes import Memory, MemoryStore

STEPS = ["open", "members", "read", "write", "lock", "notice"]


async def test_a_store_that_works_passes_every_step_and_is_left_as_it_was(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/cluster.db"
    found = await check(open_store(url, node="a"))
    assert [(step.step, step.outcome) for step in found] == [(step, "ok") for step in STEPS]
    async with open_store(url) as store:
        assert await store.read(SCRATCH) is None


async def test_a_store_that_cannot_be_opened_says_why_and_the_rest_is_skipped() -> None:
    store = MemoryStore("a")
    store.faults["open"] = StoreUnavailable("nobody is there")
    found = await check(store)
    assert [(step.outcome, step.says) for step in found[:2]] == [
        ("failed", "nobody is there"),
        ("skipped", "the store is not open"),
    ]


@pytest.mark.parametrize(("method", "failing"), [("swap", {"write", "notice"}), ("all_values", {"read"})])
async def test_one_step_that_fails_does_not_hide_the_others(method: str, failing: set[str]) -> None:
    store = MemoryStore("a", Memory())
    store.faults[method] = StoreUnavailable("no room")
    found = await check(store)
    assert {step.step for step in found if step.outcome == "failed"} == failing
    assert {step.says for step in found if step.outcome == "failed"} == {"no room"}
