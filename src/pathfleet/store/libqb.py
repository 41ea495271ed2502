"""One connection to pmxcfs over libqb's IPC: bounded in time, checked, and dropped after any doubt.

Not what the messages mean (`pvestatus` knows). libqb itself is used, by ctypes, for its rings in shared memory follow
no protocol that another implementation could rely on. Its socket is in the network namespace of pmxcfs, its rings
are in /dev/shm: this process needs both.
"""

from __future__ import annotations

import errno
import functools
import os
import select
import struct
import time
from ctypes import (
    CDLL,
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_int32,
    c_size_t,
    c_ssize_t,
    c_void_p,
    create_string_buffer,
    get_errno,
    string_at,
)
from pathlib import Path
from typing import Final

from pathfleet.errors import StoreUnavailable

#: The largest message either way, as Proxmox VE's own client has it: a longer reply ends the connection.
BUFFER_BYTES: Final = 1024 * 1024
#: Is there while the administration restarts pmxcfs: then who finds it gone asks again for a while.
RESTART_FLAG: Final = Path("/run/pve-cluster/cfs-restart-flag")

_SONAME: Final = "libqb.so.100"
# struct qb_ipc_request_header and qb_ipc_response_header: each member is aligned to eight bytes.
_REQUEST: Final = struct.Struct("=i4xi4x")
_REPLY: Final = struct.Struct("=i4xi4xi4x")

_RESTART_POLL_SECONDS: Final = 0.1
_SLICE_MS: Final = 50
#: What libqb says of a service that went away in the middle of a connection.
_GONE: Final = frozenset({errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE, errno.ESHUTDOWN, errno.EBADF})
#: What it says of one that is not there at all.
_ABSENT: Final = frozenset({errno.ECONNREFUSED, errno.ENOENT})
# pmxcfs refuses with -1, which libqb hands on as if it were an errno.
_REFUSED: Final = frozenset({-1, errno.EPERM, errno.EACCES})


class _Vector(Structure):
    """Struct iovec."""

    _fields_ = (("base", c_char_p), ("length", c_size_t))


class _Disconnected(Exception):
    """The service ended the connection, or the process that served it is no more."""


class _Absent(StoreUnavailable):
    """Nobody listens."""


