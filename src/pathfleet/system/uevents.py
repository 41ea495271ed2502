"""Hear at once that a multipath map may have changed: the kernel's and udev's uevents, from netlink.

A uevent is a reason to look, never data. Both copies are heard: the kernel's is early, udev's comes when multipathd
has had its chance to take the change in. ALUA and checker states raise no uevent, so polling stays necessary.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from msgspec import Struct

from pathfleet.system.sysfs import Sysfs

_NETLINK_KOBJECT_UEVENT = 15  # linux/netlink.h
_KERNEL_GROUP, _UDEV_GROUP = 1, 2
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; absent from the socket module
_RECEIVE_BUFFER_BYTES = 1 << 20
_MESSAGE_LIMIT_BYTES = 1 << 16
_DRAIN_LIMIT = 8192  # more messages than the buffer holds, yet an end to a flood
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid

# systemd, src/libsystemd/sd-device/device-monitor.c: prefix, magic (network order), header size, properties offset
# and length (native order), then hashes for filters, then the properties.
_UDEV_PREFIX = b"libudev\0"
_UDEV_MAGIC = 0xFEEDCAFE
_UDEV_HEADER_BYTES = 40

_DM_DEVPATH = re.compile(r"/devices/virtual/block/(dm-[0-9]{1,9})")
_WORD = re.compile(r"[A-Za-z0-9_:.-]{1,64}")
_PATH_ACTIONS = ("PATH_FAILED", "PATH_REINSTATED")


class Uevent(Struct, frozen=True):
    """A reason to look at the maps again, with as much as is worth a line in the log.

    `action` is the kernel's word (`change`, `add`, `remove`), or `lost`: uevents were dropped, anything may have
    happened. `device` is `dm-N`; `dm_action` and `dev_t` tell which path failed or came back, if that is what it was.
    """

    action: str
    device: str | None = None
    dm_action: str | None = None
    dev_t: str | None = None


LOST = Uevent("lost")


class Uevents:
    """The node's uevents that concern multipath maps. Entering it raises OSError where netlink is not to be had.

    No privilege is needed. Only the kernel's network namespace of the host hears anything.
    """

    def __init__(self, *, uuid_of: Callable[[str], str | None] | None = None) -> None:
        self._uuid_of = Sysfs().map_uuid if uuid_of is None else uuid_of
        self._socket: socket.socket | None = None

    async def __aenter__(self) -> Self:
        """Start to hear."""
        self._socket = _open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to hear."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def next(self) -> Uevent:
        """Wait, without a deadline, for the next uevent that concerns multipath maps and return it."""
        if self._socket is None:
            raise RuntimeError("uevents are heard only inside `async with`")
        while True:
            await _readable(self._socket)
            event = _received(self._socket, self._uuid_of)
            if event is not None:
                return event


def parse(message: bytes) -> dict[str, str] | None:
    """Return the properties of a uevent in the kernel's format or udev's; None if it is neither."""
    body = _udev_body(message) if message.startswith(_UDEV_PREFIX) else _kernel_body(message)
    if body is None:
        return None
    pairs = (entry.partition("=") for entry in body.decode(errors="replace").split("\0"))
    properties = {key: value for key, equals, value in pairs if key and equals}
    return properties if "ACTION" in properties and "DEVPATH" in properties else None


def concerns_multipath(properties: Mapping[str, str], uuid_of: Callable[[str], str | None]) -> bool:
    """Say whether this uevent may be about a multipath map.

    `uuid_of` tells the UUID of `dm-N` where the uevent does not. Not known counts as yes: a needless look costs
    one reading, a missed one the truth.
    """
    device = _DM_DEVPATH.fullmatch(properties.get("DEVPATH", ""))
    if device is None:
        return False
    if properties.get("DM_ACTION") in _PATH_ACTIONS:
        return True
    # Empty counts as unknown too: before Linux 5.15 a map is announced before its UUID is set.
    uuid = properties.get("DM_UUID") or uuid_of(device[1])
    return not uuid or uuid.startswith("mpath-")


def _udev_body(message: bytes) -> bytes | None:
    if len(message) < _UDEV_HEADER_BYTES:
        return None
    (magic,) = struct.unpack_from(">I", message, 8)
    offset, length = struct.unpack_from("=II", message, 16)
    if magic != _UDEV_MAGIC or offset < _UDEV_HEADER_BYTES or offset + length > len(message):
        return None
    return message[offset : offset + length]


def _kernel_body(message: bytes) -> bytes | None:
    title, _, body = message.partition(b"\0")
    return body if b"@/" in title else None


def _open() -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    listener = socket.socket(socket.AF_NETLINK, kind, _NETLINK_KOBJECT_UEVENT)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        with contextlib.suppress(PermissionError):  # beyond net.core.rmem_max only with CAP_NET_ADMIN
            listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
        listener.bind((0, _KERNEL_GROUP | _UDEV_GROUP))
    except OSError:
        listener.close()
        raise
    return listener


async def _readable(listener: socket.socket) -> None:
    # The reader is there only during the wait: what arrives meanwhile stays in the kernel's buffer, and a caller
    # that is busy elsewhere is not woken again and again.
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    loop.add_reader(listener, woken.set)
    try:
        await woken.wait()
    finally:
        loop.remove_reader(listener)


def _received(listener: socket.socket, uuid_of: Callable[[str], str | None]) -> Uevent | None:
    try:
        message, ancillary, flags, (_, groups) = listener.recvmsg(
            _MESSAGE_LIMIT_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size)
        )
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno != errno.ENOBUFS:  # netlink(7): the buffer overflowed, messages were dropped
            raise
        _drain(listener)
        return LOST
    # Anybody may send to this socket directly; only a privileged sender reaches the groups.
    if not groups or _sender_uid(ancillary) != 0:
        return None
    if flags & socket.MSG_TRUNC:
        return LOST
    properties = parse(message)
    if properties is None or not concerns_multipath(properties, uuid_of):
        return None
    return _uevent(properties)


def _drain(listener: socket.socket) -> None:
    """Throw away what is queued: after an overflow the kernel drops in silence until the queue has been empty."""
    for _ in range(_DRAIN_LIMIT):
        try:
            listener.recv(1)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise


def _sender_uid(ancillary: Sequence[tuple[int, int, bytes]]) -> int | None:
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(content) == _CREDENTIALS.size:
            return int(_CREDENTIALS.unpack(content)[1])
    return None


def _uevent(properties: Mapping[str, str]) -> Uevent:
    device = _DM_DEVPATH.fullmatch(properties["DEVPATH"])
    return Uevent(
        action=_word(properties["ACTION"]) or "unknown",
        device=device[1] if device else None,
        dm_action=_word(properties.get("DM_ACTION", "")),
        dev_t=_word(properties.get("DM_PATH", "")),
    )


def _word(value: str) -> str | None:
    return value if _WORD.fullmatch(value) else None
