from __future__ import annotations

import asyncio
import json

import msgspec
import pytest

from pathfleet.cluster.journal import Event, Journal
from pathfleet.core.change import CellChange, Change, LunChange, NodeChange
from pathfleet.core.matrix import Cell, State

LONG = 30.0


def change(number: int = 0) -> CellChange:
    return CellChange(f"w{number}", "n1", Cell(State.OPTIMAL, 4, 4, "4 of 4 paths usable"), None, State.OPTIMAL)


def told(events: list[Event] | None) -> list[str]:
    assert events is not None
    return [json.loads(event.data)["wwid"] for event in events]


def test_an_event_has_an_id_its_kind_and_the_change_as_json() -> None:
    journal = Journal()
    start = journal.latest
    changes: list[Change] = [change(), LunChange("w", None), NodeChange("n1", None)]
    journal.append(changes)
    events = journal.since(start)
    assert events is not None
    assert [event.kind for event in events] == ["cell", "lun", "node"]
    assert [event.data for event in events] == [msgspec.json.encode(each) for each in changes]
    boot, _, number = start.rpartition("-")
    assert [event.id for event in events] == [f"{boot}-{int(number) + i}" for i in (1, 2, 3)]
    assert events[-1].id == journal.latest


def test_a_listener_gets_what_came_after_its_last_event_in_order() -> None:
    journal = Journal()
    journal.append([change(0)])
    seen = journal.latest
    journal.append([change(1), change(2)])
    assert told(journal.since(seen)) == ["w1", "w2"]
    assert journal.since(journal.latest) == []


def test_listeners_share_the_encoded_events() -> None:
    journal = Journal()
    start = journal.latest
    journal.append([change()])
    one, other = journal.since(start), journal.since(start)
    assert one is not None
    assert other is not None
    assert one[0] is other[0]


def test_whoever_fell_back_further_than_the_ring_must_read_all_again() -> None:
    journal = Journal(limit=3)
    ids = [journal.latest]
    for number in range(4):
        journal.append([change(number)])
        ids.append(journal.latest)
    assert journal.since(ids[0]) is None
    assert told(journal.since(ids[1])) == ["w1", "w2", "w3"]


def test_a_burst_larger_than_the_ring_is_not_told_in_part() -> None:
    journal = Journal(limit=3)
    journal.append([change()])
    before = journal.latest
    journal.append([change(number) for number in range(4)])
    assert journal.since(before) is None
    assert journal.since(journal.latest) == []
    assert journal.latest != before


@pytest.mark.parametrize("last", [
    None, "", "x", "1", "-1", "00000000-0", "deadbeef-1\n", "BOOT--1", "BOOT-2", "BOOT-1.0", "BOOT-" + "9" * 5000,
    "BOOT-\u0661",
])  # fmt: skip
def test_an_id_of_another_life_of_the_future_or_none_at_all_means_to_read_all_again(last: str | None) -> None:
    journal = Journal()
    journal.append([change()])
    boot = journal.latest.partition("-")[0]
    assert journal.since(last and last.replace("BOOT", boot)) is None


def test_two_lives_have_different_ids() -> None:
    assert Journal().latest != Journal().latest


def test_what_is_forgotten_must_be_read_again() -> None:
    journal = Journal()
    before = journal.latest
    journal.forget()
    assert journal.since(before) is None


async def test_waiting_ends_when_something_is_said() -> None:
    journal = Journal()
    waiting = [asyncio.create_task(journal.wait(journal.latest, LONG)) for _ in range(200)]
    await asyncio.sleep(0)
    journal.append([change()])
    assert all(await asyncio.gather(*waiting))


async def test_saying_nothing_wakes_nobody() -> None:
    journal = Journal()
    waiting = asyncio.create_task(journal.wait(journal.latest, 0.05))
    await asyncio.sleep(0)
    before = journal.latest
    journal.append([])
    assert journal.latest == before
    assert await waiting is False


async def test_waiting_does_not_start_where_there_is_something_to_say() -> None:
    journal = Journal()
    start = journal.latest
    journal.append([change()])
    assert await journal.wait(start, LONG)
    assert await journal.wait("of another life", LONG)


async def test_waiting_has_a_deadline() -> None:
    journal = Journal()
    assert await journal.wait(journal.latest, 0.01) is False
