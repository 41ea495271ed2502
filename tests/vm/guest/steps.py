"""Single steps on the guest's kernel and programs: each succeeds, or ends the program with what went wrong."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_SECONDS = 60


def write(attribute: Path, value: str | int) -> None:
    """Write a value, as it is, to an attribute of sysfs or configfs."""
    try:
        attribute.write_text(str(value))
    except OSError as error:
        raise SystemExit(f"san: cannot write {value!r} to {attribute}: {error.strerror}") from error


def run(*command: str) -> None:
    """Run a program that says nothing worth keeping unless it fails."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=STEP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise SystemExit(f"san: no end after {STEP_SECONDS} s: {' '.join(command)}") from None
    if done.returncode:
        raise SystemExit(f"san: status {done.returncode}: {' '.join(command)}\n{done.stdout.decode(errors='replace')}")


def settle() -> None:
    """Wait until udev has handled all that has happened so far."""
    run("udevadm", "settle", f"--timeout={STEP_SECONDS}")


def wait(failure: str, seconds: int, reached: Callable[[], bool], describe: Callable[[], object]) -> None:
    """Wait until a state is reached; the failure tells the one that was."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise SystemExit(f"san: {failure} after {seconds} s: {describe()}")
        time.sleep(0.2)
