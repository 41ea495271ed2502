"""The store in an etcd v3 cluster, for any Linux cluster. Engine of `pathfleet.store`.

Keys below the prefix: value/NODE/KEY, alive/NODE (bound to a lease), member/NODE and wrote/NAME (the last write of
that node, or to that file), file/NAME, lock/NAME (bound to a lease). A request whose outcome is unknown is asked
again elsewhere, and the first may still be carried out, even minutes later by a member that was frozen. So every
write leaves its token at member/NODE or wrote/NAME and is done only if nobody wrote there since etcd last answered.
To forget a node is such a write: member/NODE stays, marked, and a late write of that node finds it and is not done.
"""

from __future__ import annotations

import asyncio
import math
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
from msgspec import Struct

from pathfleet.errors import Conflict, SettingsError, StoreError, StoreUnavailable
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
)
from pathfleet.store import etcd_url as url_of
from pathfleet.store.etcd_gateway import Answer, EtcdRefused, Gateway
from pathfleet.store.etcd_lease import Locks, grant, new_lease
from pathfleet.store.etcd_url import Address
from pathfleet.store.etcd_watch import Watch
from pathfleet.store.etcd_wire import (
    Done,
    Kept,
    KeyValue,
    Range,
    at,
    below,
    last_written,
    putting,
    reading,
    removing,
)

T = TypeVar("T")

#: How often `alive` writes the time at which the node was seen, for when it is gone.
SEEN_SECONDS: Final = 30.0
#: The part of the deadline of `members` after which it asks without quorum.
_WITH_QUORUM: Final = 0.6


class _Wrote(Struct, frozen=True):
    """What a write leaves: its token; of a node when it was (epoch seconds), of a file which revision it replaced.

    `forgotten`: it removed the node, which is no member until it writes again.
    """

    write: str = ""
    seen: float | None = None
    over: str | None = None
    forgotten: bool = False


