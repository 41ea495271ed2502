"""What is SQLite's own: several processes on one file, and everything that can happen to a file."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import sqlite3
import stat
import sys
import textwrap
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from pathfleet.errors import SettingsError, StoreError, StoreUnavailable
from pathfleet.store import Change, open_store
from pathfleet.store.sqlite import SQLiteStore
from tests.store.conftest import eventually


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "pathfleet.db"


@asynccontextmanager
async def process(code: str, *arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Python code in another process; killed at the end if it has not ended by itself."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(code),
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def lines_of(child: asyncio.subprocess.Process) -> list[str]:
    out, _ = await asyncio.wait_for(child.communicate(), 30)
    assert child.returncode == 0, out.decode()
    return out.decode().splitlines()


WRITER = """
    import asyncio, sys
    from pathlib import Path
    from pathfleet.errors import Conflict
    from pathfleet.store.sqlite import SQLiteStore

    async def add(store, name):
        while True:
            file = await store.read(name)
            old, revision = (file.content, file.revision) if file else (b"", None)
            try:
                return await store.swap(name, old + b"x", revision)
            except Conflict:
                pass

    async def main(path, node, times):
        async with SQLiteStore(Path(path), node=node) as store:
            for number in range(int(times)):
                await store.alive()
                await store.put("multipath", str(number).encode())
                await add(store, "shared")
                print(number, flush=True)

    asyncio.run(main(*sys.argv[1:]))
