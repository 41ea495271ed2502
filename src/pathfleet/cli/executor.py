"""`pathfleet executor`: the one root process of a node: it applies the configuration, and does what is asked."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
from functools import partial
from pathlib import Path

import click

from pathfleet.agent.executor import Counter, Executor
from pathfleet.agent.follow import Follower
from pathfleet.agent.group_work import GroupWork
from pathfleet.agent.map_work import MapWork
from pathfleet.cli import local, logs
from pathfleet.cli.apply import follower_of
from pathfleet.errors import PathfleetError
from pathfleet.settings import Settings
from pathfleet.system.dropins import ROOT
from pathfleet.system.examine import examine
from pathfleet.system.multipathd import Multipathd

#: The agent's user and group, as packaging/pathfleet.sysusers makes them.
_NAME = "pathfleet"


@click.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=ROOT,
    show_default=True,
    help="Where multipathd has its files.",
)
@click.pass_context
def executor(ctx: click.Context, directory: Path) -> None:
    """Do on this node what needs root, until SIGTERM; the agent and the command line ask for it over a socket.

    Puts the cluster's configuration in force as `config apply --follow` does, instead of which this is run, and takes
    the tasks of `pathfleet storage`: LVM on maps, growing and retiring LUNs. See `executor-socket` in the settings.
    """
    if os.geteuid() != 0:
        raise PathfleetError("maps and volumes are root's: run this as root (packaging/pathfleet-executor.service)")
    current = local.settings(ctx)
    logs.to_stderr(current.log_level)
    asyncio.run(_run(current, follower_of(current, directory)))


async def _run(current: Settings, follower: Follower) -> None:
    multipathd = Multipathd(current.multipathd_socket)
    maps = MapWork(multipathd)
    look = partial(examine, current.node, multipathd=multipathd, sysfs=Path(current.sysfs))
    user, group = _agent()
    counter = Counter(Executor(maps, GroupWork(maps), look), () if user is None else (user,))
    async with counter.open(Path(current.executor_socket), group=group):
        await follower.run()


def _agent() -> tuple[int | None, int | None]:
    """Return the agent's user and group, None for what this node does not have."""
    try:
        user = pwd.getpwnam(_NAME).pw_uid
    except KeyError:
        user = None
    try:
        group = grp.getgrnam(_NAME).gr_gid
    except KeyError:
        group = None
    return user, group
