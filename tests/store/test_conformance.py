"""What every engine of the store must do: specification section 9, contract in `pathfleet.store`."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pathfleet.agent.collect import Snapshot
from pathfleet.agent.publish import Publisher
from pathfleet.core.node import Daemon, NodeInfo, Versions
from pathfleet.errors import Busy, Conflict, LockBusy, NotFound, Refused, StoreError, StoreUnavailable, ValueTooBig
from pathfleet.store import FILE_LIMIT, VALUE_LIMIT, Change, Store
from tests.patience import BUSY_SECONDS
from tests.store.conftest import Opener, eventually
from tests.store.engines import Cluster

TEXT = 'näme \U0001f9f1 \u2028 "\\ \x7f\n'.encode()


class TestNodeValues:
    async def test_are_read_by_their_node_by_others_and_by_readers(self, a: Store, b: Store, reader: Store) -> None:
        await a.put("multipath", b"of a")
        await b.put("multipath", b"of b")
        for store in (a, b, reader):
            assert await store.values("a") == {"multipath": b"of a"}
            assert await store.all_values() == {"a": {"multipath": b"of a"}, "b": {"multipath": b"of b"}}

    async def test_have_one_value_per_key_the_last(self, a: Store) -> None:
        for value in (b"1", b"2", b"2", b"3"):
            await a.put("multipath", value)
        await a.put("multipath.1", b"x")
        assert await a.values("a") == {"multipath": b"3", "multipath.1": b"x"}

    async def test_of_an_unknown_node_are_none(self, a: Store) -> None:
        assert await a.values("nobody") == {}

    async def test_are_gone_when_cleared_for_everybody_and_clearing_again_succeeds(self, a: Store, b: Store) -> None:
        await a.put("multipath", b"x")
        await a.put("other", b"y")
        for _ in range(2):
            await a.clear("multipath")
            assert await b.values("a") == {"other": b"y"}
        await a.clear("other")
        assert "a" not in await b.all_values()

    async def test_can_be_set_again_after_clearing(self, a: Store, b: Store) -> None:
        await a.put("multipath", b"x")
        await a.clear("multipath")
        await a.put("multipath", b"y")
        assert await b.values("a") == {"multipath": b"y"}

    async def test_clearing_touches_only_the_own_node(self, a: Store, b: Store) -> None:
        await a.put("multipath", b"x")
        await b.clear("multipath")
        assert await b.values("a") == {"multipath": b"x"}

    @pytest.mark.parametrize("value", [TEXT, b"", b" ", b"\r\n\t", b"null"])
    async def test_come_back_byte_by_byte(self, a: Store, b: Store, value: bytes) -> None:
        await a.put("multipath", value)
        assert await b.values("a") == {"multipath": value}

    async def test_of_one_byte_below_the_limit_are_taken(self, a: Store, b: Store) -> None:
        value = b"v" * (VALUE_LIMIT - 1)
        await a.put("multipath", value)
        assert await b.values("a") == {"multipath": value}

    async def test_at_the_limit_are_refused_and_the_old_value_stays(self, a: Store) -> None:
        await a.put("multipath", b"old")
        with pytest.raises(ValueTooBig, match="32768"):
            await a.put("multipath", b"v" * VALUE_LIMIT)
        assert await a.values("a") == {"multipath": b"old"}

    async def test_with_a_nul_byte_are_refused(self, a: Store) -> None:
        with pytest.raises(ValueError, match="NUL"):
            await a.put("multipath", b"a\0b")

    @pytest.mark.parametrize("key", ["", "A", "a/b", "a b", "../x", ".x", "ä", "k" * 129, "a\n", "a\0"])
    async def test_keys_that_some_engine_cannot_take_are_refused(self, a: Store, key: str) -> None:
        with pytest.raises(ValueError, match="key"):
            await a.put(key, b"x")
        with pytest.raises(ValueError, match="key"):
            await a.clear(key)

    async def test_outlive_the_store_that_wrote_them(self, engine: Cluster, a: Store) -> None:
        async with engine.store("c") as c:
            await c.alive()
            await c.put("multipath", b"x")
        assert await a.values("c") == {"multipath": b"x"}
        assert "c" in (await a.members()).nodes

    async def test_and_files_are_not_written_by_a_reader(self, reader: Store) -> None:
        for write in (
            reader.put("multipath", b"x"),
            reader.clear("multipath"),
            reader.alive(),
            reader.forget("a"),
            reader.swap("multipath.cfg", b"x", None),
            reader.lock("multipath.cfg").__aenter__(),
        ):
            with pytest.raises(StoreError, match="reading"):
                await write


class TestMembers:
    async def test_a_node_that_lives_is_online_for_everybody(self, a: Store, b: Store, reader: Store) -> None:
        await a.alive()
        for store in (a, b, reader):
            members = await store.members()
            assert members.quorate
            assert members.nodes["a"].online is True

    async def test_a_node_is_a_member_from_its_first_value_on(self, a: Store, b: Store) -> None:
        await a.put("multipath", b"x")
        assert "a" in (await b.members()).nodes

    async def test_a_node_that_stops_goes_offline_and_stays_a_member(
        self, engine: Cluster, b: Store, opened: Opener
    ) -> None:
        store = await opened("c")
        await store.alive()
        assert (await b.members()).nodes["c"].online is True
        await store.__aexit__(None, None, None)
        await engine.switch_off("c")

        async def offline() -> bool:
            return (await b.members()).nodes["c"].online is False

        await eventually(offline, engine.offline_seconds * 2 + BUSY_SECONDS)

    async def test_a_node_that_keeps_saying_so_stays_online(self, engine: Cluster, a: Store, b: Store) -> None:
        end = time.monotonic() + engine.offline_seconds * 2
        while time.monotonic() < end:
            await a.alive()
            assert (await b.members()).nodes["a"].online is True

    async def test_a_reader_is_no_member(self, a: Store, reader: Store) -> None:
        await a.alive()
        await reader.members()
        assert set((await a.members()).nodes) == {"a"}


class TestForgetting:
    @pytest.fixture(autouse=True)
    def forgetting(self, engine: Cluster) -> None:
        if not engine.forgets:
            pytest.skip("its nodes are kept elsewhere")

    @pytest.fixture
    async def gone(self, engine: Cluster, a: Store, b: Store, opened: Opener) -> Store:
        """Node c's store, of whom nothing was heard for so long that it is offline, and whom nothing has told."""
        c = await opened("c")
        await c.alive()
        for store in (a, b, c):
            await store.put("multipath", b"x")
            await store.put("other", b"y")

        async def offline() -> bool:
            return (await b.members()).nodes["c"].online is False

        await eventually(offline, engine.offline_seconds * 2 + BUSY_SECONDS)
        return c

    async def test_removes_a_nodes_values_and_that_it_is_a_member_and_touches_no_other(
        self, a: Store, b: Store, gone: Store, opened: Opener
    ) -> None:
        await a.forget("c")
        of_one = {"multipath": b"x", "other": b"y"}
        for store in (a, b, gone, await opened(None)):
            assert await store.values("c") == {}
            assert await store.all_values() == {"a": of_one, "b": of_one}
            assert set((await store.members()).nodes) == {"a", "b"}

    async def test_a_node_that_writes_again_is_a_member_again_with_what_it_wrote_since(
        self, a: Store, gone: Store
    ) -> None:
        for number in range(2):
            await a.forget("c")
            await gone.put("multipath", b"%d" % number)
            assert await a.values("c") == {"multipath": b"%d" % number}
            assert (await a.members()).nodes["c"].online is False

    async def test_a_node_that_lives_again_is_online_again_and_changes_tell_of_its_values(
        self, a: Store, gone: Store, opened: Opener
    ) -> None:
        await a.forget("c")
        changes = (await opened(None)).changes()
        await next_of(changes)
        for _ in range(2):
            await gone.alive()
            assert (await a.members()).nodes["c"].online is True
        await gone.put("multipath", b"back")
        await collected(changes, lambda told: "c" in told.nodes)
        await gone.clear("multipath")
        assert await a.values("c") == {}
        assert (await a.members()).nodes["c"].online is True

    async def test_an_agent_that_was_cut_off_says_all_of_it_again_within_one_poll(self, a: Store, gone: Store) -> None:
        publisher = Publisher(gone, wall_clock=lambda: 1000.0)
        found = Snapshot(Daemon.RUNNING), NodeInfo("running", 0, Versions())
        assert await publisher.publish(*found)
        before = await a.values("c")
        await a.forget("c")
        assert await publisher.publish(*found)
        assert await a.values("c") == {"pathfleet": before["pathfleet"]}

    async def test_a_node_that_is_online_is_refused_and_keeps_all(self, a: Store, b: Store) -> None:
        await b.alive()
        await b.put("multipath", b"x")
        for store in (a, b):
            with pytest.raises(Busy, match=r"'b' is online.*stop"):
                await store.forget("b")
        assert await a.values("b") == {"multipath": b"x"}
        assert (await a.members()).nodes["b"].online is True

    async def test_a_node_whose_values_are_all_cleared_is_forgotten_too(self, a: Store, b: Store) -> None:
        await b.put("multipath", b"x")
        await b.clear("multipath")
        await a.forget("b")
        assert "b" not in (await a.members()).nodes

    async def test_who_is_no_member_or_no_more_is_not_found(self, a: Store, gone: Store) -> None:
        assert gone.node == "c"
        await a.forget("c")
        for unknown in ("c", "d", "", "a/multipath", "%"):
            with pytest.raises(NotFound, match=re.escape(repr(unknown))):
                await a.forget(unknown)
        assert await a.values("a") != {}

    async def test_changes_tell_whose_values_are_gone(self, a: Store, gone: Store, opened: Opener) -> None:
        assert gone.node == "c"
        changes = (await opened(None)).changes()
        await next_of(changes)
        await a.forget("c")
        assert await next_of(changes) == Change(nodes=frozenset({"c"}))
        with pytest.raises(Refused):
            await a.forget("c")
        with pytest.raises(TimeoutError):
            await next_of(changes, 0.5)

    async def test_outlives_a_restart_of_the_engine(self, engine: Cluster, a: Store, gone: Store) -> None:
        assert gone.node == "c"
        await a.forget("c")
        await engine.restart()
        assert set((await a.members()).nodes) == {"a", "b"}


