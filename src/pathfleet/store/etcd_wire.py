"""Questions to etcd v3 and its answers, as its gateway writes them: fields that are empty are absent.

Only what the store uses; https://etcd.io/docs/v3.4/dev-guide/api_reference_v3/.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field


class Header(Struct, frozen=True):
    """`revision` of the whole database at this answer."""

    revision: int = 0


class KeyValue(Struct, frozen=True):
    """A key as it is; `mod_revision` is that of its last write, `lease` 0 when it has none."""

    key: bytes
    value: bytes = b""
    mod_revision: int = 0
    version: int = 0
    lease: int = 0


class Range(Struct, frozen=True):
    """The keys that were asked for, in order."""

    header: Header = Header()
    kvs: tuple[KeyValue, ...] = ()


class Response(Struct, frozen=True):
    """What one operation of a transaction answered."""

    response_range: Range | None = None


class Done(Struct, frozen=True):
    """Answer of a transaction: whether its comparisons held, and what the operations of that branch answered."""

    header: Header
    succeeded: bool = False
    responses: tuple[Response, ...] = ()

    def found(self, index: int) -> tuple[KeyValue, ...]:
        """Return the keys that operation `index` read; none if it did not answer as asked."""
        answered = self.responses[index].response_range if index < len(self.responses) else None
        return () if answered is None else answered.kvs


class Lease(Struct, frozen=True):
    """A lease granted or kept; without `ttl` there is none any more."""

    ttl: int = field(default=0, name="TTL")


class Kept(Struct, frozen=True):
    """Answer of a keepalive, which is a stream of one."""

    result: Lease = Lease()


class Nothing(Struct, frozen=True):
    """An answer of which nothing is wanted."""


class Event(Struct, frozen=True):
    """A write (`type` absent) or a removal ("DELETE") of a key."""

    kv: KeyValue
    type: str = "PUT"


class Watched(Struct, frozen=True):
    """One message of a watch. `canceled`: the last one, because its start is compacted or otherwise."""

    created: bool = False
    canceled: bool = False
    cancel_reason: str = ""
    compact_revision: int = 0
    events: tuple[Event, ...] = ()


def below(prefix: str) -> dict[str, Any]:
    """Return the range of all keys that begin with `prefix`."""
    start = prefix.encode()
    return {"key": start, "range_end": start[:-1] + bytes([start[-1] + 1])}


def at(key: str) -> dict[str, Any]:
    """Return the range of one key."""
    return {"key": key.encode()}


def reading(keys: dict[str, Any], *, serializable: bool = False) -> dict[str, Any]:
    """Return the operation that reads a range; `serializable`: what this member has, perhaps out of date."""
    return {"request_range": {**keys, "serializable": True} if serializable else keys}


def putting(key: str, value: bytes, *, lease: int = 0) -> dict[str, Any]:
    """Return the operation that writes a key, bound to `lease`."""
    return {"request_put": {"key": key.encode(), "value": value, "lease": str(lease)}}


def removing(key: str) -> dict[str, Any]:
    """Return the operation that removes a key."""
    return {"request_delete_range": at(key)}


def last_written(key: str, result: str, revision: int) -> dict[str, Any]:
    """Return the comparison of a key's `mod_revision` (0: absent) with `revision`; `result`: EQUAL, LESS."""
    return {"target": "MOD", "result": result, "key": key.encode(), "mod_revision": str(revision)}
