"""`pathfleet maps`: this node's maps, asked now."""

from __future__ import annotations

import asyncio

import click
from click.shell_completion import CompletionItem

from pathfleet.cli import document, local, render
from pathfleet.core.answer import Answer, MapRow
from pathfleet.errors import PathfleetError


def complete_wwid(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the WWIDs and aliases of this node that begin like what was typed."""
    try:
        snapshot = asyncio.run(local.collector(local.settings(ctx)).collect())
    except PathfleetError:
        return []
    return [
        CompletionItem(name, help=f"{verdict.health.value} {verdict.active}/{verdict.total}")
        for verdict in snapshot.verdicts
        for name in dict.fromkeys((verdict.map.uuid, verdict.map.name))
        if name.startswith(incomplete)
    ]


@click.command()
@click.argument("wwid", required=False, shell_complete=complete_wwid)
@render.output_option()
@click.pass_context
def maps(ctx: click.Context, wwid: str | None, output: str) -> None:
    """Show this node's multipath maps, worst first.

    With a WWID or an alias: that map with its groups and paths, what their states mean, and what to do. Asks
    multipathd and the kernel now; needs no agent and no root.

    Exit code: 0; 3 when nobody can tell; 4 when multipathd is not running; 69 when there is no such map.
    """
    found = document.answer(asyncio.run(local.collector(local.settings(ctx)).collect()))
    if wwid is None or not found.maps:
        render.show(found, output, lambda: document.print_maps(found))
    else:
        row = _named(found, wwid)
        render.show(row, output, lambda: document.print_map(row))
    if not found.maps:
        ctx.exit(document.exit_code(found))


def _named(found: Answer, name: str) -> MapRow:
    for row in found.maps:
        if name in (row.wwid, row.alias, row.device):
            return row
    raise PathfleetError(f"no map {name!r} on this node; `pathfleet maps` lists them")