"""


class TestProcesses:
    async def test_that_write_at_once_lose_nothing_that_was_acknowledged(self, path: Path) -> None:
        async with (
            process(WRITER, path, "a", 40) as a,
            process(WRITER, path, "b", 40) as b,
            process(WRITER, path, "c", 40) as c,
        ):
            await asyncio.gather(*(lines_of(child) for child in (a, b, c)))
        async with SQLiteStore(path) as store:
            assert await store.all_values() == {node: {"multipath": b"39"} for node in "abc"}
            shared = await store.read("shared")
            assert shared is not None
            assert shared.content == b"x" * 120

    async def test_that_are_killed_keep_what_was_acknowledged_and_block_nobody(self, path: Path) -> None:
        acknowledged = 0
        for round_ in range(3):
            async with process(WRITER, path, "a", 1_000_000) as writer:
                assert writer.stdout is not None
                for _ in range(20 + round_):
                    assert (await asyncio.wait_for(writer.stdout.readline(), 30)).strip().isdigit()
                writer.kill()
                rest = await writer.stdout.read()
                acknowledged += 20 + round_ + rest.count(b"\n")
            async with SQLiteStore(path, node="b", deadline_seconds=2) as store:
                await store.put("multipath", b"not blocked")
                shared = await store.read("shared")
                assert shared is not None
                assert len(shared.content) >= acknowledged
                acknowledged = len(shared.content)

    async def test_that_open_a_new_store_at_once_agree_on_one(self, path: Path) -> None:
        stores = [SQLiteStore(path, node=f"n{number}") for number in range(8)]
        await asyncio.gather(*(store.__aenter__() for store in stores))
        await asyncio.gather(*(store.put("multipath", b"x") for store in stores))
        assert set(await stores[0].all_values()) == {store.node for store in stores}
        await asyncio.gather(*(store.__aexit__(None, None, None) for store in stores))

    async def test_of_an_earlier_boot_are_offline_and_hold_no_lock(self, path: Path) -> None:
        async with SQLiteStore(path, node="a") as store:
            await store.alive()
            await store.lock("multipath.cfg").__aenter__()
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("UPDATE member SET boot = 'earlier'")
                other.execute("UPDATE lock SET boot = 'earlier'")
            member = (await store.members()).nodes["a"]
            assert (member.online, member.seconds_since_seen) == (False, None)
            async with store.lock("multipath.cfg", wait_seconds=0):
                pass


class TestFile:
    async def test_and_its_directory_are_only_for_their_owner(self, path: Path) -> None:
        umask = os.umask(0)
        try:
            async with SQLiteStore(path, node="a") as store:
                await store.put("multipath", b"x")
                found = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
        finally:
            os.umask(umask)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert found == {"pathfleet.db": 0o600, "pathfleet.db-wal": 0o600, "pathfleet.db-shm": 0o600}

    async def test_is_not_made_by_a_reader(self, path: Path) -> None:
        with pytest.raises(StoreUnavailable, match="store"):
            await SQLiteStore(path).__aenter__()
        path.parent.mkdir()
        with pytest.raises(StoreUnavailable, match="pathfleet agent"):
            await SQLiteStore(path).__aenter__()
        assert not path.exists()

    async def test_below_a_directory_that_is_missing_is_not_made(self, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailable, match="directory"):
            await SQLiteStore(tmp_path / "missing" / "store" / "x.db", node="a").__aenter__()
        assert list(tmp_path.iterdir()) == []

    async def test_that_is_deleted_is_made_anew_for_all_that_have_it_open(self, path: Path) -> None:
        async with SQLiteStore(path, node="a") as a, SQLiteStore(path, node="b") as b, SQLiteStore(path) as reader:
            await a.put("multipath", b"old")
            await b.put("multipath", b"old")
            for entry in path.parent.iterdir():
                entry.unlink()
            await a.put("multipath", b"new")
            for store in (a, b, reader):
                assert await store.all_values() == {"a": {"multipath": b"new"}}
            await b.put("multipath", b"new")
            assert set(await a.all_values()) == {"a", "b"}

    async def test_that_is_deleted_alone_leaves_no_old_log_to_the_new_one(self, path: Path) -> None:
        async with SQLiteStore(path, node="a") as a, SQLiteStore(path, node="b") as b:
            await a.put("multipath", b"old")
            path.unlink()
            await b.put("multipath", b"new")
            assert await a.all_values() == {"b": {"multipath": b"new"}}

    async def test_that_is_moved_away_is_complete_and_can_be_put_back(self, path: Path) -> None:
        aside = path.with_name("aside")
        async with SQLiteStore(path, node="a") as a, SQLiteStore(path, node="b") as b:
            await a.put("multipath", b"old")
            path.rename(aside)
            await b.put("multipath", b"new")
            assert await a.all_values() == {"b": {"multipath": b"new"}}
            aside.replace(path)
            assert await b.all_values() == {"a": {"multipath": b"old"}}
            await b.put("multipath", b"newer")
            assert await a.all_values() == {"a": {"multipath": b"old"}, "b": {"multipath": b"newer"}}

    async def test_whose_log_alone_is_deleted_keeps_all_writers_together(self, path: Path) -> None:
        async with SQLiteStore(path, node="a") as a, SQLiteStore(path, node="b") as b:
            await a.put("multipath", b"1")
            path.with_name(path.name + "-wal").unlink()
            path.with_name(path.name + "-shm").unlink()
            await a.put("multipath", b"2")
            await b.put("multipath", b"2")
            for store in (a, b):
                assert await store.all_values() == {node: {"multipath": b"2"} for node in "ab"}
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    async def test_that_is_replaced_gives_a_change_that_says_nothing(self, path: Path, tmp_path: Path) -> None:
        async with SQLiteStore(path, node="a") as a:
            await a.put("multipath", b"backup")
            with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(tmp_path / "copy")) as copy:
                old.backup(copy)
            changes = a.changes()
            assert await anext(changes) == Change()
            (tmp_path / "copy").replace(path)
            assert await asyncio.wait_for(anext(changes), 30) == Change()

    async def test_of_a_revision_before_a_backup_was_restored_conflicts_with_no_other(self, path: Path) -> None:
        revisions = set()
        for content in (b"one", b"two"):
            async with SQLiteStore(path, node="a") as store:
                revisions.add(await store.swap("multipath.cfg", content, None))
            path.unlink()
        assert len(revisions) == 2

    async def test_may_be_a_link_to_it(self, path: Path, tmp_path: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to(path)
        async with SQLiteStore(link, node="a") as a, SQLiteStore(path, node="b") as b:
            await a.put("multipath", b"x")
            assert await b.values("a") == {"multipath": b"x"}
        assert link.is_symlink()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can be led astray")
    async def test_as_root_is_not_a_link_that_another_user_may_have_put_there(self, tmp_path: Path) -> None:
        theirs, precious = tmp_path / "theirs", tmp_path / "precious"
        theirs.mkdir()
        os.chown(theirs, 65534, 65534)
        (theirs / "cluster.db").symlink_to(precious)
        with pytest.raises(StoreUnavailable, match="root follows none"):
            async with SQLiteStore(theirs / "cluster.db", node="a"):
                pass
        assert not precious.exists()

    async def test_of_garbage_is_named_left_alone_and_replaced_once_it_is_moved_away(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(b"garbage " * 1000)
        store = SQLiteStore(path, node="a")
        with pytest.raises(StoreUnavailable, match=re.escape(str(path)) + ".*not a database.*move"):
            await store.__aenter__()
        assert path.read_bytes() == b"garbage " * 1000
        path.rename(path.with_name("aside"))
        async with store:
            await store.put("multipath", b"x")

    @pytest.mark.parametrize("damage", ["cut", "overwritten"])
    async def test_that_is_damaged_is_named_with_the_next_step(self, path: Path, damage: str) -> None:
        async with SQLiteStore(path, node="a") as store:
            for number in range(20):
                await store.put(f"k{number}", b"v" * 30000)
        size = path.stat().st_size
        with path.open("r+b") as file:
            if damage == "cut":
                file.truncate(size // 2)
            else:
                file.seek(4096)
                file.write(b"\xa5" * (size - 4096))

        async def use() -> None:
            async with SQLiteStore(path, node="a") as store:
                await store.values("a")
                await store.put("k1", b"x")

        with pytest.raises(StoreUnavailable, match=re.escape(str(path)) + ".*damaged.*restore"):
            await use()
        assert path.exists()

    async def test_of_a_newer_pathfleet_is_left_alone(self, path: Path) -> None:
        async with SQLiteStore(path, node="a"):
            pass
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version = 99")
        for node in ("a", None):
            with pytest.raises(StoreUnavailable, match=r"newer pathfleet \(schema 99\).*upgrade"):
                await SQLiteStore(path, node=node).__aenter__()

    async def test_of_another_application_is_left_alone(self, path: Path) -> None:
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE theirs (x)")
        before = path.read_bytes()
        with pytest.raises(StoreUnavailable, match="another application"):
            await SQLiteStore(path, node="a").__aenter__()
        assert path.read_bytes() == before

    async def test_that_is_a_directory_is_named(self, path: Path) -> None:
        path.mkdir(parents=True)
        with pytest.raises(StoreUnavailable, match=re.escape(str(path))):
            await SQLiteStore(path, node="a").__aenter__()


class TestWaits:
    async def test_for_a_writer_that_never_ends_have_an_end_and_readers_do_not_wait(self, path: Path) -> None:
        async with SQLiteStore(path, node="a", deadline_seconds=1) as store:
            await store.put("multipath", b"x")
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreUnavailable, match=r"locked.*fuser"):
                    await store.put("multipath", b"y")
                assert await store.values("a") == {"multipath": b"x"}
                other.execute("ROLLBACK")
            await store.put("multipath", b"y")

    async def test_for_a_process_that_hangs_while_opening_have_an_end(self, path: Path) -> None:
        path.parent.mkdir()
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            with pytest.raises(StoreUnavailable, match="locked"):
                await SQLiteStore(path, node="a", deadline_seconds=0.5).__aenter__()
        finally:
            os.close(directory)

    async def test_for_a_disk_that_hangs_have_an_end_and_leave_the_event_loop_free(self, path: Path) -> None:
        async with SQLiteStore(path, node="a", deadline_seconds=0.3) as store:
            assert store._thread is not None
            returns = threading.Event()
            store._thread.submit(returns.wait, 60)  # stands in for a system call that does not return
            with pytest.raises(StoreUnavailable, match="disk hangs"):
                await store.put("multipath", b"x")
            returns.set()

            async def works() -> bool:
                try:
                    await store.put("multipath", b"y")
                except StoreError:
                    return False
                return True

            await eventually(works)


# A process that is refused something: drops its user, or may write only so much; then prints what it was told.
REFUSED = """
    import asyncio, os, resource, signal, sys, urllib.parse  # all modules, while they can still be read
    from pathlib import Path
    from pathfleet.errors import StoreError
    from pathfleet.store.sqlite import SQLiteStore

    async def main(path, uid, file_size):
        if int(uid):
            os.setgroups([]); os.setgid(int(uid)); os.setuid(int(uid))
        try:
            async with SQLiteStore(Path(path), node="b") as store:
                print(sorted(await store.all_values()))
                if int(file_size):
                    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                    resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_size), resource.RLIM_INFINITY))
                for number in range(100):
                    await store.put("multipath", b"v" * 32000)
        except StoreError as error:
            print(type(error).__name__, error)
        if int(file_size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            async with SQLiteStore(Path(path), node="b") as store:
                await store.put("multipath", b"room again")

    asyncio.run(main(*sys.argv[1:]))
"""
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user or mount")


@needs_root
async def test_what_root_makes_in_the_directory_of_another_user_is_that_users(path: Path) -> None:
    path.parent.mkdir()
    os.chown(path.parent, 65534, 65534)
    async with SQLiteStore(path, node="a") as store:
        await store.put("multipath", b"x")
        found = {(file.stat().st_uid, file.stat().st_gid) for file in path.parent.iterdir()}
    assert found == {(65534, 65534)}


class TestRefusals:
    async def prepared(self, path: Path) -> None:
        async with SQLiteStore(path, node="a") as store:
            await store.put("multipath", b"x")

    @needs_root
    @pytest.mark.parametrize(("directory_mode", "file_mode"), [(0o755, 0o644), (0o755, 0o600), (0o700, 0o600)])
    async def test_of_another_user_are_told_in_words(self, path: Path, directory_mode: int, file_mode: int) -> None:
        await self.prepared(path)
        for above in list(path.parents)[1:-2]:
            above.chmod(above.stat().st_mode | 0o055)
        path.parent.chmod(directory_mode)
        path.chmod(file_mode)
        async with process(REFUSED, path, 65534, 0) as child:
            told = (await lines_of(child))[-1]
        assert re.match(rf"StoreUnavailable store {re.escape(str(path))}: .*(owner|written)", told)

    @needs_root
    async def test_of_a_read_only_file_system_and_of_a_full_one_are_told_in_words(self, tmp_path: Path) -> None:
        if shutil.which("unshare") is None:
            pytest.skip("needs unshare(1) for a mount namespace")
        script = (
            'mount -t tmpfs -o size=200k tmpfs "$1" && '
            '"$2" -c "$3" "$1/pathfleet.db" 0 0; mount -o remount,ro "$1" && "$2" -c "$3" "$1/pathfleet.db" 0 0'
        )
        child = await asyncio.create_subprocess_exec(
            *("unshare", "--mount", "sh", "-c", script, "sh", tmp_path, sys.executable, textwrap.dedent(REFUSED)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(child.communicate(), 30)
        if b"mount:" in out:
            pytest.skip(f"may not mount here: {out.decode()}")
        full, *_, read_only = [line for line in out.decode().splitlines() if line.startswith("Store")]
        assert re.search("StoreUnavailable .*(space|kernel log)", full)
        assert re.search("StoreUnavailable .*(read-only|owner|Read-only)", read_only)

    async def test_of_more_space_are_told_in_words_and_end_when_there_is_some(self, path: Path) -> None:
        await self.prepared(path)
        async with process(REFUSED, path, 0, 300_000) as child:
            told = (await lines_of(child))[-1]
        assert re.match(r"StoreUnavailable .*(space)", told)
        async with SQLiteStore(path) as store:
            assert await store.all_values() == {"a": {"multipath": b"x"}, "b": {"multipath": b"room again"}}


class TestURL:
    async def test_of_three_slashes_is_the_absolute_path(self, path: Path) -> None:
        async with open_store(f"sqlite://{path}", node="a") as store:
            await store.put("multipath", b"x")
        assert path.exists()

    @pytest.mark.parametrize(
        "url",
        ["sqlite:", "sqlite://", "sqlite:///", "sqlite://var/x.db", "sqlite:x.db", "sqlite:////var/x.db",
         "sqlite:///var/x.db?mode=ro", "sqlite:///var/x#y", "sqlite:///var/a%20b", "sqlite:///var/", "sqlite:///a\0b"],
    )  # fmt: skip
    def test_of_any_other_form_is_refused_with_the_right_one(self, url: str) -> None:
        with pytest.raises(SettingsError, match=r"sqlite:///var/lib/pathfleet/store\.db"):
            open_store(url)
