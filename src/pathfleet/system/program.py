"""Run a program to its end, within a deadline; what it complained of is the error."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from typing import Final, Protocol

from msgspec import Struct

from pathfleet.errors import PathfleetError, StoreError

_SAID_LIMIT: Final = 300
_KILL_SECONDS: Final = 0.5


class Ended(Struct, frozen=True):
    """How a program ended: its exit code, what it printed, and what it complained of."""

    code: int
    out: str
    complaint: str

    @property
    def said(self) -> str:
        """The end of its complaint, in one line."""
        return "; ".join(self.complaint.split("\n")).strip("; ")[-_SAID_LIMIT:] or "nothing"


class NotDone(PathfleetError):
    """A program could not be run, or was not done in time."""

    code = "not-done"


class Runner(Protocol):
    """What runs programs."""

    async def __call__(
        self, program: str, *arguments: str, deadline_seconds: float, environment: Mapping[str, str] | None = None
    ) -> Ended:
        """Run it without a shell and without input. Raises NotDone."""


async def ended(
    program: str,
    *arguments: str,
    deadline_seconds: float,
    environment: Mapping[str, str] | None = None,
    name: str | None = None,
    umask: int = -1,
) -> Ended:
    """Run it without a shell and without input. Raises NotDone, which calls it `name` (default: all its words)."""
    name = name or f"`{' '.join((program, *arguments))}`"
    try:
        process = await asyncio.create_subprocess_exec(
            program, *arguments, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environment, umask=umask
        )
    except OSError as error:
        raise NotDone(f"cannot run {name}: {error.strerror}") from error
    try:
        async with asyncio.timeout(deadline_seconds):
            out, complaint = await process.communicate()
    except TimeoutError as error:
        raise NotDone(f"{name} was not done within {deadline_seconds:g} s") from error
    finally:
        await _end(process)
    return Ended(process.returncode or 0, out.decode(errors="replace"), complaint.decode(errors="replace"))


async def run(
    program: str, *arguments: str, deadline_seconds: float, name: str | None = None, umask: int = -1
) -> None:
    """Run it without a shell and without input. Raises StoreError, which calls it `name` (default: all its words)."""
    name = name or f"`{' '.join((program, *arguments))}`"
    try:
        done = await ended(program, *arguments, deadline_seconds=deadline_seconds, name=name, umask=umask)
    except NotDone as error:
        raise StoreError(str(error)) from error
    if done.code != 0:
        said = done.complaint.strip()[-_SAID_LIMIT:] or "nothing"
        raise StoreError(f"{name} ended with {done.code}, saying: {said}")


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    process.kill()
    # In uninterruptible sleep, waiting for the kernel, it ends when the kernel lets it, and is reaped then.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_KILL_SECONDS):
            await process.wait()
