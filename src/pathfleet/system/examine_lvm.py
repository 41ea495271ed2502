"""LVM's own view of the node, by its lvm.conf as it is: what it looks at, what it would activate, what it leaves out.

Reads only, and takes no lock (`--readonly`, lvm(8)). Needs root. Fields are those of lvmreport(7).
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from pathfleet.core.facts import Lvm, LvmDevice, LvmGroup
from pathfleet.errors import CannotTell
from pathfleet.system.lvm import SEARCH_PATH
from pathfleet.system.program import Ended, NotDone, Runner

_DEADLINE_SECONDS = 3.0
_ENVIRONMENT = {"LC_ALL": "C", "PATH": SEARCH_PATH, "LVM_SUPPRESS_FD_WARNINGS": "1"}
_REPORT = ("--readonly", "--binary", "--reportformat", "json")
#: `log/verbose` is there since without any lvm.conf LVM prints nothing.
_SETTINGS = ("lvmconfig", "--type", "full", "--config", "log/verbose=0")
_SETTING = re.compile(r"^\s*(multipath_component_detection|global_filter|filter)=(.*)$", re.MULTILINE)
_PATTERN = re.compile(r'"((?:[^"\\]|\\.)*)"')
_UNKNOWN_FIELD = "Unrecognised field"


async def view(run: Runner, lvm: Path | None = None) -> tuple[Lvm | None, str | None]:
    """Return what LVM (of the node, or at `lvm`) says, or why it was not asked; neither where it is not installed."""
    program = str(lvm) if lvm else shutil.which("lvm", path=SEARCH_PATH)
    if program is None:
        return None, None
    if os.geteuid() != 0 and lvm is None:
        return None, "only root may ask LVM; run this as root, or let `pathfleet executor` run"
    try:
        devices, groups, settings = await asyncio.gather(
            _devices(run, program), _groups(run, program), _asked(run, program, *_SETTINGS)
        )
    except CannotTell as error:
        return None, str(error)
    said = dict(_SETTING.findall(settings.out))
    detection = said.get("multipath_component_detection")
    filters = [pattern for name in ("global_filter", "filter") for pattern in _PATTERN.findall(said.get(name, ""))]
    return Lvm(devices, groups, None if detection is None else detection == "1", tuple(filters)), None


class _Row(Struct, frozen=True):
    pv_name: str = ""
    pv_uuid: str = ""
    vg_name: str = ""
    pv_duplicate: str = ""
    vg_autoactivation: str | None = None
    lv_name: str = ""
    lv_autoactivation: str | None = None


class _Part(Struct, frozen=True):
    pv: Sequence[_Row] = ()
    vg: Sequence[_Row] = ()


class _Document(Struct, frozen=True):
    report: Sequence[_Part] = ()


async def _devices(run: Runner, program: str) -> tuple[LvmDevice, ...]:
    ended = await _asked(run, program, "pvs", "--all", *_REPORT, "-o", "pv_name,pv_uuid,vg_name,pv_duplicate")
    return tuple(
        LvmDevice(_kernel_name(row.pv_name), row.pv_uuid or None, row.vg_name or None, row.pv_duplicate == "1")
        for part in _read(ended).report
        for row in part.pv
        if row.pv_name.startswith("/dev/")
    )


async def _groups(run: Runner, program: str) -> tuple[LvmGroup, ...]:
    ended = await _asked(run, program, "vgs", *_REPORT, "-o", "vg_name,vg_autoactivation,lv_name,lv_autoactivation")
    if _UNKNOWN_FIELD in ended.complaint:  # before 2.03.12
        ended = await _asked(run, program, "vgs", *_REPORT, "-o", "vg_name,lv_name")
    volumes: dict[str, list[str]] = {}
    of_group: dict[str, bool | None] = {}
    for row in (row for part in _read(ended).report for row in part.vg):
        of_group[row.vg_name] = None if row.vg_autoactivation is None else row.vg_autoactivation != "0"
        names = volumes.setdefault(row.vg_name, [])
        if row.lv_name and row.lv_autoactivation != "0":
            names.append(row.lv_name)
    return tuple(LvmGroup(name, of_group[name], tuple(names)) for name, names in sorted(volumes.items()))


async def _asked(run: Runner, program: str, *arguments: str) -> Ended:
    """Raises CannotTell."""
    try:
        return await run(program, *arguments, deadline_seconds=_DEADLINE_SECONDS, environment=_ENVIRONMENT)
    except NotDone as error:
        raise CannotTell(f"LVM gives no answer: {error}") from error


def _read(ended: Ended) -> _Document:
    # it ends with 5 also where it has said all but for one device, of which it complains
    try:
        return msgspec.json.decode(ended.out, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CannotTell(f"LVM ended with {ended.code}, saying: {ended.said}") from error


def _kernel_name(device: str) -> str:
    """Return what the kernel calls a device node: `sda`, `dm-3`."""
    return os.path.basename(os.path.realpath(device))  # noqa: PTH119 - a name, not a place
