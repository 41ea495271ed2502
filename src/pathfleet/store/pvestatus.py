"""The status values and the membership that pmxcfs keeps, asked over its IPC: blocking, for one thread.

Its memory only: each node sets its own values, which spread without an acknowledgement and without quorum, and are
gone after its pmxcfs restarted. A value is text and one NUL, as Proxmox VE's Perl writes and expects it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from pathfleet.errors import StoreError, StoreUnavailable, ValueTooBig
from pathfleet.store.libqb import Connection

T = TypeVar("T")

# The messages of pmxcfs's `cfs-ipc-ops.h`.
_GET_FS_VERSION: Final = 1
_GET_CLUSTER_INFO: Final = 2
_SET_STATUS: Final = 4
_GET_STATUS: Final = 5

#: A name's field. No name is cut: keys are checked, and nodes are asked for only as pmxcfs lists them.
_NAME_BYTES: Final = 256
#: Where the values lie that are a node's, among others of pmxcfs's own.
_SPACE: Final = "kv/"


class _Cluster(Struct, frozen=True):
    quorate: int


class _Node(Struct, frozen=True):
    online: int


class Membership(Struct, frozen=True):
    """`.members`. A node that is in no cluster has neither `cluster` nor `nodelist`."""

    nodename: str
    cluster: _Cluster | None = None
    nodelist: dict[str, _Node] = {}


class Traces(Struct, frozen=True):
    """What shows that values changed, by node and key. Of different `epoch`, two cannot be compared."""

    epoch: tuple[int, int, int]
    values: Mapping[str, Mapping[str, int | bytes]]


class _Version(Struct, frozen=True):
    """`.version`: how often each value was set, as seen by this node's pmxcfs since it started."""

    starttime: int
    clinfo: int = 0
    kvstore: dict[str, dict[str, int]] = {}


_version = msgspec.json.Decoder(_Version)
_membership = msgspec.json.Decoder(Membership)


class ClusterStatus:
    """What pmxcfs says through the IPC service of this name, of keys that begin with one of `prefixes`.

    Every call ends before its `deadline` (of time.monotonic) and raises StoreError and its kinds.
    """

    def __init__(self, service: str, *, prefixes: tuple[str, ...]) -> None:
        self._connection = Connection(service)
        self._prefixes = prefixes

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def membership(self, deadline: float) -> Membership:
        """Return who belongs to the cluster."""
        return _decoded(_membership, self._ask(_GET_CLUSTER_INFO, b"", deadline), ".members")

    def set(self, key: str, value: bytes, deadline: float) -> None:
        """Set this node's value of `key`."""
        self._ask(_SET_STATUS, _field(_SPACE + key) + value + b"\0", deadline)

    def clear(self, key: str, deadline: float) -> None:
        """Remove this node's value of `key`, also at nodes that still have what is gone here."""
        self._ask(_SET_STATUS, _field(_SPACE + key), deadline)

    def values(self, node: str, deadline: float) -> dict[str, bytes]:
        """Return the values of one node by key."""
        return self._values(node, self._counters(self._version(deadline), node), deadline)

    def all_values(self, deadline: float) -> dict[str, dict[str, bytes]]:
        """Return the values of all nodes, each as it was at a moment of its own."""
        version = self._version(deadline)
        found = {node: self._values(node, self._counters(version, node), deadline) for node in version.kvstore}
        return {node: values for node, values in found.items() if values}

    def traces(self, deadline: float) -> Traces:
        """Return what to compare with the traces of another time.

        A counter, except at 0: it starts there again when a value was cleared and set anew, so the value itself
        must tell.
        """
        version = self._version(deadline)
        traces: dict[str, dict[str, int | bytes]] = {}
        for node in version.kvstore:
            counters = self._counters(version, node)
            values = self._values(node, [key for key, count in counters.items() if count == 0], deadline)
            if counters:
                traces[node] = {**counters, **values}
        return Traces((self._connection.openings, version.starttime, version.clinfo), traces)

    def _version(self, deadline: float) -> _Version:
        return _decoded(_version, self._ask(_GET_FS_VERSION, b"", deadline), ".version")

    def _counters(self, version: _Version, node: str) -> dict[str, int]:
        prefixes = tuple(_SPACE + prefix for prefix in self._prefixes)
        counters = version.kvstore.get(node, {})
        return {key.removeprefix(_SPACE): counters[key] for key in sorted(counters) if key.startswith(prefixes)}

    def _values(self, node: str, keys: Iterable[str], deadline: float) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for key in keys:
            with suppress(_Absent):  # cleared since `.version` was made
                found[key] = self._ask(_GET_STATUS, _field(_SPACE + key) + _field(node), deadline).removesuffix(b"\0")
        return found

    def _ask(self, message: int, payload: bytes, deadline: float) -> bytes:
        try:
            return self._connection.call(message, payload, deadline)
        except OSError as error:
            raise _refusal(error) from error


class _Absent(StoreError):
    """There is no such value."""


def _refusal(error: OSError) -> StoreError:
    match error.errno:
        case errno.ENOENT:
            return _Absent("store pmxcfs: there is no such value")
        case errno.EPERM:
            return StoreError(
                "store pmxcfs: this process may only read; to write it must run as user root and group root"
            )
        case errno.EFBIG:
            return ValueTooBig("store pmxcfs: the value is larger than it takes; the old one is still there")
        case _:
            return StoreUnavailable(
                f"store pmxcfs: it refused, saying {error.strerror!r}; see `journalctl -u pve-cluster`"
            )


def _field(name: str) -> bytes:
    return name.encode().ljust(_NAME_BYTES, b"\0")


def _decoded(decoder: msgspec.json.Decoder[T], document: bytes, name: str) -> T:
    try:
        return decoder.decode(document.rstrip(b"\0"))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreUnavailable(
            f"store pmxcfs: its {name} is not what it should be ({error}); see `cat /etc/pve/{name}`"
        ) from error
