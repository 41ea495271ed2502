from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from pathfleet.cluster import live
from pathfleet.cluster.live import Live
from pathfleet.core import column, report, wire
from pathfleet.core.column import Said
from pathfleet.core.matrix import State
from pathfleet.core.report import MapReport
from pathfleet.errors import StoreError
from pathfleet.store import Change
from pathfleet.store.sqlite import SQLiteStore
from tests.fakes import Memory, MemoryStore

WWID = "3600a098038314c6c6e3f4b6f4c6c5a30"
OPTIMAL, FAILED = {WWID: MapReport("optimal", 2, 2)}, {WWID: MapReport("failed", 0, 2)}
STORAGE_CFG = f"multipath: san\n\nlvm: vg1\n\tvgname vg1\n\tbase san:{WWID}\n\tshared 1\n"
DEADLINE = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_751_546_766.5

    def __call__(self) -> float:
        return self.now


class CountingStore(MemoryStore):
    """A store that remembers which nodes were read."""

    def __init__(self, node: str | None, memory: Memory) -> None:
        super().__init__(node, memory)
        self.read_nodes: list[str] = []

    async def values(self, node: str) -> dict[str, bytes]:
        self.read_nodes.append(node)
        return await super().values(node)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory() -> Memory:
    return Memory()


def value(clock: Clock, maps: Mapping[str, MapReport] = OPTIMAL) -> bytes:
    return report.plain(maps, int(clock.now))


def packed(clock: Clock, state: str) -> dict[str, bytes]:
    contents = report.contents({f"{number:x}": MapReport(state, 4, 4) for number in range(99)}, limit=300)
    return {key: wire.stamp(content, int(clock.now)) for key, content in contents.items()}


async def member(memory: Memory, name: str) -> MemoryStore:
    store = await MemoryStore(name, memory).__aenter__()
    await store.alive()
    return store


@asynccontextmanager
async def following(it: Live) -> AsyncIterator[Live]:
    task = asyncio.create_task(it.run())
    await until(it, lambda: it.ready)
    try:
        yield it
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(it: Live, reached: Callable[[], object]) -> None:
    """Wait for changes until something holds."""
    async with asyncio.timeout(DEADLINE):
        while not reached():
            await it.journal.wait(it.journal.latest, 0.01)  # what happened without any change is seen, too


def state(it: Live, node: str, wwid: str = WWID) -> State | None:
    lun = it.lun(wwid)
    return lun.nodes[node].state if lun and node in lun.nodes else None


def reason(it: Live, node: str) -> str:
    lun = it.lun(WWID)
    assert lun is not None
    return lun.nodes[node].reason


async def test_it_is_ready_when_it_has_read_everything_and_shows_what_a_look_shows(
    memory: Memory, clock: Clock
) -> None:
    for name in ("b", "a"):
        store = await member(memory, name)
        await store.put("multipath", value(clock))
    await store.swap("storage.cfg", STORAGE_CFG.encode(), None)
    await member(memory, "c")
    it = Live(store, wall_clock=clock)
    assert (it.ready, it.document().luns) == (False, [])
    assert "has not been read yet" in it.document().warnings[0]
    async with following(it):
        found = it.document()
        assert found == await live.look(store, clock.now)
        assert [(node.node, node.online) for node in found.nodes] == [("a", True), ("b", True), ("c", True)]
        assert {name: cell.state for name, cell in found.luns[0].nodes.items()} == {
            "a": "optimal", "b": "optimal", "c": "missing"
        }  # fmt: skip


async def test_it_follows_a_node_and_reads_only_that_one(memory: Memory, clock: Clock) -> None:
    a, _ = await member(memory, "a"), await member(memory, "b")
    watcher = CountingStore(None, memory)
    async with watcher, following(Live(watcher, wall_clock=clock)) as it:
        assert watcher.read_nodes == []
        await a.put("multipath", value(clock))
        await until(it, lambda: state(it, "a") == State.OPTIMAL)
        start = it.journal.latest
        await a.put("multipath", value(clock, FAILED))
        await until(it, lambda: state(it, "a") == State.FAILED)
        assert set(watcher.read_nodes) == {"a"}
        assert [event.kind for event in it.journal.since(start) or ()] == ["lun", "cell"]
        await a.clear("multipath")
        await until(it, lambda: it.lun(WWID) is None)


async def test_what_the_first_reading_brings_is_not_told_one_by_one(memory: Memory, clock: Clock) -> None:
    a = await member(memory, "a")
    await a.put("multipath", value(clock))
    it = Live(a, wall_clock=clock)
    before = it.journal.latest
    async with following(it):
        assert it.journal.since(before) is None
        assert it.journal.since(it.journal.latest) == []


