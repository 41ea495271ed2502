"""The executors of all nodes, as the command line reaches them: this node's over its socket, others by the agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from pathfleet.cli import local
from pathfleet.cli.client import Client
from pathfleet.core import reply
from pathfleet.core.reply import Reply
from pathfleet.core.work import Task
from pathfleet.errors import PathfleetError, Unreachable
from pathfleet.settings import Settings
from pathfleet.store import Store, open_store
from pathfleet.system.executor import Executor

R = TypeVar("R")
T = TypeVar("T")

#: For the way to another node and back, beyond what its executor is given.
_WAY_SECONDS = 30.0

#: Of commands that ask every node, and refuse while one is silent.
without_option = click.option(
    "--without", multiple=True, metavar="NODE", help="Leave out a node that is really down, not one that is online."
)


class Executors:
    """`cluster.nodes.Nodes` for a command on the node that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self._node = settings.node
        self._executor = Executor(Path(settings.executor_socket))
        self._client = Client(settings.api_socket_file)

    async def do(self, node: str, task: Task[R]) -> R:
        """Let a node do something. Raises PathfleetError: Unreachable, or what the node's executor says."""
        if node == self._node:
            return await self._executor.do(task)
        errand = {"document": msgspec.json.encode(task).decode()}
        try:
            answer = await self._client.post(
                ("nodes", node, "work"),
                Reply,
                msgspec.json.encode(errand),
                deadline_seconds=task.deadline_seconds + _WAY_SECONDS,
            )
        except Unreachable:
            raise
        except PathfleetError as error:  # the agent here, or the other node's, says why it cannot be asked
            raise Unreachable(str(error)) from error
        return reply.answer_in(answer, task, None)


def in_store(ctx: click.Context, work: Callable[[Store], Awaitable[T]], *, writing: bool = True) -> T:
    """Return what comes of work in the cluster's store, opened for it. Raises StoreError, and what `work` does."""
    current = local.settings(ctx)

    async def run() -> T:
        async with open_store(current.store_url, node=current.node if writing else None) as store:
            return await work(store)

    return asyncio.run(run())
