"""`pathfleet baseline`: how many paths each LUN is accepted to have on this node."""

from __future__ import annotations

import asyncio

import click

from pathfleet.agent.baseline import counts
from pathfleet.cli import local, render
from pathfleet.cli.maps import complete_wwid
from pathfleet.core.node import Daemon
from pathfleet.errors import CannotTell, NotRunning, PathfleetError


@click.group()
def baseline() -> None:
    """Show or accept how many paths each LUN has on this node.

    The number rises by itself; a map with fewer paths than accepted carries the flag below-expected.
    """


@baseline.command("show")
@render.output_option()
@click.pass_context
def show(ctx: click.Context, output: str) -> None:
    """Show the accepted number of paths of each LUN."""
    known = local.baseline(local.settings(ctx)).read()
    render.show(
        {"paths": known},
        output,
        lambda: render.print_table(
            None, ("WWID", "PATHS"), [(wwid, str(number)) for wwid, number in sorted(known.items())]
        ),
    )


@baseline.command("accept")
@click.argument("wwids", nargs=-1, metavar="[WWID]...", shell_complete=complete_wwid)
@click.option(
    "--all", "everything", is_flag=True, help="Accept all maps as they are now, and forget LUNs that are gone."
)
@click.pass_context
def accept(ctx: click.Context, wwids: tuple[str, ...], *, everything: bool) -> None:
    """Accept that these LUNs have as many paths as they have now."""
    if bool(wwids) == everything:
        raise click.UsageError("name the WWIDs to accept, or give --all")
    current = local.settings(ctx)
    snapshot = asyncio.run(local.collector(current).collect())
    if snapshot.daemon is not Daemon.RUNNING:
        kind = NotRunning if snapshot.daemon is Daemon.NOT_RUNNING else CannotTell
        raise kind(f"nothing is accepted now: {snapshot.reason}")
    seen = counts(snapshot.verdicts)
    unknown = [wwid for wwid in wwids if wwid not in seen]
    if unknown:
        raise PathfleetError(f"no map with paths has the WWID {', '.join(unknown)}; nothing was changed")
    accepted = seen if everything else {wwid: seen[wwid] for wwid in wwids}
    local.baseline(current).accept(accepted, forget_others=everything)
    for wwid, number in sorted(accepted.items()):
        click.echo(f"accepted: {wwid} has {number} path(s)")