class TestFiles:
    async def test_that_are_not_there_are_none(self, a: Store) -> None:
        assert await a.read("multipath.cfg") is None

    async def test_are_created_once(self, a: Store, b: Store) -> None:
        revision = await a.swap("multipath.cfg", b"one", None)
        with pytest.raises(Conflict, match=re.escape("multipath.cfg")):
            await b.swap("multipath.cfg", b"two", None)
        file = await b.read("multipath.cfg")
        assert file is not None
        assert (file.content, file.revision) == (b"one", revision)

    async def test_are_replaced_by_who_read_the_last_revision(self, a: Store, b: Store) -> None:
        first = await a.swap("multipath.cfg", b"one", None)
        second = await b.swap("multipath.cfg", b"two", first)
        with pytest.raises(Conflict):
            await a.swap("multipath.cfg", b"three", first)
        with pytest.raises(Conflict):
            await a.swap("multipath.cfg", None, first)
        file = await a.read("multipath.cfg")
        assert file is not None
        assert (file.content, file.revision) == (b"two", second)

    async def test_are_removed_by_who_read_the_last_revision(self, a: Store, b: Store) -> None:
        revision = await a.swap("multipath.cfg", b"one", None)
        assert await b.swap("multipath.cfg", None, revision) is None
        assert await a.read("multipath.cfg") is None

    async def test_that_are_gone_conflict_with_any_revision(self, a: Store) -> None:
        revision = await a.swap("multipath.cfg", b"one", None)
        await a.swap("multipath.cfg", None, revision)
        for content in (b"x", None):
            with pytest.raises(Conflict):
                await a.swap("multipath.cfg", content, revision)
        assert await a.swap("multipath.cfg", None, None) is None

    async def test_get_a_new_revision_with_every_write_also_of_equal_content(self, engine: Cluster, a: Store) -> None:
        seen: list[str | None] = [None]
        for number in range(5):
            content = b"same" if engine.revises_equal_content else b"%d" % number
            seen.append(await a.swap("multipath.cfg", content, seen[-1]))
        await a.swap("multipath.cfg", None, seen[-1])
        seen.append(await a.swap("multipath.cfg", b"same", None))
        assert len(set(seen)) == len(seen)

    @pytest.mark.parametrize("content", [b"", bytes(range(256)), b"z" * FILE_LIMIT], ids=["none", "all", "most"])
    async def test_hold_any_bytes_up_to_the_limit(self, a: Store, b: Store, content: bytes) -> None:
        await a.swap("priv/tokens", content, None)
        file = await b.read("priv/tokens")
        assert file is not None
        assert file.content == content

    async def test_above_the_limit_are_refused_and_the_old_content_stays(self, a: Store) -> None:
        revision = await a.swap("multipath.cfg", b"old", None)
        with pytest.raises(ValueTooBig, match="524288"):
            await a.swap("multipath.cfg", b"z" * (FILE_LIMIT + 1), revision)
        file = await a.read("multipath.cfg")
        assert file is not None
        assert (file.content, file.revision) == (b"old", revision)

    @pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/b/c", "a/", "A", "x\n", "a\0"])
    async def test_names_that_some_engine_cannot_take_are_refused(self, a: Store, name: str) -> None:
        with pytest.raises(ValueError, match="name"):
            await a.read(name)
        with pytest.raises(ValueError, match="name"):
            await a.swap(name, b"x", None)

    async def test_lose_no_update_when_every_writer_retries_its_conflicts(self, a: Store, b: Store) -> None:
        async def add_one(store: Store) -> None:
            while True:
                file = await store.read("counter")
                content, revision = (file.content, file.revision) if file else (b"0", None)
                try:
                    await store.swap("counter", str(int(content) + 1).encode(), revision)
                except Conflict:
                    continue
                return

        async def add(store: Store, times: int) -> None:
            for _ in range(times):
                await add_one(store)

        await asyncio.gather(add(a, 10), add(b, 10))
        file = await a.read("counter")
        assert file is not None
        assert file.content == b"20"


