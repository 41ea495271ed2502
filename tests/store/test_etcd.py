"""What is special about etcd: members that die, freeze or are cut off, TLS, users, a full disk, lost answers."""

from __future__ import annotations

import asyncio
import base64
import random
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pathfleet.core import report, wire
from pathfleet.errors import Conflict, LockBusy, SettingsError, StoreError, StoreUnavailable
from pathfleet.store import VALUE_LIMIT, Change, open_store
from pathfleet.store.etcd import EtcdStore
from pathfleet.store.etcd_gateway import Gateway
from pathfleet.store.etcd_url import Address, parse
from pathfleet.store.etcd_watch import Watch
from pathfleet.store.etcd_wire import KeyValue
from tests.patience import BUSY_SECONDS
from tests.store.conftest import eventually, require_etcd
from tests.store.etcd_servers import EtcdServers, free_ports

DEADLINE = 3.0


def store(servers: EtcdServers, prefix: str, node: str | None = "a", **times: float) -> EtcdStore:
    return EtcdStore(Address(tuple(servers.endpoints), prefix), node=node, **{"deadline_seconds": DEADLINE, **times})


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return f"test-{tmp_path.name}-{random.randrange(10**9)}"


@pytest.fixture
def one(etcd_1: EtcdServers) -> EtcdServers:
    return etcd_1


@pytest.fixture
def three(etcd_3: EtcdServers) -> Iterator[EtcdServers]:
    """Three members, all there again after the test."""
    yield etcd_3
    etcd_3.thaw(*etcd_3.running)
    gone = set(range(3)) - set(etcd_3.running)
    if gone:
        etcd_3.start(*gone)
    etcd_3.wait_ready()


class TestUrl:
    def test_names_endpoints_prefix_and_how_to_be_let_in(self) -> None:
        url = "etcd://a.example:2379,[fd00::1]:2380/my/fleet?ca=/ca&cert=/c&key=/k&user=u&password-file=/p"
        assert parse(url) == Address(
            ("a.example:2379", "[fd00::1]:2380"),
            "my/fleet",
            tls=True,
            ca=Path("/ca"),
            cert=Path("/c"),
            key=Path("/k"),
            user="u",
            password_file=Path("/p"),
        )

    def test_has_a_prefix_also_when_none_is_given(self) -> None:
        for url in ("etcd://127.0.0.1:2379", "etcd://127.0.0.1:2379/"):
            assert parse(url) == Address(("127.0.0.1:2379",), "pathfleet")

    def test_without_tls_is_for_this_machine_only_unless_asked_for(self) -> None:
        for host in ("localhost:1", "127.0.0.9:1", "[::1]:1"):
            assert not parse(f"etcd://{host}/x").tls
        with pytest.raises(SettingsError, match="TLS"):
            parse("etcd://127.0.0.1:1,10.0.0.1:1/x")
        assert not parse("etcd://10.0.0.1:1/x?insecure=1").tls
        assert parse("etcd://10.0.0.1:1/x?tls=1").tls

    @pytest.mark.parametrize(
        "url",
        [
            "etcd://",
            "etcd:///x",
            "etcd://localhost/x",
            "etcd://localhost:0/x",
            "etcd://localhost:65536/x",
            "etcd://localhost:1,/x",
            "etcd://u:hunter2@localhost:1/x",
            "etcd://localhost:1/x?password=hunter2",
            "etcd://localhost:1/x?user=u",
            "etcd://localhost:1/x?cert=/c",
            "etcd://localhost:1/x?ca=relative",
            "etcd://localhost:1/x?ca=/a&ca=/b",
            "etcd://localhost:1/x?tls=0",
            "etcd://localhost:1/x?nonsense",
            "etcd://localhost:1/x?other=1",
            "etcd://localhost:1/../x",
            "etcd://localhost:1/x y",
            "etcd://localhost:1/x#y",
        ],
    )
    def test_that_cannot_be_used_is_refused_with_the_right_form_and_without_the_secret(self, url: str) -> None:
        with pytest.raises(SettingsError, match="etcd://HOST:PORT") as refused:
            open_store(url)
        assert "hunter2" not in str(refused.value)

    def test_is_one_that_open_store_knows(self) -> None:
        assert isinstance(open_store("etcd://localhost:2379/x", node="a"), EtcdStore)

    @pytest.mark.parametrize("node", ["", "a/b"])
    def test_goes_with_a_node_that_can_be_part_of_a_key(self, node: str) -> None:
        with pytest.raises(SettingsError, match="node"):
            open_store("etcd://localhost:2379/x", node=node)


