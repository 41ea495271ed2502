"""Break and mend a running lab from another process: one JSON question a line on a unix socket, one answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from pathfleet.errors import PathfleetError, SettingsError
from pathfleet.lab import timeline
from pathfleet.lab.faults import inflict, relieve
from pathfleet.lab.san import Applied, San
from pathfleet.system import unix_socket

_LINE_LIMIT = 1 << 20
_DEADLINE_SECONDS = 10.0


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """`do`: show, break, mend, mend-all or run; `text` is a timeline's."""

    do: str
    component: str = ""
    fault: str = "break"
    value: str = ""
    text: str = ""


class Answer(Struct, frozen=True):
    """What the lab has (kind by component name) and what is wrong with it now; or the `error`."""

    components: dict[str, str] = {}
    faults: tuple[Applied, ...] = ()
    error: str | None = None


class Control:
    """Serves the questions about a lab; `changed` is called after each that changed something."""

    def __init__(self, san: San, address: Path, changed: Callable[[], None]) -> None:
        self._san = san
        self._address = address
        self._changed = changed
        self._clients: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve inside this context. Raises SettingsError where the socket cannot be had."""
        with unix_socket.bound("control socket", self._address) as listener:
            server = await asyncio.start_unix_server(self._serve, sock=listener, limit=_LINE_LIMIT)
            try:
                yield
            finally:
                server.close()
                for client in self._clients:
                    client.cancel()
                await asyncio.gather(*self._clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        this = asyncio.current_task()
        assert this is not None  # noqa: S101 - a coroutine runs in a task
        self._clients.add(this)
        try:
            with contextlib.suppress(OSError, TimeoutError, ValueError):
                async with asyncio.timeout(_DEADLINE_SECONDS):
                    answer = self.answer(await reader.readline())
                    writer.write(msgspec.json.encode(answer) + b"\n")
                    await writer.drain()
        finally:
            writer.close()
            self._clients.discard(this)

    def answer(self, line: bytes) -> Answer:
        """Do what a question asks. Never raises for what the question says."""
        try:
            return self.do(msgspec.json.decode(line, type=Question))
        except (PathfleetError, ValueError, RecursionError) as error:
            return Answer(error=str(error))

    def do(self, question: Question) -> Answer:
        """Do what a question asks. Raises SettingsError for what it says, ValueError for its timeline."""
        if question.do != "show":
            self._change(question)
            self._changed()
        return Answer(self._san.components(), tuple(self._san.applied))

    def _change(self, question: Question) -> None:
        match question.do:
            case "break":
                inflict(self._san, question.fault, question.component, question.value)
            case "mend":
                relieve(self._san, question.fault, question.component, question.value)
            case "mend-all":
                self._mend_all()
            case "run":
                timeline.load(question.text).start(self._san)
            case other:
                raise SettingsError(f"a lab cannot {other!r}")

    def _mend_all(self) -> None:
        """End the latest fault first, as it may hide what an earlier one is about."""
        for each in reversed([*self._san.applied]):
            with contextlib.suppress(SettingsError):  # its device is gone, and the fault with it
                relieve(self._san, each.fault, each.component, each.value)
        self._san.applied.clear()


def ask(address: Path, question: Question) -> Answer:
    """Return a running lab's answer. Raises SettingsError: there is none, or it refuses."""
    line = msgspec.json.encode(question) + b"\n"
    if len(line) > _LINE_LIMIT:
        raise SettingsError(f"a lab takes {_LINE_LIMIT} bytes at once; this would be {len(line)}")
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_DEADLINE_SECONDS)
            connection.connect(str(address))
            connection.sendall(line)
            with connection.makefile("rb") as reader:
                answer = msgspec.json.decode(reader.readline(), type=Answer)
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError(
            f"no lab answers at {address} ({error}); start one with `pathfleet demo`, or name its --directory"
        ) from error
    if answer.error is not None:
        raise SettingsError(answer.error)
    return answer
