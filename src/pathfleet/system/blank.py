"""Whether a block device is empty, as far as anybody can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pathfleet.errors import CannotTell
from pathfleet.system import program
from pathfleet.system.lvm import run_tool
from pathfleet.system.program import Runner
from pathfleet.system.waiting import waited

_READ_SECONDS: Final = 15.0
_FIRST_BYTES: Final = 1024 * 1024


async def data_on(device: Path, *, run: Runner = program.ended, first: int = _FIRST_BYTES) -> str | None:
    """Return what is on a block device, None if it is empty as far as anybody can tell. Raises CannotTell.

    Looked for: partition tables and every signature that blkid(8) and wipefs(8) know, and any byte in the first MiB.
    """
    probed = await run_tool(run, "blkid", "--probe", "--output", "export", str(device), seconds=_READ_SECONDS)
    if probed.code == 8:
        return "signatures of more than one kind (`wipefs` lists them)"
    if probed.code not in (0, 2):
        raise CannotTell(f"`blkid --probe {device}` ended with {probed.code}, saying: {probed.said}")
    words = dict(line.partition("=")[::2] for line in probed.out.splitlines())
    if found := words.get("TYPE") or words.get("PTTYPE"):
        return f"{'a partition table' if 'TYPE' not in words else 'a signature'} ({found[:40]})"
    wiped = await run_tool(
        run, "wipefs", "--no-act", "--noheadings", "--parsable", "--output", "TYPE", str(device), seconds=_READ_SECONDS
    )
    if wiped.code != 0:
        raise CannotTell(f"`wipefs --no-act {device}` ended with {wiped.code}, saying: {wiped.said}")
    if types := wiped.out.split():
        return f"a signature ({types[0][:40]})"
    return None if await _is_zero(device, first) else "data without a signature in its first MiB"


async def _is_zero(device: Path, length: int) -> bool:
    def look() -> bool:
        with device.open("rb", buffering=0) as file:
            return not any(file.read(length) or b"")

    try:
        return await waited(str(device), look, seconds=_READ_SECONDS)
    except OSError as error:
        raise CannotTell(f"{device} cannot be read: {error.strerror}") from error