class TestMembersOfEtcd:
    async def test_a_dead_first_endpoint_costs_nothing(self, one: EtcdServers, prefix: str) -> None:
        dead = f"127.0.0.1:{free_ports(1)[0]}"
        address = Address((dead, *one.endpoints), prefix)
        async with EtcdStore(address, node="a", deadline_seconds=DEADLINE) as a:
            started = time.monotonic()
            await a.put("multipath", b"x")
            assert await a.values("a") == {"multipath": b"x"}
            assert time.monotonic() - started < DEADLINE

    async def test_a_killed_leader_loses_nothing_that_was_acknowledged(self, three: EtcdServers, prefix: str) -> None:
        async with store(three, prefix, deadline_seconds=5.0) as a, store(three, prefix, "b") as b:
            acknowledged, unknown, revision = 0, 0, await a.swap("counter", b"0", None)
            end = time.monotonic() + 3
            killed = False
            while time.monotonic() < end:
                if not killed and time.monotonic() > end - 2.5:
                    three.kill(three.leader())
                    killed = True
                try:
                    revision = await a.swap("counter", b"%d" % (acknowledged + 1), revision)
                    acknowledged += 1
                    await a.put("multipath", b"%d" % acknowledged)
                except StoreUnavailable:
                    unknown += 1
                    break
            assert acknowledged > 10
            file = await b.read("counter")
            assert file is not None
            assert acknowledged <= int(file.content) <= acknowledged + unknown
            assert acknowledged - unknown <= int((await b.values("a"))["multipath"]) <= acknowledged
            assert unknown == 0, "an election takes less than the deadline"

    async def test_without_a_majority_nothing_is_written_and_nobody_is_called_online_or_gone(
        self, three: EtcdServers, prefix: str
    ) -> None:
        deadline = 2.0
        async with store(three, prefix, deadline_seconds=deadline) as a, store(three, prefix, "b") as b:
            for node in (a, b):
                await node.alive()
            leader = three.leader()
            gone = (leader, (leader + 1) % 3)
            three.kill(*gone)
            started = time.monotonic()
            members = await a.members()
            assert not members.quorate
            assert {node: member.online for node, member in members.nodes.items()} == {"a": True, "b": None}
            assert time.monotonic() - started < deadline + BUSY_SECONDS
            with pytest.raises(StoreUnavailable, match="most of its members"):
                await a.put("multipath", b"lost")
            three.start(*gone)
            await asyncio.to_thread(three.wait_ready)
            members = await a.members()
            assert members.quorate
            assert members.nodes["b"].online is True

    @pytest.mark.parametrize("who", ["first", "leader"])
    async def test_a_frozen_one_is_passed_over_and_writes_nothing_when_it_thaws(
        self, three: EtcdServers, prefix: str, who: str
    ) -> None:
        frozen = three.leader() if who == "leader" else 0
        endpoints = (three.endpoints[frozen], *(end for end in three.endpoints if end != three.endpoints[frozen]))
        async with EtcdStore(Address(endpoints, prefix), node="a", deadline_seconds=DEADLINE) as a:
            await a.put("multipath", b"old")
            three.freeze(frozen)
            await a.put("multipath", b"first")
            a._gateway._first = 0
            revision = await a.swap("file", b"x", None)
            await a.swap("file", None, revision)
            await a.clear("multipath")
            three.thaw(frozen)
            await asyncio.to_thread(three.wait_ready)
            await asyncio.sleep(0.3)
            assert await a.values("a") == {}
            assert await a.read("file") is None

    async def test_a_frozen_one_does_not_keep_changes_from_coming(self, three: EtcdServers, prefix: str) -> None:
        async with store(three, prefix) as a, store(three, prefix, None, deadline_seconds=1.0) as reader:
            changes = reader.changes()
            await anext(changes)
            three.freeze(reader._gateway._first)
            a._gateway._first = (reader._gateway._first + 1) % 3
            await a.put("multipath", b"x")
            assert await asyncio.wait_for(anext(changes), 30) == Change()
            await a.put("multipath", b"y")
            assert await asyncio.wait_for(anext(changes), 30) == Change(nodes=frozenset({"a"}))


