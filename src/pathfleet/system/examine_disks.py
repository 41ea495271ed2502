"""Disks that are paths of LUNs: what identifies them, and what sits on them beside their map.

Synchronous, to be called through `to_thread`. What vanishes while it is read is left out, without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pathfleet.core.facts import Disk, Holder
from pathfleet.errors import CannotTell
from pathfleet.system import luns
from pathfleet.system.sysfs import MapDevice, Sysfs

_TEXT_LIMIT = 256
#: SCSI's unit serial number page has a header of four bytes (SPC-4, 7.8.15).
_PAGE_HEADER_BYTES = 4
_MOUNTINFO_FIELDS = 5


def disks(
    sysfs: Path, maps: Mapping[str, MapDevice], targets: Mapping[str, str]
) -> tuple[tuple[Disk, ...] | None, tuple[str, ...]]:
    """Return each disk that has a WWID or is a path of one of `maps`, and why something could not be examined."""
    try:
        wwids = {device: wwid for wwid, devices in luns.by_wwid(sysfs).items() for device in devices}
    except OSError as error:
        return None, (f"{sysfs}/block: {error.strerror or error}",)
    map_of = {device: wwid for wwid, map_ in maps.items() for device in map_.slaves or ()}
    mounts, trouble = _mounts(sysfs.parent)
    reader = _Reader(sysfs, mounts)
    names = sorted({*wwids, *map_of})
    found = [reader.disk(name, wwids.get(name), map_of.get(name), targets.get(name)) for name in names]
    return tuple(found), (trouble,) if trouble else ()


def of_luns(sysfs: Path) -> tuple[Disk, ...]:
    """Return the disks that have a WWID, whether or not they are paths of a map. Raises CannotTell."""
    found, trouble = disks(sysfs, {}, {})
    # without what is mounted, a disk in use would look like a new one
    if found is None or trouble:
        raise CannotTell(f"the disks of this node are not known: {'; '.join(trouble)}")
    return found


class _Reader:
    def __init__(self, sysfs: Path, mounts: Mapping[str, list[str]]) -> None:
        self._block = sysfs / "block"
        self._sysfs = Sysfs(sysfs)
        self._mounts = mounts

    def disk(self, name: str, wwid: str | None, map_: str | None, target: str | None) -> Disk:
        """Return what there is to know of one."""
        directory = self._block / name
        partitions = tuple(sorted(path.parent.name for path in directory.glob(f"{name}*/partition")))
        places = [directory, *(directory / partition for partition in partitions)]
        holders = {holder for place in places for holder in _names(place / "holders")}
        numbers = [number for place in places if (number := _text(place / "dev"))]
        return Disk(
            name,
            wwid,
            map_,
            self._sysfs.size_bytes(name),
            _text(directory / "device/vendor"),
            _text(directory / "device/model"),
            _serial(directory / "device"),
            target,
            partitions,
            tuple(self._holder(holder) for holder in sorted(holders)),
            tuple(mount for number in numbers for mount in self._mounts.get(number, ())),
        )

    def _holder(self, device: str) -> Holder:
        return Holder(device, _text(self._block / device / "dm/name"), _text(self._block / device / "dm/uuid"))


def _mounts(root: Path) -> tuple[dict[str, list[str]], str | None]:
    """Return mount points by device number, of the first process's view where there is one (proc_pid_mountinfo(5))."""
    for name in ("proc/1/mountinfo", "proc/self/mountinfo"):
        try:
            lines = (root / name).read_text("utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            continue
        except OSError:
            # another process's view is its owner's
            continue
        found: dict[str, list[str]] = {}
        for fields in (line.split(" ", _MOUNTINFO_FIELDS) for line in lines):
            if len(fields) == _MOUNTINFO_FIELDS + 1:
                found.setdefault(fields[2], []).append(fields[4])
        return found, None
    trouble = f"{root / 'proc'}: what is mounted cannot be read"
    return {}, trouble if (root / "proc").exists() else None


def _serial(device: Path) -> str | None:
    try:
        with (device / "vpd_pg80").open("rb") as file:
            page = file.read(_TEXT_LIMIT)
    except OSError:
        return _text(device / "serial")
    return _cleaned(page[_PAGE_HEADER_BYTES:])


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return _cleaned(file.read(_TEXT_LIMIT))
    except OSError:
        return None


def _cleaned(content: bytes) -> str | None:
    text = content.decode(errors="replace").strip(" \t\r\n\0")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text) or None


def _names(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except OSError:
        return []
