"""Let multipathd read its configuration, and watch until it works by it, or is seen not to.

Every wait has an end; forward and back together they take less than the 60 s that a lock of the store lasts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Protocol

from msgspec import Struct

from pathfleet.core import aftermath, drift
from pathfleet.core.aftermath import some
from pathfleet.core.drift import Difference
from pathfleet.core.health import Verdict
from pathfleet.core.maps import Map
from pathfleet.core.render import DropIns
from pathfleet.errors import CannotTell, NeedsRoot, NotRunning, PathfleetError
from pathfleet.system.multipathd import DaemonState

log = logging.getLogger(__name__)


class Daemonlike(Protocol):
    """What is asked of multipathd, or of a simulated one. All raise NotRunning or CannotTell."""

    async def maps(self) -> tuple[Map, ...]:
        """Return all maps."""

    async def version(self) -> str | None:
        """Return the version of multipath-tools."""

    async def state(self, *, deadline_seconds: float = ...) -> DaemonState:
        """Return what it is doing."""

    async def reconfigure(self) -> None:
        """Let it read its configuration again."""

    async def remove_map(self, name: str) -> bool:
        """Let it remove a map that nobody uses; return whether it did."""

    async def effective(self) -> str:
        """Return the configuration in force."""


class Unit(Protocol):
    """Who runs multipathd. Both raise StoreError."""

    async def start(self) -> None:
        """Start it where it does not run."""

    async def kill(self) -> None:
        """End it at once."""


class Failed(PathfleetError):
    """A configuration did not work out. `gone`: multipathd died; `hung`: it lives and gets nowhere."""

    code = "apply-failed"

    def __init__(self, reason: str, *, gone: bool = False, hung: bool = False) -> None:
        super().__init__(reason)
        self.gone = gone
        self.hung = hung


class Timing(Struct, frozen=True):
    """How long is waited, in seconds.

    `configured`: for multipathd to be done. `steady`: it must have been done for so long, since it answers `ok`
    before it begins, and dies of some values only at its next look at the paths, a second later. `settled`: for the
    maps to be as good as before. `back`: for all of the way back. `ask`: for one answer to what it is doing.
    `removed`: for all maps that may go, out of the time of `configured`.
    """

    configured: float = 30.0
    steady: float = 1.5
    settled: float = 6.0
    back: float = 18.0
    ask: float = 2.0
    removed: float = 6.0
    pause: float = 0.25


class Watch:
    """Watches one multipathd."""

    def __init__(self, multipathd: Daemonlike, timing: Timing | None = None) -> None:
        self._multipathd = multipathd
        self._timing = timing or Timing()
        self._told: tuple[str, ...] = ()

    async def alive(self) -> bool:
        """Whether it runs, be it that it answers or not."""
        try:
            await self.pid()
        except NotRunning:
            return False
        except CannotTell:
            return True
        return True

    async def pid(self) -> int:
        """Return its process. Raises NotRunning or CannotTell."""
        return (await self._multipathd.state(deadline_seconds=self._timing.ask)).pid

    async def take_effect(self, pid: int, before: Mapping[str, Verdict], may_go: Collection[str]) -> frozenset[str]:
        """Return when the process `pid` works by its files and no map is worse than before. Raises Failed.

        `may_go`: LUNs that are no longer allowed. Their maps are removed where nobody uses them, before the files
        are read, so that what else on this node still wants one gets it back. Returned are those whose maps stay.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + self._timing.configured
        stay = await self.remove_maps(may_go)
        await self._reconfigure()
        await self._configured(pid, end - clock())
        losses = await self._losses(before, may_go)
        # asked last of all: what it dies of, it may die of late
        await self._configured(pid, self._timing.configured / 10, steady=0)
        if losses:
            raise Failed(f"maps got worse: {some(losses)}")
        return stay

    async def not_in_force(self, drop_ins: DropIns) -> tuple[Difference, ...]:
        """Return which values of the drop-ins multipathd did not take. Raises Failed."""
        try:
            effective = await self._multipathd.effective()
        except (NotRunning, CannotTell) as error:
            raise Failed(f"nobody can tell what is in force: {error}", gone=isinstance(error, NotRunning)) from error
        return tuple(each for each in drift.not_taken(drop_ins, effective) if each.proven)

    async def come_back(
        self, unit: Unit, failure: Failed, before: Mapping[str, Verdict], may_go: Collection[str]
    ) -> tuple[str, ...]:
        """Let multipathd work by the files of before; return which maps are worse all the same.

        One that died is started, one that hangs is ended first. Raises Failed, StoreError.
        """
        try:
            async with asyncio.timeout(self._timing.back):
                if failure.hung:
                    await unit.kill()
                if failure.hung or failure.gone:
                    await unit.start()
                await self._works_again(unit, may_go)
                return await self._losses(before, ())
        except TimeoutError:
            raise Failed(f"it did not come back within {self._timing.back:g} s") from None

    async def _works_again(self, unit: Unit, may_go: Collection[str]) -> None:
        """Return when it works by its files; the caller bounds the time."""
        while True:
            try:
                pid = await self._answering()
                await self.remove_maps(may_go)
                await self._reconfigure()
                return await self._configured(pid, self._timing.back)
            except Failed as error:
                # systemd may have started it in between, with the files that end it
                if not error.gone:
                    raise
            await unit.start()

    async def remove_maps(self, wwids: Collection[str]) -> frozenset[str]:
        """Let multipathd remove the maps of LUNs; return the LUNs whose maps stay, or of which nobody can tell.

        None is removed that has no usable path: what waits in it would be lost.
        """
        if not wwids:
            return frozenset()
        try:
            maps = {map_.uuid: map_ for map_ in await self._multipathd.maps() if map_.uuid in wwids}
        except (NotRunning, CannotTell) as error:
            self._tell(f"reason={error}")  # what is wrong shows in the next steps
            return frozenset(wwids)
        pathless = {wwid for wwid, verdict in aftermath.verdicts(maps.values()).items() if not verdict.active}
        names = {wwid: map_.name for wwid, map_ in maps.items()}
        refused, why = await self._removed({wwid: name for wwid, name in names.items() if wwid not in pathless})
        told = [f"names={_listed(names, refused)} reason={why}"] if refused else []
        if pathless:
            told.append(
                f"names={_listed(names, pathless)} reason=they have no usable path, so what waits in them could not be"
                " written out; bring a path back, then they are removed"
            )
        self._tell(*told)
        return frozenset(refused | pathless)

    async def _removed(self, names: Mapping[str, str]) -> tuple[set[str], str]:
        """Let maps be removed, named by WWID; return those that stay, and why."""
        stay, why = set(names), "they are in use"
        try:
            async with asyncio.timeout(self._timing.removed):
                for wwid, name in sorted(names.items(), key=lambda each: each[1]):
                    if await self._multipathd.remove_map(name):
                        stay.remove(wwid)
        except TimeoutError:
            why = f"multipathd took more than {self._timing.removed:g} s"
        except (NotRunning, CannotTell) as error:
            why = str(error)
        return stay, why

    def _tell(self, *why: str) -> None:
        """Log why maps stay, where it is not what was said last: they are tried again and again."""
        if why != self._told:
            self._told = why
            for each in why:
                log.warning("maps-stay %s next=trying-again", each)

    async def _reconfigure(self) -> None:
        """Tell it to; whether it took it shows in what it does next. Raises Failed."""
        try:
            await self._multipathd.reconfigure()
        except NeedsRoot as error:
            raise Failed(f"{error}") from error
        except NotRunning as error:
            raise Failed(f"multipathd ended before it read its configuration: {error}", gone=True) from error
        except CannotTell as error:
            log.debug("reconfigure-unanswered reason=%s", error)

    async def _answering(self) -> int:
        while True:
            try:
                return await self.pid()
            except (NotRunning, CannotTell):
                await asyncio.sleep(self._timing.pause)

    async def _configured(self, pid: int, seconds: float, *, steady: float | None = None) -> None:
        """Return when the process has been done for a while. Raises Failed: it died, hangs, or took too long."""
        clock = asyncio.get_running_loop().time
        end, steady = clock() + seconds, self._timing.steady if steady is None else steady
        since: float | None = None
        while True:
            found = await self._look(pid)
            since = None if found is not True else since or clock()
            if since is not None and clock() - since >= steady:
                return
            if clock() > end:
                # one that spins may still answer what needs no lock, such as this question
                raise Failed(_late(found, seconds), hung=True)
            await asyncio.sleep(self._timing.pause)

    async def _look(self, pid: int) -> bool | CannotTell:
        """Return whether the process is done, or why nobody can tell. Raises Failed if it is no more."""
        try:
            state = await self._state()
        except NotRunning as error:
            raise Failed(f"multipathd ended with this configuration: {error}", gone=True) from error
        except CannotTell as error:
            return error
        if state.pid != pid:
            raise Failed(
                f"multipathd ended with this configuration and was started again (process {state.pid})", gone=True
            )
        return state.configured

    async def _state(self) -> DaemonState:
        try:
            return await self._multipathd.state(deadline_seconds=self._timing.ask)
        except NotRunning:
            await asyncio.sleep(self._timing.pause)  # not seen once is not dead
        return await self._multipathd.state(deadline_seconds=self._timing.ask)

    async def _losses(self, before: Mapping[str, Verdict], may_go: Collection[str]) -> tuple[str, ...]:
        """Return what maps lost and did not get back within a while. Raises Failed if nobody can tell."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._timing.settled
        while True:
            try:
                now = aftermath.verdicts(await self._multipathd.maps())
                losses, trouble = aftermath.worse(before, now, may_go=may_go), None
            except (NotRunning, CannotTell) as error:
                losses, trouble = (
                    (),
                    Failed(
                        f"nobody can tell how the maps are: {error}",
                        gone=isinstance(error, NotRunning),
                        hung=isinstance(error, CannotTell),
                    ),
                )
            if (not trouble and not losses) or clock() > end:
                break
            await asyncio.sleep(self._timing.pause)
        if trouble:
            raise trouble
        return losses


def _listed(names: Mapping[str, str], wwids: Collection[str]) -> str:
    return ",".join(sorted(names[wwid] for wwid in wwids))


def _late(found: bool | CannotTell, seconds: float) -> str:
    why = f"it answers nothing: {found}" if isinstance(found, CannotTell) else "it is still busy with it"
    return f"multipathd had not read its configuration after {seconds:.3g} s: {why}"
