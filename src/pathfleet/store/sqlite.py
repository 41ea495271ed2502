"""The store in one SQLite file, for one machine and the agents and readers on it. Engine of `pathfleet.store`.

All SQL runs in one thread of its own, never in the event loop. Rows that were removed stay as tombstones (NULL),
so that "what changed since revision N" has an answer. Times are seconds since boot with the boot's id beside
them: steps of the wall clock move nothing, and what an earlier boot said is over.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar

from pathfleet.errors import Conflict, LockBusy, SettingsError, StoreError, StoreUnavailable
from pathfleet.store import (
    LEASE_SECONDS,
    Change,
    File,
    Member,
    Members,
    checked_content,
    checked_file,
    checked_key,
    checked_value,
    in_use,
    no_member,
    within_lease,
)
from pathfleet.store.database import Database, Footprint

T = TypeVar("T")
_Work = Callable[[sqlite3.Connection], T]

#: How often `changes` looks for what other processes wrote.
POLL_SECONDS: Final = 0.1
#: How often it asks SQLite, though the files seem untouched.
LOOK_SECONDS: Final = 2.0
#: How often a waiting `lock` asks again.
LOCK_POLL_SECONDS: Final = 0.05

_VERSION: Final = 1
_SCHEMA: Final = (
    "CREATE TABLE revision (latest INTEGER NOT NULL) STRICT",
    "INSERT INTO revision VALUES (0)",
    """CREATE TABLE node_value (
        node TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, value BLOB, PRIMARY KEY (node, key)
    ) STRICT""",
    "CREATE TABLE file (name TEXT PRIMARY KEY, token TEXT NOT NULL, revision INTEGER NOT NULL, content BLOB) STRICT",
    "CREATE TABLE member (node TEXT PRIMARY KEY, revision INTEGER NOT NULL, boot TEXT, seen REAL) STRICT",
    """CREATE TABLE lock (
        name TEXT PRIMARY KEY, token TEXT NOT NULL, node TEXT NOT NULL, pid INTEGER NOT NULL,
        boot TEXT NOT NULL, until REAL NOT NULL
    ) STRICT""",
)

_URL = re.compile(r"sqlite:///([^/?#%\x00-\x1f][^?#%\x00-\x1f]*[^/?#%\x00-\x1f])")


class _Mark(NamedTuple):
    """Up to where `changes` has told everything: revisions of two openings cannot be compared."""

    opening: int
    revision: int


class SQLiteStore:
    """The store in the file at `path`, as node `node` or, with None, as a reader that writes nothing.

    `online_seconds`: how long one `alive` counts. `lease_seconds`: how long a lock lasts that nobody releases.
    `deadline_seconds`: how long any call may take, waiting for a lock aside.
    """

    def __init__(
        self,
        path: Path,
        *,
        node: str | None = None,
        online_seconds: float = 15.0,
        lease_seconds: float = LEASE_SECONDS,
        deadline_seconds: float = 5.0,
    ) -> None:
        self._node = node
        self._path = path
        self._online_seconds = online_seconds
        self._lease_seconds = lease_seconds
        self._deadline_seconds = deadline_seconds
        self._database = Database(
            path, _SCHEMA, version=_VERSION, read_only=node is None, patience_seconds=deadline_seconds * 0.4
        )
        self._thread: ThreadPoolExecutor | None = None
        self._wrote = asyncio.Event()

    @classmethod
    def from_url(cls, url: str, *, node: str | None = None) -> Self:
        """Return the store at `sqlite:///PATH`, which is the file /PATH. Raises SettingsError."""
        match = _URL.fullmatch(url)
        if match is None:
            raise SettingsError(
                f"store = {url!r}: not the URL of a file; write sqlite:///var/lib/pathfleet/store.db for"
                " /var/lib/pathfleet/store.db (three slashes, an absolute path, none of ? # %)"
            )
        return cls(Path("/", match[1]), node=node)

    @property
    def node(self) -> str | None:
        """The node this store writes for, None for a reader."""
        return self._node

    @property
    def clears_return(self) -> bool:
        """No: one file has no partitions."""
        return False

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        try:
            await self._read(_latest)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def alive(self) -> None:
        """Say that this node lives."""
        node = self._writer()
        # Not synced to the disk: of no use after a power failure, and it is written every few seconds.
        await self._write(lambda connection: _alive(connection, node), kept=False)

    async def put(self, key: str, value: bytes) -> None:
        """Set this node's value of `key`."""
        node, key, value = self._writer(), checked_key(key), checked_value(value)
        await self._write(lambda connection: _put(connection, node, key, value))

    async def clear(self, key: str) -> None:
        """Remove this node's value of `key`."""
        node, key = self._writer(), checked_key(key)
        await self._write(lambda connection: _clear(connection, node, key))

    async def values(self, node: str) -> dict[str, bytes]:
        """Return all values of one node by key."""
        query = "SELECT key, value FROM node_value WHERE node = ? AND value IS NOT NULL ORDER BY key"
        return dict(await self._read(lambda connection: connection.execute(query, (node,)).fetchall()))

    async def all_values(self) -> dict[str, dict[str, bytes]]:
        """Return the values of all nodes at one moment, by node and key."""
        query = "SELECT node, key, value FROM node_value WHERE value IS NOT NULL ORDER BY node, key"
        found: dict[str, dict[str, bytes]] = {}
        for node, key, value in await self._read(lambda connection: connection.execute(query).fetchall()):
            found.setdefault(node, {})[key] = value
        return found

    async def members(self) -> Members:
        """Return every node that wrote here and was not forgotten since; online is who was `alive` a moment ago."""
        return await self._read(lambda connection: _members(connection, self._online_seconds))

    async def forget(self, node: str) -> None:
        """Remove what a node that is gone has left; see the contract."""
        self._writer()
        await self._write(lambda connection: _forget(connection, node, self._online_seconds))

    async def read(self, name: str) -> File | None:
        """Return a file, None if there is none."""
        checked_file(name)
        return await self._read(lambda connection: _file(connection, name))

    async def swap(self, name: str, content: bytes | None, revision: str | None) -> str | None:
        """Replace a file that is still at `revision`; see the contract."""
        self._writer()
        checked_file(name)
        if content is not None:
            checked_content(content)
        return await self._write(lambda connection: _swap(connection, name, content, revision))

    @asynccontextmanager
    async def lock(self, name: str, *, wait_seconds: float = 10.0) -> AsyncIterator[None]:
        """Hold the lock `name` for the body; a body that would outlive the lease is ended by a StoreError."""
        node, name, token = self._writer(), checked_file(name), secrets.token_hex(16)
        try:
            await self._acquire(name, token, node, wait_seconds)
            # over before anybody else can have the lock
            async with within_lease(name, asyncio.timeout(self._lease_seconds * 0.9)):
                yield
        finally:  # also when waiting was cancelled: the thread may have got the lock nevertheless
            await self._release(name, token)

    async def changes(self) -> AsyncIterator[Change]:
        """Yield a Change after writes by anybody; see the contract."""
        mark: _Mark | None = None
        at_once: Change | None = Change()
        while True:
            # taken first: what is written meanwhile makes another one
            footprint, until = self._database.footprint(), time.monotonic() + LOOK_SECONDS
            try:
                mark, change = await self._look(mark)
            except StoreError:
                mark, change, footprint = None, at_once, None
            at_once = None
            if change is not None:
                yield change
            await self._stirred(footprint, until)
            if self._thread is None:
                return

    async def _stirred(self, footprint: Footprint | None, until: float) -> None:
        """Wait until something may have been written, here or by another process since the files had `footprint`."""
        while self._thread is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wrote.wait()
                    return
            if footprint is None or self._database.footprint() != footprint or time.monotonic() >= until:
                return

    async def _look(self, mark: _Mark | None) -> tuple[_Mark, Change | None]:
        """Return the mark for next time, and what changed since `mark`; with none to compare with, anything may."""

        def look(connection: sqlite3.Connection) -> tuple[_Mark, Change | None]:
            now = _Mark(self._database.openings, _latest(connection))
            if mark == now:
                return now, None
            if mark is None or mark.opening != now.opening or mark.revision > now.revision:
                return now, Change()
            return now, _changed(connection, mark.revision)

        return await self._read(look)

    async def _acquire(self, name: str, token: str, node: str, wait_seconds: float) -> None:
        give_up = time.monotonic() + wait_seconds
        while True:
            holder = await self._write(
                lambda connection: _acquire(connection, name, token, node, self._lease_seconds), kept=False
            )
            if holder is None:
                return
            if time.monotonic() + LOCK_POLL_SECONDS > give_up:
                raise LockBusy(f"lock {name!r}: still held by {holder} after {wait_seconds:g} s; try again")
            await asyncio.sleep(LOCK_POLL_SECONDS)

    async def _release(self, name: str, token: str) -> None:
        if self._thread is None:
            return
        query = "DELETE FROM lock WHERE name = ? AND token = ?"
        # In the thread's queue at once, so that no cancellation can keep it from being done.
        released = self._thread.submit(
            self._database.write, lambda connection: connection.execute(query, (name, token)), kept=False
        )
        with suppress(StoreError, TimeoutError):  # then the lease ends it; the body's outcome is what counts
            async with asyncio.timeout(self._deadline_seconds):
                await asyncio.shield(asyncio.wrap_future(released))

    def _writer(self) -> str:
        if self._node is None:
            raise StoreError(f"store {self._path}: opened for reading only; name the node to write as")
        return self._node

    async def _read(self, work: _Work[T]) -> T:
        return await self._in_thread(lambda: self._database.read(work))

    async def _write(self, work: _Work[T], *, kept: bool = True) -> T:
        result = await self._in_thread(lambda: self._database.write(work, kept=kept))
        if kept:
            self._wake()
        return result

    async def _in_thread(self, call: Callable[[], T]) -> T:
        if self._thread is None:
            raise StoreError(f"store {self._path}: it is not open")
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except TimeoutError as error:
            raise StoreUnavailable(
                f"store {self._path}: no answer within {self._deadline_seconds:g} s (a write may still be done);"
                " check whether its disk hangs"
            ) from error

    def _wake(self) -> None:
        """Wake whoever waits in `changes` now."""
        self._wrote.set()
        self._wrote = asyncio.Event()

    async def _close(self) -> None:
        thread, self._thread = self._thread, None
        self._wake()
        if thread is None:
            return
        closed = thread.submit(self._database.close)
        thread.shutdown(wait=False)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._deadline_seconds):
                await asyncio.shield(asyncio.wrap_future(closed))


