from __future__ import annotations

from pathfleet.agent.status import Status
from pathfleet.core import applied
from pathfleet.core.applied import Applied
from pathfleet.core.wire import REFRESH
from pathfleet.errors import StoreError
from tests.fakes import MemoryStore


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.store = MemoryStore("a")
        self.status = Status(self.store, clock=lambda: self.now, wall_clock=lambda: 1751546766.9)

    async def say(self, digest: str | None, error: str | None = None, *, after: float = 0.0) -> int:
        """Say it, that much later; return how often the store was written."""
        self.now += after
        self.store.writes.clear()
        async with self.store:
            self.status.check(await self.store.values("a"))
            await self.status.say(digest, error)
        return len(self.store.writes)

    def said(self) -> Applied:
        return applied.decode(self.store.memory.values["a"][applied.KEY])


async def test_it_is_said_at_once_and_again_only_when_it_changes_or_after_a_minute() -> None:
    bench = Bench()
    assert await bench.say("d") == 1
    assert bench.said() == Applied(1751546766, "d")
    assert await bench.say("d", after=REFRESH - 1) == 0
    assert await bench.say("d", after=1) == 1
    assert await bench.say("d", "it failed") == 1
    assert bench.said().error == "it failed"


async def test_what_the_store_lost_is_said_again() -> None:
    bench = Bench()
    await bench.say("d")
    bench.store.memory.lose("a", applied.KEY)
    assert await bench.say("d") == 1


async def test_what_the_store_did_not_take_is_said_the_next_time() -> None:
    bench = Bench()
    bench.store.faults["put"] = StoreError("not now")
    assert await bench.say("d") == 0
    bench.store.faults.clear()
    assert await bench.say("d") == 1
