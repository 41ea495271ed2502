"""`pathfleet storage grow` and `retire`: LUNs that grew on the array, and LUNs that go; on every node, in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
from msgspec import Struct

from pathfleet.cli import local, render
from pathfleet.cli.executors import Executors, in_store, without_option
from pathfleet.cli.maps import complete_wwid
from pathfleet.cluster import grow as growing
from pathfleet.cluster import retire as retiring
from pathfleet.cluster import storage
from pathfleet.cluster.grow import Grown
from pathfleet.cluster.nodes import Step, Tell
from pathfleet.cluster.retire import Retired
from pathfleet.errors import PathfleetError
from pathfleet.store import Store

_EXIT_NOT_DONE = 69


class Course(Struct, frozen=True):
    """What was done, step by step; `error` says why it stopped, `result` what came of it."""

    steps: list[Step]
    result: Grown | Retired | None
    error: str | None


@click.command()
@click.argument("lun", metavar="WWID|STORAGE", shell_complete=complete_wwid)
@without_option
@render.output_option()
@click.pass_context
def grow(ctx: click.Context, lun: str, without: tuple[str, ...], output: str) -> None:
    """Take in the new size of a LUN that grew on the array: on every node its paths, its map, then LVM, once.

    Stops where a node does not see what it should, says which and why, and goes on from there when it is run again.

    Exit code: 0; 69 when it stopped.
    """
    current = local.settings(ctx)
    nodes = Executors(current)

    async def work(store: Store, tell: Tell) -> Grown:
        wwid = await storage.lun_named(store, nodes, lun, current.node)
        return await growing.grow(store, nodes, wwid, tell, first=current.node, without=without)

    _follow(ctx, work, output, lambda done: f"LUN {done.wwid} has {render.size(done.size)} on {', '.join(done.nodes)}")


@click.command()
@click.argument("wwid", shell_complete=complete_wwid)
@click.option(
    "--force", is_flag=True, help="Also where a volume group with volumes, or of a storage, is on it; it stays."
)
@without_option
@render.output_option()
@click.pass_context
def retire(ctx: click.Context, wwid: str, *, force: bool, without: tuple[str, ...], output: str) -> None:
    """Take a LUN out of use on every node: its maps are flushed, its paths are deleted, it is allowed no longer.

    Refused while anything uses it, which is named, and while a node has no path to it. Its data is not touched.

    Exit code: 0; 69 when it was refused or stopped.
    """
    nodes = Executors(local.settings(ctx))

    async def work(store: Store, tell: Tell) -> Retired:
        return await retiring.retire(store, nodes, wwid, tell, without=without, force=force)

    _follow(ctx, work, output, _retired)


def _retired(done: Retired) -> str:
    remarks = "".join(f"\nremark: {remark}" for remark in done.remarks)
    return f"LUN {done.wwid} is gone from {', '.join(done.nodes)}: unmap it on the array now{remarks}"


G = TypeVar("G", Grown, Retired)


def _follow(
    ctx: click.Context, work: Callable[[Store, Tell], Awaitable[G]], output: str, sentence: Callable[[G], str]
) -> None:
    """Do the work, showing each step as it is done, or all of them as one document."""
    steps: list[Step] = []

    def tell(step: Step) -> None:
        steps.append(step)
        if output == "table":
            where = f"{step.node}: " if step.node else "cluster: "
            render.print_line(f"{'FAILED ' if step.failed else ''}{where}{step.what}")

    try:
        result = in_store(ctx, lambda store: work(store, tell))
    except PathfleetError as error:
        if output == "table":
            raise
        render.show(Course(steps, None, str(error)), output, lambda: None)
        ctx.exit(_EXIT_NOT_DONE)

    def print_result() -> None:
        for line in sentence(result).split("\n"):
            render.print_line(line)

    render.show(Course(steps, result, None), output, print_result)
