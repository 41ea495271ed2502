from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathfleet.agent.collect import Snapshot
from pathfleet.agent.publish import Publisher
from pathfleet.core import maps, report
from pathfleet.core.health import Facts, judge
from pathfleet.core.node import Daemon, NodeInfo, Versions
from pathfleet.errors import StoreError, StoreUnavailable, ValueTooBig
from pathfleet.store.sqlite import SQLiteStore
from tests.fakes import MemoryStore
from tests.replies import group, map_, path, reply

INFO = NodeInfo("running", 0, Versions())
WWID = "3600a098038314c6c6e3f4b6f4c6c5a30"


def seen(*replied: bytes) -> Snapshot:
    return Snapshot(Daemon.RUNNING, None, tuple(judge(m, Facts()) for text in replied for m in maps.decode(text)))


def many(count: int, *, first: str = "ready") -> Snapshot:
    checks = [first, *["ready"] * (count - 1)]
    return seen(
        reply(
            *(map_(f"3600a0980{number * 7919:023x}", group(path("sda", chk=chk))) for number, chk in enumerate(checks))
        )
    )


ONE = seen(reply(map_(WWID, group(path("sda"), path("sdb")))))
WORSE = seen(reply(map_(WWID, group(path("sda"), path("sdb", "failed", "faulty")))))
NO_MAPS = seen(reply())
NOT_RUNNING = Snapshot(Daemon.NOT_RUNNING, "it is not there")
CANNOT_TELL = Snapshot(Daemon.CANNOT_TELL, "it hangs")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A publisher with a store and a clock; `wrote` is what it wrote to the report's keys since it was asked last."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.clock = Clock()
        self.publisher = Publisher(store, clock=self.clock, wall_clock=lambda: 1751546766.9)

    async def publish(self, snapshot: Snapshot, *, after: float = 0.0) -> bool:
        self.clock.now += after
        return await self.publisher.publish(snapshot, INFO)

    def wrote(self) -> list[tuple[str, bytes | None]]:
        written = [(key, value) for key, value in self.store.writes if key != "pathfleet"]
        self.store.writes.clear()
        return written

    def wrote_keys(self) -> list[str]:
        return [key for key, _ in self.wrote()]

    def reported(self) -> dict[str, report.MapReport] | None:
        found = report.decode(self.store.memory.values.get("a", {}))
        return found.maps if found else None


@pytest.fixture(params=[False, True], ids=["clears stay", "clears return"])
async def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(await MemoryStore(clears_return=request.param).__aenter__())


class TestTheReport:
    async def test_is_written_in_the_plain_form_stamped_with_whole_seconds(self, bench: Bench) -> None:
        assert await bench.publish(ONE)
        assert bench.store.memory.values["a"]["multipath"] == (
            b'{"maps":{"%s":{"paths-active":2,"paths-total":2,"state":"optimal"}},"time":1751546766}' % WWID.encode()
        )

    async def test_is_written_again_at_once_when_it_changes(self, bench: Bench) -> None:
        await bench.publish(ONE)
        bench.wrote()
        await bench.publish(WORSE, after=0.3)
        assert bench.wrote_keys() == ["multipath", "multipath-detail"]

    async def test_is_left_alone_while_nothing_changes_and_refreshed_after_a_minute(self, bench: Bench) -> None:
        await bench.publish(ONE)
        bench.wrote()
        for _ in range(5):
            await bench.publish(ONE, after=10)
        assert "multipath" not in bench.wrote_keys()
        await bench.publish(ONE, after=10)
        assert "multipath" in bench.wrote_keys()

    @pytest.mark.parametrize("gone", [NO_MAPS, NOT_RUNNING], ids=["no maps", "not running"])
    async def test_is_cleared_where_there_is_none(self, bench: Bench, gone: Snapshot) -> None:
        await bench.publish(WORSE)
        bench.wrote()
        assert await bench.publish(gone)
        assert bench.wrote() == [("multipath", None), ("multipath-detail", None)]
        assert bench.reported() is None

    @pytest.mark.parametrize("gone", [NO_MAPS, NOT_RUNNING], ids=["no maps", "not running"])
    async def test_is_cleared_again_each_minute_only_where_clears_return(self, bench: Bench, gone: Snapshot) -> None:
        await bench.publish(ONE)
        await bench.publish(gone)
        bench.wrote()
        for _ in range(5):
            await bench.publish(gone, after=10)
        assert bench.wrote() == []
        await bench.publish(gone, after=10)
        assert bench.wrote_keys() == (["multipath", "multipath-detail"] if bench.store.clears_return else [])

    async def test_stays_as_it_is_when_nobody_can_tell(self, bench: Bench) -> None:
        await bench.publish(WORSE)
        before = dict(bench.store.memory.values["a"])
        bench.wrote()
        for _ in range(20):
            assert await bench.publish(CANNOT_TELL, after=10)
        assert bench.wrote() == []
        assert bench.store.memory.values["a"]["multipath"] == before["multipath"]

    async def test_is_written_again_when_the_store_lost_it(self, bench: Bench) -> None:
        await bench.publish(ONE)
        bench.store.memory.lose("a", "multipath")
        await bench.publish(ONE, after=10)
        assert bench.reported() is not None

    async def test_that_was_cleared_and_returns_is_cleared_again(self, bench: Bench) -> None:
        await bench.publish(ONE)
        ghost = bench.store.memory.values["a"]["multipath"]
        await bench.publish(NO_MAPS)
        bench.store.memory.values["a"]["multipath"] = ghost
        await bench.publish(NO_MAPS, after=10)
        assert bench.reported() is None

    async def test_of_an_earlier_run_is_replaced_or_cleared(self, bench: Bench) -> None:
        await bench.publish(many(2500))
        assert "multipath.1" in bench.store.memory.values["a"]
        for snapshot, expected in ((ONE, report.summarise(ONE.verdicts)), (NO_MAPS, None)):
            restarted = Bench(bench.store)
            assert await restarted.publish(snapshot)
            assert bench.reported() == expected
            assert "multipath.1" not in bench.store.memory.values["a"]


