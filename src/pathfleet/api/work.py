"""What needs root on a node, handed to its executor; of another node, by way of its API."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from pathfleet.api.operation import Call, operation
from pathfleet.cluster.access import Role
from pathfleet.core import reply
from pathfleet.core.reply import Reply
from pathfleet.core.work import GROWING, Task
from pathfleet.errors import Forbidden, Malformed, Unreachable

R = TypeVar("R")

#: For the way there and back, beyond what the executor is given.
_WAY_SECONDS = 20.0


class Errand(Struct, frozen=True, forbid_unknown_fields=True):
    """A task for a node's executor: its JSON, as a text. A form, too, has room for that."""

    document: Annotated[str, Meta(max_length=reply.TASK_LIMIT)]


@operation(
    "POST", "/nodes/{node}/work", needs=Role.OPERATOR, summary="Let a node's executor do a task", tag="internal"
)
async def errand(call: Call, node: str, body: Errand) -> Reply:
    """Return the executor's reply: an answer of the task's own kind, or why it is not done. Between nodes.

    An operator's tasks are those that take nothing away.
    """
    try:
        task = reply.read(body.document.encode(errors="replace"))
    except Malformed as error:
        return reply.failed(error)
    if not isinstance(task, GROWING) and not call.principal.role.includes(Role.ADMIN):
        raise Forbidden(f"the role {call.principal.role} lets things grow; what this task does needs the role admin")
    return await _reply(call, node, task)


class Executors:
    """The executors of all nodes, for one request and in the role of who made it: `cluster.nodes.Nodes`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def do(self, node: str, task: Task[R]) -> R:
        """Let a node do something. Raises PathfleetError."""
        own = node == self._call.service.node
        return reply.answer_in(await _reply(self._call, node, task), task, None if own else f"node {node}")


async def _reply(call: Call, node: str, task: Task[Any]) -> Reply:
    service = call.service
    if node == service.node:
        return await service.executor.ask(task)
    if call.principal.is_node:
        raise Unreachable(
            f"this is node {service.node}, not {node}: the address that node {node} published leads here"
        )
    return await service.peers.post(
        node,
        ("nodes", node, "work"),
        Reply,
        content=msgspec.json.encode(Errand(msgspec.json.encode(task).decode())),
        role=call.principal.role,
        deadline_seconds=task.deadline_seconds + _WAY_SECONDS,
    )


OPERATIONS = (errand,)
