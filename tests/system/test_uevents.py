from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.system.uevents import LOST, Uevent, Uevents, concerns_multipath, parse

CLONE_NEWNET = 0x40000000
KERNEL_GROUP, UDEV_GROUP = 1, 2
NOBODY = 65534

FAILED = {
    "ACTION": "change",
    "DEVPATH": "/devices/virtual/block/dm-3",
    "SUBSYSTEM": "block",
    "DM_TARGET": "multipath",
    "DM_ACTION": "PATH_FAILED",
    "DM_PATH": "65:48",
    "DM_UUID": "mpath-3600a0b80000f1e2d",
}
FAILED_EVENT = Uevent("change", "dm-3", "PATH_FAILED", "65:48")
DISK = {"ACTION": "change", "DEVPATH": "/devices/pci0000:00/0000:00:05.0/virtio1/block/vda"}


def body(properties: Mapping[str, str]) -> bytes:
    return b"".join(f"{key}={value}".encode() + b"\0" for key, value in properties.items())


def from_kernel(properties: Mapping[str, str]) -> bytes:
    return f"{properties['ACTION']}@{properties['DEVPATH']}".encode() + b"\0" + body(properties)


def from_udev(properties: Mapping[str, str]) -> bytes:
    content = body(properties)
    magic = struct.pack(">I", 0xFEEDCAFE)
    return b"libudev\0" + magic + struct.pack("=7I", 40, 40, len(content), 0, 0, 0, 0) + content


def unknown(_device: str) -> None:
    return None


@pytest.mark.parametrize("frame", [from_kernel, from_udev])
def test_both_formats_give_the_same_properties(frame: object) -> None:
    assert callable(frame)
    assert parse(frame(FAILED)) == FAILED


def test_udevs_properties_are_found_behind_a_longer_header() -> None:
    content = body(FAILED)
    header = b"libudev\0" + struct.pack(">I", 0xFEEDCAFE) + struct.pack("=3I", 48, 48, len(content))
    assert parse(header + bytes(24) + content) == FAILED


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"change@/devices/x\0", id="no properties"),
        pytest.param(b"hello\0ACTION=change\0DEVPATH=/x\0", id="no title"),
        pytest.param(from_udev(FAILED)[:30], id="cut within the header"),
        pytest.param(from_udev(FAILED)[:-20], id="shorter than it says"),
        pytest.param(from_udev(FAILED).replace(b"\xfe\xed\xca\xfe", bytes(4)), id="another magic"),
        pytest.param(from_udev({"ACTION": "change"}), id="no device"),
    ],
)
def test_what_is_no_uevent_is_none(message: bytes) -> None:
    assert parse(message) is None


@given(st.binary(), st.binary(max_size=60))
def test_no_bytes_make_parsing_fail(message: bytes, header: bytes) -> None:
    for hostile in (message, b"libudev\0" + message, b"libudev\0\xfe\xed\xca\xfe" + header + message):
        properties = parse(hostile)
        assert properties is None or {"ACTION", "DEVPATH"} <= properties.keys()


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0="), min_size=1),
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    )
)
def test_properties_survive_both_formats(properties: dict[str, str]) -> None:
    whole = {"ACTION": "change", "DEVPATH": "/devices/virtual/block/dm-0"} | properties
    assert parse(from_udev(whole)) == whole
    if "\0" not in whole["ACTION"] and whole["DEVPATH"].startswith("/"):
        assert parse(from_kernel(whole)) == whole


@pytest.mark.parametrize(
    ("properties", "uuid", "concerned"),
    [
        pytest.param(FAILED, None, True, id="a path failed"),
        pytest.param({**FAILED, "DM_ACTION": "PATH_REINSTATED"}, None, True, id="a path came back"),
        pytest.param({**FAILED, "DM_ACTION": "OTHER"}, None, True, id="something else about a multipath map"),
        pytest.param({"DEVPATH": "/devices/virtual/block/dm-1", "DM_UUID": "LVM-x"}, None, False, id="LVM"),
        pytest.param({"DEVPATH": "/devices/virtual/block/dm-1"}, "LVM-x", False, id="LVM, says sysfs"),
        pytest.param({"DEVPATH": "/devices/virtual/block/dm-1"}, "mpath-3", True, id="multipath, says sysfs"),
        pytest.param({"DEVPATH": "/devices/virtual/block/dm-1"}, None, True, id="gone, or nobody can say"),
        pytest.param({"DEVPATH": "/devices/virtual/block/dm-1"}, "", True, id="without a UUID yet"),
        pytest.param(
            {"DEVPATH": "/devices/virtual/block/dm-1", "DM_UUID": "part1-mpath-3"}, None, False, id="a partition"
        ),
        pytest.param(DISK, None, False, id="a disk"),
        pytest.param({"DEVPATH": "/devices/virtual/block/dm-1/x"}, None, False, id="below a dm device"),
        pytest.param({"DEVPATH": "/devices/virtual/bdi/253:1"}, None, False, id="no block device"),
        pytest.param({}, None, False, id="nothing"),
    ],
)
def test_only_what_may_be_a_multipath_map_concerns_us(
    properties: dict[str, str], uuid: str | None, concerned: bool
) -> None:
    assert concerns_multipath(properties, lambda _device: uuid) is concerned


