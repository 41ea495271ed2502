"""The disks of this node by the WWID that multipath would give them, whether or not a map holds them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_DISK = re.compile(r"sd[a-z]+|nvme[0-9]+n[0-9]+")
#: What udev's ID_SERIAL is for a SCSI disk with an NAA name: its type, 3, before the digits.
_NAA = re.compile(r"naa\.([0-9a-fA-F]{16}|[0-9a-fA-F]{32})")
_EUI = re.compile(r"eui\.([0-9a-fA-F]{16}|[0-9a-fA-F]{24}|[0-9a-fA-F]{32})")
_NVME = re.compile(r"(?:eui|nvme|uuid)\.[!-~]{1,120}")


def by_wwid(sysfs: Path) -> dict[str, tuple[str, ...]]:
    """Return the names of the disks of each LUN. Disks whose WWID sysfs does not tell (old SCSI, ATA) are left out.

    Where `uid_attribute` is not multipath's own, the WWID may be another one. Raises OSError if there is no sysfs.
    """
    found: dict[str, list[str]] = {}
    for name, wwid in _wwids(sysfs):
        found.setdefault(wwid, []).append(name)
    return {wwid: tuple(names) for wwid, names in sorted(found.items())}


def _wwids(sysfs: Path) -> Iterator[tuple[str, str]]:
    for device in sorted((sysfs / "block").iterdir()):
        if not _DISK.fullmatch(device.name):
            continue
        nvme = device.name.startswith("nvme")
        try:
            text = (device / ("wwid" if nvme else "device/wwid")).read_text("ascii", errors="replace").strip()
        except OSError:
            continue
        wwid = (text if _NVME.fullmatch(text) else None) if nvme else _scsi(text)
        if wwid is not None:
            yield device.name, wwid


def _scsi(text: str) -> str | None:
    if naa := _NAA.fullmatch(text):
        return f"3{naa[1].lower()}"
    eui = _EUI.fullmatch(text)
    return f"2{eui[1].lower()}" if eui else None
