"""LVM on maps: its own commands, which here see nothing but maps by their WWID, and answer in JSON.

A single path is never taken for a disk, whatever the node's lvm.conf says: the filter goes with every command.
lvm.conf(5), lvmreport(7); `--setautoactivation` needs LVM 2.03.12.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
from msgspec import Struct

from pathfleet.core import volumes
from pathfleet.core.volumes import BY_ID, Disk, Group, LogicalVolume
from pathfleet.errors import Busy, CannotTell, NotFound, PathfleetError, Refused
from pathfleet.system import budget, program
from pathfleet.system.program import Ended, NotDone, Runner, StillRunning

#: Where every distribution has LVM and util-linux; a search of PATH would trust the caller's.
SEARCH_PATH: Final = "/usr/sbin:/sbin:/usr/bin:/bin"

#: What a WWID may have in it to stand in LVM's regular expressions as it is, but for the dot.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_:.-]+")
#: LVM's hints, kept by each node for itself, know nothing of a disk that another node made.
_NO_HINTS: Final = 'hints="none"'


def config(avoided: Iterable[str] = (), more: str = "") -> str:
    """Return what is laid over lvm.conf: only maps count, without those `avoided`, and are called by their WWID.

    A list of devices (lvmdevices(8)) would take the filter's place, so there is none.
    """
    patterns = (*_refusing(avoided), _quoted(f"a|^{BY_ID}|"), _quoted("r|.*|"))
    accepted = f"[ {', '.join(patterns)} ]"
    return (
        f"devices {{ use_devicesfile=0 filter={accepted} global_filter={accepted}"
        f' preferred_names=[ "^{BY_ID}" ] multipath_component_detection=1 {more} }}'
    )


def everywhere(avoided: Iterable[str] = ()) -> str:
    """Return what is laid over lvm.conf to look at all disks of the node, but not at maps `avoided`.

    A filter that only refuses leaves the other disks to the node's global_filter. No list of devices: see `config`.
    """
    refused = ", ".join(_refusing(avoided))
    choice = f"use_devicesfile=0 filter=[ {refused} ] " if refused else ""
    return f"devices {{ {choice}{_NO_HINTS} }}"


def _refusing(wwids: Iterable[str]) -> list[str]:
    # brackets: a backslash would have to pass LVM's own quotes first
    return [_quoted(f"r|^{BY_ID}{wwid.replace('.', '[.]')}$|") for wwid in sorted(wwids) if _PLAIN.fullmatch(wwid)]


def _quoted(pattern: str) -> str:
    return f'"{pattern}"'


_READ_SECONDS: Final = 15.0
_CHANGE_SECONDS: Final = 30.0
#: With less, nothing is begun.
_LEAST_SECONDS: Final = 1.0
_ENVIRONMENT: Final = {"LC_ALL": "C", "PATH": SEARCH_PATH, "LVM_SUPPRESS_FD_WARNINGS": "1"}
_ABSENT: Final = re.compile(r"[Nn]ot found|Failed to find")
#: What Proxmox VE gives the metadata of a group.
_METADATA: Final = "250k"


class _Name(Struct):
    vg_name: str


class _Names(Struct):
    vg: tuple[_Name, ...] = ()


class _Groups(Struct):
    report: tuple[_Names, ...]


class LVM:
    """The LVM of this node, on all maps but those of the LUNs `avoided`.

    `run` runs what reads, `change` what changes something. All raise CannotTell where LVM cannot be run or understood,
    StillRunning where it goes on after its deadline, Refused with its own words where it does not do it.
    """

    def __init__(
        self, run: Runner = program.ended, change: Runner = program.patient, *, avoided: Collection[str] = ()
    ) -> None:
        self._run = run
        self._run_change = change
        self._config = config(avoided, _NO_HINTS)
        self._everywhere = everywhere(avoided)
        # vgcreate reads no hints, and lets the node's own LVM commands forget theirs
        self._making = config(avoided)

    def avoiding(self, wwids: Iterable[str]) -> LVM:
        """Return an LVM that does not look at the maps of these LUNs."""
        return LVM(self._run, self._run_change, avoided=frozenset(wwids))

    async def disks(self, wwid: str | None = None) -> tuple[Disk, ...]:
        """Return the physical volumes on maps, or on the map of one LUN: none, if LVM has nothing there."""
        found = volumes.disks(await self._report("pvs", volumes.DISK_FIELDS))
        return tuple(disk for disk in found if wwid is None or disk.wwid == wwid)

    async def group(self, name: str) -> Group:
        """Return a group with its disks. Raises NotFound."""
        found = volumes.groups(await self._report("vgs", volumes.GROUP_FIELDS, name))
        if len(found) != 1:
            raise NotFound(_no_group(name))
        disks = tuple(disk for disk in await self.disks() if disk.group == name)
        return msgspec.structs.replace(found[0], disks=disks)

    async def volumes(self, group: str) -> tuple[LogicalVolume, ...]:
        """Return the volumes of a group. Raises NotFound."""
        return volumes.volumes(await self._report("lvs", volumes.VOLUME_FIELDS, group))

    async def volume(self, group: str, name: str) -> LogicalVolume:
        """Return one volume. Raises NotFound."""
        for volume in await self.volumes(group):
            if volume.name == name:
                return volume
        raise NotFound(f"there is no volume {name!r} in group {group}")

    async def create_group(self, name: str, wwid: str) -> Group:
        """Make a group on a map that was found empty. Raises Busy where the node has one of that name elsewhere."""
        await self._refuse_name_in_use(name)
        path = volumes.map_path(wwid)
        # in one command, so that nothing that ends it leaves half of it
        await self._change(
            "vgcreate", "--metadatasize", _METADATA, "--setautoactivation", "n", name, path, over=self._making
        )
        return await self.group(name)

    async def _refuse_name_in_use(self, name: str) -> None:
        """Look at all disks of the node, not only at maps: two groups of one name are trouble everywhere."""
        done = await run_tool(
            self._run, "lvm", "vgs", "--reportformat", "json", "--config", self._everywhere, "-o", "vg_name",
            seconds=_READ_SECONDS,
        )  # fmt: skip
        names = _group_names(done.out)
        # it also fails where a group is not whole, and tells of that and all others
        if names is None or (done.code != 0 and not names):
            raise CannotTell(
                f"LVM cannot tell whether the name {name} is free, nothing was changed: `vgs` ended with {done.code},"
                f" saying: {done.said}"
            )
        if name in names:
            raise Busy(f"there is a volume group {name} on this node already (`vgs`); choose another name")

    async def create_volume(self, group: str, name: str, size: int, tags: tuple[str, ...] = ()) -> LogicalVolume:
        """Make a volume of at least `size` bytes, without the signatures of what was there before, and not active."""
        if any(volume.name == name for volume in await self.volumes(group)):
            raise Busy(f"there is a volume {name} in group {group} already; choose another name, or free it")
        more = [word for tag in tags for word in ("--addtag", tag)]
        with _leaving(f"volume {group}/{name} may have been made: `pathfleet storage free` removes it", CannotTell):
            await self._change(
                "lvcreate", "--yes", "-aey", "-Wy", "-Zy", "--setautoactivation", "n", *more,
                "--size", f"{size}b", "--name", name, group,
            )  # fmt: skip
        with _leaving(f"volume {group}/{name} is made, and may be active here: `pathfleet storage free` removes it"):
            await self._change("lvchange", "-an", f"{group}/{name}")
            return await self.volume(group, name)

    async def resize_volume(self, group: str, name: str, size: int) -> LogicalVolume:
        """Let a volume grow to at least `size` bytes; it never shrinks."""
        before = await self.volume(group, name)
        if size < before.size:
            raise Refused(f"volume {name} has {before.size} bytes: it can grow, but not shrink to {size}")
        extent = (await self.group(group)).extent
        if -(-size // extent) * extent > before.size:
            await self._change("lvextend", "--size", f"{size}b", f"{group}/{name}")
        return await self.volume(group, name)

    async def rename_volume(self, group: str, name: str, to: str) -> None:
        """Give a volume another name."""
        await self.volume(group, name)
        await self._change("lvrename", group, name, to)

    async def remove_volume(self, group: str, name: str) -> None:
        """Free a volume. Raises NotFound."""
        await self.volume(group, name)
        await self._change("lvremove", "--yes", f"{group}/{name}")

    async def activate(self, group: str, name: str) -> LogicalVolume:
        """Make a volume available here, as large as it is now, also where another node let it grow."""
        await self.volume(group, name)
        await self._change("lvchange", "-aey", f"{group}/{name}")
        await self.refresh(group, name)
        return await self.volume(group, name)

    async def refresh(self, group: str, name: str) -> None:
        """Let an active volume be as the group's metadata has it now."""
        await self._change("lvchange", "--refresh", f"{group}/{name}")

    async def deactivate(self, group: str, name: str) -> None:
        """Take a volume from this node."""
        await self._change("lvchange", "-an", f"{group}/{name}")

    async def resize_disk(self, wwid: str) -> None:
        """Let LVM use all of a map."""
        await self._change("pvresize", volumes.map_path(wwid))

    async def _report(self, command: str, fields: str, *arguments: str) -> str:
        done = await run_tool(
            self._run, "lvm", command, "--reportformat", "json", "--units", "b", "--nosuffix",
            "--config", self._config, "-o", fields, *arguments, seconds=_READ_SECONDS,
        )  # fmt: skip
        if done.code != 0:
            if _ABSENT.search(done.complaint) and arguments:
                raise NotFound(_no_group(arguments[0]))
            raise CannotTell(f"LVM cannot tell: `{command}` ended with {done.code}, saying: {done.said}")
        return done.out

    async def _change(self, command: str, *arguments: str, over: str | None = None) -> None:
        done = await run_tool(
            self._run_change, "lvm", command, "--config", over or self._config, *arguments, seconds=_CHANGE_SECONDS
        )
        if done.code != 0:
            raise Refused(f"LVM does not do it: `{command}` ended with {done.code}, saying: {done.said}")


