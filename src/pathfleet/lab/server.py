"""multipathd's socket, for one simulated host: framing, limits and deadlines of the real one, and its misbehaviour."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path

from pathfleet.errors import SettingsError
from pathfleet.lab.commands import Commands
from pathfleet.lab.daemon import Daemon
from pathfleet.system.unix_socket import peer_user

_LENGTH = struct.Struct("@N")
#: Limits of multipathd itself (uxlsnr.c): a command with its NUL, clients that wait to be taken.
COMMAND_LIMIT, BACKLOG = 512, 10
_PIECES_AT_ONCE = 64


class Manner(StrEnum):
    """How the daemon treats its clients."""

    ANSWERS = "answers"
    HANGS = "hangs"  # takes the question and never answers
    DEAF = "deaf"  # does not even take the connection
    SLOW = "slow"  # answers late
    BUSY = "busy"  # answers `timeout`
    CUTS = "cuts"  # stops in the middle of a reply
    CLOSES = "closes"  # closes the connection unanswered


class Server:
    """Serves a daemon at `address` (a path, or `@NAME` for an abstract socket) while it is alive."""

    def __init__(self, daemon: Daemon, address: str) -> None:
        self.address = address
        self.manner = Manner.ANSWERS
        #: How late a slow daemon answers, in real seconds.
        self.slow_seconds = 3.0
        self._daemon = daemon
        self._commands = Commands(daemon)
        self._serving = False
        self._listener: socket.socket | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._accepting = False

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve inside this context. Raises SettingsError where the socket cannot be had."""
        self._serving = True
        self.follow()
        try:
            yield
        finally:
            self._serving = False
            self._close()
            await asyncio.gather(*self._clients, return_exceptions=True)
            _unlink(self.address)

    def follow(self) -> None:
        """Listen, or not, as the daemon lives; take clients, or not, as its manner is."""
        if not self._daemon.alive:
            self._close()
        if not self._daemon.alive or not self._serving:
            return
        self._listener = self._listener or _listen(self.address)
        if self.manner is Manner.DEAF:
            self._stop_accepting()
        elif not self._accepting:
            self._accepting = True
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def behave(self, manner: Manner) -> None:
        """Treat clients in this manner from now on."""
        self.manner = manner
        self.follow()

    def _close(self) -> None:
        """Be gone, as after the end of a process: the pathname stays, nobody listens."""
        self._stop_accepting()
        for client in self._clients:
            if client is not asyncio.current_task():  # who ends the daemon by command still gets its answer
                client.cancel()
        if self._listener:
            self._listener.close()
            self._listener = None

    def _stop_accepting(self) -> None:
        if self._accepting and self._listener:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._accepting = False

    def _accept(self, listener: socket.socket) -> None:
        """Take a client. No coroutine: cancelled, `sock_accept` may lose one, and meets a listener that is closed."""
        try:
            connection, _ = listener.accept()
        except OSError:  # who waited has left
            return
        connection.setblocking(False)
        client = asyncio.create_task(self._serve(connection))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)
        client.add_done_callback(lambda _: connection.close())  # also where it was cancelled before it began

    async def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            reader, writer = await asyncio.open_connection(sock=connection)
            uid = _uid_of(writer)
            try:
                while self._daemon.alive and (line := await self._question(reader)) is not None:
                    await self._reply(line, uid, writer)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _question(self, reader: asyncio.StreamReader) -> str | None:
        """Return the next command; None for what makes the daemon close the connection."""
        head = await reader.readexactly(1)
        # the time for a command runs from its first byte (uxsock_timeout)
        async with asyncio.timeout(self._timeout_seconds):
            (length,) = _LENGTH.unpack(head + await reader.readexactly(_LENGTH.size - 1))
            if not 0 < length <= COMMAND_LIMIT:
                return None
            text = await reader.readexactly(length)
        return text.split(b"\0", 1)[0].decode(errors="surrogateescape")

    async def _reply(self, line: str, uid: int, writer: asyncio.StreamWriter) -> None:
        if self.manner is Manner.CLOSES:
            raise ConnectionResetError
        if self.manner is Manner.HANGS or self._daemon.hung:
            await asyncio.Event().wait()
        if self.manner is Manner.SLOW:
            await asyncio.sleep(self.slow_seconds)
        pieces = await self._pieces(line, uid)
        await _send(writer, pieces, cut=self.manner is Manner.CUTS)

    async def _pieces(self, line: str, uid: int) -> list[bytes]:
        if self._commands.needs_lock(line):
            if self.manner is Manner.BUSY:
                return [self._daemon.dialect.timed_out()]
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    await self._daemon.idle.wait()
            except TimeoutError:
                return [self._daemon.dialect.timed_out()]
        self._daemon.clock.catch_up()
        return self._commands.answer(line, uid=uid)

    @property
    def _timeout_seconds(self) -> float:
        return max(4000, self._daemon.configuration.seconds("uxsock_timeout", 4000)) / 1000


async def _send(writer: asyncio.StreamWriter, pieces: list[bytes], *, cut: bool) -> None:
    length = sum(map(len, pieces))
    writer.write(_LENGTH.pack(length + 1))
    if cut:
        writer.write(b"".join(pieces)[: length // 2])
        await writer.drain()
        raise ConnectionResetError
    for start in range(0, len(pieces), _PIECES_AT_ONCE):
        writer.write(b"".join(pieces[start : start + _PIECES_AT_ONCE]))
        await writer.drain()
    writer.write(b"\0")
    await writer.drain()


def _listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    try:
        if address.startswith("@"):
            listener.bind(f"\0{address[1:]}")
        else:
            _unlink(address)
            listener.bind(address)
            Path(address).chmod(0o666)  # as multipathd does: everybody may read
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(f"cannot listen at {address}: {error.strerror or error}") from error
    return listener


def _unlink(address: str) -> None:
    if not address.startswith("@"):
        Path(address).unlink(missing_ok=True)


def _uid_of(writer: asyncio.StreamWriter) -> int:
    return peer_user(writer.get_extra_info("socket"))
