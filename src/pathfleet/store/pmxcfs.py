"""The store in the cluster file system of Proxmox VE, with its keys and framing. Engine of `pathfleet.store`.

Node values are what pmxcfs keeps in memory (`pvestatus`, over `libqb`), files lie under its mount (`pvefs`); each has
a thread of its own, so that neither waits for the other, and nothing of it runs in the event loop.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from msgspec import Struct

from pathfleet.errors import LockBusy, Refused, SettingsError, StoreError, StoreUnavailable
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
    within_lease,
)
from pathfleet.store.pvefs import ClusterFiles, digest
from pathfleet.store.pvestatus import ClusterStatus, Traces

T = TypeVar("T")

#: How often `changes` asks: pmxcfs has no notice to give, and one question costs it a tenth of a millisecond.
POLL_SECONDS: Final = 1.0
#: How the keys and files begin that are this project's; others of the node are nobody's business here.
PREFIXES: Final = ("multipath", "pathfleet")

#: Time for a thread's own error, which says more, to come before the general one.
_GRACE_SECONDS: Final = 0.25

_URL = re.compile(r"pmxcfs:///([^/?#%\x00-\x1f][^?#%\x00-\x1f]*[^/?#%\x00-\x1f])")


class _Sight(Struct, frozen=True):
    """What `changes` saw: traces of the values, digests of the files (None: absent)."""

    traces: Traces
    files: Mapping[str, str | None]


class PmxcfsStore:
    """The store in the pmxcfs mounted at `mount`, as this node if `node` is given, else as a reader.

    `service` is the name of its IPC. Only keys that begin with one of `prefixes` are read and written.
    `lease_seconds`: how long the body of a lock may take. `deadline_seconds`: how long any call may take, waiting for
    a lock aside.
    """

    def __init__(
        self,
        mount: Path,
        *,
        node: str | None = None,
        service: str = "pve2",
        prefixes: tuple[str, ...] = PREFIXES,
        lease_seconds: float = LEASE_SECONDS,
        poll_seconds: float = POLL_SECONDS,
        deadline_seconds: float = 5.0,
    ) -> None:
        self._node = node
        self._prefixes = prefixes
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._deadline_seconds = deadline_seconds
        self._status = ClusterStatus(service, prefixes=prefixes)
        self._files = ClusterFiles(mount, lease_seconds=lease_seconds)
        self._threads: tuple[ThreadPoolExecutor, ThreadPoolExecutor] | None = None
        self._owner = 0
        self._wrote = asyncio.Event()
        #: The files that somebody reads or writes here, and what they were at first.
        self._watched: dict[str, str | None] = {}

    @classmethod
    def from_url(cls, url: str, *, node: str | None = None) -> Self:
        """Return the store at `pmxcfs:///PATH`, PATH being where pmxcfs is mounted. Raises SettingsError."""
        match = _URL.fullmatch(url)
        if match is None:
            raise SettingsError(
                f"store = {url!r}: not the URL of a mounted pmxcfs; write pmxcfs:///etc/pve (three slashes)"
            )
        return cls(Path("/", match[1]), node=node)

    @property
    def node(self) -> str | None:
        """The node this store writes for, None for a reader."""
        return self._node

    @property
    def clears_return(self) -> bool:
        """Yes: what a node clears while it is cut off lives on at the others, also after they meet again."""
        return True

    async def __aenter__(self) -> Self:
        self._threads = (
            ThreadPoolExecutor(1, thread_name_prefix="pmxcfs-ipc"),
            ThreadPoolExecutor(1, thread_name_prefix="pmxcfs-files"),
        )
        self._owner = os.getpid()
        try:
            self._check_name((await self._asking(self._status.membership)).nodename)
            await self._in_files(self._files.check)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def alive(self) -> None:
        """Check that pmxcfs is there: it tells the others by itself that this node lives."""
        self._writer()
        await self._asking(self._status.membership)

    async def put(self, key: str, value: bytes) -> None:
        """Set this node's value of `key`."""
        self._writer()
        key, value = self._checked(key), checked_value(value)
        await self._writing(lambda deadline: self._status.set(key, value, deadline))

    async def clear(self, key: str) -> None:
        """Remove this node's value of `key`."""
        self._writer()
        key = self._checked(key)
        await self._writing(lambda deadline: self._status.clear(key, deadline))

    async def values(self, node: str) -> dict[str, bytes]:
        """Return all values of one node by key."""
        return await self._asking(lambda deadline: self._status.values(node, deadline))

    async def all_values(self) -> dict[str, dict[str, bytes]]:
        """Return the values of all nodes, by node and key; each is of its own moment."""
        return await self._asking(self._status.all_values)

    async def members(self) -> Members:
        """Return the nodes of the cluster; without quorum nobody knows of the others."""
        membership = await self._asking(self._status.membership)
        quorate = membership.cluster is None or bool(membership.cluster.quorate)
        nodes = {
            name: Member(bool(node.online) if quorate else None) for name, node in sorted(membership.nodelist.items())
        }
        return Members({**nodes, membership.nodename: Member(online=True)}, quorate=quorate)

    async def forget(self, node: str) -> None:  # noqa: ARG002 - whichever it is
        """Refuse: who belongs to the cluster is Proxmox VE's to say."""
        self._writer()
        raise Refused(
            "store pmxcfs: Proxmox VE itself keeps the list of its nodes; one that is gone for good is taken out with"
            " `pvecm delnode NODE`, on a node that stays"
        )

    async def read(self, name: str) -> File | None:
        """Return a file, None if there is none. Its revision is the SHA-1 of its content."""
        checked_file(name)
        content = await self._in_files(lambda: self._files.read(name))
        revision = digest(content)
        self._watched.setdefault(name, revision)
        return None if content is None or revision is None else File(content, revision)

    async def swap(self, name: str, content: bytes | None, revision: str | None) -> str | None:
        """Replace a file that is still at `revision`; see the contract. Raises LockBusy too."""
        self._writer()
        checked_file(name)
        if content is not None:
            checked_content(content)
        self._watched.setdefault(name, revision)
        swapped = await self._patiently(lambda: self._files.swap(name, content, revision), self._deadline_seconds)
        self._wake()
        return swapped

    @asynccontextmanager
    async def lock(self, name: str, *, wait_seconds: float = 10.0) -> AsyncIterator[None]:
        """Hold the lock `name` for the body; a body that would outlive the lease is ended by a StoreError.

        It is the lock that Proxmox VE's own programs take to change the file of this name.
        """
        self._writer()
        checked_file(name)
        token = object()
        try:
            await self._patiently(lambda: self._files.lock(name, token), wait_seconds)
            async with within_lease(name, asyncio.timeout(self._lease_seconds * 0.9)):
                yield
        finally:  # also when waiting was cancelled: the thread may have got the lock nevertheless
            await self._release(name, token)

    async def changes(self) -> AsyncIterator[Change]:
        """Yield a Change after writes by anybody; see the contract."""
        seen: _Sight | None = None
        at_once: Change | None = Change()
        while True:
            wrote = self._wrote
            try:
                sight = await self._look()
                change = Change() if seen is None else self._changed(seen, sight)
                seen = sight
            except StoreError:
                seen, change = None, at_once
            at_once = None
            if change is not None:
                yield change
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await wrote.wait()
            if self._threads is None:
                return

    async def _look(self) -> _Sight:
        traces = await self._asking(self._status.traces)
        watched = list(self._watched)
        return _Sight(traces, await self._in_files(lambda: self._files.digests(watched, self._prefixes)))

    def _changed(self, before: _Sight, now: _Sight) -> Change | None:
        if before.traces.epoch != now.traces.epoch:
            return Change()
        nodes = _differing(before.traces.values, now.traces.values)
        # a file that is looked at only since somebody read it was then what he read
        files = _differing({**self._watched, **before.files}, now.files)
        return Change(nodes, files) if nodes or files else None

    def _check_name(self, name: str) -> None:
        if self._node not in (None, name):
            raise SettingsError(
                f"node = {self._node!r}: Proxmox VE calls this node {name!r}, and a node writes only for itself;"
                " set node to that name"
            )

    def _checked(self, key: str) -> str:
        if not checked_key(key).startswith(self._prefixes):
            raise ValueError(f"not a key of this project's on Proxmox VE: {key!r}")
        return key

    def _writer(self) -> None:
        if self._node is None:
            raise StoreError("store pmxcfs: opened for reading only; name the node to write as")

    async def _writing(self, work: Callable[[float], T]) -> T:
        try:
            return await self._asking(work)
        finally:  # without an answer, it may be done nevertheless
            self._wake()

    async def _asking(self, work: Callable[[float], T]) -> T:
        """Run `work` in the thread that has the connection, with the deadline of all its questions together."""
        deadline = time.monotonic() + self._deadline_seconds
        return await self._in_thread(0, lambda: work(deadline))

    async def _in_files(self, call: Callable[[], T]) -> T:
        try:
            return await self._in_thread(1, call)
        except PermissionError as error:
            # Without quorum nothing can be written, by root neither: the answer is the same.
            if (await self.members()).quorate:
                raise StoreError(
                    f"store pmxcfs: no permission for {error.filename}; run as user root and group root"
                ) from error
            raise StoreUnavailable(
                "store pmxcfs: the cluster has no quorum, so nothing can be written; bring back a majority of the"
                " nodes (see `pvecm status`)"
            ) from error

    async def _patiently(self, call: Callable[[], T], wait_seconds: float) -> T:
        """Do what needs a lock, again and again until it is free, as often as Proxmox VE does."""
        give_up = time.monotonic() + wait_seconds
        while True:
            try:
                return await self._in_files(call)
            except LockBusy as busy:
                left = give_up - time.monotonic()
                if left <= 0:
                    raise LockBusy(f"{busy}, still after {wait_seconds:g} s; try again") from None
            await asyncio.sleep(min(1.0, max(left * 0.1, 0.02)))

    async def _release(self, name: str, token: object) -> None:
        if self._threads is None:
            return
        # In the thread's queue at once, so that no cancellation can keep it from being done.
        released = self._threads[1].submit(self._files.unlock, name, token)
        with suppress(StoreError, OSError):  # then pmxcfs ends it; the body's outcome is what counts
            async with asyncio.timeout(self._deadline_seconds):
                await asyncio.shield(asyncio.wrap_future(released))

    async def _in_thread(self, which: int, call: Callable[[], T]) -> T:
        if self._threads is None:
            raise StoreError("store pmxcfs: it is not open")
        if self._owner != os.getpid():
            raise StoreError("store pmxcfs: it is not open in this process, a fork of the one that opened it")
        try:
            async with asyncio.timeout(self._deadline_seconds + _GRACE_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._threads[which], call)
        except TimeoutError as error:
            raise StoreUnavailable(
                f"store pmxcfs: no answer within {self._deadline_seconds:g} s (a write may still be done);"
                " see `journalctl -u pve-cluster`, and if it hangs, `systemctl restart pve-cluster`"
            ) from error

    def _wake(self) -> None:
        """Wake whoever waits in `changes` now."""
        self._wrote.set()
        self._wrote = asyncio.Event()

    async def _close(self) -> None:
        threads, self._threads = self._threads, None
        self._wake()
        if threads is None or self._owner != os.getpid():
            return
        closed = threads[0].submit(self._status.close)
        for thread in threads:
            thread.shutdown(wait=False)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._deadline_seconds):
                await asyncio.shield(asyncio.wrap_future(closed))


def _differing(before: Mapping[str, object], now: Mapping[str, object]) -> frozenset[str]:
    return frozenset(name for name in {*before, *now} if before.get(name) != now.get(name))
