"""Stand-ins for what pathfleet talks to: a multipathd on a real socket, and a store in memory."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from pathfleet.errors import Conflict, LockBusy, StoreError, StoreUnavailable
from pathfleet.store import (
    Change,
    File,
    Member,
    Members,
    checked_content,
    checked_file,
    checked_key,
    checked_value,
    in_use,
    no_member,
)
from tests.replies import help_text, reply

LENGTH = struct.Struct("@N")

#: What a daemon does with one connection.
Behaviour = Callable[["FakeDaemon", StreamReader, StreamWriter], Awaitable[None]]


def framed(text: bytes) -> bytes:
    """Return a reply as multipathd sends it: its length with the closing NUL, in native order, then both."""
    return LENGTH.pack(len(text) + 1) + text + b"\0"


async def answers(daemon: FakeDaemon, reader: StreamReader, writer: StreamWriter) -> None:
    """Answer as multipathd does, with the daemon's replies, or with its help to what it does not know."""
    writer.write(framed(daemon.replies.get(await daemon.question(reader), daemon.replies["help"])))
    await writer.drain()


async def hangs(_: FakeDaemon, reader: StreamReader, __: StreamWriter) -> None:
    """Take the connection and the question, and say nothing until the client gives up."""
    await reader.read()


async def closes(_: FakeDaemon, __: StreamReader, ___: StreamWriter) -> None:
    """Close at once."""


def says(text: bytes) -> Behaviour:
    """Answer with this text, whatever was asked."""
    return sends(framed(text))


def sends(raw: bytes, *, then_hangs: bool = False) -> Behaviour:
    """Answer with these bytes, which need no frame, and close, or wait for the client to."""

    async def send(daemon: FakeDaemon, reader: StreamReader, writer: StreamWriter) -> None:
        await daemon.question(reader)
        writer.write(raw)
        await writer.drain()
        if then_hangs:
            await reader.read()

    return send


def trickles(raw: bytes, *, seconds: float) -> Behaviour:
    """Answer with these bytes one by one, so far apart."""

    async def trickle(daemon: FakeDaemon, reader: StreamReader, writer: StreamWriter) -> None:
        await daemon.question(reader)
        for byte in raw:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(seconds)

    return trickle


