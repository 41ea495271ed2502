"""Run a program to its end, within a deadline; what it complained of is the error.

One that only reads is ended at its deadline. One that changes devices is told to end and no more: LVM that is killed
between suspending a device and resuming it leaves whoever uses that device hanging.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from typing import Any, Final, Protocol

from msgspec import Struct

from pathfleet.errors import CannotTell, PathfleetError, StoreError
from pathfleet.system.waiting import begun

_SAID_LIMIT: Final = 300
_KILL_SECONDS: Final = 0.5
#: What takes SIGTERM at all has ended after this.
_END_SECONDS: Final = 1.0


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


class StillRunning(CannotTell):
    """A program that changes something was told to end at its deadline and does not; `end` is done when it has."""

    def __init__(self, reason: str, end: asyncio.Future[Any]) -> None:
        super().__init__(reason)
        self.end = end


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


async def patient(
    program: str, *arguments: str, deadline_seconds: float, environment: Mapping[str, str] | None = None
) -> Ended:
    """Run what changes something, without a shell and without input; it is never killed, also not when this ends.

    Raises NotDone where it did not begin or ended without being done, StillRunning where it goes on.
    """
    name = f"`{' '.join((program, *arguments))}`"
    try:
        # not asyncio's, which kills what it has started when its loop is closed
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - waited for in a thread, without a shell
            (program, *arguments), stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environment
        )
    except OSError as error:
        raise NotDone(f"cannot run {name}: {error.strerror}") from error
    end = begun(process.communicate)
    done, _ = await asyncio.wait((end,), timeout=deadline_seconds)
    if not done:
        process.terminate()
        done, _ = await asyncio.wait((end,), timeout=_END_SECONDS)
    if not done:
        raise StillRunning(
            f"{name} still runs after {deadline_seconds:g} s, since the LUN does not answer; it ends when that does",
            end,
        )
    if process.returncode == -signal.SIGTERM:
        raise NotDone(f"{name} was not done within {deadline_seconds:g} s, and was ended")
    out, complaint = end.result()
    return Ended(process.returncode, out.decode(errors="replace"), complaint.decode(errors="replace"))


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
