"""multipath's list of allowed LUNs, /etc/multipath/wwids: only entries that pathfleet itself added are ever removed.

What is ours is noted before it is added, and only of what was absent then: a crash between the two leaves a note of
something that is not there, which the next look forgets; an entry that somebody else made is never taken for ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from pathfleet.system.disk import Directory, Disk, DiskTrouble, content_of, told
from pathfleet.system.dropins import ROOT, STATE

FILE = "wwids"
_RECORD = "owned-wwids.json"
_LEAVING = "leaving-maps.json"
#: What multipath itself puts at the head of a new file (multipath-tools, WWIDS_FILE_HEADER).
HEADER = b"""\
# Multipath wwids, Version : 1.0
# NOTE: This file is automatically maintained by multipath and multipathd.
# You should not need to edit this file in normal circumstances.
#
# Valid WWIDs:
"""
_ENTRY = re.compile(rb"^[ \t]*/([^/\n]+)/[ \t\r]*$", re.MULTILINE)
_LOCK_SECONDS = 10.0
_LOCK_PAUSE_SECONDS = 0.05
#: Who waited for the lock of the file that was replaced writes into that one, at once.
_LATE_SECONDS = 0.1


class Record(Struct, frozen=True, rename="kebab"):
    """What is ours: entries; the file itself, if it was `created`; the line end that it lacked at so many bytes."""

    owned: frozenset[str] = frozenset()
    created: bool = False
    unended_at: int | None = None


class Wwids:
    """The file under `root` (/etc/multipath), and the note of what is ours under `state`. All raise DiskTrouble."""

    def __init__(
        self, root: Path = ROOT, state: Path = STATE, *, disk: Disk | None = None, late_seconds: float = _LATE_SECONDS
    ) -> None:
        self._root = root
        self._state = state / "apply"
        self._disk = disk or Disk()
        self._late_seconds = late_seconds

    def owned(self) -> frozenset[str]:
        """Return the WWIDs that are in the file because of us."""
        return self._record().owned & self.listed()

    def allow(self, wanted: Collection[str]) -> bool:
        """Whether the file allows all of `wanted`, and nothing more because of us."""
        listed = self.listed()
        return listed.issuperset(wanted) and (self._record().owned & listed).issubset(wanted)

    def sync(self, wanted: Collection[str]) -> frozenset[str]:
        """Add what is wanted and absent, remove what is ours and not wanted; return what is ours then.

        The directory of the state must exist: `Files.begin` made it.
        """
        if not self.allow(wanted):
            with Directory(self._root, self._disk) as root:
                self._create(root)
                self._edit(root, lambda content: self._synced(content, frozenset(wanted)))
        self._note(msgspec.structs.replace(self._record(), owned=self.owned()))
        return self.owned()

    def forget(self) -> None:
        """Remove all that is ours, the file too if it was made for us and has nothing of others, and the note."""
        if not os.path.lexists(self._state):
            return
        if self._record().owned:
            self.sync(())
        record = self._record()
        with Directory(self._state, self._disk, private=True) as state:
            if record.created:
                with Directory(self._root, self._disk) as root:
                    if root.read(FILE) in (b"", HEADER):
                        root.remove(FILE)
            state.remove(_RECORD)

    def leaving(self) -> frozenset[str]:
        """Return the LUNs that we took off the list and whose maps are still to be removed."""
        if not os.path.lexists(self._state):
            return frozenset()
        with Directory(self._state, self._disk, private=True) as state:
            text = state.read(_LEAVING)
        if text is None:
            return frozenset()
        try:
            return msgspec.json.decode(text, type=frozenset[str])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DiskTrouble(
                f"{self._state / _LEAVING} cannot be understood: {error}; remove it: maps of LUNs that are no longer "
                "allowed then stay until `multipathd del map NAME`"
            ) from error

    def leave(self, wwids: Collection[str]) -> None:
        """Note which LUNs' maps are still to be removed, also for after a restart."""
        if not os.path.lexists(self._state):
            return
        with Directory(self._state, self._disk, private=True) as state:
            content = msgspec.json.encode(sorted(wwids)) if wwids else None
            if content == state.read(_LEAVING):
                return
            if content is None:
                state.remove(_LEAVING)
            else:
                state.replace(_LEAVING, content, mode=0o600)
        if content is None:
            with contextlib.suppress(OSError):  # the journal is in it, while anything of ours is in force
                self._disk.rmdir(self._state)

    def _synced(self, content: bytes, wanted: frozenset[str]) -> bytes:
        """Return the file's new content; what will be ours is noted before it is there."""
        record, listed = self._record(), entries(content)
        absent = sorted(wanted - listed)
        owned = record.owned & listed
        unended = len(content) if absent and content and not content.endswith(b"\n") else record.unended_at
        self._note(Record(owned | set(absent), record.created, unended))
        text = without(added(content or (HEADER if record.created else b""), absent), owned - wanted)
        # as it was before us: without the line end that we gave it
        return text[:-1] if unended is not None and len(text) == unended + 1 and not owned & wanted else text

    def listed(self) -> frozenset[str]:
        """Return the WWIDs that are in the file, whoever added them."""
        if not os.path.lexists(self._root):
            return frozenset()
        with Directory(self._root, self._disk) as root:
            return entries(root.read(FILE) or b"")

    def _create(self, root: Directory) -> None:
        """Make an empty file where there is none: there must be one to lock."""
        if root.read(FILE) is not None:
            return
        self._note(msgspec.structs.replace(self._record(), created=True))
        with told(self._root / FILE, "made"), contextlib.suppress(FileExistsError):
            os.close(self._disk.create(root.descriptor, FILE, 0o600))
            self._disk.sync(root.descriptor)

    def _edit(self, root: Directory, change: Callable[[bytes], bytes]) -> None:
        """Replace the file while multipath's own lock on it is held, and keep what others meanwhile wrote."""
        with told(self._root / FILE, "changed"), _locked(root) as file:
            content = content_of(file)
            fresh = change(content)
            if fresh != content:
                root.replace(FILE, fresh, like=os.fstat(file))
            fcntl.lockf(file, fcntl.LOCK_UN)
            if fresh == content:
                return
            time.sleep(self._late_seconds)
            late = entries(content_of(file)) - entries(content)
        if late:
            self._edit(root, lambda content: added(content, sorted(late - entries(content))))

    def _record(self) -> Record:
        if not os.path.lexists(self._state):
            return Record()
        with Directory(self._state, self._disk, private=True) as state:
            text = state.read(_RECORD)
        try:
            return msgspec.json.decode(text, type=Record) if text is not None else Record()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DiskTrouble(
                f"{self._state / _RECORD} cannot be understood: {error}; remove it: the WWIDs that pathfleet "
                f"added then stay in {self._root / FILE} until they are removed by hand"
            ) from error

    def _note(self, record: Record) -> None:
        if record == self._record():
            return
        with Directory(self._state, self._disk, private=True) as state:
            state.replace(_RECORD, msgspec.json.format(msgspec.json.encode(record, order="sorted")), mode=0o600)


