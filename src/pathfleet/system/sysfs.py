"""What sysfs knows of path devices and of dm devices: ports, sizes, slaves, the kernel's multipath maps.

Synchronous: a few thousand small reads, to be called through `to_thread`. What vanishes while it is read, or may
not be read, is None and never an exception.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from pathfleet.core.dmstatus import unmangled
from pathfleet.core.ports import Port, Transport

_SECTOR_BYTES = 512  # the unit of every `size` in sysfs, whatever the device's own sector
_READ_LIMIT = 4096
_TEXT_LIMIT = 256
# sysfs gives no change notice. Under one device link only an iSCSI session's local address changes, and facts that
# could not be read turn up (a session logging in again): so both are read again, the latter sooner.
_KEEP_SECONDS = 300.0
_RETRY_SECONDS = 30.0

_HCTL = re.compile(r"[0-9]+:[0-9]+:[0-9]+:[0-9]+")
_NVME = re.compile(r"nvme[0-9]+(c[0-9]+)?n[0-9]+")
_WWPN = re.compile(r"pn-(0x[0-9A-Fa-f]{1,16})")
# Where the kernel knows nothing it prints a null pointer, or a WWN of only zeros or only ones.
_NOTHING = ("(null)", "<NULL>", "0x0", "0x0000000000000000", "0xffffffffffffffff")
# A parent directory of the device that alone gives the transport away; in this order.
_BY_PARENT: tuple[tuple[re.Pattern[str], Transport], ...] = (
    (re.compile(r"tcm_loop.*"), "loop"),
    (re.compile(r"rport-[0-9]+:[0-9]+-[0-9]+"), "fc"),
    (re.compile(r"session[0-9]+"), "iscsi"),
    (re.compile(r"end_device-[0-9]+(:[0-9]+)+"), "sas"),
    (re.compile(r"ata[0-9]+"), "ata"),
    (re.compile(r"usb[0-9]+"), "usb"),
    (re.compile(r"virtio[0-9]+"), "virtio"),
)
_NVME_TRANSPORTS: Mapping[str, Transport] = {
    "tcp": "nvme-tcp",
    "rdma": "nvme-rdma",
    "fc": "nvme-fc",
    "pcie": "nvme-pcie",
    "loop": "nvme-loop",
}
_WITHOUT_INITIATOR: tuple[Transport | None, ...] = (None, "ata", "usb", "virtio", "nvme-pcie", "nvme-loop", "loop")


class MapDevice(Struct, frozen=True):
    """The dm device of a multipath map, whether or not a multipathd watches it; `name` with its mangling undone."""

    dm: str
    name: str | None
    slaves: tuple[str, ...] | None


class _Known(Struct, frozen=True):
    link: str
    port: Port
    read_again: float


class Sysfs:
    """The sysfs mounted at `root`. Remembers ports between calls; not for several threads at once."""

    def __init__(self, root: Path = Path("/sys"), *, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = str(root)
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def ports(self, devices: Iterable[str]) -> dict[str, Port]:
        """Return the port of each path device (`sda`, `nvme0n1`) that sysfs still has, and forget all others.

        Cheap to repeat: a device that is still the same one is not read again for minutes.
        """
        now = self._clock()
        known = {}
        for device in devices:
            link = self._device_link(device)
            if link is not None:
                known[device] = self._current(device, link, now)
        self._known = known
        return {device: entry.port for device, entry in known.items()}

    def size_bytes(self, dm: str) -> int | None:
        """Return the size of `dm-N` as the kernel has it."""
        sectors = self._block(dm, "size")
        return int(sectors) * _SECTOR_BYTES if sectors is not None and _is_number(sectors) else None

    def map_slaves(self, dm: str) -> tuple[str, ...] | None:
        """Return the names of the devices that `dm-N` is made of."""
        return self._names(f"block/{dm}/slaves") if _is_name(dm) else None

    def map_uuid(self, dm: str) -> str | None:
        """Return the device-mapper UUID of `dm-N`: `mpath-` and the WWID for a multipath map."""
        return self._block(dm, "dm/uuid")

    def multipath_maps(self) -> dict[str, MapDevice] | None:
        """Return every multipath map of the kernel by WWID; None when the block devices cannot be listed."""
        devices = self._names("block")
        if devices is None:
            return None
        maps = {}
        for dm in devices:
            uuid = self.map_uuid(dm) if dm.startswith("dm-") else None
            if uuid is not None and uuid.startswith("mpath-"):
                name = self._block(dm, "dm/name")
                maps[uuid.removeprefix("mpath-")] = MapDevice(dm, name and unmangled(name), self.map_slaves(dm))
        return maps

    def _current(self, device: str, link: str, now: float) -> _Known:
        before = self._known.get(device)
        if before is not None and before.link == link and now < before.read_again:
            return before
        port = self._port(device, link)
        if before is not None and before.link == link:
            port = _completed(port, before.port)
        return _Known(link, port, now + (_KEEP_SECONDS if _is_complete(port) else _RETRY_SECONDS))

    def _port(self, device: str, link: str) -> Port:
        if _NVME.fullmatch(device):
            return self._nvme(device)
        parents = link.split("/")
        hctl = next((part for part in reversed(parents) if _HCTL.fullmatch(part)), None)
        host = f"host{hctl.partition(':')[0]}" if hctl else ""
        transport, parent = _by_parent(parents)
        initiator = target = None
        if transport == "fc":
            initiator = self._class("fc_host", host, "port_name")
            target = self._class("fc_remote_ports", parent, "port_name")
        elif transport == "iscsi":
            initiator = self._class("iscsi_host", host, "ipaddress")
            target = self._iscsi_portal(parent)
        elif transport == "sas":
            initiator = self._sas_initiator(parents)
            target = self._class("sas_device", parent, "sas_address")
        elif device.startswith("loop"):
            transport = "loop"
        elif transport is None and hctl is not None:
            return self._by_attribute(device, host, hctl)
        return Port(transport, initiator, target, hctl)

    def _by_attribute(self, device: str, host: str, hctl: str) -> Port:
        if self._names(f"class/srp_host/{host}") is not None:
            initiator = self._class("scsi_host", host, "sgid")
            return Port("srp", initiator, self._class("scsi_host", host, "dgid"), hctl)
        address = self._block(device, "device/sas_address")  # RAID controllers that hide their end devices
        return Port("sas" if address else None, None, address, hctl)

    def _iscsi_portal(self, session: str) -> str | None:
        iqn = self._class("iscsi_session", session, "targetname")
        connection = f"connection{session.removeprefix('session')}:0"
        address = self._class("iscsi_connection", connection, "persistent_address")
        port = self._class("iscsi_connection", connection, "persistent_port")
        return f"{iqn}@{_endpoint(address, port)}" if iqn and address and port else None

    def _sas_initiator(self, parents: list[str]) -> str | None:
        # The host's port is the first one below the host; its phys stand beside what is attached to it.
        port = next((depth for depth, part in enumerate(parents) if part.startswith("port-")), None)
        if port is None:
            return None
        link = "/".join(parents[: port + 1])
        beside = self._names(f"block/{link}") or ()
        phys = sorted(name for name in beside if name.startswith("phy-"))
        return self._class("sas_phy", phys[0], "sas_address") if phys else None

    def _nvme(self, device: str) -> Port:
        transport = _NVME_TRANSPORTS.get(self._block(device, "device/transport") or "")
        address = self._block(device, "device/address") or ""
        if transport is None or transport == "nvme-loop":
            return Port(transport)
        if transport == "nvme-pcie":
            return Port(transport, None, address or None)
        fields = dict(field.strip().partition("=")[::2] for field in address.split(","))
        initiator, target = fields.get("host_traddr") or fields.get("src_addr"), fields.get("traddr")
        if transport == "nvme-fc":
            return Port(transport, _wwpn(initiator), _wwpn(target))
        service = fields.get("trsvcid")
        return Port(transport, initiator or None, _endpoint(target, service) if target else None)

    def _device_link(self, device: str) -> str | None:
        if not _is_name(device):
            return None
        try:
            return os.readlink(f"{self._root}/block/{device}")  # noqa: PTH115 - thousands per poll: a Path costs more
        except (OSError, ValueError):
            return None

    def _class(self, kind: str, name: str, attribute: str) -> str | None:
        text = self._text(f"class/{kind}/{name}/{attribute}") if name else None
        return None if text in _NOTHING else text

    def _block(self, device: str, attribute: str) -> str | None:
        return self._text(f"block/{device}/{attribute}") if _is_name(device) else None

    def _text(self, path: str) -> str | None:
        try:
            descriptor = os.open(f"{self._root}/{path}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError):
            return None
        try:
            return _clean(os.read(descriptor, _READ_LIMIT))
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def _names(self, path: str) -> tuple[str, ...] | None:
        try:
            return tuple(sorted(os.listdir(f"{self._root}/{path}")))  # noqa: PTH208 - likewise
        except (OSError, ValueError):
            return None


def _by_parent(parents: list[str]) -> tuple[Transport | None, str]:
    for pattern, transport in _BY_PARENT:
        for part in reversed(parents):
            if pattern.fullmatch(part):
                return transport, part
    return None, ""


def _completed(port: Port, before: Port) -> Port:
    # While a session is down its local address cannot be read: the last one known is still the port it left from.
    return Port(
        port.transport or before.transport,
        port.initiator or before.initiator,
        port.target or before.target,
        port.hctl,
    )


def _is_complete(port: Port) -> bool:
    return port.transport in _WITHOUT_INITIATOR or (port.initiator is not None and port.target is not None)


def _endpoint(address: str | None, port: str | None) -> str:
    host = f"[{address}]" if address and ":" in address else f"{address}"
    return f"{host}:{port}" if port else host


def _wwpn(address: str | None) -> str | None:
    match = _WWPN.search(address or "")
    return match[1] if match else None


def _clean(content: bytes) -> str | None:
    text = content.decode(errors="replace").strip()[:_TEXT_LIMIT]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return text or None


def _is_name(device: str) -> bool:
    return device not in ("", ".", "..") and "/" not in device and "\0" not in device


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20