class FakeDaemon:
    """A multipathd that listens at `address` (a path, or `@NAME`), for as long as its context.

    Each connection gets the next of `script`, and `answers` when that is used up; `questions` is what was asked.
    """

    def __init__(self, address: str, maps: bytes = reply(), *script: Behaviour) -> None:
        self.address = address
        self.replies = {"show maps json": maps, "help": help_text()}
        self.script = list(script)
        self.questions: list[str] = []
        self.asked = asyncio.Event()
        self.connections = 0
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, socket_name(self.address))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def question(self, reader: StreamReader) -> str:
        """Read what a client asks; it must be framed as multipathd wants it."""
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        text = await reader.readexactly(length)
        assert text.endswith(b"\0")
        self.questions.append(text[:-1].decode())
        return self.questions[-1]

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        self.asked.set()
        this = asyncio.current_task()
        assert this is not None
        self._serving.add(this)
        behaviour = self.script.pop(0) if self.script else answers
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):  # the client left
            try:
                await behaviour(self, reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()
        self._serving.discard(this)


def socket_name(address: str) -> str:
    """Return an address as the socket module takes it."""
    return f"\0{address[1:]}" if address.startswith("@") else address


@contextmanager
def full_queue(address: str) -> Iterator[None]:
    """Listen at `address` without accepting anybody, the queue of waiting clients full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(socket_name(address))
        server.listen(0)
        while True:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            if client.connect_ex(socket_name(address)) == errno.EAGAIN:
                break
        yield


def open_descriptors() -> int:
    """Return how many file descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@dataclass
class Memory:
    """What the stores of a cluster have in common; `lost`: it is taken away from all of them."""

    online_seconds: float = 15.0
    lease_seconds: float = 60.0
    lost: bool = False
    values: dict[str, dict[str, bytes]] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    locks: dict[str, tuple[str, float]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    revision: int = 0
    stirred: asyncio.Event = field(default_factory=asyncio.Event)

    def stir(self, change: Change | None = None) -> None:
        """Wake who waits for changes."""
        self.changes += [change] if change else []
        self.stirred.set()
        self.stirred = asyncio.Event()

    def lose(self, node: str, key: str) -> None:
        """Forget a value, as an engine does that keeps values in memory and restarts."""
        del self.values[node][key]

    def regain(self) -> None:
        """Be there again."""
        self.lost = False
        self.stir(Change())


class MemoryStore:
    """The store contract in memory. `faults` are raised by the methods they are named for.

    `writes` is what was taken, in order: key and value, None for a clear.
    """

    def __init__(self, node: str | None = "a", memory: Memory | None = None, *, clears_return: bool = False) -> None:
        self.node = node
        self.clears_return = clears_return
        self.memory = memory or Memory()
        self.faults: dict[str, BaseException] = {}
        self.writes: list[tuple[str, bytes | None]] = []
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        try:
            self._enter("open")
        except BaseException:
            self._open = False
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        self.memory.stir()

    async def alive(self) -> None:
        self.memory.seen[self._writer("alive")] = time.monotonic()

    async def put(self, key: str, value: bytes) -> None:
        node = self._writer("put")
        self.memory.values.setdefault(node, {})[checked_key(key)] = checked_value(value)
        self._wrote(node, key, value)

    async def clear(self, key: str) -> None:
        node = self._writer("clear")
        if self.memory.values.get(node, {}).pop(checked_key(key), None) is not None:
            self._wrote(node, key, None)
        else:
            self.writes.append((key, None))

    async def values(self, node: str) -> dict[str, bytes]:
        self._enter("values")
        return dict(self.memory.values.get(node, {}))

    async def all_values(self) -> dict[str, dict[str, bytes]]:
        self._enter("all_values")
        return {node: dict(values) for node, values in self.memory.values.items() if values}

    async def members(self) -> Members:
        self._enter("members")
        now, seen = time.monotonic(), self.memory.seen
        ages = {node: now - seen[node] if node in seen else None for node in {*seen, *self.memory.values}}
        return Members(
            {node: Member(age is not None and age < self.memory.online_seconds, age) for node, age in ages.items()}
        )

    async def forget(self, node: str) -> None:
        self._writer("forget")
        member = (await self.members()).nodes.get(node)
        if member is None:
            raise no_member(node)
        if member.online:
            raise in_use(node)
        self.memory.values.pop(node, None)
        self.memory.seen.pop(node, None)
        self.memory.stir(Change(nodes=frozenset({node})))

    async def read(self, name: str) -> File | None:
        self._enter("read")
        return self.memory.files.get(checked_file(name))

    async def swap(self, name: str, content: bytes | None, revision: str | None) -> str | None:
        self._writer("swap")
        old = self.memory.files.get(checked_file(name))
        if (old and old.revision) != revision:
            raise Conflict(f"file {name} is no longer at the revision that was read")
        self.memory.revision += 1
        new = None if content is None else File(checked_content(content), str(self.memory.revision))
        self.memory.files.pop(name, None)
        self.memory.files |= {name: new} if new else {}
        self.memory.stir(Change(files=frozenset({name})))
        return new.revision if new else None

    @asynccontextmanager
    async def lock(self, name: str, *, wait_seconds: float = 10.0) -> AsyncIterator[None]:
        checked_file(name)
        give_up = time.monotonic() + wait_seconds
        locks = self.memory.locks
        while (holder := locks.get(name, ("", 0.0)))[1] > time.monotonic():
            if time.monotonic() >= give_up:
                raise LockBusy(f"lock {name} is held by node {holder[0]!r}")
            await asyncio.sleep(0.02)
        mine = locks[name] = (self._writer("lock"), time.monotonic() + self.memory.lease_seconds)
        try:
            async with asyncio.timeout(self.memory.lease_seconds) as lease:
                yield
        except TimeoutError:
            if lease.expired():
                raise StoreError(f"lock {name} was held longer than its lease") from None
            raise
        finally:
            if locks.get(name) is mine:
                del locks[name]

    async def changes(self) -> AsyncIterator[Change]:
        self._enter("changes")
        told = len(self.memory.changes)
        yield Change()
        while self._open:
            news = self.memory.changes[told:]
            if news and not self.memory.lost:
                told += len(news)
                yield _merged(news)
            else:
                await self.memory.stirred.wait()

    def _wrote(self, node: str, key: str, value: bytes | None) -> None:
        self.writes.append((key, value))
        self.memory.seen.setdefault(node, -1e9)
        self.memory.stir(Change(nodes=frozenset({node})))

    def _writer(self, method: str) -> str:
        self._enter(method)
        if self.node is None:
            raise StoreError("this store was opened for reading")
        return self.node

    def _enter(self, method: str) -> None:
        if method in self.faults:
            raise self.faults[method]
        if not self._open:
            raise StoreError("the store is not open")
        if self.memory.lost:
            raise StoreUnavailable("store memory: it was taken away")


def _merged(news: list[Change]) -> Change:
    if Change() in news:
        return Change()
    return Change(frozenset().union(*(n.nodes for n in news)), frozenset().union(*(n.files for n in news)))
