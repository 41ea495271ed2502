"""What is pmxcfs's own: its framing, its memory, its partitions, and everything that can happen to a connection."""

from __future__ import annotations

import asyncio
import base64
import ctypes
import errno
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.agent.collect import Snapshot
from pathfleet.agent.publish import Publisher
from pathfleet.core import maps, report, wire
from pathfleet.core.health import Facts, judge
from pathfleet.core.node import Daemon, NodeInfo, Versions
from pathfleet.errors import Conflict, LockBusy, Refused, SettingsError, StoreError, StoreUnavailable, ValueTooBig
from pathfleet.store import VALUE_LIMIT, Change, Member, Members, open_store
from pathfleet.store import libqb as ipc
from pathfleet.store.libqb import Connection
from pathfleet.store.pmxcfs import PmxcfsStore
from tests.patience import BUSY_SECONDS
from tests.replies import group, map_, path, reply
from tests.store.conftest import eventually, require_libqb
from tests.store.pmxcfs_cluster import ROOT, Pmxcfs

DEADLINE = 0.6
LEASE = 0.5  # of a holder; the server lets a lock live twice as long

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def pve(tmp_path: Path) -> Iterator[Pmxcfs]:
    require_libqb()
    with closing(Pmxcfs(tmp_path, expiry_seconds=LEASE * 2)) as cluster:
        cluster.join("a")
        yield cluster


Opener = Callable[..., Awaitable[PmxcfsStore]]


@pytest.fixture
async def opened(pve: Pmxcfs) -> AsyncIterator[Opener]:
    """Opens the store of a node, or a reader on it, that is closed when the test ends."""
    async with AsyncExitStack() as stack:

        async def open_one(node: str, *, reads: bool = False, **others: Any) -> PmxcfsStore:
            pve.join(node)
            return await stack.enter_async_context(
                PmxcfsStore(
                    pve.mount,
                    node=None if reads else node,
                    service=pve.service(node),
                    lease_seconds=LEASE,
                    poll_seconds=0.1,
                    deadline_seconds=others.pop("deadline_seconds", DEADLINE),
                    **others,
                )
            )

        yield open_one


@pytest.fixture
async def a(opened: Opener) -> PmxcfsStore:
    return await opened("a")


@pytest.fixture
def connection(pve: Pmxcfs) -> Iterator[Connection]:
    with closing(Connection(pve.service("a"))) as connection:
        yield connection


def soon(seconds: float = DEADLINE) -> float:
    return time.monotonic() + seconds


def field(name: str) -> bytes:
    return name.encode() + bytes(256 - len(name.encode()))


def dumped(pve: Pmxcfs, node: str = "a") -> dict[tuple[str, str], bytes]:
    """Return what a server has, by node ("": its own) and key."""
    return {(of, key): base64.b64decode(value) for of, key, value in pve.servers[node].tell("dump")["values"]}


def perl(code: str, data: bytes) -> bytes:
    if shutil.which("perl") is None:
        pytest.skip("perl is not installed")
    return subprocess.run(["perl", "-e", code], input=data, stdout=subprocess.PIPE, check=True, timeout=10).stdout