class TestAReportInChunks:
    async def test_has_its_first_value_written_last_and_is_whole_then(self, bench: Bench) -> None:
        big = many(2500)
        await bench.publish(big)
        keys = [key for key in bench.wrote_keys() if key != "multipath-detail"]
        assert len(keys) > 1
        assert keys[-1] == "multipath"
        assert bench.reported() == report.summarise(big.verdicts)

    async def test_that_becomes_plain_loses_its_leftovers_after_the_first_value_is_written(self, bench: Bench) -> None:
        await bench.publish(many(2500))
        bench.wrote()
        await bench.publish(ONE)
        written = [key for key in bench.wrote_keys() if key != "multipath-detail"]
        assert written[0] == "multipath"
        assert set(written[1:]) == {"multipath.1"}
        assert bench.reported() == report.summarise(ONE.verdicts)

    async def test_goes_away_first_value_first(self, bench: Bench) -> None:
        await bench.publish(many(2500))
        bench.wrote()
        await bench.publish(NOT_RUNNING)
        assert bench.wrote_keys()[0] == "multipath"
        assert set(bench.store.memory.values["a"]) == {"pathfleet"}

    async def test_keeps_all_its_chunks_when_nobody_can_tell(self, bench: Bench) -> None:
        await bench.publish(many(2500))
        before = bench.reported()
        await Bench(bench.store).publish(CANNOT_TELL)
        assert bench.reported() == before

    async def test_keeps_the_last_report_whole_when_a_chunk_is_not_taken(self) -> None:
        class Small(MemoryStore):
            async def put(self, key: str, value: bytes) -> None:
                if key == "multipath.1":
                    raise ValueTooBig("no room")
                await super().put(key, value)

        bench = Bench(await Small().__aenter__())
        await bench.publish(ONE)
        assert await bench.publish(many(2500)) is False
        assert bench.reported() == report.summarise(ONE.verdicts)

    async def test_is_refreshed_as_a_whole(self, bench: Bench) -> None:
        await bench.publish(many(2500))
        bench.wrote()
        await bench.publish(many(2500), after=60)
        assert bench.wrote_keys()[:2] == ["multipath.1", "multipath"]


FAULTS = [
    StoreUnavailable("down"),
    ValueTooBig("too big"),
    StoreError(""),
    ValueError("no"),
    OSError(5, "I/O"),
    ZeroDivisionError(),
]