class Connection:
    """A connection to `service`, made at its first use and again after trouble. For one thread only.

    Never used by a forked child: the two processes would write into the same rings. The child makes its own.
    """

    def __init__(self, service: str = "pve2", *, restart_flag: Path = RESTART_FLAG) -> None:
        self._service = service
        self._restart_flag = restart_flag
        self._handle: int | None = None
        self._owner = 0
        self._buffer = create_string_buffer(BUFFER_BYTES)
        #: How often it was opened: what was learnt over an earlier one may be of an earlier pmxcfs.
        self.openings = 0

    def call(self, message: int, payload: bytes, deadline: float) -> bytes:
        """Return the payload of the reply to one message, before `deadline` (of time.monotonic).

        Raises OSError with the number that pmxcfs answers, StoreUnavailable when it gives no usable answer.
        Repeated once over a new connection when the old one was gone, so a message must bear being sent twice.
        """
        for _ in range(2):
            handle = self._connected(deadline)
            try:
                reply = self._exchange(handle, message, payload, deadline)
            except _Disconnected:
                continue
            return self._checked(message, reply)
        raise self._trouble(
            "it ended the connection twice: it restarts, or its answer is longer than a message can be; try again,"
            " and see `journalctl -u pve-cluster`"
        )

    def close(self) -> None:
        """End the connection; the next call makes another."""
        handle, self._handle = self._handle, None
        if handle is not None and self._owner == os.getpid():
            _library().qb_ipcc_disconnect(handle)

    def _exchange(self, handle: int, message: int, payload: bytes, deadline: float) -> bytes:
        request = _REQUEST.pack(message, _REQUEST.size + len(payload)) + payload
        size = _library().qb_ipcc_sendv(handle, byref(_Vector(request, len(request))), 1)
        if size >= 0:
            size = self._received(handle, deadline)
        if size >= 0:
            return string_at(self._buffer, size)
        # Whatever it was, a reply may still come, and the next call would take it for its own.
        self.close()
        if -size in _GONE:
            raise _Disconnected
        if -size == errno.ETIMEDOUT:
            raise self._hung()
        raise self._trouble(f"it cannot be asked: {os.strerror(-size)}; see `journalctl -u pve-cluster`")

    def _received(self, handle: int, deadline: float) -> int:
        """Wait for the reply and return its size, or a negative errno.

        In slices: libqb looks for the end of the connection only after each.
        """
        while True:
            wait_ms = min(_milliseconds(deadline), _SLICE_MS)
            size: int = _library().qb_ipcc_recv(handle, self._buffer, BUFFER_BYTES, wait_ms)
            if -size not in (errno.ETIMEDOUT, errno.EAGAIN):
                return size
            if time.monotonic() >= deadline:
                return -errno.ETIMEDOUT

    def _checked(self, message: int, reply: bytes) -> bytes:
        if len(reply) >= _REPLY.size:
            answered, size, error = _REPLY.unpack_from(reply)
            if answered == message and size == len(reply):
                if error:
                    raise OSError(-error, os.strerror(-error))
                return reply[_REPLY.size :]
        self.close()
        raise self._trouble("it gave the answer to another question, or half of one; try again")

    def _connected(self, deadline: float) -> int:
        if self._owner != os.getpid():
            self._handle = None  # the parent's, and not this process's to end
        while self._handle is None:
            try:
                self._handle = self._connect(deadline)
            except _Absent:
                if not self._restart_flag.exists() or time.monotonic() + _RESTART_POLL_SECONDS > deadline:
                    raise
                time.sleep(_RESTART_POLL_SECONDS)
        return self._handle

    def _connect(self, deadline: float) -> int:
        """Return a new handle; the one-step call would wait for ever on a pmxcfs that hangs."""
        library, descriptor = _library(), c_int(-1)
        handle: int | None = library.qb_ipcc_connect_async(self._service.encode(), BUFFER_BYTES, byref(descriptor))
        if not handle:
            raise self._no_connection(get_errno())
        answered = _readable(descriptor.value, deadline)
        # Without an answer too: it then fails at once, and frees what belongs to the handle.
        failure = library.qb_ipcc_connect_continue(handle)
        if failure:
            raise self._no_connection(failure) if answered else self._hung()
        self._owner = os.getpid()
        self.openings += 1
        return handle

    def _no_connection(self, number: int) -> StoreUnavailable:
        if number in _ABSENT:
            return _Absent(
                f"store pmxcfs: it is not running (nobody serves {self._service!r} here);"
                " start it with `systemctl start pve-cluster`"
            )
        if number in _REFUSED:
            return self._trouble(
                "it refuses this process, which must run as user root and group root"
                " (no `Group=` in its unit), or with www-data as its group to read"
            )
        return self._trouble(f"no connection: {os.strerror(number)}; see `journalctl -u pve-cluster`")

    def _hung(self) -> StoreUnavailable:
        return self._trouble(
            "it is there and does not answer; wait, and if it stays so, see `journalctl -u pve-cluster` and"
            " restart it with `systemctl restart pve-cluster`"
        )

    @staticmethod
    def _trouble(text: str) -> StoreUnavailable:
        return StoreUnavailable(f"store pmxcfs: {text}")


@functools.cache
def _library() -> CDLL:
    """Return libqb. Raises StoreUnavailable where it is missing or older than 2.0.5."""
    try:
        library = CDLL(_SONAME, use_errno=True)
        connect, connected = library.qb_ipcc_connect_async, library.qb_ipcc_connect_continue
    except (OSError, AttributeError) as error:
        raise StoreUnavailable(
            f"store pmxcfs: its library cannot be used ({error}); install the package libqb100, version 2.0.5 or newer"
        ) from error
    connect.argtypes, connect.restype = (c_char_p, c_size_t, POINTER(c_int)), c_void_p
    connected.argtypes, connected.restype = (c_void_p,), c_int
    library.qb_ipcc_disconnect.argtypes, library.qb_ipcc_disconnect.restype = (c_void_p,), None
    send, receive = library.qb_ipcc_sendv, library.qb_ipcc_recv
    send.argtypes, send.restype = (c_void_p, POINTER(_Vector), c_size_t), c_ssize_t
    receive.argtypes, receive.restype = (c_void_p, c_char_p, c_size_t, c_int32), c_ssize_t
    return library


def _milliseconds(deadline: float) -> int:
    return max(1, int((deadline - time.monotonic()) * 1000))


def _readable(descriptor: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(_milliseconds(deadline)))