class TestLock:
    async def test_is_held_by_one_at_a_time_and_protects_read_and_write(self, a: Store, b: Store) -> None:
        inside = 0

        async def add(store: Store, times: int) -> None:
            nonlocal inside
            for _ in range(times):
                async with store.lock("counter", wait_seconds=30):
                    inside += 1
                    assert inside == 1
                    file = await store.read("counter")
                    content, revision = (file.content, file.revision) if file else (b"0", None)
                    await store.swap("counter", str(int(content) + 1).encode(), revision)
                    inside -= 1

        await asyncio.gather(add(a, 10), add(b, 10))
        file = await b.read("counter")
        assert file is not None
        assert file.content == b"20"

    async def test_excludes_a_second_task_of_the_same_store(self, a: Store) -> None:
        async with a.lock("multipath.cfg"):
            with pytest.raises(LockBusy):
                await a.lock("multipath.cfg", wait_seconds=0).__aenter__()

    async def test_that_is_busy_says_which_and_by_whom(self, engine: Cluster, a: Store, b: Store) -> None:
        async with a.lock("multipath.cfg"):
            with pytest.raises(LockBusy, match=r"multipath\.cfg.*'a'" if engine.names_holders else r"multipath\.cfg"):
                await b.lock("multipath.cfg", wait_seconds=0.1).__aenter__()

    async def test_of_another_name_is_free(self, a: Store, b: Store) -> None:
        async with a.lock("one"), b.lock("two", wait_seconds=0):
            pass

    async def test_is_waited_for(self, a: Store, b: Store) -> None:
        got = asyncio.Event()

        async def second() -> None:
            async with b.lock("multipath.cfg"):
                got.set()

        async with asyncio.timeout(30):
            async with a.lock("multipath.cfg"):
                waiting = asyncio.create_task(second())
                await asyncio.sleep(0)
                assert not got.is_set()
            await waiting
        assert got.is_set()

    async def test_is_free_after_the_body_raised(self, a: Store, b: Store) -> None:
        with pytest.raises(ZeroDivisionError):
            async with a.lock("multipath.cfg"):
                raise ZeroDivisionError
        async with b.lock("multipath.cfg", wait_seconds=0):
            pass

    async def test_is_free_after_its_holder_was_cancelled(self, a: Store, b: Store) -> None:
        held = asyncio.Event()

        async def hold() -> None:
            async with a.lock("multipath.cfg"):
                held.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hold())
        await held.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with b.lock("multipath.cfg", wait_seconds=0):
            pass

    async def test_is_not_left_behind_by_who_is_cancelled_while_asking_for_it(self, a: Store, b: Store) -> None:
        async def hold() -> None:
            async with a.lock("multipath.cfg"):
                await asyncio.Event().wait()

        for steps in range(12):
            task = asyncio.create_task(hold())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with b.lock("multipath.cfg", wait_seconds=0):
                pass

    async def test_of_a_holder_that_was_killed_is_free_when_its_lease_ends(self, engine: Cluster, a: Store) -> None:
        code = engine.source("c") + (
            "import asyncio\n"
            "async def hold():\n"
            "    async with store, store.lock('multipath.cfg'):\n"
            "        print('held', flush=True)\n"
            "        await asyncio.Event().wait()\n"
            "asyncio.run(hold())\n"
        )
        holder = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        try:
            assert holder.stdout is not None
            assert await asyncio.wait_for(holder.stdout.readline(), 30) == b"held\n"
            with pytest.raises(LockBusy, match="'c'" if engine.names_holders else "held"):
                await a.lock("multipath.cfg", wait_seconds=0).__aenter__()
        finally:
            holder.send_signal(signal.SIGKILL)
            await holder.communicate()
        async with a.lock("multipath.cfg", wait_seconds=engine.lease_seconds + 2):
            pass

    async def test_is_not_held_longer_than_its_lease(self, engine: Cluster, a: Store, b: Store) -> None:
        async with asyncio.timeout(engine.lease_seconds + 5):
            with pytest.raises(StoreError, match=r"multipath\.cfg"):
                async with a.lock("multipath.cfg"):
                    await asyncio.Event().wait()
        async with b.lock("multipath.cfg", wait_seconds=0):
            pass

    async def test_passes_on_the_bodys_own_timeout(self, a: Store) -> None:
        with pytest.raises(TimeoutError):
            async with a.lock("multipath.cfg"):
                raise TimeoutError

    async def test_names_that_some_engine_cannot_take_are_refused(self, a: Store) -> None:
        with pytest.raises(ValueError, match="name"):
            await a.lock("a b").__aenter__()