class TestFraming:
    async def test_a_value_is_sent_as_its_key_in_256_bytes_the_text_and_one_nul(
        self, pve: Pmxcfs, a: PmxcfsStore
    ) -> None:
        pve.servers["a"].tell("dump")
        await a.put("multipath", b'{"time":1}')
        sent = pve.servers["a"].tell("dump")["requests"]
        message = field("kv/multipath") + b'{"time":1}' + bytes(1)
        assert sent == [f"4 {message.hex()}"]

    async def test_a_value_is_cleared_by_its_key_alone(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        pve.servers["a"].tell("dump")
        await a.clear("multipath")
        assert pve.servers["a"].tell("dump")["requests"] == [f"4 {field('kv/multipath').hex()}"]

    async def test_a_value_is_asked_for_by_key_and_node(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        await a.put("multipath", b"x")
        pve.servers["a"].tell("dump")
        await a.values("a")
        assert pve.servers["a"].tell("dump")["requests"] == ["1 ", f"5 {(field('kv/multipath') + field('a')).hex()}"]

    @pytest.mark.parametrize("text", [b"", b"{}", "näme".encode(), b"v" * (VALUE_LIMIT - 1)], ids=len)
    async def test_perl_reads_what_was_written(self, pve: Pmxcfs, a: PmxcfsStore, text: bytes) -> None:
        await a.put("multipath", text)
        stored = dumped(pve)["", "kv/multipath"]
        assert len(stored) <= VALUE_LIMIT
        assert perl("local $/; print unpack('Z*', <STDIN>)", stored) == text

    @pytest.mark.parametrize("text", [b"", b"{}", "näme".encode(), b"v" * (VALUE_LIMIT - 1)], ids=len)
    async def test_what_perl_wrote_is_read(self, connection: Connection, a: PmxcfsStore, text: bytes) -> None:
        message = perl("local $/; print pack('Z256 Z*', 'kv/multipath', <STDIN> // '')", text)
        connection.call(4, message, soon())
        assert await a.values("a") == {"multipath": text}

    @pytest.mark.parametrize(
        ("stored", "value"),
        [(b"{}\0", b"{}"), (b"{}", b"{}"), (b"\0", b""), (b"{}\0\0", b"{}\0"), (b"a\0b\0", b"a\0b")],
    )
    async def test_what_others_wrote_is_read_without_its_last_nul(
        self, connection: Connection, a: PmxcfsStore, stored: bytes, value: bytes
    ) -> None:
        connection.call(4, field("kv/multipath") + stored, soon())
        assert await a.values("a") == {"multipath": value}

    async def test_keys_of_other_programs_are_neither_read_nor_written(
        self, pve: Pmxcfs, connection: Connection, a: PmxcfsStore
    ) -> None:
        await a.put("multipath-detail", b"x")
        for key in ("kv/static-info", "tasklist", "multipath"):
            connection.call(4, field(key) + b"theirs\0", soon())
        pve.servers["a"].tell("dump")
        assert await a.all_values() == {"a": {"multipath-detail": b"x"}}
        assert len(pve.servers["a"].tell("dump")["requests"]) == 2
        with pytest.raises(ValueError, match="key"):
            await a.put("static-info", b"x")

    async def test_5000_maps_packed_come_back_within_the_limit(self, opened: Opener, a: PmxcfsStore) -> None:
        said = {
            f"3600a0980{hashlib.sha256(b'%d' % number).hexdigest()[:24]}": report.MapReport(
                "optimal" if number % 7 else "degraded", 4, 4, 1 << 40, "fc"
            )
            for number in range(5000)
        }
        reader = await opened("b", reads=True)
        contents = report.contents(said, limit=VALUE_LIMIT)
        for key, content in contents.items():
            await a.put(key, wire.stamp(content, 1751546766))
        values = (await reader.all_values())["a"]
        assert set(values) == set(contents)
        assert max(map(len, values.values())) < VALUE_LIMIT
        found = report.decode(values)
        assert found is not None
        assert found.maps == dict(sorted(said.items()))


class TestConnection:
    async def test_a_late_reply_is_never_taken_for_another(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        await a.put("multipath", b"x")
        for _ in range(2):
            pve.servers["a"].tell("knobs", delay=DEADLINE * 1.5)
            with pytest.raises(StoreUnavailable, match="does not answer"):
                await a.values("a")
            await asyncio.sleep(DEADLINE)
            assert (await a.members()).nodes == {"a": Member(online=True)}
            assert await a.values("a") == {"multipath": b"x"}

    @pytest.mark.parametrize(
        "wrong",
        [
            struct.pack("=i4xi4xi4x", 5, 26, 0) + b"{}",
            struct.pack("=i4xi4xi4x", 2, 27, 0) + b"{}",
            struct.pack("=i4xi4xi4x", 2, 24, 0) + b"{}",
            b"\2\0\0\0",
        ],
        ids=["another message", "too short", "too long", "no header"],
    )
    async def test_a_reply_that_does_not_fit_the_question_is_refused(
        self, pve: Pmxcfs, a: PmxcfsStore, wrong: bytes
    ) -> None:
        pve.servers["a"].tell("knobs", reply=base64.b64encode(wrong).decode())
        with pytest.raises(StoreUnavailable, match="another question"):
            await a.members()
        assert (await a.members()).quorate

    @given(st.binary(max_size=40), st.integers(0, 13))
    def test_no_garbage_is_taken_for_a_reply(self, garbage: bytes, message: int) -> None:
        with suppress(StoreUnavailable, OSError):
            payload = Connection("nobody")._checked(message, garbage)
            assert garbage[:4] == struct.pack("=i", message)
            assert len(payload) == len(garbage) - 24

    @pytest.mark.parametrize("document", [b"", b"{", b"[]", b"null", b'{"nodename":1}', b"\xff", b"{}"])
    async def test_a_document_that_cannot_be_read_is_trouble_and_not_an_empty_cluster(
        self, pve: Pmxcfs, a: PmxcfsStore, document: bytes
    ) -> None:
        for message, call in ((2, a.members), (1, a.all_values)):
            wrong = struct.pack("=i4xi4xi4x", message, 24 + len(document), 0) + document
            pve.servers["a"].tell("knobs", reply=base64.b64encode(wrong).decode())
            with pytest.raises(StoreUnavailable, match=r"\.members|\.version"):
                await call()

    async def test_a_pmxcfs_that_hangs_costs_each_call_its_deadline_and_no_more(
        self, pve: Pmxcfs, a: PmxcfsStore
    ) -> None:
        await a.put("multipath", b"x")
        pve.servers["a"].freeze()
        took = []
        for call in (a.members, a.all_values, a.alive, lambda: a.put("multipath", b"y")):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable, match=r"does not answer.*systemctl restart"):
                await call()
            took.append(time.monotonic() - started)
        assert DEADLINE * 0.8 < min(took) < DEADLINE * 1.5
        assert max(took) < DEADLINE + BUSY_SECONDS
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await PmxcfsStore(pve.mount, service=pve.service("a"), deadline_seconds=0.2).__aenter__()
        pve.servers["a"].thaw()
        await a.put("multipath", b"z")
        assert await a.values("a") == {"multipath": b"z"}

    async def test_many_calls_at_once_on_a_pmxcfs_that_hangs_all_end_together(
        self, pve: Pmxcfs, a: PmxcfsStore
    ) -> None:
        pve.servers["a"].freeze()
        started = time.monotonic()
        outcomes = await asyncio.gather(*(a.members() for _ in range(20)), return_exceptions=True)
        assert time.monotonic() - started < DEADLINE + BUSY_SECONDS
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}

    async def test_one_that_was_dropped_is_made_again_unnoticed_and_soon(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        pve.servers["a"].tell("knobs", drop=True)
        await a.put("multipath", b"x")
        assert await a.values("a") == {"multipath": b"x"}

    async def test_a_reply_longer_than_a_message_can_be_is_said_to_be_so(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        pve.servers["a"].tell("knobs", padding=2 * ipc.BUFFER_BYTES)
        with pytest.raises(StoreUnavailable, match="longer"):
            await a.all_values()
        pve.servers["a"].tell("knobs", padding=0)
        assert await a.all_values() == {}

    async def test_where_nobody_serves_the_remedy_is_named(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        pve.stop("a")
        with pytest.raises(StoreUnavailable, match=r"not running.*systemctl start pve-cluster"):
            await a.alive()

    def test_while_the_administration_restarts_pmxcfs_it_is_waited_for(self, pve: Pmxcfs, tmp_path: Path) -> None:
        flag = tmp_path / "cfs-restart-flag"
        with closing(Connection(pve.service("a"), restart_flag=flag)) as connection:
            pve.stop("a")
            flag.touch()
            with pytest.raises(StoreUnavailable, match="not running"):
                connection.call(2, b"", soon(0.3))
            starting = threading.Timer(0.2, pve.start, ("a",))
            starting.start()
            assert connection.call(2, b"", soon(5))
            starting.join()

    async def test_each_store_has_one_however_many_calls_there_are(
        self, pve: Pmxcfs, opened: Opener, a: PmxcfsStore
    ) -> None:
        await asyncio.gather(*(a.put("multipath", b"%d" % number) for number in range(50)))
        assert pve.servers["a"].tell("dump")["connections"] == 1
        reader = await opened("a", reads=True)
        await asyncio.gather(*(store.all_values() for store in (a, reader) for _ in range(20)))
        assert pve.servers["a"].tell("dump")["connections"] == 2

    async def test_none_is_left_when_the_store_is_closed(self, pve: Pmxcfs, opened: Opener) -> None:
        store = await opened("a")
        await store.__aexit__(None, None, None)

        async def gone() -> bool:
            return bool(pve.servers["a"].tell("dump")["connections"] == 0)

        await eventually(gone, 5)

    def test_nothing_leaks_over_200_of_them(self, pve: Pmxcfs, connection: Connection) -> None:
        def used() -> tuple[int, int]:
            return len(list(Path("/proc/self/fd").iterdir())), len(
                list(Path("/dev/shm").glob(f"qb-*-{os.getpid()}-*"))
            )

        connection.call(2, b"", soon())
        before = used()
        for _ in range(200):
            connection.close()
            connection.call(2, b"", soon())
        assert used() == before
        pve.servers["a"].freeze()
        for _ in range(20):
            with pytest.raises(StoreUnavailable):
                connection.call(2, b"", soon(0.01))
        pve.servers["a"].kill()
        for _ in range(20):
            with pytest.raises(StoreUnavailable):
                connection.call(2, b"", soon())
        assert used() < before

    def test_is_never_used_by_a_fork(self, pve: Pmxcfs) -> None:
        code = """
            import asyncio, os, sys, time
            from pathlib import Path
            from pathfleet.errors import StoreError
            from pathfleet.store.libqb import Connection
            from pathfleet.store.pmxcfs import PmxcfsStore
            def ask():
                return connection.call(2, b"", time.monotonic() + 5)
            def in_child(work):
                child = os.fork()
                if not child:
                    work()
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
            connection = Connection(sys.argv[1])
            first = ask()
            def asks_anew():
                assert ask() == first
                assert connection.openings == 2
                connection.close()
            for _ in range(3):
                in_child(asks_anew)
                assert ask() == first
            assert connection.openings == 1
            in_child(connection.close)
            assert ask() == first
            store = PmxcfsStore(Path(sys.argv[2]), service=sys.argv[1])
            asyncio.run(store.__aenter__())
            def refuses():
                try:
                    asyncio.run(store.members())
                except StoreError as error:
                    print(error)
            in_child(refuses)
        """
        child = python(code, pve.service("a"), pve.mount)
        assert child.stdout == "store pmxcfs: it is not open in this process, a fork of the one that opened it\n"

    def test_without_libqb_the_package_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ipc, "_SONAME", "libqb.so.0")
        ipc._library.cache_clear()
        with pytest.raises(StoreUnavailable, match="package libqb100"):
            Connection("nobody").call(2, b"", soon())


def python(code: str, *arguments: object, **others: Any) -> subprocess.CompletedProcess[str]:
    """Run Python code in another process."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=ROOT,
        **others,
    )
    assert done.returncode == 0, done.stderr
    return done


ALL_CALLS = """
    import asyncio, sys
    from pathlib import Path
    from pathfleet.errors import StoreError
    from pathfleet.store.pmxcfs import PmxcfsStore
    async def main():
        try:
            async with PmxcfsStore(Path(sys.argv[2]), node="a", service=sys.argv[1]) as store:
                print(await store.all_values())
                await store.put("multipath", b"y")
        except StoreError as error:
            print(error)
    asyncio.run(main())
"""


@only_root
class TestPermissions:
    async def test_the_group_www_data_reads_and_does_not_write(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        await a.put("multipath", b"x")
        said = python(ALL_CALLS, pve.service("a"), pve.mount, group=33, extra_groups=[]).stdout.splitlines()
        assert said[0] == "{'a': {'multipath': b'x'}}"
        assert "may only read" in said[1]
        assert await a.values("a") == {"multipath": b"x"}

    def test_any_other_group_is_refused_in_words(self, pve: Pmxcfs) -> None:
        (said,) = python(ALL_CALLS, pve.service("a"), pve.mount, group=1000, extra_groups=[33]).stdout.splitlines()
        assert "user root and group root" in said


async def publish(publisher: Publisher, snapshot: Snapshot) -> bool:
    return await publisher.publish(snapshot, NodeInfo("running", 0, Versions()))


def snapshot(*names: str) -> Snapshot:
    text = reply(*(map_(name, group(path("sda"))) for name in names))
    return Snapshot(Daemon.RUNNING, None, tuple(judge(m, Facts()) for m in maps.decode(text)))


class TestMemory:
    async def test_after_a_restart_the_publisher_writes_again_within_one_poll(
        self, pve: Pmxcfs, opened: Opener, a: PmxcfsStore
    ) -> None:
        b = await opened("b")
        publisher, one = Publisher(a), snapshot("wwid")
        assert await publish(publisher, one)
        before = await b.values("a")
        pve.stop("a")
        assert not await publish(publisher, one)
        pve.start("a")
        assert await a.values("a") == {}
        assert await b.values("a") == before
        assert await publish(publisher, one)
        assert set(await a.values("a")) == set(before)

    async def test_a_restarted_peer_has_the_values_of_the_living_and_not_of_the_dead(
        self, pve: Pmxcfs, opened: Opener, a: PmxcfsStore
    ) -> None:
        b, c = await opened("b"), await opened("c")
        for store in (a, c):
            await store.put("multipath", b"x")
        pve.stop("c")
        pve.stop("b")
        pve.start("b")
        assert await b.all_values() == {"a": {"multipath": b"x"}}
        assert await a.all_values() == {"a": {"multipath": b"x"}, "c": {"multipath": b"x"}}
        assert (await a.members()).nodes["c"] == Member(online=False)

    async def test_a_value_that_a_partition_brings_back_is_cleared_again_by_the_publisher(
        self, pve: Pmxcfs, opened: Opener, a: PmxcfsStore
    ) -> None:
        b = await opened("b")
        await opened("c")
        now = 1000.0
        publisher = Publisher(a, clock=lambda: now)
        await publish(publisher, snapshot("wwid"))
        assert "multipath" in await b.values("a")
        pve.split({"a"}, {"b", "c"})
        assert await publish(publisher, snapshot())
        assert "multipath" not in await a.values("a")
        pve.heal()
        assert "multipath" in await b.values("a")  # a has nothing to send, and b forgets nothing
        now += 60
        assert await publish(publisher, snapshot())
        assert "multipath" not in await b.values("a")

    async def test_a_value_written_without_quorum_reaches_the_others_after_the_partition(
        self, pve: Pmxcfs, opened: Opener, a: PmxcfsStore
    ) -> None:
        b = await opened("b")
        await a.put("multipath", b"old")
        pve.split({"a"}, {"b"})
        await a.put("multipath", b"new")
        assert await b.values("a") == {"multipath": b"old"}
        pve.heal()
        assert await b.values("a") == {"multipath": b"new"}

    async def test_the_old_value_stays_when_pmxcfs_finds_one_too_big(
        self, pve: Pmxcfs, connection: Connection, a: PmxcfsStore
    ) -> None:
        await a.put("multipath", b"old")
        with pytest.raises(OSError, match="too large") as caught:
            connection.call(4, field("kv/multipath") + b"v" * (VALUE_LIMIT + 1), soon())
        assert caught.value.errno == errno.EFBIG
        with pytest.raises(ValueTooBig):  # should it ever take less than it does
            await a._asking(lambda deadline: a._status.set("multipath", b"v" * VALUE_LIMIT, deadline))
        assert dumped(pve)["", "kv/multipath"] == b"old\0"

    def test_the_test_server_answers_as_pmxcfs_was_seen_to(self, pve: Pmxcfs, connection: Connection) -> None:
        for message, payload, number in (
            (9, b"", errno.ECHRNG),
            (42, b"", errno.ECHRNG),
            (1, b"x", errno.EINVAL),
            (4, b"x" * 255, errno.EINVAL),
            (5, b"x" * 511, errno.EINVAL),
            (5, field("kv/absent") + field(""), errno.ENOENT),
            (6, b"absent.cfg\0", errno.ENOENT),
        ):
            with pytest.raises(OSError, match=r".") as caught:
                connection.call(message, payload, soon())
            assert caught.value.errno == number
        connection.call(4, b"k" * 256 + b"v", soon())
        assert dumped(pve)["", "k" * 255] == b"v"
        connection.call(4, field("kv/absent"), soon())
        assert b'"a"' in connection.call(1, b"", soon())


class TestMembers:
    async def test_without_quorum_nobody_knows_of_the_others(
        self, pve: Pmxcfs, opened: Opener, a: PmxcfsStore
    ) -> None:
        b = await opened("b")
        await opened("c")
        pve.split({"a"}, {"b", "c"})
        unknown = Member(online=None)
        assert await a.members() == Members({"a": Member(online=True), "b": unknown, "c": unknown}, quorate=False)
        assert (await b.members()).nodes == {
            "a": Member(online=False),
            "b": Member(online=True),
            "c": Member(online=True),
        }

    async def test_flags_that_are_frozen_because_corosync_is_down_are_not_believed(
        self, pve: Pmxcfs, a: PmxcfsStore
    ) -> None:
        frozen = {
            "nodename": "a",
            "version": 7,
            "cluster": {"name": "test", "version": 2, "nodes": 2, "quorate": 0},
            "nodelist": {"a": {"id": 1, "online": 1}, "b": {"id": 2, "online": 1, "ip": "127.0.0.2"}},
        }
        pve.servers["a"].tell("view", members=frozen, peers=[])
        assert await a.members() == Members({"a": Member(online=True), "b": Member(online=None)}, quorate=False)

    async def test_a_node_that_is_in_no_cluster_is_alone_and_quorate(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        pve.servers["a"].tell("view", members={"nodename": "a", "version": 1}, peers=[])
        assert await a.members() == Members({"a": Member(online=True)})
        await a.put("multipath", b"x")
        assert await a.all_values() == {"a": {"multipath": b"x"}}

    async def test_is_a_list_of_proxmoxs_own_from_which_no_node_is_forgotten_here(
        self, opened: Opener, a: PmxcfsStore
    ) -> None:
        await opened("b")
        for node in ("a", "b", "nobody"):
            with pytest.raises(Refused, match="`pvecm delnode NODE`"):
                await a.forget(node)
        assert set((await a.members()).nodes) == {"a", "b"}

    async def test_a_node_under_another_name_than_proxmoxs_is_refused(self, pve: Pmxcfs) -> None:
        with pytest.raises(SettingsError, match=r"'b'.*'a'"):
            await PmxcfsStore(pve.mount, node="b", service=pve.service("a")).__aenter__()


class TestFiles:
    async def test_have_the_digest_of_proxmox_for_a_revision(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        (pve.mount / "storage.cfg").write_bytes(b"dir: local\n")
        file = await a.read("storage.cfg")
        assert file is not None
        assert file.revision == hashlib.sha1(b"dir: local\n").hexdigest()
        assert await a.swap("storage.cfg", b"", file.revision) == "da39a3ee5e6b4b0d3255bfef95601890afd80709"

    async def test_that_another_program_changed_since_conflict(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        revision = await a.swap("multipath.cfg", b"ours", None)
        (pve.mount / "multipath.cfg").write_bytes(b"theirs")
        with pytest.raises(Conflict, match="was changed"):
            await a.swap("multipath.cfg", b"ours too", revision)
        assert (pve.mount / "multipath.cfg").read_bytes() == b"theirs"

    async def test_leave_nothing_beside_them(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        (pve.mount / f"multipath.cfg.tmp.{os.getpid()}").write_bytes(b"of a process that died")
        revision = await a.swap("multipath.cfg", b"x", None)
        with pytest.raises(Conflict):
            await a.swap("multipath.cfg", b"y", None)
        assert revision is not None
        assert sorted(path.name for path in pve.mount.iterdir()) == ["local", "multipath.cfg", "priv"]
        assert list((pve.mount / "priv" / "lock").iterdir()) == []

    async def test_are_written_only_within_the_lock_of_proxmox(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        lock = pve.mount / "priv" / "lock" / "file-multipath_cfg"
        lock.mkdir()
        pve.servers["a"].freeze()  # and does not end it
        with pytest.raises(LockBusy, match=r"multipath\.cfg"):
            await a.swap("multipath.cfg", b"x", None)
        assert await a.read("multipath.cfg") is None
        lock.rmdir()
        async with a.lock("multipath.cfg"):
            assert lock.is_dir()
            await a.swap("multipath.cfg", b"x", None)
        assert not lock.exists()

    async def test_of_a_storage_are_changed_within_the_lock_of_proxmox(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        async with a.lock("storage-My.San"):
            assert [path.name for path in (pve.mount / "priv" / "lock").iterdir()] == ["storage-My.San"]
        async with a.lock("storage.cfg"):
            assert [path.name for path in (pve.mount / "priv" / "lock").iterdir()] == ["file-storage_cfg"]

    async def test_in_a_directory_that_is_not_there_yet_get_one(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        await a.swap("pathfleet/tokens", b"x", None)
        assert (pve.mount / "pathfleet" / "tokens").read_bytes() == b"x"

    async def test_below_a_mount_that_is_gone_are_neither_absent_nor_written(
        self, pve: Pmxcfs, a: PmxcfsStore
    ) -> None:
        (pve.mount / "local").unlink()
        for call in (a.read("multipath.cfg"), a.swap("multipath.cfg", b"x", None), a.lock("x").__aenter__()):
            with pytest.raises(StoreUnavailable, match=r"not mounted.*systemctl start"):
                await call
        with pytest.raises(StoreUnavailable, match="not mounted"):
            await PmxcfsStore(pve.mount, service=pve.service("a")).__aenter__()
        assert [path.name for path in pve.mount.iterdir()] == ["priv"]

    @pytest.mark.parametrize("part", [{"a"}, {"a", "b"}], ids=["no quorum", "quorum"])
    async def test_that_cannot_be_written_say_whether_quorum_or_permission_is_missing(
        self, pve: Pmxcfs, opened: Opener, a: PmxcfsStore, part: set[str]
    ) -> None:
        await opened("b")
        pve.split(part, {"b"} - part)
        for directory in (pve.mount, pve.mount / "priv", pve.mount / "priv" / "lock"):
            directory.chmod(0o555)  # as pmxcfs shows them without quorum
        await a._in_files(drop_capabilities)
        for call in (a.swap("multipath.cfg", b"x", None), a.lock("multipath.cfg").__aenter__()):
            with pytest.raises(StoreError, match="no permission.*root" if "b" in part else "no quorum.*pvecm status"):
                await call
        assert await a.read("multipath.cfg") is None

    async def test_that_hang_end_with_the_deadline_and_do_not_keep_values_from_being_written(
        self, pve: Pmxcfs, a: PmxcfsStore
    ) -> None:
        os.mkfifo(pve.mount / "multipath.cfg")
        try:
            started = time.monotonic()
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="no answer"):
                    await a.read("multipath.cfg")
            assert time.monotonic() - started < 2 * DEADLINE + BUSY_SECONDS
            await a.put("multipath", b"x")
        finally:
            os.close(os.open(pve.mount / "multipath.cfg", os.O_WRONLY))
        assert await a.values("a") == {"multipath": b"x"}


def drop_capabilities() -> None:
    """Make this thread of root obey the modes of files."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, sets) == 0


class TestLock:
    async def test_whose_holder_died_is_asked_for_and_then_ended_by_pmxcfs(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        lock = pve.mount / "priv" / "lock" / "file-multipath_cfg"
        lock.mkdir()
        with pytest.raises(LockBusy, match="held by another"):
            await a.lock("multipath.cfg", wait_seconds=LEASE).__aenter__()
        assert lock.stat().st_mtime == 0
        async with a.lock("multipath.cfg", wait_seconds=LEASE * 4):
            assert lock.stat().st_mtime > 0

    async def test_that_nobody_asks_for_stays(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        lock = pve.mount / "priv" / "lock" / "file-multipath_cfg"
        async with a.lock("other.cfg"):
            lock.mkdir()
        await asyncio.sleep(LEASE * 2 + 0.2)
        assert lock.is_dir()

    async def test_that_pmxcfs_ended_meanwhile_is_not_taken_from_the_next_holder(
        self, pve: Pmxcfs, a: PmxcfsStore
    ) -> None:
        lock = pve.mount / "priv" / "lock" / "file-multipath_cfg"
        async with a.lock("multipath.cfg"):
            time.sleep(LEASE * 2)  # noqa: ASYNC251 - the whole process was stopped
            lock.rmdir()
            lock.mkdir()
        assert lock.is_dir()

    async def test_is_that_of_proxmoxs_programs_for_the_file_of_its_name(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        async with a.lock("priv/storage.cfg"):
            assert [path.name for path in (pve.mount / "priv" / "lock").iterdir()] == ["file-priv_storage_cfg"]


async def changed(changes: AsyncIterator[Change], within_seconds: float = 30.0) -> Change:
    return await asyncio.wait_for(anext(changes), within_seconds)


class TestChanges:
    async def test_come_at_once_after_ones_own_writes(self, opened: Opener) -> None:
        a = await opened("b")
        a._poll_seconds = 60
        changes = a.changes()
        await changed(changes)
        for _ in range(3):
            waiting = asyncio.create_task(changed(changes, 5))
            await asyncio.sleep(0)
            await a.put("multipath", b"x")
            assert await waiting == Change(nodes=frozenset({"b"}))

    async def test_tell_of_a_value_that_was_cleared_and_set_between_two_looks(
        self, opened: Opener, a: PmxcfsStore
    ) -> None:
        reader = await opened("b", reads=True)
        await a.put("multipath", b"old")
        changes = reader.changes()
        await changed(changes)
        await asyncio.gather(a.clear("multipath"), a.put("multipath", b"new"))
        assert await changed(changes) == Change(nodes=frozenset({"a"}))

    async def test_say_nothing_after_pmxcfs_was_restarted_so_that_all_is_read_again(
        self, pve: Pmxcfs, opened: Opener, a: PmxcfsStore
    ) -> None:
        reader = await opened("b", reads=True)
        await a.put("multipath", b"x")
        changes = reader.changes()
        await changed(changes)
        pve.stop("b")
        pve.start("b")
        assert await changed(changes) == Change()

    async def test_tell_that_a_node_came_or_went(self, pve: Pmxcfs, opened: Opener, a: PmxcfsStore) -> None:
        await opened("b")
        changes = a.changes()
        await changed(changes)
        pve.stop("b")
        assert await changed(changes) == Change()

    async def test_do_not_come_for_what_other_programs_write(
        self, pve: Pmxcfs, connection: Connection, a: PmxcfsStore
    ) -> None:
        changes = a.changes()
        await changed(changes)
        connection.call(4, field("kv/static-info") + b"x\0", soon())
        connection.call(4, field("tasklist") + b"x\0", soon())
        (pve.mount / "user.cfg").write_bytes(b"x")
        (pve.mount / "multipath.cfg.tmp.123").write_bytes(b"x")
        with pytest.raises(TimeoutError):
            await changed(changes, 0.5)

    async def test_tell_of_any_file_that_was_read_here_from_what_was_read_on(
        self, pve: Pmxcfs, a: PmxcfsStore
    ) -> None:
        (pve.mount / "storage.cfg").write_bytes(b"one")
        changes = a.changes()
        await changed(changes)
        await a.read("storage.cfg")
        with pytest.raises(TimeoutError):
            await changed(changes, 0.4)
        changes = a.changes()
        await changed(changes)
        (pve.mount / "storage.cfg").write_bytes(b"two")
        assert await changed(changes) == Change(files=frozenset({"storage.cfg"}))

    async def test_survive_a_pmxcfs_that_hangs(self, pve: Pmxcfs, a: PmxcfsStore) -> None:
        changes = a.changes()
        await changed(changes)
        pve.servers["a"].freeze()
        waiting = asyncio.create_task(changed(changes, 10))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), DEADLINE * 3)
        pve.servers["a"].thaw()
        assert await waiting == Change()


class TestUrl:
    def test_names_the_mount(self) -> None:
        assert isinstance(open_store("pmxcfs:///etc/pve", node="a"), PmxcfsStore)

    @pytest.mark.parametrize("url", ["pmxcfs:", "pmxcfs://etc/pve", "pmxcfs:///", "pmxcfs:///etc/pve?x", "pmxcfs:/x"])
    def test_that_is_none_is_refused_with_an_example(self, url: str) -> None:
        with pytest.raises(SettingsError, match="pmxcfs:///etc/pve"):
            open_store(url)
