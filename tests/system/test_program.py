from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from pathfleet.errors import StoreError
from pathfleet.system import program
from pathfleet.system.program import Ended, NotDone, StillRunning
from tests.patience import BUSY_SECONDS


async def test_what_a_program_prints_and_complains_of_are_two_things() -> None:
    done = await program.ended("/bin/sh", "-c", "echo out; echo oh >&2; echo no >&2; exit 3", deadline_seconds=10)
    assert done == Ended(3, "out\n", "oh\nno\n")
    assert done.said == "oh; no"
    assert Ended(1, "", "").said == "nothing"


async def test_only_the_given_environment_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    done = await program.ended(
        "/bin/sh", "-c", 'echo "$SECRET$GIVEN"', deadline_seconds=10, environment={"GIVEN": "y"}
    )
    assert done.out == "y\n"


async def test_a_program_is_found_in_the_given_path_only(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho found\n")
    (tmp_path / "tool").chmod(0o755)
    assert (await program.ended("tool", deadline_seconds=10, environment={"PATH": str(tmp_path)})).out == "found\n"
    with pytest.raises(NotDone, match="cannot run `tool`"):
        await program.ended("tool", deadline_seconds=10, environment={"PATH": "/nowhere"})


async def test_a_program_that_hangs_is_ended_at_the_deadline(tmp_path: Path) -> None:
    began, pid_file = time.monotonic(), tmp_path / "pid"
    with pytest.raises(NotDone, match=r"was not done within 1 s"):
        await program.ended("/bin/sh", "-c", f"echo $$ > {pid_file}; exec sleep 60", deadline_seconds=1)
    assert time.monotonic() - began < BUSY_SECONDS
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


async def test_a_program_that_is_run_for_its_effect_fails_with_its_complaint() -> None:
    await program.run("/bin/true", deadline_seconds=10)
    with pytest.raises(StoreError, match="`the tool` ended with 4, saying: oh"):
        await program.run("/bin/sh", "-c", "echo oh >&2; exit 4", deadline_seconds=10, name="`the tool`")
    with pytest.raises(StoreError, match="cannot run"):
        await program.run("/nowhere", deadline_seconds=10)


async def test_what_changes_something_is_asked_to_end_and_never_killed(tmp_path: Path) -> None:
    pid_file, go = tmp_path / "pid", tmp_path / "go"
    os.mkfifo(go)
    # a shell waits for `read` in a trap of nothing: as LVM does while devices are suspended
    script = f"trap '' TERM; echo $$ > {pid_file}; read line < {go}; echo done; exit 3"
    with pytest.raises(StillRunning, match=r"still runs after 1 s, since the LUN does not answer") as caught:
        await program.patient("/bin/sh", "-c", script, deadline_seconds=1)
    os.kill(int(pid_file.read_text()), 0)
    assert not caught.value.end.done()
    await asyncio.to_thread(go.write_text, "x\n")
    async with asyncio.timeout(30):
        assert await caught.value.end == (b"done\n", b"")


async def test_what_changes_something_and_takes_the_word_is_ended() -> None:
    with pytest.raises(NotDone, match=r"was not done within 0.2 s, and was ended"):
        await program.patient("/bin/sleep", "60", deadline_seconds=0.2)


async def test_what_changes_something_is_run_as_anything_else(tmp_path: Path) -> None:
    done = await program.patient("sh", "-c", "echo out; echo oh >&2; exit 3", deadline_seconds=10)
    assert done == Ended(3, "out\n", "oh\n")
    (tmp_path / "tool").write_text('#!/bin/sh\necho "$GIVEN"\n')
    (tmp_path / "tool").chmod(0o755)
    environment = {"PATH": str(tmp_path), "GIVEN": "y"}
    assert (await program.patient("tool", deadline_seconds=10, environment=environment)).out == "y\n"
    with pytest.raises(NotDone, match="cannot run `tool`"):
        await program.patient("tool", deadline_seconds=10, environment={"PATH": "/nowhere"})
