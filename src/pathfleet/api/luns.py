"""A LUN grows, or goes, on all nodes in order (specification section 6); what has begun ends, whoever listens.

No lock of the store is held meanwhile: it ends with its lease, and work in the midst of its steps with it. One agent
does one at a time to a LUN. Two agents do no harm: every step may be done again, and is checked where it is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from msgspec import Meta, Struct

from pathfleet.api.operation import Call, operation
from pathfleet.api.work import Executors
from pathfleet.cluster import outlook
from pathfleet.cluster.access import Role
from pathfleet.cluster.grow import Grown, grow
from pathfleet.cluster.nodes import Step, Tell
from pathfleet.cluster.outlook import Outlook
from pathfleet.cluster.retire import Retired, retire
from pathfleet.core.volumes import Wwid
from pathfleet.errors import Busy, PathfleetError

log = logging.getLogger(__name__)

R = TypeVar("R")

Names = Annotated[tuple[str, ...], Meta(max_length=100, description="Nodes to leave out: those that are really down.")]
DryRun = Annotated[bool, Meta(description="Change nothing, only tell what would be done, and who uses the LUN.")]


class Growing(Struct, frozen=True, rename="kebab", forbid_unknown_fields=True):
    """How a LUN is to grow."""

    without: Names = ()
    dry_run: DryRun = False


class Retiring(Struct, frozen=True, rename="kebab", forbid_unknown_fields=True):
    """How a LUN is to go. `force`: also where a volume group with volumes lies on it."""

    without: Names = ()
    force: bool = False
    dry_run: DryRun = False


class GrowCourse(Struct, frozen=True, rename="kebab"):
    """What was done, step by step, and what came of it; of a dry run, only the `outlook`."""

    steps: list[Step]
    result: Grown | None = None
    outlook: Outlook | None = None


class RetireCourse(Struct, frozen=True, rename="kebab"):
    """What was done, step by step, and what came of it; of a dry run, only the `outlook`."""

    steps: list[Step]
    result: Retired | None = None
    outlook: Outlook | None = None


class Halted(PathfleetError):
    """Work on a LUN that ended with an error, whose code and status it keeps; `errors["steps"]` is what was done."""

    def __init__(self, error: PathfleetError, steps: list[Step]) -> None:
        super().__init__(str(error))
        self.code = error.code
        self.status = error.status
        told = {"steps": "\n".join(map(_line, steps))} if steps else {}
        self.errors: dict[str, str] = getattr(error, "errors", {}) | told


@operation(
    "POST",
    "/cluster/multipath/wwid/{wwid}/grow",
    needs=Role.OPERATOR,
    summary="Let a LUN grow on every node, as it did on the array",
    tag="storage",
)
async def grow_lun(call: Call, wwid: Wwid, body: Growing) -> GrowCourse:
    """Rescan the paths, resize the maps, then LVM's disk. An error tells in `errors.steps` what was done before."""
    store, nodes, here = call.service.store, Executors(call), call.service.node
    if body.dry_run:
        seen = await outlook.of_growing(store, nodes, wwid, first=here, without=body.without)
        return GrowCourse([], outlook=seen)
    steps, grown = await _to_its_end(
        call, "grow", wwid, lambda tell: grow(store, nodes, wwid, tell, first=here, without=body.without)
    )
    return GrowCourse(steps, grown)


@operation(
    "POST",
    "/cluster/multipath/wwid/{wwid}/retire",
    needs=Role.ADMIN,
    summary="Take a LUN out of use on every node",
    tag="storage",
)
async def retire_lun(call: Call, wwid: Wwid, body: Retiring) -> RetireCourse:
    """Flush its maps, delete its paths, allow it no longer; refused while anybody uses it.

    An error tells in `errors.steps` what was done before.
    """
    store, nodes = call.service.store, Executors(call)
    if body.dry_run:
        seen = await outlook.of_retiring(store, nodes, wwid, without=body.without, force=body.force)
        return RetireCourse([], outlook=seen)
    steps, retired = await _to_its_end(
        call, "retire", wwid, lambda tell: retire(store, nodes, wwid, tell, without=body.without, force=body.force)
    )
    return RetireCourse(steps, retired)


async def _to_its_end(call: Call, what: str, wwid: str, do: Callable[[Tell], Awaitable[R]]) -> tuple[list[Step], R]:
    """Do it, also when nobody waits for it any longer. Raises Busy where it is under way already; Halted."""
    under_way = call.service.under_way
    if wwid in under_way:
        raise Busy(
            f"LUN {wwid} is being grown or retired by way of node {call.service.node} already: wait for its end"
        )
    steps: list[Step] = []

    async def done() -> R:
        try:
            result = await do(steps.append)
        except PathfleetError as error:
            log.warning("lun-halted work=%s wwid=%s steps=%d error=%s", what, wwid, len(steps), error)
            raise Halted(error, steps) from error
        finally:
            under_way.pop(wwid, None)
        log.info("lun-done work=%s wwid=%s steps=%d", what, wwid, len(steps))
        return result

    task = asyncio.create_task(done(), name=f"{what} {wwid}")
    under_way[wwid] = task
    task.add_done_callback(_heard)
    return steps, await asyncio.shield(task)


def _heard(task: asyncio.Task[object]) -> None:
    """Take notice of an error that nobody waits for any longer: it is in the log."""
    if not task.cancelled():
        task.exception()


def _line(step: Step) -> str:
    where = f"{step.node}: " if step.node else "cluster: "
    return f"{'FAILED ' if step.failed else ''}{where}{' '.join(step.what.split())}"


OPERATIONS = (grow_lun, retire_lun)