def _now() -> float:
    """Return seconds since boot, time asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@functools.cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _latest(connection: sqlite3.Connection) -> int:
    latest: int = connection.execute("SELECT latest FROM revision").fetchone()[0]
    return latest


def _next(connection: sqlite3.Connection) -> int:
    connection.execute("UPDATE revision SET latest = latest + 1")
    return _latest(connection)


def _changed(connection: sqlite3.Connection, since: int) -> Change:
    nodes = "SELECT node FROM node_value WHERE revision > ?1 UNION SELECT node FROM member WHERE revision > ?1"
    files = "SELECT name FROM file WHERE revision > ?1"
    return Change(
        nodes=frozenset(node for (node,) in connection.execute(nodes, (since,))),
        files=frozenset(name for (name,) in connection.execute(files, (since,))),
    )


def _alive(connection: sqlite3.Connection, node: str) -> None:
    seen = "UPDATE member SET boot = ?, seen = ? WHERE node = ?"
    if not connection.execute(seen, (_boot(), _now(), node)).rowcount:
        connection.execute("INSERT INTO member VALUES (?, ?, ?, ?)", (node, _next(connection), _boot(), _now()))


def _put(connection: sqlite3.Connection, node: str, key: str, value: bytes) -> None:
    revision = _next(connection)
    connection.execute("INSERT OR REPLACE INTO node_value VALUES (?, ?, ?, ?)", (node, key, revision, value))
    connection.execute("INSERT OR IGNORE INTO member VALUES (?, ?, NULL, NULL)", (node, revision))


def _clear(connection: sqlite3.Connection, node: str, key: str) -> None:
    where = "node = ? AND key = ? AND value IS NOT NULL"
    if connection.execute(f"SELECT 1 FROM node_value WHERE {where}", (node, key)).fetchone():  # noqa: S608
        connection.execute(
            f"UPDATE node_value SET value = NULL, revision = ? WHERE {where}",  # noqa: S608 - a constant
            (_next(connection), node, key),
        )


def _members(connection: sqlite3.Connection, online_seconds: float) -> Members:
    rows = connection.execute("SELECT node, boot, seen FROM member ORDER BY node").fetchall()
    boot, now = _boot(), _now()
    ages = {node: now - seen if seen_boot == boot else None for node, seen_boot, seen in rows}
    return Members(
        {
            node: Member(online=False) if age is None else Member(abs(age) <= online_seconds, max(age, 0.0))
            for node, age in ages.items()
        }
    )


def _forget(connection: sqlite3.Connection, node: str, online_seconds: float) -> None:
    member = _members(connection, online_seconds).nodes.get(node)
    if member is None:
        raise no_member(node)
    if member.online is not False:
        raise in_use(node)
    connection.execute("UPDATE node_value SET value = NULL, revision = ? WHERE node = ?", (_next(connection), node))
    connection.execute("DELETE FROM member WHERE node = ?", (node,))


def _file(connection: sqlite3.Connection, name: str) -> File | None:
    query = "SELECT content, token FROM file WHERE name = ? AND content IS NOT NULL"
    row = connection.execute(query, (name,)).fetchone()
    return None if row is None else File(*row)


def _swap(connection: sqlite3.Connection, name: str, content: bytes | None, revision: str | None) -> str | None:
    there = _file(connection, name)
    if revision != (there.revision if there else None):
        state = "does not exist" if there is None else "was changed" if revision else "exists already"
        raise Conflict(f"file {name!r}: it {state}; read it again, merge, retry")
    if there is None and content is None:
        return None
    # At random: a count would come again after a backup was restored, and an old reader would overwrite.
    token = secrets.token_hex(8)
    connection.execute("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?)", (name, token, _next(connection), content))
    return None if content is None else token


def _acquire(connection: sqlite3.Connection, name: str, token: str, node: str, lease_seconds: float) -> str | None:
    """Take the lock and return None, or return who holds it."""
    row = connection.execute("SELECT node, pid, boot, until FROM lock WHERE name = ?", (name,)).fetchone()
    now = _now()
    if row is not None:
        holder, pid, boot, until = row
        if boot == _boot() and now < until:
            return f"node {holder!r} (process {pid}, at most {until - now:.0f} s more)"
    connection.execute(
        "INSERT OR REPLACE INTO lock VALUES (?, ?, ?, ?, ?, ?)",
        (name, token, node, os.getpid(), _boot(), now + lease_seconds),
    )
    return None