class EtcdStore:
    """The store in the etcd at `address`, as node `node` or, with None, as a reader that writes nothing.

    `online_seconds`: how long one `alive` counts (whole seconds; etcd makes it at least one and a half times its
    election timeout). `lease_seconds`: how long a lock lasts that nobody releases. `deadline_seconds`: how long any
    call may take, waiting for a lock aside.
    """

    def __init__(
        self,
        address: Address,
        *,
        node: str | None = None,
        online_seconds: float = 15.0,
        lease_seconds: float = LEASE_SECONDS,
        deadline_seconds: float = 5.0,
    ) -> None:
        if node is not None and ("/" in node or not node):
            raise SettingsError(f"node = {node!r}: a node's name in etcd is not empty and has no '/'")
        self._node = node
        self._name = address.name
        self._root = f"{address.prefix}/"
        self._online_seconds = online_seconds
        self._deadline_seconds = deadline_seconds
        self._gateway = Gateway(address, deadline_seconds=deadline_seconds)
        self._revision = 0
        self._writing = asyncio.Lock()
        self._alive_lease = 0
        self._seen_written = -math.inf
        self._watches: set[Watch] = set()
        self._locks = Locks(
            self._gateway, self._key("lock", ""), lease_seconds=lease_seconds, deadline_seconds=deadline_seconds
        )

    @classmethod
    def from_url(cls, url: str, *, node: str | None = None) -> Self:
        """Return the store at `etcd://HOST:PORT,…/PREFIX?…`. Raises SettingsError, which shows the form."""
        return cls(url_of.parse(url), node=node)

    @property
    def node(self) -> str | None:
        """The node this store writes for, None for a reader."""
        return self._node

    @property
    def clears_return(self) -> bool:
        """No: what a majority has removed is removed."""
        return False

    async def __aenter__(self) -> Self:
        self._gateway.open()
        try:
            await self._range({**below(self._root), "limit": "1", "keys_only": True})
        except BaseException:
            await self._gateway.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for watch in tuple(self._watches):
                await watch.stop()
            await self._locks.close()
        finally:
            self._alive_lease = 0
            await self._gateway.close()

    async def alive(self) -> None:
        """Say that this node lives."""
        node, until = self._writer(), self._until()
        if not (self._alive_lease and await self._keeps(node, until)):
            lease = new_lease()
            await grant(self._gateway, lease, self._online_seconds, until)
            await self._write_node(node, [putting(self._key("alive", node), b"", lease=lease)], until)
            self._alive_lease = lease
        elif time.monotonic() - self._seen_written >= SEEN_SECONDS:
            await self._write_node(node, [], until)

    async def put(self, key: str, value: bytes) -> None:
        """Set this node's value of `key`."""
        node, key, value = self._writer(), checked_key(key), checked_value(value)
        await self._write_node(node, [putting(self._key("value", node, key), value)], self._until())

    async def clear(self, key: str) -> None:
        """Remove this node's value of `key`."""
        node, key = self._writer(), checked_key(key)
        await self._write_node(node, [removing(self._key("value", node, key))], self._until())

    async def values(self, node: str) -> dict[str, bytes]:
        """Return all values of one node by key."""
        return (await self._values(self._key("value", node, ""))).get(node, {})

    async def all_values(self) -> dict[str, dict[str, bytes]]:
        """Return the values of all nodes at one moment, by node and key."""
        return await self._values(self._key("value", ""))

    async def members(self) -> Members:
        """Return every node that wrote here and was not forgotten since.

        Online is whose lease runs; unknown while etcd has no quorum.
        """
        until, now = self._until(), time.time()
        try:
            with_quorum = until - self._deadline_seconds * (1 - _WITH_QUORUM)
            alive, members = await self._members(with_quorum, serializable=False)
        except EtcdRefused:
            raise
        except StoreUnavailable:
            alive, members = await self._members(until, serializable=True)
            return Members(
                {node: Member(online=None, seconds_since_seen=age) for node, age in _ages(members, now).items()}
                | ({} if self._node is None else {self._node: Member(online=True)}),
                quorate=False,
            )
        ages = {**dict.fromkeys(alive), **_ages(members, now)}
        return Members({node: Member(node in alive, None if node in alive else ages[node]) for node in sorted(ages)})

    async def forget(self, node: str) -> None:
        """Remove what a node that is gone has left; see the contract."""
        self._writer()
        record, alive, until = self._key("member", node), self._key("alive", node), self._until()
        mine = _Wrote(secrets.token_hex(8), forgotten=True)
        values = {"request_delete_range": below(self._key("value", node, ""))}
        offline, whether = [last_written(alive, "EQUAL", 0)], [reading(at(alive))]
        while True:
            known = await self._range(at(record), until)
            if all(_wrote(kv).forgotten for kv in known.kvs):
                raise no_member(node)
            answer = await self._write(record, mine, [values], until=until, compare=offline, otherwise=whether)
            done = answer.found
            if done.succeeded or _last(done).write == mine.write:
                return
            if done.found(1):
                raise in_use(node)

    async def read(self, name: str) -> File | None:
        """Return a file, None if there is none. Its revision is etcd's."""
        checked_file(name)
        found = await self._range(at(self._key("file", name)))
        return next((File(kv.value, str(kv.mod_revision)) for kv in found.kvs), None)

    async def swap(self, name: str, content: bytes | None, revision: str | None) -> str | None:
        """Replace a file that is still at `revision`; see the contract.

        Raises StoreUnavailable also when etcd did not say what came of it and somebody else has written since.
        """
        self._writer()
        checked_file(name)
        if content is not None:
            checked_content(content)
        key, wrote, until = self._key("file", name), self._key("wrote", name), self._until()
        mine, at_revision = _Wrote(secrets.token_hex(8), over=revision), _revision(revision)
        operation = removing(key) if content is None else putting(key, content)
        certain = True
        while True:
            compare = [last_written(key, "EQUAL", at_revision)]
            done, sure = await self._write(
                wrote, mine, [operation], until=until, compare=compare, otherwise=[reading(at(key))]
            )
            certain = certain and sure
            if done.succeeded:
                return None if content is None else str(done.header.revision)
            last, there = _last(done), next(iter(done.found(1)), None)
            if last.write == mine.write:  # an earlier attempt had been carried out
                return None if content is None else str(done.found(0)[0].mod_revision)
            if (there.mod_revision if there else 0) != at_revision:
                break
        if certain or (revision is not None and last.over == revision):
            state = "does not exist" if there is None else "was changed" if revision else "exists already"
            raise Conflict(f"file {name!r}: it {state}; read it again, merge, retry")
        raise StoreUnavailable(
            f"store {self._name}: file {name!r}: etcd did not say whether it was written, and somebody has written it"
            " since; read it and see"
        )

    @asynccontextmanager
    async def lock(self, name: str, *, wait_seconds: float = 10.0) -> AsyncIterator[None]:
        """Hold the lock `name` for the body; a body that would outlive the lease is ended by a StoreError."""
        async with self._locks.hold(checked_file(name), self._writer(), wait_seconds):
            yield

    async def changes(self) -> AsyncIterator[Change]:
        """Yield a Change after writes by anybody, and when a node comes or goes; see the contract."""
        watch = Watch(self._gateway, self._root, check_seconds=self._deadline_seconds)
        self._watches.add(watch)
        try:
            await watch.start()
            yield Change()
            while (change := await watch.next()) is not None:
                yield change
        finally:
            self._watches.discard(watch)
            await watch.stop()

    async def _keeps(self, node: str, until: float) -> bool:
        """Prolong the lease of this node; False: it ran out, or the node is not bound to it any more."""
        kept = await self._ask("lease/keepalive", {"ID": str(self._alive_lease)}, Kept, until)
        if kept.found.result.ttl <= 0:
            return False
        found = await self._range(at(self._key("alive", node)), until)
        return any(kv.lease == self._alive_lease for kv in found.kvs)

    async def _values(self, prefix: str) -> dict[str, dict[str, bytes]]:
        skipped = len(self._key("value", ""))
        found: dict[str, dict[str, bytes]] = {}
        for kv in (await self._range(below(prefix))).kvs:
            node, _, key = kv.key.decode(errors="replace")[skipped:].rpartition("/")
            found.setdefault(node, {})[key] = kv.value
        return found

    async def _members(self, until: float, *, serializable: bool) -> tuple[set[str], dict[str, _Wrote]]:
        alive, member = self._key("alive", ""), self._key("member", "")
        operations = [reading(below(prefix), serializable=serializable) for prefix in (alive, member)]
        done = (await self._ask("kv/txn", {"success": operations}, Done, until)).found
        return (
            {kv.key.decode(errors="replace").removeprefix(alive) for kv in done.found(0)},
            {
                kv.key.decode(errors="replace").removeprefix(member): wrote
                for kv in done.found(1)
                if not (wrote := _wrote(kv)).forgotten
            },
        )

    async def _write_node(self, node: str, operations: Sequence[dict[str, Any]], until: float) -> None:
        """Do `operations` for this node exactly once, and make it a member."""
        mine = _Wrote(secrets.token_hex(8), seen=round(time.time(), 3))
        record, done = self._key("member", node), False
        async with self._writing:  # else each write would be another's somebody
            while not done:
                answer = (await self._write(record, mine, operations, until=until)).found
                done = answer.succeeded or _last(answer).write == mine.write
        self._seen_written = time.monotonic()

    async def _write(
        self,
        record: str,
        mine: _Wrote,
        operations: Sequence[dict[str, Any]],
        *,
        until: float,
        compare: Sequence[dict[str, Any]] = (),
        otherwise: Sequence[dict[str, Any]] = (),
    ) -> Answer[Done]:
        """Do `operations` and leave `mine` at `record`, if `compare` holds and nobody wrote there since last heard of.

        Else read the record and do `otherwise`; then etcd has been heard of again.
        """
        question = {
            "compare": [last_written(record, "LESS", self._revision + 1), *compare],
            "success": [*operations, putting(record, msgspec.json.encode(mine))],
            "failure": [reading(at(record)), *otherwise],
        }
        answer = await self._ask("kv/txn", question, Done, until)
        self._revision = answer.found.header.revision
        return answer

    async def _range(self, keys: dict[str, Any], until: float | None = None) -> Range:
        found = (await self._ask("kv/range", keys, Range, self._until() if until is None else until)).found
        self._revision = max(self._revision, found.header.revision)
        return found

    async def _ask(self, path: str, body: dict[str, Any], kind: type[T], until: float) -> Answer[T]:
        return await self._gateway.ask(path, body, kind, until=until)

    def _writer(self) -> str:
        if self._node is None:
            raise StoreError(f"store {self._name}: opened for reading only; name the node to write as")
        return self._node

    def _until(self) -> float:
        return asyncio.get_running_loop().time() + self._deadline_seconds

    def _key(self, *parts: str) -> str:
        return self._root + "/".join(parts)


def _revision(text: str | None) -> int:
    """Return etcd's number of a revision, 0 for what does not exist, -1 for what etcd never gave."""
    if text is None:
        return 0
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,17}", text) else -1


def _wrote(kv: KeyValue) -> _Wrote:
    try:
        return msgspec.json.decode(kv.value, type=_Wrote)
    except ValueError:  # somebody else's hand
        return _Wrote()


def _last(done: Done) -> _Wrote:
    """Return what the last write left, as a write that was not done has read it."""
    return next((_wrote(kv) for kv in done.found(0)), _Wrote())


def _ages(members: dict[str, _Wrote], now: float) -> dict[str, float | None]:
    """Return the seconds since each was seen; None: not known, or by a clock that is ahead of ours."""
    return {
        node: None if wrote.seen is None or wrote.seen > now else now - wrote.seen for node, wrote in members.items()
    }
