"""`pathfleet config clear`: nothing is configured any more, and nodes go by their own files again."""

from __future__ import annotations

import click

from pathfleet.cli import render
from pathfleet.cli.config_change import How, carry_out
from pathfleet.cluster import config
from pathfleet.cluster.config import Plan
from pathfleet.store import Store


@click.command()
@click.option("--yes", is_flag=True, help="Do it; without, it only shows what goes.")
@click.option("--force", is_flag=True, help="Also where storages use LUNs of it.")
@click.option("--at-once", is_flag=True, help="Let all nodes do it together, not one first.")
@render.output_option()
@click.pass_context
def clear(ctx: click.Context, *, yes: bool, force: bool, at_once: bool, output: str) -> None:
    """Empty the configuration: its defaults, LUNs and overrides, comments and all.

    Nodes take the drop-ins and the WWIDs that pathfleet added off, and are as they were before. Maps that are open
    stay until they are closed.
    """

    async def prepare(store: Store) -> Plan:
        return await config.plan_clear(store, force=force)

    carry_out(ctx, prepare, How(None, at_once, not yes, output))
    if not yes:
        click.echo("say --yes to do it", err=True)