class TestAlive:
    async def test_a_wrong_clock_changes_nobodys_being_online(
        self, one: EtcdServers, prefix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        right = time.time
        async with store(one, prefix, online_seconds=1) as a, store(one, prefix, "b") as b:
            for wrong in (3600, -3600):
                monkeypatch.setattr("time.time", lambda wrong=wrong: right() + wrong)
                await a.put("multipath", b"x")
                await a.alive()
                monkeypatch.setattr("time.time", right)
                assert (await b.members()).nodes["a"].online is True
            monkeypatch.setattr("time.time", lambda: right() + 3600)
            await a.put("multipath", b"y")
            monkeypatch.setattr("time.time", right)

            async def gone() -> bool:
                return (await b.members()).nodes["a"].online is False

            await eventually(gone)
            assert (await b.members()).nodes["a"].seconds_since_seen is None

    async def test_says_since_when_a_node_is_gone(self, one: EtcdServers, prefix: str) -> None:
        async with store(one, prefix) as a, store(one, prefix, None) as reader:
            await a.put("multipath", b"x")
            member = (await reader.members()).nodes["a"]
            assert member.online is False
            assert member.seconds_since_seen is not None
            assert 0 <= member.seconds_since_seen < 5

    async def test_gets_a_new_lease_when_the_old_one_is_gone(self, one: EtcdServers, prefix: str) -> None:
        async with store(one, prefix) as a, store(one, prefix, None) as reader:
            await a.alive()
            one.ask(0, "lease/revoke", {"ID": str(a._alive_lease)})
            assert (await reader.members()).nodes["a"].online is False
            await a.alive()
            assert (await reader.members()).nodes["a"].online is True

    async def test_comes_back_when_somebody_removed_all_keys(self, one: EtcdServers, prefix: str) -> None:
        async with store(one, prefix) as a, store(one, prefix, None) as reader:
            await a.alive()
            everything = {"key": b64(f"{prefix}/"), "range_end": b64(f"{prefix}0")}
            assert one.ask(0, "kv/deleterange", everything) is not None
            assert (await reader.members()).nodes == {}
            await a.alive()
            assert (await reader.members()).nodes["a"].online is True

    async def test_is_told_when_a_node_comes_and_when_it_goes(self, one: EtcdServers, prefix: str) -> None:
        async with store(one, prefix, online_seconds=1) as a, store(one, prefix, None) as reader:
            changes = reader.changes()
            await anext(changes)
            await a.alive()
            for _ in ("comes", "goes"):
                assert await asyncio.wait_for(anext(changes), 30) == Change(nodes=frozenset({"a"}))


class TestChangesOfEtcd:
    async def test_go_on_when_their_start_was_compacted(self, one: EtcdServers, prefix: str) -> None:
        async with store(one, prefix) as a:
            for number in range(3):
                await a.put("multipath", b"%d" % number)
            one.ask(0, "kv/compaction", {"revision": str(a._revision)})
            watch = Watch(a._gateway, f"{prefix}/", check_seconds=1.0)
            watch._task = asyncio.create_task(watch._go_on(1))
            try:
                assert await asyncio.wait_for(watch.next(), 30) == Change()
                await a.put("multipath", b"x")
                assert await asyncio.wait_for(watch.next(), 30) == Change(nodes=frozenset({"a"}))
            finally:
                await watch.stop()

    async def test_are_not_disturbed_by_a_compaction(self, one: EtcdServers, prefix: str) -> None:
        async with store(one, prefix) as a:
            changes = a.changes()
            await anext(changes)
            for number in range(5):
                await a.put("multipath", b"%d" % number)
                one.ask(0, "kv/compaction", {"revision": str(a._revision)})
                assert await asyncio.wait_for(anext(changes), 30) == Change(nodes=frozenset({"a"}))

    async def test_of_a_burst_are_few_and_all_of_it_is_kept(self, one: EtcdServers, prefix: str) -> None:
        nodes = ("a", "b", "c", "d")
        async with store(one, prefix, None) as reader:
            changes, told, pieces = reader.changes(), set[str](), 0
            await anext(changes)

            async def burst(node: str) -> None:
                async with store(one, prefix, node) as writer:
                    for number in range(250):
                        await writer.put(f"multipath.{number % 10}", b"%d" % number)

            started = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for node in nodes:
                    group.create_task(burst(node))
            print(f"1000 writes by 4 nodes: {time.monotonic() - started:.2f} s")
            while told != set(nodes):
                told |= (await asyncio.wait_for(anext(changes), 30)).nodes
                pieces += 1
            assert pieces < 5
            values = await reader.all_values()
        assert values == {node: {f"multipath.{n}": b"%d" % (240 + n) for n in range(10)} for node in nodes}

    async def test_leave_nothing_running_when_the_store_is_closed(self, one: EtcdServers, prefix: str) -> None:
        before = asyncio.all_tasks()
        async with store(one, prefix) as a:
            changes = a.changes()
            await anext(changes)
            waiting = asyncio.create_task(anext(changes, None))
            await asyncio.sleep(0.1)
        assert await asyncio.wait_for(waiting, 30) is None
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


class TestSizes:
    async def test_a_report_of_5000_maps_comes_back(self, one: EtcdServers, prefix: str) -> None:
        maps = {
            f"3600{random.randbytes(15).hex()}": report.MapReport(
                state=random.choice(["optimal", "degraded", "failed"]),
                paths_active=random.randrange(5),
                paths_total=4,
                size=random.randrange(1, 2**44),
                transport="fc",
            )
            for _ in range(5000)
        }
        async with store(one, prefix) as a, store(one, prefix, None) as reader:
            for key, content in report.contents(maps, limit=VALUE_LIMIT).items():
                await a.put(key, wire.stamp(content, 1_751_546_766))
            found = report.decode(await reader.values("a"))
        assert found is not None
        assert found.maps == maps

    async def test_more_than_four_megabytes_are_read_at_once(self, one: EtcdServers, prefix: str) -> None:
        value = b"v" * (VALUE_LIMIT - 1)
        async with store(one, prefix) as a:
            await asyncio.gather(*(a.put(f"multipath.{number}", value) for number in range(140)))
            assert len(await a.values("a")) == 140


@asynccontextmanager
async def losing(servers: EtcdServers, prefix: str, part: bytes) -> AsyncIterator[tuple[EtcdStore, asyncio.Event]]:
    """Give a store of node a for which the answer to the first question with `part` in it gets lost on the way."""
    host, port = servers.endpoints[0].split(":")
    lost = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, ahead = await asyncio.open_connection(host, int(port))
        try:
            while question := await reader.read(2**20):
                ahead.write(question)
                answer = await behind.read(2**20)
                if not lost.is_set() and part in question:
                    lost.set()
                    break
                writer.write(answer)
        finally:
            ahead.close()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    way = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with EtcdStore(Address((way,), prefix), node="a", deadline_seconds=DEADLINE) as a:
            yield a, lost
    finally:
        server.close()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class TestLostAnswers:
    async def test_a_swap_that_was_done_is_reported_as_done(self, one: EtcdServers, prefix: str) -> None:
        async with losing(one, prefix, b"/v3/kv/txn") as (a, lost):
            revision = await a.swap("file", b"first", None)
            assert lost.is_set()
            file = await a.read("file")
            assert file is not None
            assert (file.content, file.revision) == (b"first", revision)
            assert await a.swap("file", None, revision) is None

    async def test_a_removal_that_was_done_is_reported_as_done(self, one: EtcdServers, prefix: str) -> None:
        async with losing(one, prefix, b"request_delete") as (a, lost):
            revision = await a.swap("file", b"x", None)
            assert await a.swap("file", None, revision) is None
            assert lost.is_set()

    async def test_a_swap_that_came_second_is_a_conflict_also_with_equal_content(
        self, one: EtcdServers, prefix: str
    ) -> None:
        async with store(one, prefix, "b") as b, losing(one, prefix, b"/v3/kv/txn") as (a, lost):
            revision = await b.swap("file", b"1", None)
            await b.swap("file", b"2", revision)
            with pytest.raises(Conflict):
                await a.swap("file", b"2", revision)
            assert lost.is_set()

    async def test_a_swap_of_which_nothing_can_be_known_is_neither_done_nor_a_conflict(
        self, one: EtcdServers, prefix: str
    ) -> None:
        async with store(one, prefix, "b") as b, losing(one, prefix, b"/v3/kv/txn") as (a, _):
            old = await b.swap("file", b"1", None)
            await b.swap("file", b"3", await b.swap("file", b"2", old))
            with pytest.raises(StoreUnavailable, match="read it and see"):
                await a.swap("file", b"x", old)

    async def test_a_lock_that_was_given_is_held_and_released(self, one: EtcdServers, prefix: str) -> None:
        async with losing(one, prefix, b"/v3/kv/txn") as (a, lost), store(one, prefix, "b") as b:
            async with a.lock("file"):
                assert lost.is_set()
                with pytest.raises(LockBusy, match="'a'"):
                    await b.lock("file", wait_seconds=0).__aenter__()
            async with b.lock("file", wait_seconds=0):
                pass

    async def test_forgetting_that_was_done_is_reported_as_done(self, one: EtcdServers, prefix: str) -> None:
        async with store(one, prefix, "b") as b, losing(one, prefix, b"request_delete") as (a, lost):
            await b.put("multipath", b"x")
            await a.forget("b")
            assert lost.is_set()
            assert (await a.members()).nodes == {}

    async def test_a_value_is_written_once(self, one: EtcdServers, prefix: str) -> None:
        async with losing(one, prefix, b"/v3/kv/txn") as (a, lost):
            await a.put("multipath", b"x")
            assert lost.is_set()
            assert await a.values("a") == {"multipath": b"x"}
            kept = one.ask(0, "kv/range", {"key": b64(f"{prefix}/value/a/multipath")})
            assert kept is not None
            assert kept["kvs"][0]["version"] == "1"


class TestLateWrites:
    """A member that was frozen carries out what was asked of it long ago, and elsewhere since."""

    @pytest.mark.parametrize("later", ["put", "clear"])
    async def test_of_a_value_do_nothing_after_a_newer_one(self, one: EtcdServers, prefix: str, later: str) -> None:
        async with store(one, prefix) as a:
            with recorded(a, one) as again:
                await a.put("multipath", b"old")
            await (a.put("multipath", b"new") if later == "put" else a.clear("multipath"))
            values = await a.values("a")
            assert not again()
            assert await a.values("a") == values

    async def test_of_a_node_do_nothing_after_it_was_forgotten(self, one: EtcdServers, prefix: str) -> None:
        async with store(one, prefix) as a, store(one, prefix, "b") as b:
            with recorded(a, one) as again:
                await a.put("multipath", b"old")
            await b.forget("a")
            assert not again()
            assert await b.all_values() == {}
            assert (await b.members()).nodes == {}

    async def test_of_forgetting_do_nothing_after_the_node_wrote_again(self, one: EtcdServers, prefix: str) -> None:
        async with store(one, prefix) as a, store(one, prefix, "b") as b:
            await a.put("multipath", b"old")
            with recorded(b, one) as again:
                await b.forget("a")
            await a.put("multipath", b"new")
            assert not again()
            assert await b.values("a") == {"multipath": b"new"}

    async def test_of_a_file_do_nothing_after_it_was_removed(self, one: EtcdServers, prefix: str) -> None:
        async with store(one, prefix) as a:
            with recorded(a, one) as again:
                revision = await a.swap("file", b"old", None)
            await a.swap("file", None, revision)
            assert not again()
            assert await a.read("file") is None


@contextmanager
def recorded(a: EtcdStore, servers: EtcdServers) -> Iterator[Callable[[], bool]]:
    """Give what asks again what the body asks to be written, and says whether it was done."""
    asked: list[dict[str, Any]] = []
    gateway = a._gateway
    ask = gateway.ask

    async def record(path: str, body: dict[str, Any], *rest: Any, **more: Any) -> Any:
        if path == "kv/txn":
            asked.append(msgspec.json.decode(msgspec.json.encode(body)))
        return await ask(path, body, *rest, **more)

    def again() -> bool:
        answer = servers.ask(0, "kv/txn", asked[-1])
        assert answer is not None
        return "succeeded" in answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateway, "ask", record)
        yield again


