"""`pathfleet agent`: the daemon of this node, and its API beside it."""

from __future__ import annotations

import asyncio
import os

import click

from pathfleet.agent.collect import Snapshot
from pathfleet.agent.loop import Agent, summary
from pathfleet.cli import document, local, logs
from pathfleet.errors import StoreError
from pathfleet.member import Member
from pathfleet.settings import Settings
from pathfleet.store import open_store
from pathfleet.system.notify import Notifier
from pathfleet.system.uevents import Uevents


@click.command()
@click.option("--once", is_flag=True, help="Collect and publish once, say what was found, and end.")
@click.pass_context
def agent(ctx: click.Context, *, once: bool) -> None:
    """Watch this node's maps and publish their health to the cluster's store.

    Wakes on the kernel's uevents and every 10 seconds; ends on SIGTERM. Only reads: needs no root, but a state
    directory that it may write (see `state-directory` in the settings). Serves the API of this node (see `api-listen`
    in the settings).

    Exit code with --once: as `inspect`; 4 when multipathd is not running; 69 when the store took no report.
    """
    current = local.settings(ctx)
    logs.to_stderr(current.log_level)
    if not once:
        asyncio.run(_run(current))
        return
    snapshot, published = asyncio.run(_once(current))
    click.echo(summary(snapshot))
    if not published:
        raise StoreError(f"{current.store_url} did not take the report; the reason is in the log above")
    ctx.exit(document.exit_code(document.answer(snapshot)))


async def _once(current: Settings) -> tuple[Snapshot, bool]:
    store = open_store(current.store_url, node=current.node)
    return await Agent(
        store, local.collector(current), uevents=Uevents, notifier=Notifier.from_environment(os.environ)
    ).once()


async def _run(current: Settings) -> None:
    """Run the agent and its API until a signal ends them."""
    member = Member(current, local.collector(current), uevents=Uevents, notifier=Notifier.from_environment(os.environ))
    await member.prepare()
    await member.agent.run()
