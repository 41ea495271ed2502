"""Keep this node at the cluster's configuration: when it changes, when its turn has come, and when files were touched.

A process of its own, as root: the agent that speaks with the network has no right to change anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Mapping
from typing import TypeVar

from msgspec import Struct

from pathfleet import __version__
from pathfleet.agent.apply import Applier, Outcome
from pathfleet.agent.status import Status
from pathfleet.agent.supervise import for_ever, until_signalled
from pathfleet.cluster import rolling
from pathfleet.core import applied, configuration, roll
from pathfleet.core.applied import Applied
from pathfleet.core.roll import Go, Roll, Stopped, Turn, turn
from pathfleet.core.wanted import Wanted, wanted
from pathfleet.core.wire import STALE
from pathfleet.errors import LockBusy, Malformed, Refused, StoreError
from pathfleet.store import Change, Members, Store
from pathfleet.system.disk import DiskTrouble
from pathfleet.system.notify import Notifier

log = logging.getLogger(__name__)

#: How often the drop-ins are looked at; what others wrote is heard of at once. A node that was first and could not
#: try leaves the turn to the others for so long.
CHECK_SECONDS = 30.0
#: A failure that the store did not take, or a turn that was not ours, is tried again after this.
AGAIN_SECONDS = 3.0
#: How long a single apply waits for its turn.
_PATIENCE_SECONDS = 180.0
_LOST = (
    f"the store has no {configuration.FILE}, not even an empty one: it was lost, or this is another store; what is in"
    " force stays; restore it, or let go of it on all nodes: `pathfleet config clear --yes`"
)
_FILES = frozenset((configuration.FILE, configuration.OVERRIDES_FILE, roll.FILE))

T = TypeVar("T")


class Cluster(Struct, frozen=True):
    """What the store says, read for one decision. `configured`: it has a configuration, if only an empty one."""

    members: Members
    configured: bool
    content: bytes
    overrides: bytes
    roll: Roll | None
    values: Mapping[str, Mapping[str, bytes]]

    def applied(self, now: float) -> dict[str, Applied]:
        """Return what each node that is online says now (epoch seconds) of its applying.

        What is malformed says nothing, nor what is old: the node may have died of what it applied.
        """
        said = {}
        for node, values in self.values.items():
            member = self.members.nodes.get(node)
            if applied.KEY in values and member is not None and member.online:
                with contextlib.suppress(Malformed):
                    said[node] = applied.decode(values[applied.KEY])
        return {node: each for node, each in said.items() if abs(now - each.time) <= STALE}


class Passed(Struct, frozen=True):
    """This node was first with `digest` and could not try it; until then (clock of the loop) others may."""

    digest: str | None
    outcome: Outcome
    until: float


class Follower:
    """One node's follower of the cluster's configuration, on a store that is not yet opened."""

    def __init__(self, store: Store, applier: Applier, *, notifier: Notifier | None = None) -> None:
        self._store = store
        self._node = store.node or ""
        self._applier = applier
        self._notifier = notifier or Notifier(None)
        self._status = Status(store)
        self._wake = asyncio.Event()
        self._unnoted: tuple[str | None, str] | None = None
        self._said: tuple[str | None, str | None] | None = None
        self._waiting = False
        self._passed: Passed | None = None

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; an apply that has begun is brought to its end first."""
        await until_signalled(self.serve, self._notifier)

    async def serve(self) -> None:
        """Run until cancelled; trouble with the store is waited for."""
        log.info("apply-starts node=%s version=%s", self._node, __version__)
        await for_ever("apply", self._session, self._troubled)

    def _troubled(self, reasons: str) -> None:
        self._notifier.ready()
        self._notifier.watchdog()
        self._notifier.status(f"in trouble, trying again: {reasons}")
        self._said = None  # so that the end of the trouble is shown, too

    async def _session(self) -> None:
        async with self._store, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._cycles())

    async def _listen(self) -> None:
        async for change in self._store.changes():
            if change == Change() or change.files & _FILES or (self._waiting and change.nodes):
                self._wake.set()

    async def _cycles(self) -> None:
        while True:
            self._wake.clear()
            outcome = await self._cycle()
            self._notifier.ready()
            self._notifier.watchdog()
            self._waiting = outcome is None
            soon = self._waiting or self._unnoted is not None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_SECONDS if soon else CHECK_SECONDS):
                    await self._wake.wait()

    async def once(self, *, retry: bool = False, at_once: bool = False) -> Outcome:
        """Apply now, when the turn of this node comes; say so in the store. Raises StoreError.

        `retry`: what failed with this configuration is forgotten first. `at_once`: no node waits for a first one.
        """
        async with self._store:
            digest = (await self._wanted(await self._read())).digest if retry or at_once else None
            if retry:
                await rolling.retry(self._store, digest, at_once=at_once)
            elif at_once:
                await rolling.begin(self._store, digest, at_once=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    while (outcome := await self._cycle()) is None:
                        log.info("apply-waits reason=another node is the first to apply this")
                        await asyncio.sleep(AGAIN_SECONDS)
                    return outcome
            return await self._as_it_is("another node is still the first to apply this; try again later")

    async def _cycle(self) -> Outcome | None:
        """Do what is to be done now; return how things stand, None while another node is being the first."""
        cluster = await self._read()
        self._status.check(cluster.values.get(self._node, {}))
        outcome = await self._outcome(cluster)
        # who waits speaks, too: silence would pass for an agent that stopped
        await self._say(outcome or await self._in_force())
        return outcome

    async def _outcome(self, cluster: Cluster) -> Outcome | None:
        if not cluster.members.quorate:
            return await self._as_it_is(
                "the cluster has no quorum, its configuration may be out of date; nothing is changed"
            )
        try:
            if (recovered := await self._applier.recover()) is not None:
                log.warning("apply-recovered what=%s", recovered)
            if not cluster.configured and await self._applier.digest() is not None:
                return await self._as_it_is(_LOST)
            plan = await self._wanted(cluster)
            await self._note_failure()
            await self._applier.let_go(plan)
            if await self._applier.has(plan):
                return Outcome(plan.digest)
            if await self._applier.accepted(plan) and not self._failed_here(plan, cluster):
                log.warning("files-put-back reason=they were not as the configuration in force has them")
                return await self._apply(plan)
        except DiskTrouble as error:
            return await self._as_it_is(f"not applied: {error}")
        except Refused as error:
            return await self._as_it_is(str(error))
        return await self._in_turn(plan, cluster)

    async def _in_turn(self, plan: Wanted, cluster: Cluster) -> Outcome | None:
        decision = self._turn(plan, cluster)
        if isinstance(decision, Stopped):
            return await self._as_it_is(decision.reason)
        if isinstance(decision, Go):
            return await self._apply(plan)
        if (passed := self._passed) and passed.digest == plan.digest and self._now() < passed.until:
            return passed.outcome
        try:
            async with self._store.lock(roll.LOCK):
                return await self._first(plan)
        except LockBusy:
            return None

    async def _first(self, plan: Wanted) -> Outcome | None:
        """Apply before all others, if nobody did meanwhile; say how it went while they still wait."""
        cluster = await self._read()
        if await self._wanted(cluster) != plan:
            return None
        decision = self._turn(plan, cluster, first=True)
        if isinstance(decision, Stopped):
            return await self._as_it_is(decision.reason)
        if not isinstance(decision, Go):
            return None
        # a note of ours that is there already: this node may have died of it
        again = cluster.roll is not None and (cluster.roll.digest, cluster.roll.first) == (plan.digest, self._node)
        known_why = self._passed is not None and self._passed.digest == plan.digest
        await rolling.note_first(self._store, plan.digest, self._node)
        outcome = await _to_the_end(self._apply_first(plan, may_pass=known_why or not again))
        await self._say(outcome)
        return outcome

    async def _apply_first(self, plan: Wanted, *, may_pass: bool) -> Outcome:
        """Apply; where this node could not try, through no fault of the configuration, let another one be first."""
        outcome = await self._apply_and_note(plan)
        if outcome.error is None or outcome.stops or not may_pass:
            return outcome
        self._passed = Passed(plan.digest, outcome, self._now() + CHECK_SECONDS)
        try:
            await rolling.give_back(self._store, plan.digest, self._node)
        except StoreError as trouble:
            log.warning("turn-not-given-back error=%s next=trying-again", trouble)
        return outcome

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _turn(self, plan: Wanted, cluster: Cluster, *, first: bool = False) -> Turn:
        if self._unnoted is not None and self._unnoted[0] == plan.digest:
            return Stopped(self._unnoted[1])
        return turn(plan.digest, self._node, cluster.roll, cluster.applied(time.time()), first=first)

    def _failed_here(self, plan: Wanted, cluster: Cluster) -> bool:
        noted = cluster.roll is not None and cluster.roll.digest == plan.digest and self._node in cluster.roll.failed
        return noted or (self._unnoted is not None and self._unnoted[0] == plan.digest)

    async def _apply(self, plan: Wanted) -> Outcome:
        return await _to_the_end(self._apply_and_note(plan))

    async def _apply_and_note(self, plan: Wanted) -> Outcome:
        outcome = await self._applier.apply(plan)
        if outcome.stops and outcome.error is not None:
            self._unnoted = plan.digest, outcome.error
            await self._note_failure()
        return outcome

    async def _note_failure(self) -> None:
        """Stop the others; what the store does not take now it gets at the next cycle."""
        if self._unnoted is None:
            return
        digest, error = self._unnoted
        try:
            await rolling.note_failure(self._store, digest, self._node, error)
        except StoreError as trouble:
            log.warning("failure-not-noted error=%s next=trying-again", trouble)
        else:
            self._unnoted = None

    async def _as_it_is(self, error: str) -> Outcome:
        """Return that nothing is done, and why."""
        try:
            return Outcome(await self._applier.digest(), error)
        except DiskTrouble as trouble:
            return Outcome(None, error if str(trouble) in error else f"{error}; {trouble}")

    async def _in_force(self) -> Outcome:
        """Return what there is while another node is the first."""
        try:
            return await self._applier.in_force()
        except DiskTrouble as trouble:
            return Outcome(None, f"not applied: {trouble}")

    async def _wanted(self, cluster: Cluster) -> Wanted:
        return wanted(cluster.content, cluster.overrides, version=await self._applier.version())

    async def _read(self) -> Cluster:
        store = self._store
        files = [await store.read(name) for name in (configuration.FILE, configuration.OVERRIDES_FILE)]
        content, overrides = [file.content if file else b"" for file in files]
        known = await rolling.read(store)
        members, values = await store.members(), await store.all_values()
        return Cluster(members, any(files), content, overrides, known, values)

    async def _say(self, outcome: Outcome) -> None:
        await self._status.say(outcome.digest, outcome.error)
        if (said := (outcome.digest, outcome.error)) == self._said:
            return
        self._said = said
        level = logging.INFO if outcome.error is None else logging.WARNING
        log.log(level, "applied digest=%s error=%s", outcome.digest, outcome.error)
        self._notifier.status(outcome.error or f"in force: {outcome.digest or 'nothing of ours'}")


async def _to_the_end(work: Coroutine[None, None, T]) -> T:
    """Await it even when cancelled: half an apply is worse than a late end. It has deadlines of its own."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise
