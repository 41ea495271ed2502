"""Where the cluster remembers: the contract that every engine keeps, in storage terms only.

Node values: each node writes its own and reads everybody's; they outlive the node that wrote them. Files: small,
versioned, changed by compare-and-swap, guarded by named locks. Members: who is there, as honestly as the engine
can say. Changes: a wake-up, never data. Specification section 9; `tests/store/` holds the suite that every engine
passes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Protocol, Self

from msgspec import Struct

from pathfleet.errors import Busy, NotFound, SettingsError, StoreError, ValueTooBig

#: A node value is text of fewer bytes than this (pmxcfs: 32 KiB with the closing NUL), whatever the engine.
VALUE_LIMIT = 32768
#: A file is at most this many bytes, whatever the engine.
FILE_LIMIT = 512 * 1024
#: A lock lasts so long, whoever holds it; its holder's work is ended a little earlier.
LEASE_SECONDS = 60.0

_KEY = re.compile(r"[a-z0-9][a-z0-9.-]{0,127}")
#: The names of files, and of locks; a storage's lock has its id as it is written.
_FILE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}(/[a-z0-9][a-z0-9._-]{0,63})?|storage-[A-Za-z0-9._-]{1,192}")


class File(Struct, frozen=True):
    """A file as it was at one moment; `revision` is opaque and changes with every write."""

    content: bytes
    revision: str


class Member(Struct, frozen=True):
    """A node of the cluster. `online` is None when the engine cannot tell (no quorum)."""

    online: bool | None
    seconds_since_seen: float | None = None


class Members(Struct, frozen=True):
    """All nodes the store knows, by name. `quorate` False: what is said of others may be out of date."""

    nodes: Mapping[str, Member]
    quorate: bool = True


class Change(Struct, frozen=True):
    """What may have changed since the last one; several writes are one Change. Empty sets: anything may have."""

    nodes: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()


class Store(Protocol):
    """An open store, seen from one node (`node`), or by a reader that is none (`node` None).

    Every method has a deadline of its own and raises only StoreError and its kinds (and ValueError for a key, name
    or value that no engine takes; `forget` refuses, too); a reader's attempt to write is a StoreError. What a writing
    method has returned from is kept: it survives a restart of the engine, except node values on pmxcfs, which live in
    memory and are written again by their node.
    """

    @property
    def node(self) -> str | None:
        """The node this store writes for."""

    @property
    def clears_return(self) -> bool:
        """Whether a healed partition can bring a cleared value back (so clearing must be repeated)."""

    async def __aenter__(self) -> Self:
        """Open. Raises StoreUnavailable with the remedy."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, and end what waits in `changes`."""

    async def alive(self) -> None:
        """Say that this node lives; to be called every few seconds. Not called: `Member.online` turns False."""

    async def put(self, key: str, value: bytes) -> None:
        """Set this node's value of `key`. Raises ValueTooBig; the old value then stays."""

    async def clear(self, key: str) -> None:
        """Remove this node's value of `key`; removing what is not there succeeds."""

    async def values(self, node: str) -> dict[str, bytes]:
        """Return all values of one node by key; an unknown node has none."""

    async def all_values(self) -> dict[str, dict[str, bytes]]:
        """Return the values of all nodes, by node and key, as they were at one moment where the engine can."""

    async def members(self) -> Members:
        """Return who belongs to the cluster and who is online."""

    async def forget(self, node: str) -> None:
        """Remove all that the store has of a node that is gone: its values, and that it is a member.

        A node that writes again is a member again. Raises NotFound if there is no such member; Busy if it is online
        or that cannot be told; Refused where the engine has its members from elsewhere. Then nothing was removed.
        """

    async def read(self, name: str) -> File | None:
        """Return a file, None if there is none."""

    async def swap(self, name: str, content: bytes | None, revision: str | None) -> str | None:
        """Replace a file that is still at `revision` (None: that does not exist) by `content` (None: remove it).

        Returns the new revision, None after a removal. Raises Conflict, and then nothing was written.
        """

    def lock(self, name: str, *, wait_seconds: float = 10.0) -> AbstractAsyncContextManager[None]:
        """Hold the cluster-wide lock `name` for the body, LEASE_SECONDS at most. Raises LockBusy after `wait_seconds`.

        A holder that dies without releasing loses the lock when its lease runs out.
        """

    def changes(self) -> AsyncIterator[Change]:
        """Yield a Change soon after others, or this node itself, wrote or removed something; never end by itself.

        The first Change comes at once and says nothing (anything may have changed); so does one after trouble.
        A change of liveness alone need not be announced, nor that a node without values was forgotten.
        """


