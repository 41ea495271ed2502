"""`pathfleet config apply`: put the cluster's configuration in force on this node, once or as it changes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from pathfleet.agent.apply import Applier
from pathfleet.agent.follow import Follower
from pathfleet.cli import local, logs
from pathfleet.errors import PathfleetError
from pathfleet.settings import Settings
from pathfleet.store import open_store
from pathfleet.system.dropins import ROOT, Files
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.multipathd_unit import MultipathdUnit
from pathfleet.system.notify import Notifier
from pathfleet.system.wwids import Wwids


@click.command("apply")
@click.option("--follow", is_flag=True, help="Keep running: apply what changes, put back what was touched.")
@click.option("--retry", is_flag=True, help="Forget on which nodes this configuration failed, and try it again.")
@click.option("--at-once", is_flag=True, help="Let all nodes apply at once: none waits for a first one to be well.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=ROOT,
    show_default=True,
    help="Where multipathd has its files.",
)
@click.pass_context
def apply(ctx: click.Context, *, follow: bool, retry: bool, at_once: bool, directory: Path) -> None:
    """Put the cluster's configuration in force on this node. Needs root.

    One node of the cluster goes first; the others follow when it is well, and stay as they are when it is not. What
    makes multipathd die, hang or lose paths is rolled back.

    Exit code: 0 in force, 69 not in force (the reason is printed), 64 used wrongly.
    """
    if follow and (retry or at_once):
        raise click.UsageError("--retry and --at-once are for one time, without --follow")
    if os.geteuid() != 0:
        raise PathfleetError("multipathd takes a configuration only from root: run this as root")
    current = local.settings(ctx)
    logs.to_stderr(current.log_level)
    follower = follower_of(current, directory)
    if follow:
        asyncio.run(follower.run())
        return
    outcome = asyncio.run(follower.once(retry=retry, at_once=at_once))
    if outcome.error is not None:
        raise PathfleetError(f"node {current.node}: {outcome.error}")
    click.echo(
        f"in force: {outcome.digest}" if outcome.digest else "nothing is configured: nothing of ours is left here"
    )


def follower_of(current: Settings, directory: Path) -> Follower:
    """Return what keeps this node at the configuration; `directory` is where multipathd has its files."""
    state = Path(current.state_directory)
    applier = Applier(
        Multipathd(current.multipathd_socket), MultipathdUnit(), Files(directory, state), Wwids(directory, state)
    )
    store = open_store(current.store_url, node=current.node)
    return Follower(store, applier, notifier=Notifier.from_environment(os.environ))