def test_sysfs_is_asked_only_where_the_uevent_does_not_tell() -> None:
    asked: list[str] = []
    concerns_multipath(FAILED, asked.append)
    concerns_multipath(DISK, asked.append)
    concerns_multipath({"DEVPATH": "/devices/virtual/block/dm-7"}, asked.append)
    assert asked == ["dm-7"]


@contextlib.contextmanager
def own_network_namespace() -> Iterator[None]:
    """Put this thread into a network namespace of its own, where nothing that is sent disturbs anybody."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(CLONE_NEWNET) != 0:
            pytest.skip(f"a network namespace of our own needs root: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            assert libc.setns(home, CLONE_NEWNET) == 0
    finally:
        os.close(home)


class Network:
    """A listener, and a privileged sender beside it."""

    def __init__(self, uevents: Uevents, sender: socket.socket) -> None:
        self.uevents = uevents
        self.sender = sender

    async def next(self) -> Uevent:
        async with asyncio.timeout(30):
            return await self.uevents.next()

    @property
    def port(self) -> int:
        assert self.uevents._socket is not None
        port, _groups = self.uevents._socket.getsockname()
        assert isinstance(port, int)
        return port


def netlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    async with contextlib.AsyncExitStack() as stack:
        with own_network_namespace():
            sender = stack.enter_context(netlink())
            uevents = await stack.enter_async_context(Uevents(uuid_of=unknown))
        yield Network(uevents, sender)


async def test_udevs_frame_wakes(network: Network) -> None:
    network.sender.sendto(from_udev(FAILED), (0, UDEV_GROUP))
    assert await network.next() == FAILED_EVENT


async def test_the_kernels_text_wakes(network: Network) -> None:
    network.sender.sendto(from_kernel(FAILED), (0, KERNEL_GROUP))
    assert await network.next() == FAILED_EVENT


async def test_a_wait_that_has_begun_is_woken(network: Network) -> None:
    waiting = asyncio.create_task(network.next())
    await asyncio.sleep(0)
    network.sender.sendto(from_kernel(FAILED), (0, KERNEL_GROUP))
    assert await waiting == FAILED_EVENT


async def test_a_wait_given_up_loses_nothing(network: Network) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await network.uevents.next()
    network.sender.sendto(from_kernel(FAILED), (0, KERNEL_GROUP))
    assert await network.next() == FAILED_EVENT


async def test_other_devices_do_not_wake(network: Network) -> None:
    network.sender.sendto(from_kernel(DISK), (0, KERNEL_GROUP))
    network.sender.sendto(from_udev(FAILED), (0, UDEV_GROUP))
    assert await network.next() == FAILED_EVENT


async def test_a_message_sent_to_us_alone_is_ignored_even_from_root(network: Network) -> None:
    network.sender.sendto(from_udev({**FAILED, "ACTION": "add"}), (network.port, 0))
    network.sender.sendto(from_udev(FAILED), (0, UDEV_GROUP))
    assert await network.next() == FAILED_EVENT


async def test_a_sender_that_is_not_root_is_ignored() -> None:
    """The sender keeps the capability to multicast, so that only its user id speaks against it."""
    script = (
        "import os, socket, sys\n"
        f"os.setreuid({NOBODY}, 0)\n"
        "sender = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)\n"
        f"sender.sendto(bytes.fromhex(sys.argv[1]), (0, {UDEV_GROUP}))\n"
    )
    fake = from_udev({**FAILED, "ACTION": "add"})
    with own_network_namespace(), netlink() as sender:
        async with Uevents(uuid_of=unknown) as uevents:
            subprocess.run([sys.executable, "-I", "-c", script, fake.hex()], check=True, timeout=20)
            sender.sendto(from_udev(FAILED), (0, UDEV_GROUP))
            assert await Network(uevents, sender).next() == FAILED_EVENT


async def test_overflow_is_itself_a_reason_to_look_and_what_follows_is_heard_again(network: Network) -> None:
    noise = from_kernel({**DISK, "PADDING": "x" * 30_000})
    for _ in range(200):
        network.sender.sendto(noise, (0, KERNEL_GROUP))
    assert await network.next() == LOST
    network.sender.sendto(from_udev(FAILED), (0, UDEV_GROUP))
    assert await network.next() == FAILED_EVENT


async def test_a_message_too_long_to_read_is_a_reason_to_look(network: Network) -> None:
    network.sender.sendto(from_kernel({**DISK, "PADDING": "x" * 70_000}), (0, KERNEL_GROUP))
    assert await network.next() == LOST


async def test_odd_words_stay_out_of_the_log(network: Network) -> None:
    odd = {**FAILED, "ACTION": "change\nERROR", "DM_PATH": "8:0 or so", "DM_ACTION": "x" * 1000}
    network.sender.sendto(from_udev(odd), (0, UDEV_GROUP))
    assert await network.next() == Uevent("unknown", "dm-3")


async def test_the_default_asks_this_machines_sysfs() -> None:
    with own_network_namespace(), netlink() as sender:
        async with Uevents() as uevents:
            gone = {"ACTION": "remove", "DEVPATH": "/devices/virtual/block/dm-999999"}
            sender.sendto(from_kernel(gone), (0, KERNEL_GROUP))
            assert await Network(uevents, sender).next() == Uevent("remove", "dm-999999")


async def test_outside_of_its_context_nothing_is_heard() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Uevents(uuid_of=unknown).next()