def checked_key(key: str) -> str:
    """Return `key` if every engine takes it as a node value's key, else raise ValueError."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a key of a node value: {key!r}")
    return key


def checked_file(name: str) -> str:
    """Return `name` if every engine takes it as a file's name, else raise ValueError."""
    if not _FILE.fullmatch(name):
        raise ValueError(f"not a name of a file in the store: {name!r}")
    return name


def checked_value(value: bytes) -> bytes:
    """Return `value` if every engine takes it as a node value; raises ValueTooBig, ValueError (a NUL byte)."""
    if len(value) >= VALUE_LIMIT:
        raise ValueTooBig(f"a node value of {len(value)} bytes: it must have fewer than {VALUE_LIMIT}")
    if b"\0" in value:
        raise ValueError("a node value is text and has no NUL byte")
    return value


def checked_content(content: bytes) -> bytes:
    """Return `content` if every engine takes it as a file's content; raises ValueTooBig."""
    if len(content) > FILE_LIMIT:
        raise ValueTooBig(f"a file of {len(content)} bytes: it may have {FILE_LIMIT} at most")
    return content


def no_member(node: str) -> NotFound:
    """Return the refusal to forget a node that the store does not know."""
    return NotFound(f"no node {node!r} in the store; `pathfleet status` shows those that there are")


def in_use(node: str) -> Busy:
    """Return the refusal to forget a node that lives."""
    return Busy(
        f"node {node!r} is online; only one that is gone is forgotten: stop pathfleet-agent and pathfleet-apply there,"
        " and wait until it is offline"
    )


@asynccontextmanager
async def within_lease(name: str, lease: asyncio.Timeout) -> AsyncIterator[None]:
    """Run what a lock's holder does; end it with a StoreError when `lease` is over: others may have the lock then."""
    try:
        async with lease:
            yield
    except TimeoutError as error:
        if lease.expired():
            raise StoreError(
                f"lock {name!r}: held for all the time that a holder gets; what was begun may still come to its end:"
                " look, then try again"
            ) from error
        raise


def open_store(url: str, *, node: str | None = None) -> Store:
    """Return the store at `url`, not yet opened. `node` names the member to write as; None only reads.

    `sqlite:///PATH` is a file on this machine, `etcd://HOST:PORT,…/PREFIX` an etcd v3 cluster, `pmxcfs:///etc/pve` the
    cluster file system of Proxmox VE. Raises SettingsError for any other scheme.
    """
    scheme = url.partition(":")[0]
    match scheme:
        case "sqlite":
            from pathfleet.store.sqlite import SQLiteStore  # noqa: PLC0415 - an engine is loaded only where used

            return SQLiteStore.from_url(url, node=node)
        case "pmxcfs":
            from pathfleet.store.pmxcfs import PmxcfsStore  # noqa: PLC0415

            return PmxcfsStore.from_url(url, node=node)
        case "etcd":
            from pathfleet.store.etcd import EtcdStore  # noqa: PLC0415

            return EtcdStore.from_url(url, node=node)
        case _:
            raise SettingsError(  # without the URL: it may have a secret in it
                f"store: no engine {scheme!r}; use sqlite:///PATH (an absolute path has three slashes),"
                " etcd://HOST:PORT,…/PREFIX or pmxcfs:///etc/pve"
            )