async def next_of(changes: AsyncIterator[Change], within_seconds: float = 30.0) -> Change:
    return await asyncio.wait_for(anext(changes), within_seconds)


async def ended(changes: AsyncIterator[Change]) -> bool:
    return await anext(changes, None) is None


async def collected(changes: AsyncIterator[Change], enough: Callable[[Change], bool]) -> tuple[Change, int]:
    """Return all that was told until it is enough, as one, and in how many pieces it came."""
    told, pieces = Change(), 0
    while not enough(told):
        more = await next_of(changes)
        told, pieces = Change(told.nodes | more.nodes, told.files | more.files), pieces + 1
    return told, pieces


class TestChanges:
    async def test_the_first_comes_at_once_and_says_nothing(self, reader: Store) -> None:
        assert await next_of(reader.changes(), 1.0) == Change()

    async def test_tell_whose_values_and_which_file_was_written(self, a: Store, b: Store, reader: Store) -> None:
        await a.put("multipath", b"x")
        await b.put("multipath", b"x")
        changes = reader.changes()
        await next_of(changes)
        await a.put("multipath", b"y")
        assert await next_of(changes) == Change(nodes=frozenset({"a"}))
        await b.clear("multipath")
        assert await next_of(changes) == Change(nodes=frozenset({"b"}))
        revision = await b.swap("multipath.cfg", b"x", None)
        assert await next_of(changes) == Change(files=frozenset({"multipath.cfg"}))
        await b.swap("multipath.cfg", None, revision)
        assert await next_of(changes) == Change(files=frozenset({"multipath.cfg"}))

    async def test_tell_of_ones_own_writes(self, a: Store) -> None:
        changes = a.changes()
        await next_of(changes)
        await a.put("multipath", b"x")
        assert await next_of(changes) == Change(nodes=frozenset({"a"}))

    async def test_tell_of_what_was_written_before_they_were_asked_again(self, a: Store, reader: Store) -> None:
        changes = reader.changes()
        await next_of(changes)
        await a.put("multipath", b"x")
        await asyncio.sleep(0)
        assert (await next_of(changes)).nodes == {"a"}

    async def test_put_many_writes_into_few(self, a: Store, b: Store, reader: Store) -> None:
        changes = reader.changes()
        await next_of(changes)
        for number in range(50):
            await a.put("multipath", b"%d" % number)
        await b.put("multipath", b"x")
        told, pieces = await collected(changes, lambda told: "b" in told.nodes)
        assert told == Change(nodes=frozenset({"a", "b"}))
        assert pieces < 10

    async def test_do_not_come_when_nothing_was_written(self, a: Store, reader: Store) -> None:
        await a.alive()
        changes = reader.changes()
        await next_of(changes)
        await a.alive()
        await a.clear("absent")
        with pytest.raises(TimeoutError):
            await next_of(changes, 0.5)

    async def test_end_when_the_store_is_closed(self, a: Store) -> None:
        changes = a.changes()
        await next_of(changes)
        waiting = asyncio.create_task(ended(changes))
        await asyncio.sleep(0)
        await a.__aexit__(None, None, None)
        assert await asyncio.wait_for(waiting, 30)

    async def test_go_on_after_trouble_with_one_that_says_nothing(
        self, engine: Cluster, a: Store, reader: Store
    ) -> None:
        changes = reader.changes()
        await next_of(changes)
        await engine.lose()
        waiting = asyncio.create_task(next_of(changes, 10))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.3)
        await engine.regain()
        assert await waiting == Change()
        await a.put("multipath", b"x")
        assert (await next_of(changes)).nodes == {"a"}


