"""What is done to a LUN's map and paths on this node, each checked against what is really there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from pathfleet.core import volumes
from pathfleet.core.health import Facts, Verdict, judge
from pathfleet.core.maps import Map
from pathfleet.core.work import Holder, MapUse, Paths, PathSeen, Sizes
from pathfleet.errors import Busy, CannotTell, NotFound, PathfleetError, Refused
from pathfleet.system import program
from pathfleet.system.lun import FoundMap, Lun
from pathfleet.system.lvm import LVM, run_tool
from pathfleet.system.multipathd import named
from pathfleet.system.program import Runner
from pathfleet.system.waiting import waited

_AGAIN_SECONDS: Final = 0.2
#: What a command of multipathd has changed is seen in the kernel after this at most.
_SETTLE_SECONDS: Final = 10.0
_RESCAN_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 10.0
_DELETE_SECONDS: Final = 20.0
#: So many paths of a LUN are rescanned at once: fewer than may hang.
_AT_ONCE: Final = 8
#: So many LUNs that were flushed are remembered.
_FLUSHED: Final = 64


class Daemonlike(Protocol):
    """The multipathd that is asked, as `system.multipathd.Multipathd` is."""

    async def maps(self) -> tuple[Map, ...]:
        """Return all maps. Raises NotRunning, CannotTell."""

    async def ask(self, command: str) -> bytes:
        """Return the reply to one command. Raises NotRunning, CannotTell."""


class MapWork:
    """All raise PathfleetError where something is not done, and then nothing was lost."""

    def __init__(
        self,
        multipathd: Daemonlike,
        *,
        lun: Lun | None = None,
        lvm: LVM | None = None,
        run: Runner = program.ended,
        settle_seconds: float = _SETTLE_SECONDS,
    ) -> None:
        self._multipathd = multipathd
        self._lun = lun or Lun()
        self._lvm = lvm or LVM()
        self._run = run
        self._settle_seconds = settle_seconds
        self._flushed: dict[str, frozenset[tuple[str, str | None]]] = {}

    async def lvm(self) -> LVM:
        """Return an LVM that does not look at maps without a usable path: it would wait for them for ever."""
        verdicts = [judge(found, Facts()) for found in await self._multipathd.maps()]
        return self._lvm.avoiding(verdict.map.uuid for verdict in verdicts if not verdict.active)

    def node(self, device: str) -> Path:
        """Return the device node of `dm-N`."""
        return self._lun.node(device)

    async def use(self, wwid: str) -> MapUse:
        """Return a LUN's map and who uses it, or its bare paths and who uses those."""
        found = await asyncio.to_thread(self._lun.find, wwid)
        if found is None:
            return await asyncio.to_thread(self._use_of_paths, wwid)
        holders = await self.holders(found.device)
        for group in await self.groups(wwid):
            count = len(await (await self.lvm()).volumes(group))
            kind, name = ("group", f"{group} ({count} volumes)") if count else ("empty-group", group)
            holders += (Holder(kind, name, found.device),)
        verdict = await self.verdict(wwid)
        return MapUse(found.device, found.size, found.paths, verdict.active if verdict else None, holders)

    def _use_of_paths(self, wwid: str) -> MapUse:
        paths = self._lun.paths_of(wwid)
        return MapUse(
            None, paths=paths, holders=tuple(user for path in paths for user in self._lun.holding(path.device))
        )

    async def groups(self, wwid: str) -> tuple[str, ...]:
        """Return the volume groups on a LUN's map."""
        return tuple(sorted({disk.group for disk in await (await self.lvm()).disks(wwid) if disk.group}))

    async def holders(self, device: str) -> tuple[Holder, ...]:
        """Return who uses a device-mapper device; that it is open, if nobody can be named for it."""
        users = await asyncio.to_thread(self._lun.users, device)
        if users:
            return users
        major, minor = await asyncio.to_thread(self._lun.number, device)
        seen = await run_tool(
            self._run, "dmsetup", "info", "--columns", "--noheadings", "-o", "open", "-j", major, "-m", minor,
            seconds=_LOOK_SECONDS,
        )  # fmt: skip
        count = seen.out.strip()
        if seen.code != 0 or not count.isdigit():
            raise CannotTell(f"nobody can tell whether {device} is open: dmsetup says {seen.said}")
        return () if count == "0" else (Holder("opened", f"{count} times, by nobody that can be seen", device),)

    async def verdict(self, wwid: str) -> Verdict | None:
        """Return what a map is worth, None if multipathd has none. Raises NotRunning, CannotTell."""
        for found in await self._multipathd.maps():
            if found.uuid == wwid:
                return judge(found, Facts())
        return None

    async def found(self, wwid: str) -> FoundMap:
        """Return a LUN's map. Raises NotFound."""
        found = await asyncio.to_thread(self._lun.find, wwid)
        if found is None:
            raise NotFound(f"there is no map of LUN {wwid} on this node; `pathfleet maps` shows those that there are")
        return found

    async def rescan(self, wwid: str) -> Paths:
        """Let the kernel ask for the size of every path."""
        found = await self.found(wwid)
        if not found.paths:
            raise Refused(f"the map of LUN {wwid} has no paths: bring one back first")
        names = [path.device for path in found.paths]
        try:
            async with asyncio.timeout(_RESCAN_SECONDS):
                remarks = await self._rescanned(wwid, names)
        except TimeoutError:
            raise CannotTell(
                f"not all of the paths {' '.join(names)} were rescanned within {_RESCAN_SECONDS:g} s: one does not"
                " answer; `pathfleet maps` shows which"
            ) from None
        now = await asyncio.to_thread(lambda: tuple(self._lun.path(path.device) for path in found.paths))
        return Paths(now, remarks)

    async def _rescanned(self, wwid: str, names: list[str]) -> tuple[str, ...]:
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def rescan(name: str) -> str | None:
            async with at_once:
                try:
                    await waited(f"LUN {wwid}", lambda: self._lun.rescan(name), seconds=_RESCAN_SECONDS)
                except PathfleetError as error:
                    return str(error)
            return None

        return tuple(filter(None, await asyncio.gather(*map(rescan, names))))

    async def resize_map(self, wwid: str) -> Sizes:
        """Let a map grow to the one size of all its paths."""
        found = await self.found(wwid)
        sizes = {path.size for path in found.paths}
        if len(sizes) != 1 or None in sizes:
            told = ", ".join(f"{path.device} {path.size or '?'}" for path in found.paths) or "none"
            raise Refused(f"the paths of LUN {wwid} do not show one size ({told}): rescan them, and look at the array")
        (wanted,) = sizes
        if found.size is None or wanted is None or wanted < found.size:
            raise Refused(f"the map of LUN {wwid} has {found.size} bytes and its paths {wanted}: a map never shrinks")
        if wanted > found.size:
            await self._command(f"resize map {named(found.name)}", f"the map of LUN {wwid} does not grow")
            await self._until(lambda: self._size_of(wwid) == wanted, f"the map of LUN {wwid} did not grow to {wanted}")
        return Sizes(found.size, wanted)

    def _size_of(self, wwid: str) -> int | None:
        found = self._lun.find(wwid)
        return found.size if found else None

    async def resize_disk(self, wwid: str) -> Sizes:
        """Let LVM use all of a map; sizes of 0 where it does not use it."""
        await self.found(wwid)
        before = await (await self.lvm()).disks(wwid)
        if not before:
            return Sizes(0, 0)
        await (await self.lvm()).resize_disk(wwid)
        after = await (await self.lvm()).disks(wwid)
        return Sizes(before[0].size, after[0].size if after else before[0].size, before[0].group)

    async def flush(self, wwid: str) -> Paths:
        """Take a map away that nobody uses and that still has a path."""
        found = await asyncio.to_thread(self._lun.find, wwid)
        if found is None:
            return Paths((), (f"there was no map of LUN {wwid}",))
        use = await self.use(wwid)
        if use.users:
            raise Busy(f"LUN {wwid} is in use: {listed(use.users)}; end that first")
        if not use.usable:
            raise Refused(
                f"the map of LUN {wwid} has no usable path, so what waits in it could not be written out: bring a path"
                " back first"
            )
        self._remember(wwid, found.paths)
        await self._command(f"del map {named(found.name)}", f"the map of LUN {wwid} is not taken away")
        await self._until(lambda: self._lun.find(wwid) is None, f"the map of LUN {wwid} is still there")
        return Paths(found.paths)

    def _remember(self, wwid: str, paths: tuple[PathSeen, ...]) -> None:
        self._flushed.pop(wwid, None)
        self._flushed[wwid] = frozenset((path.device, path.hctl) for path in paths)
        if len(self._flushed) > _FLUSHED:
            del self._flushed[next(iter(self._flushed))]

    async def delete_paths(self, wwid: str, named: tuple[PathSeen, ...]) -> Paths:
        """Take path devices away that no map holds; return those that went, and why the others did not."""
        if await asyncio.to_thread(self._lun.find, wwid) is not None:
            raise Busy(f"LUN {wwid} has a map: flush it first")
        known = await asyncio.to_thread(self._lun.paths_of, wwid)
        gone, remarks = [], []
        for path in {path.device: path for path in (*named, *known)}.values():
            remark = await waited(f"LUN {wwid}", partial(self._delete, path, wwid), seconds=_DELETE_SECONDS)
            if remark is None:
                gone.append(path)
            else:
                remarks.append(remark)
        # by the next time, the same name and place may be another LUN
        self._flushed.pop(wwid, None)
        return Paths(tuple(gone), tuple(remarks))

    def _delete(self, path: PathSeen, wwid: str) -> str | None:
        seen = (path.device, path.hctl) in self._flushed.get(wwid, ())
        return self._lun.delete(path, wwid, seen=seen)

    async def wait_for(self, wwid: str, seconds: float) -> MapUse:
        """Wait for a map with a usable path, under its name."""
        end = time.monotonic() + seconds
        while True:
            found = await asyncio.to_thread(self._lun.find, wwid)
            verdict = await self.verdict(wwid) if found else None
            if found and verdict and verdict.active and await asyncio.to_thread(self._lun.link, wwid, found.device):
                return MapUse(found.device, found.size, found.paths, verdict.active)
            if time.monotonic() >= end:
                break
            await asyncio.sleep(_AGAIN_SECONDS)
        lack = (
            "no map of it" if not found else "no usable path" if not (verdict and verdict.active)
            else f"no {volumes.map_path(wwid)}"
        )  # fmt: skip
        raise CannotTell(
            f"LUN {wwid}: after {seconds:g} s there is {lack} on this node; is it allowed (`pathfleet config"
            " lun list`), and does the array show it to this node?"
        )

    async def _command(self, command: str, failure: str) -> None:
        """Let multipathd do something; its answers differ by version, `ok` is the good one."""
        said = (await self._multipathd.ask(command)).decode(errors="replace").strip()
        if "in use" in said:
            raise Busy(f"{failure}: multipathd says it is in use")
        if said not in ("ok", ""):
            raise Refused(f"{failure}: multipathd answers {said[:200]!r} to `{command}`; see its log")

    async def _until(self, holds: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + self._settle_seconds
        while not await asyncio.to_thread(holds):
            if time.monotonic() >= end:
                raise CannotTell(f"{otherwise}, {self._settle_seconds:g} s after multipathd said that it is done")
            await asyncio.sleep(_AGAIN_SECONDS)


def listed(users: tuple[Holder, ...]) -> str:
    """Return who uses something, in a sentence."""
    return "; ".join(map(str, users))
