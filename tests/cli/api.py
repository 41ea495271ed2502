"""An agent's API on a unix socket, of which the test says what it answers."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def answering(socket: Path, body: bytes, *, status: int = 200, hangs: bool = False) -> AsyncIterator[list[str]]:
    """Answer everybody alike, or nobody; give the first lines of the requests."""
    asked: list[str] = []
    ended = asyncio.Event()

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.decode().splitlines()[0])
        if hangs:
            await ended.wait()
        writer.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (status, len(body)) + body)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_unix_server(serve, socket):
        yield asked
        ended.set()