def entries(content: bytes) -> frozenset[str]:
    """Return the WWIDs that a file lists."""
    return frozenset(wwid.decode(errors="surrogateescape") for wwid in _ENTRY.findall(content))


def added(content: bytes, wwids: Collection[str]) -> bytes:
    """Return the file with more entries, at its end as `multipath -a` puts them; every other byte as it was."""
    if wwids and content and not content.endswith(b"\n"):
        content += b"\n"
    return content + b"".join(b"/%s/\n" % wwid.encode(errors="surrogateescape") for wwid in wwids)


def without(content: bytes, wwids: Collection[str]) -> bytes:
    """Return the file without some entries; every other byte as it was."""
    if not wwids:
        return content
    gone = {wwid.encode(errors="surrogateescape") for wwid in wwids}
    lines = content.splitlines(keepends=True)
    return b"".join(
        line for line in lines if (entry := _ENTRY.match(line.rstrip(b"\n"))) is None or entry[1] not in gone
    )


@contextmanager
def _locked(root: Directory) -> Iterator[int]:
    """Hold the write lock that multipath-tools take (fcntl(2) on the whole file); yield the open file.

    The kernel drops it as soon as this process closes any descriptor of the file, so nothing else may open it.
    """
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        file = root.open(FILE, os.O_RDWR)
        try:
            if _lock(file) and _is(root, file):
                yield file
                return
        finally:
            os.close(file)
        if time.monotonic() > end:
            raise DiskTrouble(
                f"{root.path / FILE} is locked by another program for more than {_LOCK_SECONDS:g} s; "
                "see `lslocks` for which, and try again"
            )
        time.sleep(_LOCK_PAUSE_SECONDS)


def _lock(file: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # fcntl(2) may say either
        return False
    return True


def _is(root: Directory, file: int) -> bool:
    """Whether an open file is still the one that the name stands for."""
    now, opened = os.stat(FILE, dir_fd=root.descriptor, follow_symlinks=False), os.fstat(file)
    return (now.st_dev, now.st_ino) == (opened.st_dev, opened.st_ino)