class TestStorageCfg:
    async def test_makes_a_lun_missing_and_no_longer_missing(self, memory: Memory, clock: Clock) -> None:
        a = await member(memory, "a")
        async with following(Live(a, wall_clock=clock)) as it:
            revision = await a.swap("storage.cfg", STORAGE_CFG.encode(), None)
            await until(it, lambda: state(it, "a") == State.MISSING)
            await a.swap("storage.cfg", None, revision)
            await until(it, lambda: it.lun(WWID) is None)

    async def test_that_is_garbage_costs_the_expectations_and_says_so(self, memory: Memory, clock: Clock) -> None:
        a = await member(memory, "a")
        await a.put("multipath", value(clock))
        await a.swap("storage.cfg", b"\xff\x00garbage\n\tnonsense\n", None)
        async with following(Live(a, wall_clock=clock)) as it:
            assert state(it, "a") == State.OPTIMAL
            assert "storage.cfg, line 1" in it.document().warnings[0]
        assert (await live.look(a, clock.now)).warnings == it.document().warnings


class TestAReportThatIsBeingWritten:
    async def test_leaves_the_old_one_until_it_is_whole(
        self, memory: Memory, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(live, "_WRITTEN_SECONDS", 0.05)
        a = await member(memory, "a")
        for key, each in packed(clock, "optimal").items():
            await a.put(key, each)
        watcher = CountingStore(None, memory)
        async with watcher, following(Live(watcher, wall_clock=clock)) as it:
            start = it.journal.latest
            first, *others = sorted(packed(clock, "degraded").items())
            await a.put(*first)
            await until(it, lambda: watcher.read_nodes)
            assert state(it, "a", "1") == State.OPTIMAL
            for key, each in others:
                memory.values["a"][key] = each  # without a change: only the second reading can find it
            await until(it, lambda: state(it, "a", "1") == State.DEGRADED)
            events = it.journal.since(start)
            assert events is not None
            assert b"unknown" not in b"".join(event.data for event in events)

    async def test_becomes_a_doubt_if_it_never_is_whole(
        self, memory: Memory, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(live, "_WRITTEN_SECONDS", 0.01)
        a = await member(memory, "a")
        for key, each in packed(clock, "optimal").items():
            await a.put(key, each)
        await a.clear("multipath.1")
        async with following(Live(a, wall_clock=clock)) as it:
            assert "being written" in (it.columns["a"].doubt or "")

    async def test_is_looked_at_twice(self, memory: Memory, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(live, "_WRITTEN_SECONDS", 0.05)
        a = await member(memory, "a")
        whole = packed(clock, "optimal")
        memory.values["a"] = {**whole, "multipath.1": packed(clock, "degraded")["multipath.1"]}
        looking = asyncio.create_task(live.look(a, clock.now))
        await asyncio.sleep(0)
        memory.values["a"] = whole
        found = await looking
        assert {lun.cluster_state for lun in found.luns} == {State.OPTIMAL}


class TestTime:
    async def test_makes_a_report_stale_and_says_so_to_listeners(
        self, memory: Memory, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(live, "_JUDGE_SECONDS", 0.01)
        a = await member(memory, "a")
        await a.put("multipath", value(clock))
        async with following(Live(a, wall_clock=clock)) as it:
            start = it.journal.latest
            clock.now += wire.STALE
            await asyncio.sleep(0.03)
            assert it.journal.latest == start
            clock.now += 1
            assert await it.journal.wait(start, DEADLINE)
            assert state(it, "a") == State.UNKNOWN

    async def test_tells_who_left_and_who_is_gone(
        self, memory: Memory, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(live, "_MEMBERS_SECONDS", 0.01)
        a = await member(memory, "a")
        await a.put("multipath", value(clock))
        async with following(Live(a, wall_clock=clock)) as it:
            memory.seen["a"] -= 100
            await until(it, lambda: it.columns["a"].online is False)
            assert reason(it, "a").startswith("the node is offline; last reported")
            await member(memory, "b")
            await until(it, lambda: "b" in it.columns)
            del memory.seen["a"], memory.values["a"]
            await until(it, lambda: "a" in it.columns and it.columns["a"].online is False)
            await a.clear("multipath")
            memory.stir(Change(nodes=frozenset({"a"})))
            await until(it, lambda: "a" not in it.columns)
            assert [node.node for node in it.document().nodes] == ["b"]


class TestANodeThatIsForgotten:
    async def test_is_gone_from_the_matrix_and_listeners_are_told(
        self, memory: Memory, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(live, "_MEMBERS_SECONDS", 0.01)
        a, b = await member(memory, "a"), await member(memory, "b")
        for each in (a, b):
            await each.put("multipath", value(clock))
        memory.seen["b"] -= 100
        async with following(Live(a, wall_clock=clock)) as it:
            assert it.columns["b"].online is False
            start = it.journal.latest
            await a.forget("b")
            await until(it, lambda: "b" not in it.columns)
            assert [*it.document().luns[0].nodes] == ["a"]
            assert it.document() == await live.look(a, clock.now)
            told = [json.loads(event.data) for event in it.journal.since(start) or () if event.kind == "node"]
            assert (told[-1]["node"], told[-1]["head"]) == ("b", None)
            await b.alive()
            await b.put("multipath", value(clock))
            await until(it, lambda: state(it, "b") == State.OPTIMAL)
            assert it.columns["b"].online is True

    async def test_on_a_real_engine_is_gone_though_it_never_had_a_value(
        self, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(live, "_MEMBERS_SECONDS", 0.01)
        file = tmp_path / "cluster.db"
        async with SQLiteStore(file, node="a") as a, SQLiteStore(file, node="b", online_seconds=0.05) as b:
            await a.alive()
            async with following(Live(b, wall_clock=clock)) as it:
                await until(it, lambda: it.columns["a"].online is False)
                await b.forget("a")
                await until(it, lambda: "a" not in it.columns)


class TestAStoreInTrouble:
    async def test_ends_the_following_and_is_named_until_everything_is_read_again(
        self, memory: Memory, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(live, "_MEMBERS_SECONDS", 0.01)
        a = await member(memory, "a")
        await a.put("multipath", value(clock))
        it = Live(a, wall_clock=clock)
        async with following(it):
            start = it.journal.latest
        memory.lost = True
        for _ in range(2):
            with pytest.raises(StoreError, match="taken away"):
                await it.run()
            (warning,) = it.document().warnings
            assert "the store is in trouble since 2025-07-03" in warning
            assert "taken away" in warning
        assert state(it, "a") == State.OPTIMAL
        memory.regain()
        async with following(it):
            await until(it, lambda: it.trouble is None)
            assert it.document().warnings == ()
        told = [event for event in it.journal.since(start) or () if event.kind == "warnings"]
        assert [json.loads(event.data)["warnings"] for event in told] == [[warning], []]

    async def test_while_it_is_followed_ends_the_following(
        self, memory: Memory, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(live, "_MEMBERS_SECONDS", 0.01)
        a = await member(memory, "a")
        it = Live(a, wall_clock=clock)
        running = asyncio.create_task(it.run())
        await until(it, lambda: it.ready)
        memory.lost = True
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(StoreError, match="taken away"):
                await running

    async def test_is_never_shown_as_healthy_for_ever(self, memory: Memory, clock: Clock) -> None:
        a = await member(memory, "a")
        await a.put("multipath", value(clock))
        it = Live(a, wall_clock=clock)
        async with following(it):
            pass
        memory.lost = True
        clock.now += wire.STALE + 1
        assert it.document().luns[0].cluster_state is State.UNKNOWN
        assert it.columns["a"].doubt

    async def test_or_closed_is_an_error_and_no_silent_end(self, memory: Memory, clock: Clock) -> None:
        a = await member(memory, "a")
        it = Live(a, wall_clock=clock)
        running = asyncio.create_task(it.run())
        await until(it, lambda: it.ready)
        await a.__aexit__(None, None, None)
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(StoreError, match="closed"):
                await running

    async def test_that_cannot_be_read_makes_a_look_fail(self, memory: Memory, clock: Clock) -> None:
        a = await member(memory, "a")
        memory.lost = True
        with pytest.raises(StoreError):
            await live.look(a, clock.now)


class TestGarbage:
    async def test_of_one_node_costs_its_column_alone(self, memory: Memory, clock: Clock) -> None:
        a, b = await member(memory, "a"), await member(memory, "b")
        await b.put("multipath", value(clock))
        async with following(Live(a, wall_clock=clock)) as it:
            await a.put("multipath", b"garbage")
            await until(it, lambda: it.columns["a"].doubt)
            assert state(it, "b") == State.OPTIMAL

    async def test_that_finds_a_defect_of_the_reader_costs_that_column_alone(
        self, memory: Memory, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = column.read

        def defective(values: Mapping[str, bytes], before: Said | None = None) -> Said:
            if values.get("multipath") == b"x":
                raise OverflowError("what nobody thought of")
            return read(values, before)

        monkeypatch.setattr(column, "read", defective)
        a, b = await member(memory, "a"), await member(memory, "b")
        await b.put("multipath", value(clock))
        async with following(Live(a, wall_clock=clock)) as it:
            await a.put("multipath", b"x")
            await until(it, lambda: "what nobody thought of" in (it.columns["a"].doubt or ""))
            assert state(it, "b") == State.OPTIMAL
            await a.put("multipath", value(clock))
            await until(it, lambda: state(it, "a") == State.OPTIMAL)


async def test_on_a_real_engine_what_one_node_writes_another_shows(tmp_path: Path) -> None:
    file = tmp_path / "cluster.db"
    clock = Clock()
    async with SQLiteStore(file, node="a") as a, SQLiteStore(file, node="b") as b:
        await a.alive()
        await a.put("multipath", value(clock))
        async with following(Live(b, wall_clock=clock)) as it:
            assert state(it, "a") == State.OPTIMAL
            await a.put("multipath", value(clock, FAILED))
            await until(it, lambda: state(it, "a") == State.FAILED)
            await a.swap("storage.cfg", STORAGE_CFG.encode(), None)
            await until(it, lambda: [lun.storages for lun in it.document().luns] == [("vg1",)])
            await b.alive()
            await until(it, lambda: state(it, "b") == State.MISSING)
        assert it.document().luns == (await live.look(b, clock.now)).luns
