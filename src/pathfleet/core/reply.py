"""How tasks and what becomes of them travel: one JSON document each way, read strictly.

A reply has an `answer` of the task's own kind, or an `error` with a stable word and a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from pathfleet.core.property import BadValue
from pathfleet.core.work import AnyTask, Task
from pathfleet.errors import (
    BadRequest,
    Busy,
    CannotTell,
    Conflict,
    Malformed,
    NeedsRoot,
    NotFound,
    NotInstalled,
    NotRunning,
    PathfleetError,
    Refused,
    StoreError,
    Unreachable,
)

R = TypeVar("R")

#: A task with all its parameters is shorter.
TASK_LIMIT: Final = 64 * 1024


class TaskFailure(Struct, frozen=True):
    """Why a task was not done: a stable word for programs, and a sentence."""

    code: str
    message: str


class Reply(Struct, frozen=True):
    """What becomes of a task: an answer of its own kind, or an error."""

    answer: Any = None
    error: TaskFailure | None = None


_tasks = msgspec.json.Decoder(AnyTask)


def _bad_request(message: str) -> BadRequest:
    return BadRequest({}, message)


_KINDS: Final[dict[str, Callable[[str], PathfleetError]]] = {
    **{
        kind.code: kind
        for kind in (
            Busy, CannotTell, Conflict, Malformed, NeedsRoot, NotFound, NotInstalled, NotRunning, Refused, StoreError,
            Unreachable,
        )
    },
    # which parameter it is does not travel, but in the words
    BadRequest.code: _bad_request,
    BadValue.code: _bad_request,
}  # fmt: skip
_MESSAGE_LIMIT: Final = 2000


def read(document: bytes) -> AnyTask:
    """Return the task of a document. Raises Malformed for what is none."""
    try:
        task: AnyTask = _tasks.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"this is no task: {error}") from error
    return task


def failed(error: PathfleetError) -> Reply:
    """Return the reply that tells of an error."""
    return Reply(error=TaskFailure(error.code, str(error)[:_MESSAGE_LIMIT]))


def answer_in(reply: Reply, task: Task[R], where: str | None) -> R:
    """Return what a task was answered, or raise what came instead; `where` it came from is named in it.

    Raises PathfleetError of the kind that the executor raised; Malformed.
    """
    begin = f"{where}: " if where else ""
    if reply.error is not None:
        kind = _KINDS.get(reply.error.code, PathfleetError)
        raise kind(begin + reply.error.message[:_MESSAGE_LIMIT])
    try:
        answer: R = msgspec.convert(reply.answer, type(task).answer)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Malformed(f"{begin}what the executor answers is no answer to this: {error}") from error
    return answer