@contextmanager
def _leaving(remark: str, kind: type[PathfleetError] = PathfleetError) -> Iterator[None]:
    """Let an error of this kind say what it leaves behind."""
    try:
        yield
    except StillRunning as error:
        raise StillRunning(f"{error}; {remark}", error.end) from error
    except kind as error:
        raise CannotTell(f"{error}; {remark}") from error


async def run_tool(run: Runner, name: str, *arguments: str, seconds: float) -> Ended:
    """Run a program of the system in a clean environment, within what the task has left of its time.

    Raises CannotTell where it cannot be run, or hangs.
    """
    what = f"{name} {arguments[0] if arguments else ''}".rstrip()
    if (left := budget.left(seconds)) < min(seconds, _LEAST_SECONDS):
        raise CannotTell(f"`{what}` did not begin, since the time of the whole task is over; try again")
    try:
        return await run(name, *arguments, deadline_seconds=left, environment=_ENVIRONMENT)
    except StillRunning as error:
        raise StillRunning(
            f"`{what}` still runs, since the LUN does not answer; it ends when that does", error.end
        ) from error
    except NotDone as error:
        raise CannotTell(f"`{what}`: {error}; is it installed, and does the LUN answer?") from error


def _group_names(text: str) -> frozenset[str] | None:
    try:
        parts = msgspec.json.decode(text, type=_Groups).report
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    return frozenset(row.vg_name for part in parts for row in part.vg)


def _no_group(name: str) -> str:
    return (
        f"there is no volume group {name} on the maps of this node: is its LUN here (`pathfleet maps`), with a map and"
        " not on a single path?"
    )
