"""Files and locks under the mount of pmxcfs, as Proxmox VE's own programs treat them: blocking, for one thread.

A file changes by `rename` within the cluster-wide lock of its name; the lock is a directory, for only making one is
atomic in the whole cluster (`flock` is not). Who holds one, nobody can see. pmxcfs removes a lock that did not change
for two minutes, once a waiter has asked for it by setting its times to zero.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pathfleet.errors import Conflict, LockBusy, StoreError, StoreUnavailable, ValueTooBig

_TEMPORARY: Final = re.compile(r"\.tmp\.\d+$")
#: In one life of a lock, the part after which it is left to pmxcfs: another may have it by now.
_CERTAIN: Final = 1.5

_TROUBLES: Final[Mapping[int, str]] = {
    errno.ENOTCONN: "it has died: restart it with `systemctl restart pve-cluster`",
    errno.ENOSPC: "there is no space left (128 MiB for all files): remove some, nothing was changed",
    errno.EROFS: "it is mounted read-only: see `findmnt` and `journalctl -u pve-cluster`",
}


class ClusterFiles:
    """The files under `mount`. `lease_seconds` is how long a holder works at most; a lock lasts twice as long.

    Raises StoreError and its kinds, and PermissionError, of which only the cluster's state tells the meaning.
    """

    def __init__(self, mount: Path, *, lease_seconds: float) -> None:
        self._mount = mount
        self._lease_seconds = lease_seconds
        self._locks = mount / "priv" / "lock"
        #: What this store holds, by directory: whose it is and since when.
        self._held: dict[Path, tuple[object, float]] = {}

    def check(self) -> None:
        """Raise StoreUnavailable unless pmxcfs is mounted: what lies below is not the cluster's."""
        if not (self._mount / "local").is_symlink():
            raise StoreUnavailable(
                f"store pmxcfs: it is not mounted at {self._mount}; start it with `systemctl start pve-cluster`"
            )

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None if there is none."""
        with self._words(name):
            try:
                return (self._mount / name).read_bytes()
            except FileNotFoundError:
                self.check()
                return None

    def swap(self, name: str, content: bytes | None, revision: str | None) -> str | None:
        """Replace the file that is still at `revision`, within its lock. Raises Conflict, LockBusy."""
        with self._words(name), self._locked(name):
            there = self.read(name)
            if revision != digest(there):
                state = "does not exist" if there is None else "was changed" if revision else "exists already"
                raise Conflict(f"file {name!r}: it {state}; read it again, merge, retry")
            if content is not None:
                self._write(self._mount / name, content)
            elif there is not None:
                (self._mount / name).unlink()
            return digest(content)

    def lock(self, name: str, token: object) -> None:
        """Take the lock `name` for `token`, or ask for its release and raise LockBusy."""
        with self._words(name):
            self.check()
            directory = self._lock_directory(name)
            if directory in self._held:
                raise LockBusy(f"lock {name!r}: held by this process")
            self._locks.mkdir(exist_ok=True)
            now = _now()
            try:
                directory.mkdir()
            except FileExistsError:
                with suppress(OSError):  # pmxcfs refuses, and takes it for the question that it is
                    os.utime(directory, (0, 0))
                raise LockBusy(f"lock {name!r}: held by another process or node") from None
            self._held[directory] = token, now

    def unlock(self, name: str, token: object) -> None:
        """Give the lock back if `token` still has it."""
        directory = self._lock_directory(name)
        holder, since = self._held.get(directory, (None, 0.0))
        if holder is not token:
            return
        del self._held[directory]
        if _now() - since < self._lease_seconds * _CERTAIN:
            with self._words(name), suppress(FileNotFoundError):
                directory.rmdir()

    def digests(self, names: Collection[str], prefixes: tuple[str, ...]) -> dict[str, str | None]:
        """Return the digest of the named files and of those whose names so begin; what may not be read is ''."""
        with self._words("*"):
            self.check()
            found = {path.name for path in self._mount.iterdir() if path.name.startswith(prefixes)}
            return {name: self._digest(name) for name in {*names, *found} if not _TEMPORARY.search(name)}

    def _digest(self, name: str) -> str | None:
        try:
            return digest((self._mount / name).read_bytes())
        except FileNotFoundError:
            return None
        except (PermissionError, IsADirectoryError):
            return ""

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Hold the lock of a file, which this store may have already: all is done in one thread, so nothing mixes."""
        if self._lock_directory(name) in self._held:
            yield
            return
        token = object()
        self.lock(name, token)
        try:
            yield
        finally:
            with suppress(OSError, StoreError):  # pmxcfs ends it; the outcome of the write is what counts
                self.unlock(name, token)

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
        temporary.unlink(missing_ok=True)  # of an earlier process of this number
        try:
            with temporary.open("xb") as file:
                file.write(content)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise

    def _lock_directory(self, name: str) -> Path:
        """Return what stands for a lock in Proxmox VE, too: that of a storage's volumes, or that of a file."""
        return self._locks / (name if name.startswith("storage-") else f"file-{re.sub('[./]', '_', name)}")

    @contextmanager
    def _words(self, name: str) -> Iterator[None]:
        """Say in words what the file system answers, except that it does not permit something."""
        try:
            yield
        except (PermissionError, StoreError):
            raise
        except OSError as error:
            self.check()
            if error.errno == errno.EFBIG:
                raise ValueTooBig(f"store pmxcfs: {name} is larger than pmxcfs takes; nothing was changed") from error
            remedy = _TROUBLES.get(error.errno or 0, "see `journalctl -u pve-cluster`")
            raise StoreUnavailable(f"store pmxcfs: {self._mount / name}: {error.strerror}; {remedy}") from error


def digest(content: bytes | None) -> str | None:
    """Return what Proxmox VE names a file's state by; an absent file, unlike there, has none."""
    return None if content is None else hashlib.sha1(content, usedforsecurity=False).hexdigest()


def _now() -> float:
    """Return seconds since boot, time asleep included: what others wait for goes on while this node sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
