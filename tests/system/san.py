"""A node's sysfs, /proc and /dev with LUNs, made of files."""

from __future__ import annotations

from pathlib import Path

from pathfleet.system.lun import Lun


class Node:
    """What the kernel of a node shows, below a directory."""

    def __init__(self, root: Path) -> None:
        self.sysfs, self.proc, self.dev = root / "sys", root / "proc", root / "dev"
        for directory in ("sys/block", "sys/class/block", "proc/self", "dev/disk/by-id"):
            (root / directory).mkdir(parents=True)
        (self.proc / "self/mountinfo").write_text("")
        (self.proc / "swaps").write_text("Filename Type Size Used Priority\n")
        self.lun = Lun(self.sysfs, self.proc, self.dev)
        self._numbers = 0

    def device(self, name: str, *, size: int = 1 << 30) -> Path:
        """Add a block device."""
        block = self.sysfs / "block" / name
        block.mkdir()
        (block / "holders").mkdir()
        (block / "slaves").mkdir()
        (block / "size").write_text(f"{size // 512}\n")
        self._numbers += 1
        (block / "dev").write_text(f"253:{self._numbers}\n")
        (self.sysfs / "class/block" / name).symlink_to(block)
        (self.dev / name).touch()
        return block

    def disk(self, name: str, *, hctl: str, naa: str | None = None, size: int = 1 << 30) -> Path:
        """Add a SCSI disk."""
        block = self.device(name, size=size)
        scsi = self.sysfs / "devices" / hctl
        scsi.mkdir(parents=True)
        for attribute in ("rescan", "delete"):
            (scsi / attribute).write_text("")
        if naa is not None:
            (scsi / "wwid").write_text(f"naa.{naa}\n")
        (block / "device").symlink_to(scsi)
        return block

    def dm(self, name: str, uuid: str, title: str, *below: str, size: int = 1 << 30) -> Path:
        """Add a device-mapper device on others."""
        block = self.device(name, size=size)
        (block / "dm").mkdir()
        (block / "dm/uuid").write_text(f"{uuid}\n")
        (block / "dm/name").write_text(f"{title}\n")
        for each in below:
            (block / "slaves" / each).touch()
            (self.sysfs / "block" / each / "holders" / name).touch()
        return block

    def map(
        self, wwid: str, *, name: str = "dm-3", paths: tuple[str, ...] = ("sda", "sdb"), size: int = 1 << 30
    ) -> None:
        """Add a map on disks that are there."""
        self.dm(name, f"mpath-{wwid}", wwid, *paths, size=size)
        (self.dev / "disk/by-id" / f"dm-uuid-mpath-{wwid}").symlink_to(self.dev / name)

    def remove(self, name: str) -> None:
        """Take a device away, as the kernel does."""
        block = self.sysfs / "block" / name
        for below in (block / "slaves").iterdir():
            (self.sysfs / "block" / below.name / "holders" / name).unlink()
        block.rename(self.sysfs / f"gone-{name}")
        (self.sysfs / "class/block" / name).unlink()

    def process(self, pid: int, comm: str, device: str) -> None:
        """Add a process that has a device open."""
        descriptors = self.proc / str(pid) / "fd"
        descriptors.mkdir(parents=True)
        (descriptors / "7").symlink_to(f"/dev/{device}")
        (self.proc / str(pid) / "comm").write_text(f"{comm}\n")