class TestWhateverTheStoreDoes:
    @pytest.mark.parametrize("fault", FAULTS, ids=repr)
    @pytest.mark.parametrize("method", ["put", "values"])
    async def test_is_not_raised_nor_recorded_and_tried_again(
        self, bench: Bench, fault: Exception, method: str
    ) -> None:
        bench.store.faults[method] = fault
        assert await bench.publish(ONE) is False
        assert bench.wrote() == []
        bench.store.faults.clear()
        assert await bench.publish(ONE, after=1) is True
        assert bench.reported() == report.summarise(ONE.verdicts)

    @pytest.mark.parametrize("fault", FAULTS, ids=repr)
    async def test_to_a_clear_is_not_raised_and_tried_again(self, bench: Bench, fault: Exception) -> None:
        await bench.publish(ONE)
        bench.store.faults["clear"] = fault
        assert await bench.publish(NO_MAPS) is False
        assert bench.reported() is not None
        bench.store.faults.clear()
        assert await bench.publish(NO_MAPS, after=1) is True
        assert bench.reported() is None

    async def test_is_logged_once_for_each_trouble_and_once_when_it_is_over(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        bench.store.faults["values"] = StoreUnavailable("the disk is full")
        for _ in range(5):
            await bench.publish(ONE, after=10)
        bench.store.faults.clear()
        for _ in range(5):
            await bench.publish(ONE, after=10)
        (trouble, well) = caplog.messages
        assert "the disk is full" in trouble
        assert "well-again" in well

    async def test_cancellation_still_ends_it(self, bench: Bench) -> None:
        bench.store.faults["put"] = asyncio.CancelledError()
        with pytest.raises(asyncio.CancelledError):
            await bench.publish(ONE)

    async def test_a_failed_refresh_is_tried_again_at_the_next_cycle_not_a_minute_later(self, bench: Bench) -> None:
        await bench.publish(ONE)
        bench.store.faults["put"] = StoreUnavailable("down")
        await bench.publish(ONE, after=60)
        bench.store.faults.clear()
        bench.wrote()
        await bench.publish(ONE, after=10)
        assert "multipath" in bench.wrote_keys()

    async def test_one_key_too_big_does_not_keep_the_others(self) -> None:
        class Small(MemoryStore):
            async def put(self, key: str, value: bytes) -> None:
                if key == "multipath":
                    raise ValueTooBig("no room")
                await super().put(key, value)

        store = await Small().__aenter__()
        assert await Bench(store).publish(WORSE) is False
        assert set(store.memory.values["a"]) == {"multipath-detail", "pathfleet"}


FOUND = st.sampled_from([ONE, WORSE, NO_MAPS, NOT_RUNNING, CANNOT_TELL, many(2500), many(300)])
TROUBLE = st.sampled_from(["", "", "", "put", "clear", "values", "lost", "ghost"])
TIME = st.sampled_from([0.3, 10.0, 70.0])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(FOUND, TROUBLE, TIME), max_size=8), st.booleans())
def test_after_any_history_one_good_cycle_makes_the_store_say_the_truth(
    history: list[tuple[Snapshot, str, float]], clears_return: bool
) -> None:
    async def play() -> None:
        store = await MemoryStore(clears_return=clears_return).__aenter__()
        bench = Bench(store)
        expected: dict[str, report.MapReport] | None = None
        for found, trouble, seconds in history:
            values = store.memory.values.setdefault("a", {})
            if trouble == "lost":
                values.clear()
                expected = None
            elif trouble == "ghost":
                values["multipath.7"] = b"of a healed partition"
            elif trouble:
                store.faults[trouble] = StoreUnavailable("down")
            await bench.publish(found, after=seconds)
            store.faults.clear()
            assert await bench.publish(found, after=1)
            if found is not CANNOT_TELL:
                expected = report.summarise(found.verdicts) or None
                assert "multipath.7" not in store.memory.values["a"]
            assert bench.reported() == expected

    asyncio.run(play())


async def test_what_is_hostile_in_names_is_published_as_text(tmp_path: Path) -> None:
    hostile = 'a"b\\c\x1b[31m\u2028\U0001f9f1\x7f'
    snapshot = seen(reply(map_(hostile, group(path("sda", "failed", "faulty", host_wwpn=hostile)), name=hostile)))
    async with SQLiteStore(tmp_path / "store.db", node="a") as store:
        assert await Publisher(store).publish(snapshot, INFO)
        values = await store.values("a")
    assert set(json.loads(values["multipath"])["maps"]) == {snapshot.verdicts[0].map.uuid}
    assert json.loads(values["multipath-detail"])["maps"]


async def test_a_size_that_cannot_be_does_not_raise(bench: Bench) -> None:
    verdict = msgspec.structs.replace(ONE.verdicts[0], size=10**23)
    assert await bench.publish(msgspec.structs.replace(ONE, verdicts=(verdict,))) in (True, False)


async def test_on_a_real_store_a_new_run_leaves_nothing_of_the_one_before(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "store.db", node="a") as store:
        assert await Publisher(store).publish(many(2500), INFO)
        assert "multipath.1" in await store.values("a")
        assert await Publisher(store).publish(ONE, INFO)
        assert set(await store.values("a")) == {"multipath", "multipath-detail", "pathfleet"}
