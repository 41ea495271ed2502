"""`pathfleet status`: the matrix of the whole cluster."""

from __future__ import annotations

import asyncio
import time

import click

from pathfleet.cli import local, one_line, render
from pathfleet.cli.following import until_interrupted
from pathfleet.cli.overview import Choice, overview
from pathfleet.cluster import live
from pathfleet.core.matrix import Document
from pathfleet.errors import PathfleetError
from pathfleet.settings import Settings
from pathfleet.store import open_store


@click.command()
@click.option("--all", "everything", is_flag=True, help="Show every LUN and every node, however many there are.")
@click.option("--problems", is_flag=True, help="Show only LUNs and nodes with something to look at.")
@click.option(
    "--watch", "watching", is_flag=True, help="Go on, and show every change within a second; ends at Ctrl-C."
)
@click.option(
    "--one-line", "is_plugin", is_flag=True, help="One line for monitoring, with a Nagios plug-in's exit code."
)
@render.output_option()
@click.pass_context
def status(
    ctx: click.Context, output: str, *, everything: bool, problems: bool, watching: bool, is_plugin: bool
) -> None:
    """Show the cluster: every LUN on every node, the worst first; every node; and what is wrong in words.

    Reads the store; any node answers, and none needs an agent of its own. Where there are many LUNs or nodes, those
    that are well are counted instead of shown.

    Exit code: 0, or 69 when the store cannot be read. With --one-line: 0 OK, 1 WARNING (degraded, or flagged), 2
    CRITICAL (failed, missing), 3 UNKNOWN (unknown, a node that does not report, the store not readable).
    """
    if (everything and problems) or (is_plugin and (watching or everything or problems)):
        raise click.UsageError("--all, --problems and --one-line exclude each other, and --one-line --watch")
    if output != "table" and (watching or is_plugin):
        raise click.UsageError("--watch and --one-line have one form; `pathfleet events -o json` follows as JSON")
    if is_plugin:
        _answer_monitoring(ctx)
    current = local.settings(ctx)
    choice = Choice(everything, problems)
    if watching:
        from pathfleet.cli.watch import watch  # noqa: PLC0415 - only here

        until_interrupted(watch(open_store(current.store_url), choice))
        return
    found = asyncio.run(look(current))
    render.show(found, output, lambda: render.print_lines(overview(found, choice, render.terminal_width())))


async def look(current: Settings) -> Document:
    """Return the matrix as the store has it now. Raises StoreError."""
    async with open_store(current.store_url) as store:
        return await live.look(store, time.time())


def _answer_monitoring(ctx: click.Context) -> None:
    """Print the one line and end; whatever is the matter, monitoring gets a word that it knows."""
    try:
        verdict = one_line.verdict(asyncio.run(look(local.settings(ctx))))
    except PathfleetError as error:
        verdict = one_line.unreadable(str(error))
    render.print_line(verdict.line)
    ctx.exit(verdict.code)
