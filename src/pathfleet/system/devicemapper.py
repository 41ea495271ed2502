"""Ask device-mapper itself which paths the kernel uses, by way of dmsetup(8).

multipathd's view can differ: after blacklisting an open LUN it shows no paths while the kernel still uses all of them.
"""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process

from pathfleet.core import dmstatus
from pathfleet.core.dmstatus import KernelPath
from pathfleet.errors import CannotTell

#: Where dmsetup is on every distribution; a search of PATH would trust the caller's.
SEARCH_PATH = "/sbin:/usr/sbin"

_ARGUMENTS = ("status", "--target", "multipath", "--noflush")
_NO_MAPS = "No devices found"
_MESSAGE_LIMIT = 300
_KILL_SECONDS = 0.5


async def kernel_paths(
    *, deadline_seconds: float = 3.0, search_path: str = SEARCH_PATH
) -> dict[str, tuple[KernelPath, ...]]:
    """Return the kernel's paths of every multipath map, by the map's name with its mangling undone.

    Needs root. A map that is absent was not understood, or is not there. Raises CannotTell when dmsetup is missing,
    may not ask, fails, is not done within `deadline_seconds`, or says nothing that can be understood.
    """
    program = shutil.which("dmsetup", path=search_path)
    if program is None:
        raise CannotTell(f"no dmsetup in {search_path}: install the package that brings it", passing=False)
    text = await _output(program, deadline_seconds, search_path)
    maps = dmstatus.parse(text)
    if not maps and text.strip() not in ("", _NO_MAPS):
        raise CannotTell(f"{program} status: cannot understand {text[:_MESSAGE_LIMIT]!r}", passing=False)
    return maps


async def _output(program: str, deadline_seconds: float, search_path: str) -> str:
    # A clean environment: dmsetup's answer depends on the locale and on DM_DEFAULT_NAME_MANGLING_MODE.
    environment = {"LC_ALL": "C", "PATH": search_path}
    try:
        process = await asyncio.create_subprocess_exec(
            program, *_ARGUMENTS, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environment
        )
    except OSError as error:
        raise CannotTell(f"cannot run {program}: {error.strerror}") from error
    try:
        async with asyncio.timeout(deadline_seconds):
            out, complaint = await process.communicate()
    except TimeoutError as error:
        raise CannotTell(f"{program} status gave no answer within {deadline_seconds:g} s") from error
    finally:
        await _end(process)
    if process.returncode != 0:
        raise _refusal(program, process.returncode, complaint.decode(errors="replace"))
    return out.decode(errors="replace")


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    process.kill()
    try:
        async with asyncio.timeout(_KILL_SECONDS):
            await process.wait()
    except TimeoutError:
        # In uninterruptible sleep, waiting for the kernel: it ends when the kernel lets it, and is reaped then.
        return


def _refusal(program: str, returncode: int | None, complaint: str) -> CannotTell:
    said = "; ".join(complaint.split("\n")).strip("; ")[:_MESSAGE_LIMIT] or "nothing"
    if "Permission denied" in complaint:
        return CannotTell(f"{program} status: reading maps from the kernel needs root ({said})", passing=False)
    return CannotTell(
        f"{program} status ended with {returncode}, saying: {said} (run it by hand to see whether it lasts)"
    )
