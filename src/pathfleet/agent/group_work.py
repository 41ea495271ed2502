"""What is done to volume groups and volumes on this node's maps, each checked against what is really there."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pathfleet.agent.map_work import MapWork, listed
from pathfleet.core import volumes, work
from pathfleet.core.volumes import LogicalVolume
from pathfleet.core.work import MadeGroup, Zeroed
from pathfleet.errors import Busy, Refused
from pathfleet.system import program
from pathfleet.system.blank import data_on
from pathfleet.system.program import Runner
from pathfleet.system.waiting import waited

_ZERO_SECONDS: Final = 10.0
#: The last piece, and what the array has in its cache, take their time.
_ZEROED_SECONDS: Final = 40.0
_ZERO_BYTES: Final = 64 * 1024 * 1024
#: linux/fs.h: _IO(0x12, 127), with a range of two 64-bit numbers.
_BLKZEROOUT: Final = 0x127F
_RANGE: Final = struct.Struct("=QQ")


def zero_range(file: int, offset: int, length: int) -> None:
    """Let the device write zeros, by itself where it can. Raises OSError."""
    fcntl.ioctl(file, _BLKZEROOUT, _RANGE.pack(offset, length))


class GroupWork:
    """All raise PathfleetError where something is not done, and then nothing was lost."""

    def __init__(
        self, maps: MapWork, *, run: Runner = program.ended, zero: Callable[[int, int, int], None] = zero_range
    ) -> None:
        self._maps = maps
        self._run = run
        self._zero = zero

    async def create_group(self, wwid: str, vgname: str) -> MadeGroup:
        """Make a group on a map that holds nothing, or adopt it where it is there already."""
        lvm = await self._maps.lvm()
        found = await self._maps.found(wwid)
        verdict = await self._maps.verdict(wwid)
        if verdict is None or verdict.active < 2:
            count = verdict.active if verdict else 0
            raise Refused(f"LUN {wwid} has {count} usable paths on this node: a group needs two or more to live on")
        on_it = await lvm.disks(wwid)
        if any(disk.group == vgname for disk in on_it):
            return MadeGroup(await lvm.group(vgname), adopted=True)
        if on_it:
            whose = f"group {on_it[0].group}" if on_it[0].group else "LVM, but no group (`pvremove` frees it)"
            raise Busy(f"LUN {wwid} belongs to {whose}; nothing was changed")
        if users := await self._maps.holders(found.device):
            raise Busy(f"LUN {wwid} is in use: {listed(users)}; nothing was changed")
        path = self._maps.node(found.device)
        if data := await data_on(path, run=self._run):
            raise Busy(
                f"LUN {wwid} holds {data}; nothing was changed. If nobody needs it: `wipefs --all"
                f" {volumes.map_path(wwid)}`, and zeros over its first MiB"
            )
        return MadeGroup(await lvm.create_group(vgname, wwid), adopted=False)

    async def free_volume(self, vgname: str, name: str) -> LogicalVolume:
        """Take a volume from this node, if nobody uses it. Raises Busy, NotFound."""
        lvm = await self._maps.lvm()
        volume = await lvm.volume(vgname, name)
        if volume.active:
            device = (await asyncio.to_thread(Path(volume.path).resolve)).name
            users = await self._maps.holders(device) if device.startswith("dm-") else ()
            if users or volume.open:
                raise Busy(f"volume {vgname}/{name} is in use: {listed(users) or 'it is open'}; end that first")
            await lvm.deactivate(vgname, name)
        return volume

    async def ready_to_zero(self, task: work.ZeroVolume) -> LogicalVolume:
        """Return a volume that is to be overwritten, available here as its group has it now."""
        lvm = await self._maps.lvm()
        volume = await lvm.volume(task.vgname, task.name)
        if task.offset == 0 and volume.active:
            await self.free_volume(task.vgname, task.name)
            volume = await lvm.volume(task.vgname, task.name)
        return volume if volume.active else await lvm.activate(task.vgname, task.name)

    async def zero(self, vgname: str, volume: LogicalVolume, offset: int) -> Zeroed:
        """Overwrite a volume with zeros for some seconds."""
        done = await waited(
            f"group {vgname}", lambda: self._zeros(Path(volume.path), offset, volume.size), seconds=_ZEROED_SECONDS
        )
        return Zeroed(done, volume.size)

    def _zeros(self, path: Path, offset: int, size: int) -> int:
        end = time.monotonic() + _ZERO_SECONDS
        try:
            # O_EXCL: not while anybody has it mounted or built something on it
            file = os.open(path, os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC)
            try:
                while offset < size and time.monotonic() < end:
                    length = min(_ZERO_BYTES, size - offset)
                    self._zero(file, offset, length)
                    offset += length
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise Refused(f"{path} cannot be overwritten at {offset}: {error.strerror}") from error
        return min(offset, size)
