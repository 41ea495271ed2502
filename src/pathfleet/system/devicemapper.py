"""Ask device-mapper itself which paths the kernel uses, by way of dmsetup(8).

multipathd's view can differ: after blacklisting an open LUN it shows no paths while the kernel still uses all of them.
"""

from __future__ import annotations

import shutil

from pathfleet.core import dmstatus
from pathfleet.core.dmstatus import KernelPath
from pathfleet.errors import CannotTell
from pathfleet.system.program import NotDone, ended

#: Where dmsetup is on every distribution; a search of PATH would trust the caller's.
SEARCH_PATH = "/sbin:/usr/sbin"

_ARGUMENTS = ("status", "--target", "multipath", "--noflush")
_NO_MAPS = "No devices found"
_MESSAGE_LIMIT = 300


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
        found = await ended(
            program,
            *_ARGUMENTS,
            deadline_seconds=deadline_seconds,
            environment=environment,
            name=f"{program} status",
        )
    except NotDone as error:
        raise CannotTell(str(error)) from error
    if found.code != 0:
        raise _refusal(program, found.code, found.complaint)
    return found.out


def _refusal(program: str, code: int, complaint: str) -> CannotTell:
    said = "; ".join(complaint.split("\n")).strip("; ")[:_MESSAGE_LIMIT] or "nothing"
    if "Permission denied" in complaint:
        return CannotTell(f"{program} status: reading maps from the kernel needs root ({said})", passing=False)
    return CannotTell(f"{program} status ended with {code}, saying: {said} (run it by hand to see whether it lasts)")
