"""A LUN on this node below multipathd: its map and path devices in sysfs, who uses them, rescanning and deleting them.

Synchronous, to be called in threads: `rescan` and `delete` wait for the array, so they need one of their own
(system.waiting). Nothing here talks to multipathd, and nothing takes a map away: only multipathd does that, which
knows whether it may.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from pathfleet.core import volumes
from pathfleet.core.dmstatus import unmangled
from pathfleet.core.work import Holder, PathSeen
from pathfleet.errors import Busy, CannotTell
from pathfleet.system import luns

_SECTOR_BYTES: Final = 512
_HCTL: Final = re.compile(r"[0-9]+:[0-9]+:[0-9]+:[0-9]+")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_DEPTH: Final = 8
#: What opening a disk that does not answer, or goes away, ends with, once it is sure that nobody has it for himself.
_SILENT: Final = (errno.ENXIO, errno.ENODEV, errno.EIO, errno.ENOMEDIUM)


class FoundMap(Struct, frozen=True):
    """A map as the kernel has it: `dm-N`, its name, bytes, path devices."""

    device: str
    name: str
    size: int | None
    paths: tuple[PathSeen, ...]


class Lun:
    """What this node's kernel has of LUNs. `sysfs`, `proc` and `dev` are where those are mounted."""

    def __init__(self, sysfs: Path = Path("/sys"), proc: Path = Path("/proc"), dev: Path = Path("/dev")) -> None:
        self._sysfs = sysfs
        self._block = sysfs / "block"
        #: Where partitions are, too.
        self._all = sysfs / "class/block"
        self._proc = proc
        self._dev = dev

    def find(self, wwid: str) -> FoundMap | None:
        """Return a LUN's map, None if the kernel has none. Raises CannotTell where sysfs cannot be read."""
        try:
            devices = sorted(device.name for device in self._block.iterdir() if device.name.startswith("dm-"))
        except OSError as error:
            raise CannotTell(f"{self._block} cannot be read: {error.strerror}") from error
        for device in devices:
            if self._text(device, "dm/uuid") == f"mpath-{wwid}":
                slaves = self._names(device, "slaves")
                name = self._text(device, "dm/name") or wwid
                return FoundMap(device, name, self._size(device), tuple(self.path(slave) for slave in slaves))
        return None

    def node(self, device: str) -> Path:
        """Return the device node of `dm-N`."""
        return self._dev / device

    def number(self, device: str) -> tuple[str, str]:
        """Return the major and minor number of a device. Raises CannotTell."""
        major, colon, minor = (self._text(device, "dev") or "").partition(":")
        if not (colon and major.isdigit() and minor.isdigit()):
            raise CannotTell(f"{self._all / device / 'dev'} does not tell the number of {device}; is it still there?")
        return major, minor

    def link(self, wwid: str, device: str) -> bool:
        """Whether udev has the map's name by its WWID, and it leads to this device."""
        link = self._dev / volumes.map_path(wwid).removeprefix("/dev/")
        return link.resolve().name == device

    def path(self, name: str) -> PathSeen:
        """Return a path device as sysfs has it now."""
        with contextlib.suppress(OSError):
            target = (self._all / name / "device").resolve().name
            return PathSeen(name, target if _HCTL.fullmatch(target) else None, self._size(name))
        return PathSeen(name, None, None)

    def paths_of(self, wwid: str) -> tuple[PathSeen, ...]:
        """Return the devices of which sysfs itself tells that they are this LUN; a map need not hold them."""
        try:
            names = luns.by_wwid(self._sysfs).get(wwid, ())
        except OSError as error:
            raise CannotTell(f"{self._block} cannot be read: {error.strerror}") from error
        return tuple(map(self.path, names))

    def users(self, device: str) -> tuple[Holder, ...]:
        """Return who uses a device, and whatever is built on it, from the kernel's holders to processes."""
        above = {device: device, **self._above(device, _DEPTH)}
        found = [Holder(self._kind(name), title, device) for name, title in above.items() if name != device]
        found += self._mounts(above)
        found += self._swaps(above)
        found += self._processes(above)
        return tuple(found)

    def rescan(self, name: str) -> None:
        """Let the kernel ask the array for the size of a path device. Raises CannotTell if that fails."""
        attribute = "device/rescan_controller" if name.startswith("nvme") else "device/rescan"
        self._write(name, attribute, "rescanned")

    def delete(self, path: PathSeen, wwid: str, *, seen: bool = False) -> str | None:
        """Take a path device away; return why it stays, None if it went. Raises Busy while something holds it.

        It must still be what was named: a name such as sdb may belong to another LUN by now. `seen`: it was a path of
        this LUN's map, which has to do for a device of which sysfs does not tell the WWID.
        """
        if not (self._all / path.device).exists():
            return f"{path.device} was gone already"
        if path.device.startswith("nvme"):
            return f"{path.device} is an NVMe namespace: it goes when the array takes it back"
        hctl = self.path(path.device).hctl
        told = {name: each for each, names in luns.by_wwid(self._sysfs).items() for name in names}.get(path.device)
        if told not in (wwid, None) or hctl != path.hctl or hctl is None:
            return f"{path.device} is not the same device any more (it is {told or hctl}), so it stays"
        if told is None and not seen:
            return (
                f"{path.device} does not say which LUN it is, and was not in a map of it that was flushed here, so it"
                f" stays; if it is the LUN: `echo 1 > /sys/block/{path.device}/device/delete`"
            )
        if users := self.holding(path.device):
            raise Busy(f"path {path.device} is in use: {'; '.join(map(str, users))}; end that first")
        self._refuse_held(path.device)
        self._write(path.device, "device/delete", "deleted")
        return None

    def holding(self, device: str) -> tuple[Holder, ...]:
        """Return who uses a path device that no map holds, or a partition of it. Raises CannotTell.

        What kpartx made on it counts as a device: no map takes that away with itself.
        """
        try:
            entries = [entry.name for entry in (self._all / device).iterdir()]
        except OSError as error:
            raise CannotTell(f"{self._all / device} cannot be read: {error.strerror}; is it still there?") from error
        partitions = sorted(name for name in entries if name.startswith(device))
        found = [user for name in (device, *partitions) for user in self.users(name)]
        return tuple(
            msgspec.structs.replace(user, kind="device") if user.kind == "partition" else user for user in found
        )

    def _refuse_held(self, device: str) -> None:
        """Raise Busy for what the kernel holds without telling in sysfs or /proc, as for ZFS, Btrfs and LIO."""
        try:
            # only one may have it O_EXCL, and a holder in the kernel has it so: open(2), blkdev_get_by_path
            os.close(os.open(self._dev / device, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise Busy(
                    f"path {device} is held by something in the kernel, such as ZFS, Btrfs or an iSCSI target; end"
                    " that first"
                ) from error
            if error.errno not in _SILENT:
                raise CannotTell(
                    f"nobody can tell whether something holds {device}: {self._dev / device}: {error.strerror}"
                ) from error

    def _above(self, device: str, depth: int) -> dict[str, str]:
        """Return what the kernel has built on a device, each with how it is called."""
        found: dict[str, str] = {}
        for name in self._names(device, "holders") if depth else ():
            found[name] = self._title(name)
            found |= self._above(name, depth - 1)
        return found

    def _kind(self, device: str) -> str:
        uuid = self._text(device, "dm/uuid") or ""
        return "volume" if uuid.startswith("LVM-") else "partition" if re.match(r"part\d+-", uuid) else "device"

    def _title(self, device: str) -> str:
        name = self._text(device, "dm/name")
        if name is None:
            return device
        return volumes.volume_of_dm(unmangled(name)) if self._kind(device) == "volume" else unmangled(name)

    def _mounts(self, above: dict[str, str]) -> Iterator[Holder]:
        # proc(5), mountinfo: the device's number is the third field, its name the one after the kind of file system
        by_number = {number: name for name in above if (number := self._text(name, "dev"))}
        for line in self._lines("self/mountinfo"):
            before, _, after = line.partition(" - ")
            fields, source = before.split(), after.split()
            if len(fields) < 5:
                continue
            # Btrfs has a number of its own
            name = by_number.get(fields[2]) or (self._named(source[1]) if len(source) > 1 else None)
            if name in above:
                yield Holder("mount", _unescaped(fields[4]), above[name])

    def _swaps(self, above: dict[str, str]) -> Iterator[Holder]:
        for line in self._lines("swaps"):
            source = line.split()[0] if line.split() else ""
            name = self._named(_unescaped(source))
            if name in above:
                yield Holder("swap", source, above[name])

    def _processes(self, above: dict[str, str]) -> Iterator[Holder]:
        told: set[tuple[str, str]] = set()
        for process in self._proc.glob("[0-9]*"):
            with contextlib.suppress(OSError):
                for descriptor in (process / "fd").iterdir():
                    with contextlib.suppress(OSError):
                        name = self._named(str(descriptor.readlink()))
                        if name in above and (process.name, name) not in told:
                            told.add((process.name, name))
                            comm = (process / "comm").read_text(errors="replace").strip()[:32]
                            yield Holder("process", f"{comm} ({process.name})", above[name])

    def _named(self, source: str) -> str | None:
        """Return the kernel's name of a device node, None if it is something else."""
        if not source.startswith("/dev/"):
            return None
        with contextlib.suppress(OSError, RuntimeError):
            return (self._dev / source.removeprefix("/dev/")).resolve().name
        return None

    def _lines(self, name: str) -> list[str]:
        try:
            return (self._proc / name).read_text("utf-8", errors="replace").splitlines()
        except OSError as error:
            raise CannotTell(f"{self._proc / name} cannot be read, so nobody knows who uses it: {error}") from error

    def _text(self, device: str, attribute: str) -> str | None:
        with contextlib.suppress(OSError):
            return (self._all / device / attribute).read_text("utf-8", errors="replace").strip() or None
        return None

    def _names(self, device: str, attribute: str) -> list[str]:
        try:
            return sorted(entry.name for entry in (self._all / device / attribute).iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CannotTell(f"{self._all / device / attribute} cannot be read: {error.strerror}") from error

    def _size(self, device: str) -> int | None:
        sectors = self._text(device, "size")
        return int(sectors) * _SECTOR_BYTES if sectors and sectors.isascii() and sectors.isdigit() else None

    def _write(self, name: str, attribute: str, done: str) -> None:
        try:
            file = os.open(self._all / name / attribute, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(file, b"1")
            finally:
                os.close(file)
        except OSError as error:
            raise CannotTell(
                f"path {name} cannot be {done}: {error.strerror}; does it answer (`pathfleet maps`)?"
            ) from error


def _unescaped(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)
