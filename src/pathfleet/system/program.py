"""Run a program to its end, within a deadline; what it complained of is the error."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from typing import Final

from pathfleet.errors import StoreError

_SAID_LIMIT: Final = 300


async def run(
    program: str, *arguments: str, deadline_seconds: float, name: str | None = None, umask: int = -1
) -> None:
    """Run it without a shell and without input. Raises StoreError, which calls it `name` (default: all its words)."""
    name = name or f"`{' '.join((program, *arguments))}`"
    try:
        process = await asyncio.create_subprocess_exec(
            program, *arguments, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, umask=umask
        )
    except OSError as error:
        raise StoreError(f"cannot run {name}: {error.strerror}") from error
    try:
        async with asyncio.timeout(deadline_seconds):
            _, complaint = await process.communicate()
    except TimeoutError as error:
        raise StoreError(f"{name} was not done within {deadline_seconds:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = complaint.decode(errors="replace").strip()[-_SAID_LIMIT:] or "nothing"
        raise StoreError(f"{name} ended with {process.returncode}, saying: {said}")
