"""One SQLite file that processes of this machine share: made, opened, watched, and its failures told in words.

Not what is in it (`sqlite` knows), and not asynchronous: a Database belongs to the one thread that uses it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pathfleet.errors import StoreUnavailable

T = TypeVar("T")

#: Device, inode, time of the last write and size of the file and of its log.
Footprint = tuple[tuple[int, int, int, int], ...]

#: Longer than the clock that file systems take their times from needs for a step.
_TICK_NANOSECONDS = 50_000_000

#: Marks a database as ours in its header ("pflt"), so that no other application's is ever written to.
APPLICATION_ID = 0x70666C74

_MOVE_AWAY = "restore it, or move it and its -wal and -shm files away (a new one is then made)"
_OTHERWISE = f"it failed: try again; if that does not help, {_MOVE_AWAY}"
#: What SQLite's primary result code means here, and what to do about it.
_REMEDIES = {
    sqlite3.SQLITE_BUSY: "another process keeps it locked: try again, and see who with `fuser -v`",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked: try again, and see who with `fuser -v`",
    sqlite3.SQLITE_FULL: "there is no space left: free some, nothing was changed",
    sqlite3.SQLITE_READONLY: "it cannot be written: check its owner and mode, and that nothing is mounted read-only",
    sqlite3.SQLITE_PERM: "it may not be opened: check owner and mode of the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check owner and mode of the file and its directory",
    sqlite3.SQLITE_IOERR: "reading or writing failed: check free space and the kernel log for errors of the disk",
    sqlite3.SQLITE_NOTADB: f"it is not a database: {_MOVE_AWAY}",
    sqlite3.SQLITE_CORRUPT: f"it is damaged: {_MOVE_AWAY}",
}


class Database:
    """The file at `path`, opened at its first use and again whenever another file has taken its place.

    Made with the statements of `schema` where there is none, unless `read_only`: what cannot be read is never
    shown as empty. `patience_seconds` bounds the wait for other processes. Raises StoreUnavailable only.
    """

    def __init__(
        self, path: Path, schema: Sequence[str], *, version: int, read_only: bool, patience_seconds: float
    ) -> None:
        self.path = path
        self._schema = schema
        self._version = version
        self._read_only = read_only
        self._patience_seconds = patience_seconds
        self._connection: sqlite3.Connection | None = None
        self._opened_file: tuple[int, int] | None = None
        self._opened_wal: tuple[int, int] | None = None
        self._wal = self._shm = path
        #: How often it was opened: counts of two openings need not be of the same content.
        self.openings = 0

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `work` makes of one moment's content."""
        return self._run("BEGIN", work)

    def write(self, work: Callable[[sqlite3.Connection], T], *, kept: bool = True) -> T:
        """Do `work` as a whole or not at all; `kept`: it outlives a power failure once this returns.

        `work` may run more than once, each time on a file of which nothing else it did is left.
        """
        return self._run("BEGIN IMMEDIATE", work, synchronous="FULL" if kept else "NORMAL")

    def footprint(self) -> Footprint | None:
        """Return what every write changes of the files, None if that cannot be told now; opens and locks nothing.

        A write within the file system's clock tick leaves the times as they are, so what was just written has none.
        """
        seen = []
        for file in (self.path, self._wal):
            try:
                found = file.stat()
            except OSError:
                return None
            if time.time_ns() - found.st_mtime_ns < _TICK_NANOSECONDS:
                return None
            seen.append((found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size))
        return tuple(seen)

    def close(self) -> None:
        """Close; the next use opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _run(self, begin: str, work: Callable[[sqlite3.Connection], T], synchronous: str = "FULL") -> T:
        try:
            for _ in range(3):
                connection = self._current()
                connection.execute(f"PRAGMA synchronous = {synchronous}")
                with connection:
                    connection.execute(begin)
                    result = work(connection)
                if self._in_place():  # else it went into a file that nobody will find any more
                    return result
        except sqlite3.Error as error:
            raise self._explained(error) from error
        except OSError as error:
            self.close()
            raise self._refusal(f"{error}: check that its directory exists and may be written by this user") from error
        raise self._refusal("it is replaced again and again: find out by whom")

    def _explained(self, error: sqlite3.Error) -> StoreUnavailable:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL):
            self.close()  # what made it fail may be mended in a way that only a new connection sees
        return self._refusal(f"{_REMEDIES.get(code, _OTHERWISE)} ({error})")

    def _in_place(self) -> bool:
        """Whether the path still means the file, and the log beside it, that were opened."""
        return (self._opened_file, self._opened_wal) == (_identity(self.path), _identity(self._wal))

    def _current(self) -> sqlite3.Connection:
        """Return a connection to the file that is now at the path."""
        if self._connection is not None and self._in_place():
            return self._connection
        if self._connection is not None:
            self._leave(self._connection)
        real = self._place()
        with self._directory_held(real.parent) as directory:
            self._wal, self._shm = (real.with_name(real.name + suffix) for suffix in ("-wal", "-shm"))
            if not real.exists():
                self._make(real, directory)
            self._opened_file = _identity(real)
            self._connection = self._connected(real)
            self._opened_wal = _identity(self._wal)
        self.openings += 1
        return self._connection

    def _place(self) -> Path:
        """Return where the file is: SQLite puts its -wal beside what a link points to.

        Root follows no link out of a directory of somebody else, who would choose by it what root makes and fills.
        """
        if self.path.is_symlink() and os.geteuid() == 0 and (owner := self.path.parent.stat().st_uid) != 0:
            raise self._refusal(
                f"it is a link, in a directory of user {owner}, and root follows none from there: name the file itself"
                " in `store`"
            )
        return Path(os.path.realpath(self.path))

    def _connected(self, real: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{real.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=self._patience_seconds
        )
        try:
            self._adopt(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _leave(self, connection: sqlite3.Connection) -> None:
        """Complete the file that was taken away, and remove the log that it left: it must not meet another file.

        SQLite replays that log into whatever database it finds beside it: so would a process that opens a file just
        put there before this clears up. Hence the rule to restore a backup with the agents stopped.
        """
        with self._directory_held(self._wal.parent):
            ours = _identity(self._wal) in (self._opened_wal, None)  # not if others have begun another one
            if ours:
                with suppress(sqlite3.Error):
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.close()
            if ours:
                self._wal.unlink(missing_ok=True)
                self._shm.unlink(missing_ok=True)

    def _make(self, real: Path, directory: int) -> None:
        """Make an empty file that only its owner may read. A log without a file is a remnant."""
        if self._read_only:
            raise self._refusal("there is none yet: start `pathfleet agent`, or correct the setting `store`")
        self._wal.unlink(missing_ok=True)
        self._shm.unlink(missing_ok=True)
        # Never opened and closed beside SQLite later on: closing would drop the locks that SQLite holds on it.
        file = os.open(real, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            owner = os.fstat(directory)
            if os.geteuid() == 0 != owner.st_uid:
                # root came first, and would lock the agent out; SQLite gives the files beside it to this one's owner
                os.fchown(file, owner.st_uid, owner.st_gid)
        finally:
            os.close(file)
        os.fsync(directory)

    def _adopt(self, connection: sqlite3.Connection) -> None:
        """Check that the database is ours, and fill it if it is empty."""
        application, version = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        empty = not (application or version or connection.execute("SELECT 1 FROM sqlite_schema").fetchone())
        if not empty and application != APPLICATION_ID:
            raise self._refusal("it is the database of another application: correct the setting `store`")
        if version > self._version:
            raise self._refusal(
                f"it was made by a newer pathfleet (schema {version}): upgrade pathfleet on this machine"
            )
        if self._read_only:
            if empty:
                raise self._refusal("it is still empty: start `pathfleet agent`")
            connection.execute("PRAGMA query_only = ON")
            return
        if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise self._refusal("its file system has no shared memory: put it on a local disk")
        if empty:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                for statement in self._schema:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {self._version}")

    def _refusal(self, why: str) -> StoreUnavailable:
        return StoreUnavailable(f"store {self.path}: {why}")

    @contextmanager
    def _directory_held(self, directory: Path) -> Iterator[int]:
        """Keep other processes from making, opening or clearing up in `directory`; make it if it is missing."""
        if not self._read_only:
            with suppress(FileExistsError):
                directory.mkdir(mode=0o700)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._lock(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        give_up = time.monotonic() + self._patience_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    raise self._refusal(
                        "another process keeps its directory locked: see who with `fuser -v`"
                    ) from None
                time.sleep(0.01)
            else:
                return


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells one file from another of the same name, None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
