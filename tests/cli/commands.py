"""Runs the command line: in this process, from `main` on, or as a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass

import pytest
from click.testing import CliRunner

from pathfleet.cli import main


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


def run(*arguments: str, stdin: bytes = b"", **environment: str) -> Ran:
    """Run a command here, with its variables named without `PATHFLEET_`."""
    variables = {f"PATHFLEET_{name.upper()}": value for name, value in environment.items()}
    with (
        CliRunner().isolation(stdin, variables) as (out, err, _),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["pathfleet", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        sys.stdout.flush()
        assert isinstance(end.value.code, int)
        return Ran(end.value.code, out.getvalue().decode(), err.getvalue().decode())


async def run_beside(*arguments: str, stdin: bytes = b"", **environment: str) -> Ran:
    """Run a command in a thread, so that what listens here can answer it."""
    return await asyncio.to_thread(run, *arguments, stdin=stdin, **environment)


async def spawn(*arguments: str, stdin: bytes = b"", **environment: str) -> Ran:
    """Run a command as a process; here the variables have their whole names."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pathfleet", *arguments,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())