def every_call(store: Store, *, forgets: bool) -> list[Callable[[], Awaitable[object]]]:
    forgetting: list[Callable[[], Awaitable[object]]] = [lambda: store.forget("b")] if forgets else []
    return [
        *forgetting,
        store.alive,
        lambda: store.put("multipath", b"lost"),
        lambda: store.clear("other"),
        lambda: store.values("a"),
        store.all_values,
        store.members,
        lambda: store.read("multipath.cfg"),
        lambda: store.swap("new.cfg", b"lost", None),
        lambda: store.lock("multipath.cfg", wait_seconds=0.1).__aenter__(),
    ]


class TestTrouble:
    async def test_a_restart_of_the_engine_loses_nothing(
        self, engine: Cluster, a: Store, b: Store, opened: Opener
    ) -> None:
        await a.put("multipath", b"x")
        revision = await b.swap("multipath.cfg", b"content", None)
        await engine.restart()
        for store in (a, b, await opened(None)):
            file = await store.read("multipath.cfg")
            assert file is not None
            assert (file.content, file.revision) == (b"content", revision)
            assert (await store.values("a") == {"multipath": b"x"}) or not engine.keeps_values
        await a.put("multipath", b"y")
        assert await b.values("a") == {"multipath": b"y"}

    async def test_every_call_fails_in_words_within_its_deadline_and_works_again_afterwards(
        self, engine: Cluster, a: Store, b: Store, reader: Store
    ) -> None:
        await a.put("multipath", b"before")
        await a.put("other", b"before")
        await a.swap("multipath.cfg", b"before", None)
        await engine.lose()
        for call in every_call(a, forgets=engine.forgets):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable, match=r"store .+: .+"):
                await call()
            assert time.monotonic() - started < engine.deadline_seconds + BUSY_SECONDS
        await engine.regain()
        for store in (a, b, reader):
            assert await store.values("a") == {"multipath": b"before", "other": b"before"}
            assert await store.read("new.cfg") is None
        await a.put("multipath", b"after")
        assert (await b.values("a"))["multipath"] == b"after"

    async def test_opening_what_is_not_there_fails_in_words(self, engine: Cluster, a: Store) -> None:
        await engine.lose()
        with pytest.raises(StoreUnavailable):
            await a.alive()
        with pytest.raises(StoreUnavailable, match=r"store .+: .+"):
            await engine.store("b").__aenter__()
        await engine.regain()
        await a.alive()

    async def test_a_store_that_is_closed_says_so(self, engine: Cluster) -> None:
        store = engine.store("a")
        async with store:
            pass
        with pytest.raises(StoreError, match="not open"):
            await store.values("a")