class TestWhatIsNoEtcd:
    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\nNot Found", r"etcd >= 3\.4"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n<html", r"etcd >= 3\.4"),
            (b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"kvs":[1,2,3]', r"etcd >= 3\.4"),
            (b'HTTP/1.1 200 OK\r\ncontent-length: 24\r\n\r\n{"kvs":[{"key":"?????"}]', r"etcd >= 3\.4"),
            (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.2/\r\ncontent-length: 0\r\n\r\n", r"etcd >= 3\.4"),
            (b"nonsense\r\n\r\n", "connection lost"),
            (b"", "connection lost"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{", "connection lost"),
            (
                b'HTTP/1.1 503 X\r\ncontent-length: 42\r\n\r\n{"message":"etcdserver: no leader","code":14}'[:-3],
                r"etcd >= 3\.4|no leader",
            ),
        ],
    )
    async def test_is_said_so_in_words(self, answer: bytes, words: str) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(2**16)
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = Address((f"127.0.0.1:{server.sockets[0].getsockname()[1]}",), "x")
        with pytest.raises(StoreUnavailable, match=words):
            await EtcdStore(address, node="a", deadline_seconds=0.8).__aenter__()
        server.close()

    async def test_a_silent_one_does_not_hold_up_anything_longer_than_the_deadline(self) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with closing(writer):
                while await reader.read(2**16):
                    pass

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = Address((f"127.0.0.1:{server.sockets[0].getsockname()[1]}",), "x")
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="no answer in time"):
            await EtcdStore(address, node="a", deadline_seconds=0.5).__aenter__()
        assert time.monotonic() - started < 0.5 + BUSY_SECONDS
        server.close()

    async def test_a_store_that_is_closed_meanwhile_ends_its_calls_in_words(self) -> None:
        asked = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with closing(writer):
                while await reader.read(2**16):
                    asked.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = Address((f"127.0.0.1:{server.sockets[0].getsockname()[1]}",), "x")
        a = EtcdStore(address, node="a", deadline_seconds=2)
        a._gateway.open()
        call = asyncio.create_task(a.put("multipath", b"x"))
        await asked.wait()
        await a.__aexit__(None, None, None)
        with pytest.raises(StoreError, match=r"not open|no answer"):
            await call
        server.close()

    async def test_a_proxy_of_the_environment_is_not_asked(
        self, one: EtcdServers, prefix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_ports(1)[0]}")
        async with store(one, prefix) as a:
            await a.put("multipath", b"x")


async def test_a_full_database_says_how_to_make_room_and_is_still_read(tmp_path: Path, prefix: str) -> None:
    require_etcd()
    with closing(EtcdServers(tmp_path / "etcd", 1, options=["--quota-backend-bytes", str(2**20)])) as servers:
        async with store(servers, prefix) as a:
            await a.put("multipath", b"x")
            with pytest.raises(StoreUnavailable, match="alarm disarm"):
                await fill(a)
            with pytest.raises(StoreUnavailable, match="alarm disarm"):
                await a.swap("file", b"x", None)
            assert (await a.values("a"))["multipath"] == b"x"


async def fill(a: EtcdStore) -> None:
    for number in range(200):
        await a.put("other", (b"%05d" % number) * 6000)


async def test_users_are_let_in_by_password_and_kept_to_what_their_role_may(tmp_path: Path) -> None:
    require_etcd()
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    with closing(EtcdServers(tmp_path / "etcd", 1)) as servers:
        allow_user(servers, "fleet", "hunter2", "mine/")
        address = Address(tuple(servers.endpoints), "mine", user="fleet", password_file=secret)
        async with EtcdStore(address, node="a", deadline_seconds=DEADLINE) as a:
            await a.alive()
            await a.put("multipath", b"x")
            async with a.lock("file"):
                revision = await a.swap("file", b"x", None)
            changes = a.changes()
            await anext(changes)
            servers.kill()
            servers.start()
            await wait_authenticated(a)
            assert await a.swap("file", None, revision) is None
            assert await asyncio.wait_for(anext(changes), 30) == Change()
        for wrong, words in (
            (Address(address.endpoints, "other", user="fleet", password_file=secret), "grant-permission"),
            (Address(address.endpoints, "mine"), "asks for a user"),
            (Address(address.endpoints, "mine", user="nobody", password_file=secret), "does not let user 'nobody'"),
            (Address(address.endpoints, "mine", user="u", password_file=tmp_path / "none"), "password-file"),
        ):
            with pytest.raises(StoreUnavailable, match=words) as refused:
                await EtcdStore(wrong, node="a", deadline_seconds=DEADLINE).__aenter__()
            assert "hunter2" not in str(refused.value)


def allow_user(servers: EtcdServers, user: str, password: str, prefix: str) -> None:
    permission = {"permType": "READWRITE", "key": b64(prefix), "range_end": b64(prefix[:-1] + "0")}
    for path, body in (
        ("auth/user/add", {"name": "root", "password": "root"}),
        ("auth/role/add", {"name": "root"}),
        ("auth/user/grant", {"user": "root", "role": "root"}),
        ("auth/user/add", {"name": user, "password": password}),
        ("auth/role/add", {"name": "fleet"}),
        ("auth/role/grant", {"name": "fleet", "perm": permission}),
        ("auth/user/grant", {"user": user, "role": "fleet"}),
        ("auth/enable", {}),
    ):
        assert servers.ask(0, path, body) is not None, path


async def wait_authenticated(opened: EtcdStore) -> None:
    async def answers() -> bool:
        try:
            await opened.values("a")
        except StoreUnavailable:
            return False
        return True

    await eventually(answers)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a certificate for etcd and one for us (all by openssl), and another authority."""
    if shutil.which("openssl") is None:
        pytest.skip("package openssl is not installed")
    directory = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    for name in ("ca", "other"):
        openssl("req", "-x509", *curve, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    for name in ("etcd", "us"):
        (directory / "extensions").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("req", *curve[:-2], "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    return directory


async def test_tls_proves_both_sides(tmp_path: Path, certificates: Path) -> None:
    require_etcd()
    ca, cert, key = (certificates / name for name in ("ca.pem", "us.pem", "us.key"))
    options = ["--client-cert-auth", "--trusted-ca-file", str(ca)]
    options += ["--cert-file", str(certificates / "etcd.pem"), "--key-file", str(certificates / "etcd.key")]
    with closing(EtcdServers(tmp_path / "etcd", 1, options=options, tls=True)) as servers:
        url = f"etcd://{servers.endpoints[0]}/x"
        await opens(f"{url}?ca={ca}&cert={cert}&key={key}")
        async with open_store(f"{url}?ca={ca}&cert={cert}&key={key}", node="a") as a:
            changes = a.changes()
            await anext(changes)
            await a.put("multipath", b"x")
            assert await asyncio.wait_for(anext(changes), 30) == Change(nodes=frozenset({"a"}))
        for parameters, words in (
            (f"ca={ca}", "TLS failed.*check ca=FILE"),
            (f"ca={certificates / 'other.pem'}&cert={cert}&key={key}", "TLS failed.*check ca=FILE"),
            (f"ca={certificates / 'none.pem'}", r"ca .*none\.pem cannot be used: No such file"),
            (f"ca={key}", r"ca .*us\.key cannot be used"),
            (f"ca={ca}&cert={cert}&key={certificates / 'etcd.key'}", "cert and key .* cannot be used"),
        ):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable, match=words):
                await open_store(f"{url}?{parameters}", node="a").__aenter__()
            assert time.monotonic() - started < 4, (
                "what does not pass is not tried again until the deadline, after 5 s"
            )
        with pytest.raises(StoreUnavailable, match=r"connection lost.*perhaps it wants TLS: ca=FILE"):
            await EtcdStore(Address(tuple(servers.endpoints)), deadline_seconds=0.5).__aenter__()


async def opens(url: str) -> None:
    """Wait until etcd lets in who comes by `url`."""

    async def is_open() -> bool:
        try:
            async with open_store(url):
                return True
        except StoreUnavailable:
            return False

    await eventually(is_open)


async def test_a_gateway_that_is_not_open_says_so() -> None:
    with pytest.raises(StoreError, match="not open"):
        await Gateway(Address(("127.0.0.1:1",)), deadline_seconds=1.0).ask("kv/range", {}, dict)


async def test_each_attempt_at_a_lock_has_a_lease_of_its_own(
    one: EtcdServers, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease that is left of a lost race began earlier than the body would think."""
    async with store(one, prefix) as a:
        locks = a._locks
        take, leases = locks._take, []

        async def lost_at_first(key: str, node: str, lease: int) -> KeyValue | None:
            leases.append(lease)
            return KeyValue(key.encode()) if len(leases) == 1 else await take(key, node, lease)

        monkeypatch.setattr(locks, "_take", lost_at_first)
        async with a.lock("x"):
            assert len({*leases}) == 2
