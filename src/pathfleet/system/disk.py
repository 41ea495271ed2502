"""Files that are either the old or the new ones, whenever the power goes: written aside, synced, renamed, synced.

A directory is held open, so a name means what is in it; no symbolic link is followed out of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from pathfleet.errors import PathfleetError

_REASONS = {
    errno.ELOOP: "it is a symbolic link, which is not followed",
    errno.ENOTDIR: "it is no directory, or a symbolic link, which is not followed",
}
_REMEDIES = {
    errno.EROFS: "the file system is read-only, at least to this program; see `dmesg` for why, then "
    "`mount -o remount,rw` and `systemctl try-restart pathfleet-executor pathfleet-apply`",
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the quota is used up; make room",
    errno.EACCES: "run it as root",
    errno.EPERM: "run it as root",
}


class DiskTrouble(PathfleetError):
    """A file could not be read or written as it must be; the text says which and why."""

    code = "disk"
    status = 500


class Disk:
    """What is done to the disk, step by step; between any two of them the power may go."""

    def create(self, directory: int, name: str, mode: int) -> int:
        """Return a new empty file, open for writing."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(name, flags, mode, dir_fd=directory)
        os.fchmod(file, mode)
        return file

    def write(self, file: int, content: bytes) -> None:
        """Write all of it."""
        view = memoryview(content)
        while view:
            view = view[os.write(file, view) :]

    def sync(self, file: int) -> None:
        """Return when the disk has a file's content or a directory's names."""
        os.fsync(file)

    def rename(self, directory: int, old: str, new: str) -> None:
        """Let `new` be what `old` was."""
        os.rename(old, new, src_dir_fd=directory, dst_dir_fd=directory)

    def unlink(self, directory: int, name: str) -> None:
        """Remove a file."""
        os.unlink(name, dir_fd=directory)

    def mkdir(self, path: Path, mode: int) -> None:
        """Make a directory."""
        path.mkdir(mode)

    def rmdir(self, path: Path) -> None:
        """Remove an empty directory."""
        path.rmdir()


class Directory:
    """A directory held open inside its context. Raises DiskTrouble where it is none, or is reached by a link.

    `private`: it must belong to this user, and nobody else may write it.
    """

    def __init__(self, path: Path, disk: Disk, *, private: bool = False) -> None:
        self.path = path
        self._disk = disk
        self._private = private
        self.descriptor = -1

    def __enter__(self) -> Self:
        with told(self.path, "opened"):
            self.descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        found = os.fstat(self.descriptor)
        if self._private and (found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            os.close(self.descriptor)
            raise DiskTrouble(f"{self.path} may be written by others than this user; remove it and try again")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)

    def read(self, name: str) -> bytes | None:
        """Return the content of a regular file; None if there is none by that name."""
        with told(self.path / name, "read"):
            try:
                file = self.open(name, os.O_RDONLY)
            except FileNotFoundError:
                return None
            try:
                return content_of(file)
            finally:
                os.close(file)

    def open(self, name: str, flags: int) -> int:
        """Return a regular file, opened; OSError as from `os.open`."""
        file = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.descriptor)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(errno.EINVAL, "it is no regular file")
        return file

    def replace(self, name: str, content: bytes, *, mode: int = 0o644, like: os.stat_result | None = None) -> None:
        """Let a file have this content, at once and for good; `like` gives it the owner and mode of another."""
        with told(self.path / name, "written"):
            aside = _aside(name)
            with contextlib.suppress(FileNotFoundError):
                self._disk.unlink(self.descriptor, aside)
            try:
                self._fill(aside, content, mode, like)
                self._disk.rename(self.descriptor, aside, name)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(aside, dir_fd=self.descriptor)
                raise
            self._disk.sync(self.descriptor)

    def _fill(self, name: str, content: bytes, mode: int, like: os.stat_result | None) -> None:
        file = self._disk.create(self.descriptor, name, mode)
        try:
            if like is not None:
                if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file, like.st_uid, like.st_gid)
                os.fchmod(file, stat.S_IMODE(like.st_mode))
            self._disk.write(file, content)
            self._disk.sync(file)
        finally:
            os.close(file)

    def remove(self, name: str) -> None:
        """Let there be no file by that name, nor what an interrupted `replace` of it left."""
        with told(self.path / name, "removed"):
            found = False
            for each in (_aside(name), name):
                with contextlib.suppress(FileNotFoundError):
                    self._disk.unlink(self.descriptor, each)
                    found = True
            if found:
                self._disk.sync(self.descriptor)


@contextmanager
def told(what: Path, done: str) -> Iterator[None]:
    """Raise DiskTrouble for an OSError of the body: what could not be done to what, why, and what helps."""
    try:
        yield
    except OSError as error:
        why = _REASONS.get(error.errno or 0) or error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0)
        raise DiskTrouble(f"{what} cannot be {done}: {why}{f'; {remedy}' if remedy else ''}") from error


def content_of(file: int) -> bytes:
    """Return all bytes of an open file."""
    pieces, place = [], 0
    while piece := os.pread(file, 1 << 16, place):
        pieces.append(piece)
        place += len(piece)
    return b"".join(pieces)


def _aside(name: str) -> str:
    """Where a file is written before it is complete: nothing that multipathd would read (`*.conf`)."""
    return f".{name}.new"
