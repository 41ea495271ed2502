"""Put a configuration in force on this node, watch what multipathd and the maps make of it, and undo what goes wrong.

multipathd cannot be trusted with a file (it may die of it, or spin) nor with its `ok` (it has not read anything
then), so everything is written with a way back, and nothing counts before it was seen to work (specification 5).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from msgspec import Struct

from pathfleet.agent.effect import Daemonlike, Failed, Unit, Watch
from pathfleet.core import aftermath
from pathfleet.core.aftermath import some
from pathfleet.core.health import Verdict
from pathfleet.core.render import DropIns
from pathfleet.core.wanted import Wanted
from pathfleet.errors import CannotTell, NotInstalled, NotRunning, StoreError
from pathfleet.system.disk import DiskTrouble
from pathfleet.system.dropins import Attempt, Files, State
from pathfleet.system.wwids import Wwids

log = logging.getLogger(__name__)

NOT_RUNNING = "written; multipathd is not running, it reads this when it starts: `systemctl start multipathd`"


class Outcome(Struct, frozen=True):
    """How it went. `digest`: what the node has now; `error`: why that is not, or not wholly, what was wanted.

    `stops`: the configuration may be to blame, so no other node is to try it.
    """

    digest: str | None
    error: str | None = None
    stops: bool = False


class Before(Struct, frozen=True):
    """What there was before anything was changed; `pid` None: multipathd does not run."""

    pid: int | None
    verdicts: Mapping[str, Verdict] = {}
    owned: frozenset[str] = frozenset()


class Applier:
    """Applies on one node; one at a time. Everything within 60 s, the time that a lock of the store lasts."""

    def __init__(
        self, multipathd: Daemonlike, unit: Unit, files: Files, wwids: Wwids, *, watch: Watch | None = None
    ) -> None:
        self._multipathd = multipathd
        self._unit = unit
        self._files = files
        self._wwids = wwids
        self._watch = watch or Watch(multipathd)

    async def digest(self) -> str | None:
        """Return the digest of what this node has, None if nothing of ours. Raises DiskTrouble."""
        return (await asyncio.to_thread(self._files.journal)).digest

    async def in_force(self) -> Outcome:
        """Return what this node has, and what is not as it should be with that. Raises DiskTrouble."""
        journal = await asyncio.to_thread(self._files.journal)
        if journal.attempt is not None and journal.attempt.waits is not None:
            return Outcome(journal.digest, journal.attempt.waits)
        return Outcome(journal.digest, journal.in_force.remark if journal.in_force else None)

    async def version(self) -> str | None:
        """Return the version of multipath-tools: what multipathd says, or said last. Raises DiskTrouble."""
        with contextlib.suppress(NotRunning, CannotTell):
            if (version := await self._multipathd.version()) is not None:
                return version
        return (await asyncio.to_thread(self._files.journal)).version

    async def has(self, wanted: Wanted) -> bool:
        """Whether this node has all of it on its disk, seen to work. Raises DiskTrouble."""
        return await asyncio.to_thread(self._has, wanted)

    def _has(self, wanted: Wanted) -> bool:
        journal = self._files.journal()
        state = journal.in_force or State(None)
        return (
            journal.attempt is None
            and (state.digest, state.remark) == (wanted.digest, None)
            and _same(self._files.on_disk(), wanted.drop_ins)
            and self._wwids.allow(wanted.wwids)
        )

    async def accepted(self, wanted: Wanted) -> bool:
        """Whether it was in force here before, so that putting it back needs no trial. Raises DiskTrouble."""
        journal = await asyncio.to_thread(self._files.journal)
        state = journal.in_force
        return state is not None and (state.digest, state.remark) == (wanted.digest, None) and journal.attempt is None

    async def recover(self) -> str | None:
        """Undo a change that was interrupted (by a power cut, say); return what was done, None if nothing was.

        Raises DiskTrouble.
        """
        if not (await asyncio.to_thread(self._files.journal)).interrupted:
            return None
        with self._files.locked():
            attempt = (await asyncio.to_thread(self._files.journal)).attempt
            if attempt is None or attempt.waits:
                return None
            failure = Failed("an apply was interrupted", gone=attempt.daemon_ran and not await self._watch.alive())
            return await self._undo(failure, ran=attempt.daemon_ran)

    async def let_go(self, wanted: Wanted) -> None:
        """Let maps be removed that were in use when we took their LUNs off the list.

        Those that are `wanted` again stay; one that is on the list again, whoever put it there, is forgotten.
        """
        try:
            if not await asyncio.to_thread(self._wwids.leaving):
                return
            with self._files.locked():
                leaving = await asyncio.to_thread(lambda: self._wwids.leaving() - self._wwids.listed())
                stay = await self._watch.remove_maps(leaving - wanted.wwids)
                await asyncio.to_thread(self._wwids.leave, stay | (leaving & wanted.wwids))
        except DiskTrouble as error:
            log.warning("maps-stay reason=%s next=trying-again", error)

    async def apply(self, wanted: Wanted) -> Outcome:
        """Put it in force, or leave the node as it was. Never raises for what it finds on the node."""
        try:
            with self._files.locked():
                return await self._apply(wanted)
        except DiskTrouble as error:
            return Outcome(await self._digest_if_known(), f"not applied: {error}")

    async def _apply(self, wanted: Wanted) -> Outcome:
        if await self.has(wanted):
            return Outcome(wanted.digest)
        try:
            before = await self._before()
        except NotInstalled as error:
            if not self._files.root.exists():
                return Outcome(None, f"not applied: {error}")
            before = Before(None, owned=self._wwids.owned())
        except CannotTell as error:
            return Outcome(await self.digest(), f"not applied, nothing was changed: {error}")
        attempt = Attempt(wanted.digest, daemon_ran=before.pid is not None)
        try:
            await asyncio.to_thread(self._write, wanted, before, attempt, await self.version())
        except DiskTrouble as error:
            done = await self._undo(Failed(f"the files could not be written: {error}"), ran=False)
            return Outcome(await self._digest_if_known(), done)
        if before.pid is None:
            return await asyncio.to_thread(self._let_wait, wanted)
        return await self._put_in_force(wanted, before, before.pid)

    async def _before(self) -> Before:
        owned = await asyncio.to_thread(self._wwids.owned)
        try:
            pid = await self._watch.pid()
            maps = await self._multipathd.maps()
        except NotInstalled:
            raise
        except NotRunning:
            return Before(None, owned=owned)
        return Before(pid, aftermath.verdicts(maps), owned)

    def _write(self, wanted: Wanted, before: Before, attempt: Attempt, version: str | None) -> None:
        if _same(self._files.on_disk(), wanted.drop_ins) and self._waits_for(wanted) and before.pid is None:
            return
        self._files.begin(attempt, before.owned, version=version)
        self._files.write(wanted.drop_ins.baseline, wanted.drop_ins.overrides)
        self._wwids.leave(((self._wwids.leaving() - self._wwids.listed()) | before.owned) - wanted.wwids)
        self._wwids.sync(wanted.wwids)

    def _waits_for(self, wanted: Wanted) -> bool:
        attempt = self._files.journal().attempt
        waits = attempt is not None and attempt.waits is not None and attempt.digest == wanted.digest
        return waits and self._wwids.allow(wanted.wwids)

    def _let_wait(self, wanted: Wanted) -> Outcome:
        """Leave the files to a multipathd that will start; what was in force is kept in case it fails then."""
        if wanted.digest is None:
            self._commit(wanted, None)
            return Outcome(None)
        self._files.note_attempt(Attempt(wanted.digest, waits=NOT_RUNNING))
        return Outcome(wanted.digest, NOT_RUNNING)

    async def _put_in_force(self, wanted: Wanted, before: Before, pid: int) -> Outcome:
        may_go = await asyncio.to_thread(self._wwids.leaving)
        try:
            stay = await self._watch.take_effect(pid, before.verdicts, may_go)
            remark = await self._remark(wanted)
        except Failed as failure:
            error = await self._undo(failure, ran=True, before=before.verdicts)
            return Outcome(await self._digest_if_known(), error, stops=True)
        await asyncio.to_thread(self._wwids.leave, stay)
        await asyncio.to_thread(self._commit, wanted, remark)
        return Outcome(wanted.digest, remark, stops=remark is not None)

    async def _remark(self, wanted: Wanted) -> str | None:
        """Return what another file on this node overrules. Raises Failed if it is multipathd that did not take it."""
        missing = await self._watch.not_in_force(wanted.drop_ins)
        if not missing:
            return None
        later = await asyncio.to_thread(self._files.read_later)
        # of a list nothing can be taken away again
        if refused := [str(each) for each in missing if each.listed or not later]:
            raise Failed(f"multipathd did not take it: {some(refused)}; see `journalctl -u multipathd`")
        return (
            f"applied, but multipathd goes by other values: {some([str(each) for each in missing])}; "
            f"it reads {some(later)} after ours, see `pathfleet config diff`"
        )

    def _commit(self, wanted: Wanted, remark: str | None) -> None:
        if wanted.digest is None:
            self._wwids.forget()
            self._files.forget()
            return
        owned = tuple(sorted(self._wwids.owned()))
        self._files.commit(
            State(wanted.digest, wanted.drop_ins.baseline, wanted.drop_ins.overrides, owned, remark=remark)
        )

    async def _undo(self, failure: Failed, *, ran: bool, before: Mapping[str, Verdict] | None = None) -> str:
        """Bring back what was in force; return in one sentence what failed and what was done about it."""
        try:
            gone = await asyncio.to_thread(self._restore)
        except DiskTrouble as error:
            return f"{failure}; what was in force before could not be brought back: {error}; it is tried again"
        log.warning("apply-undone reason=%s", failure)
        done = f"{failure}; rolled back to what was in force before"
        if ran:
            done += await self._come_back(failure, before or {}, gone)
        await asyncio.to_thread(self._files.give_up)
        return done

    async def _come_back(self, failure: Failed, before: Mapping[str, Verdict], gone: frozenset[str]) -> str:
        try:
            losses = await self._watch.come_back(self._unit, failure, before, gone)
        except (Failed, StoreError) as error:
            return f", but multipathd is not well: {error}; see `systemctl status multipathd`"
        if losses:
            return f", but {some(losses)}: the configuration may not be the cause, look at the paths"
        return ""

    def _restore(self) -> frozenset[str]:
        """Bring the files back; return the LUNs that are no longer allowed."""
        owned = self._wwids.owned()
        state = self._files.restore()
        if state is None:
            self._wwids.forget()
        else:
            self._wwids.sync(state.wwids)
        return owned - self._wwids.owned()

    async def _digest_if_known(self) -> str | None:
        with contextlib.suppress(DiskTrouble):
            return await self.digest()
        return None


def _same(one: DropIns, other: DropIns) -> bool:
    return (one.baseline, one.overrides) == (other.baseline, other.overrides)
