"""The nodes of the cluster, each with an executor for what needs root there, and what is told of work on many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Final, Protocol, TypeVar

from msgspec import Struct

from pathfleet.core.storagechange import Unfit
from pathfleet.core.work import Task
from pathfleet.errors import PathfleetError, Unreachable
from pathfleet.store import Store

R = TypeVar("R")

#: So many nodes are asked at a time.
_AT_ONCE: Final = 16


class Nodes(Protocol):
    """The executors of all nodes."""

    async def do(self, node: str, task: Task[R]) -> R:
        """Let a node do something. Raises PathfleetError: Unreachable, or what the node's executor says."""


class Step(Struct, frozen=True, rename="kebab"):
    """Something that was done, or was not, on a node (None: in the store)."""

    node: str | None
    what: str
    failed: bool = False


Tell = Callable[[Step], None]


class Stopped(PathfleetError):
    """Work on several nodes came to a halt. What was done stays; the same again goes on from there."""

    code = "stopped"
    status = 409


class Silent(Unreachable):
    """Nodes did not answer a question on which a change depends; `errors` says why, by node."""

    code = "silent-nodes"

    def __init__(self, message: str, errors: Mapping[str, PathfleetError]) -> None:
        super().__init__(message)
        self.errors = {node: str(error) for node, error in errors.items()}


async def names(store: Store, without: Collection[str] = ()) -> list[str]:
    """Return the nodes of the cluster but those left out.

    Raises Unfit for one that is none, for one that is online, and where nobody is left to be asked; StoreError.
    """
    known = (await store.members()).nodes
    for name in without:
        if name not in known:
            raise Unfit({"without": f"there is no node {name!r}; there are: {', '.join(sorted(known)) or 'none'}"})
        # its executor may be down while a guest on it writes to the LUN
        if known[name].online:
            raise Unfit(
                {
                    "without": f"node {name} is online: it cannot be left out; mend its executor or its API (see"
                    " `systemctl status pathfleet-agent pathfleet-executor` there), or if it went down just now, wait"
                    " until it is offline"
                }
            )
    if not (left := sorted({*known} - {*without})):
        raise Unfit({"without": "no node is left to ask who uses the LUN"})
    return left


async def ask(nodes: Nodes, where: Iterable[str], task: Task[R]) -> tuple[dict[str, R], dict[str, PathfleetError]]:
    """Let several nodes do the same at once; return what they answered, and why others did not."""
    return await asked(where, lambda node: nodes.do(node, task))


async def asked(
    where: Iterable[str], question: Callable[[str], Awaitable[R]]
) -> tuple[dict[str, R], dict[str, PathfleetError]]:
    """Ask several nodes, many at a time; return what they answered, and why others did not."""
    gate = asyncio.Semaphore(_AT_ONCE)
    answers: dict[str, R] = {}
    errors: dict[str, PathfleetError] = {}

    async def one(node: str) -> None:
        try:
            async with gate:
                answers[node] = await question(node)
        except PathfleetError as error:
            errors[node] = error

    wanted = list(where)
    for ended in await asyncio.gather(*map(one, wanted), return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended
    return {node: answers[node] for node in wanted if node in answers}, errors


def refuse_silent(what: str, errors: Mapping[str, PathfleetError]) -> None:
    """Raise Silent where nodes did not answer a question on which a change depends."""
    if errors:
        told = "; ".join(f"node {node}: {error}" for node, error in errors.items())
        why = f"nobody can tell {what}; nothing was changed, leave out a node that is really down with --without"
        raise Silent(f"{why}: {told}", errors)


def stop(what: str, errors: dict[str, PathfleetError], tell: Tell) -> Stopped:
    """Tell which nodes failed and why, and return the error that says so."""
    for node, error in errors.items():
        tell(Step(node, f"{what}: {error}", failed=True))
    said = "; ".join(f"node {node}: {error}" for node, error in errors.items())
    return Stopped(
        f"{what} failed: {said}. What was done stays done; put that right and run the same again, or leave out a node"
        " that is really down with --without"
    )
