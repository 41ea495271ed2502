"""Ask this node's executor, which runs as root, to do something: one task over its unix socket, one reply."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from pathfleet.core import reply
from pathfleet.core.reply import Reply
from pathfleet.core.work import Task
from pathfleet.errors import Malformed, Unreachable
from pathfleet.system.unix_socket import peer_user

R = TypeVar("R")

_REPLY_LIMIT: Final = 32 * 1024 * 1024
#: Beyond the task's own deadline, which the executor keeps by itself: for the way there and back.
_PATIENCE_SECONDS: Final = 5.0


class Executor:
    """The executor that listens at `file`."""

    def __init__(self, file: Path, *, deadline_seconds: float | None = None) -> None:
        self._socket = file
        self._deadline_seconds = deadline_seconds

    async def do(self, task: Task[R]) -> R:
        """Return what a task is answered.

        Raises Unreachable where no executor answers, Malformed, and what the executor says, in its words.
        """
        return reply.answer_in(await self.ask(task), task, None)

    async def ask(self, task: Task[Any]) -> Reply:
        """Return the reply to a task, whatever it says. Raises Unreachable, Malformed."""
        seconds = self._deadline_seconds or task.deadline_seconds + _PATIENCE_SECONDS
        try:
            async with asyncio.timeout(seconds):
                document = await self._exchange(msgspec.json.encode(task))
        except TimeoutError:
            raise Unreachable(
                f"the executor at {self._socket} took the task and did not end it within {seconds:g} s; what it does"
                " is in its log: journalctl -u pathfleet-executor"
            ) from None
        except OSError as error:
            raise Unreachable(
                f"no executor answers at {self._socket} ({error.strerror or error}): this needs root on the node,"
                " which pathfleet-executor has; start it with `systemctl start pathfleet-executor`"
            ) from error
        try:
            return msgspec.json.decode(document, type=Reply)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"what the executor at {self._socket} replies is no reply: {error}") from error

    async def _exchange(self, document: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        try:
            user = peer_user(writer.get_extra_info("socket"))
            if user not in (0, os.geteuid()):
                raise Malformed(f"who listens at {self._socket} is user {user} and not root: that is no executor")
            writer.write(document)
            writer.write_eof()
            await writer.drain()
            said = bytearray()
            while piece := await reader.read(65536):
                said += piece
                if len(said) > _REPLY_LIMIT:
                    raise Malformed(f"the executor at {self._socket} replies with more than {_REPLY_LIMIT} bytes")
            return bytes(said)
        finally:
            writer.close()
