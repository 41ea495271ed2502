from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from pathfleet.core.dmstatus import KernelPath
from pathfleet.errors import CannotTell
from pathfleet.system.devicemapper import kernel_paths
from tests.patience import BUSY_SECONDS


@pytest.fixture
def dmsetup(tmp_path: Path) -> Path:
    """Where a test puts the program that plays dmsetup."""
    return tmp_path / "dmsetup"


def write(program: Path, body: str, interpreter: str = "/bin/sh") -> str:
    """Make `program` a script of `body`; return the directory to search it in."""
    program.write_text(f"#!{interpreter}\n{body}\n")
    program.chmod(0o755)
    return str(program.parent)


async def test_each_map_is_told_with_its_paths(dmsetup: Path) -> None:
    search = write(
        dmsetup,
        'test "$*" = "status --target multipath --noflush" || exit 9\n'
        "echo 'a\\x20b: 0 64 multipath 2 0 0 0 1 1 A 0 2 1 8:0 A 0 0 8:16 F 1 0 '\n"
        "echo 'empty: 0 64 multipath 2 0 0 0 0 0 '",
    )
    assert await kernel_paths(search_path=search) == {
        "a b": (KernelPath("8:0", active=True), KernelPath("8:16", active=False)),
        "empty": (),
    }


async def test_the_environment_is_not_handed_on(dmsetup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DM_DEFAULT_NAME_MANGLING_MODE", "none")
    search = write(
        dmsetup, 'test -z "$DM_DEFAULT_NAME_MANGLING_MODE" && test "$LC_ALL" = C && echo "No devices found"'
    )
    assert await kernel_paths(search_path=search) == {}


async def test_a_dmsetup_that_hangs_is_ended_at_the_deadline(dmsetup: Path) -> None:
    pid_file = dmsetup.with_name("pid")
    search = write(dmsetup, f"echo $$ > {pid_file}; exec /bin/sleep 60")
    began = time.monotonic()
    with pytest.raises(CannotTell, match=r"was not done within 1 s") as caught:
        await kernel_paths(search_path=search, deadline_seconds=1)
    assert time.monotonic() - began < BUSY_SECONDS
    assert caught.value.passing
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


async def test_a_cancelled_reading_leaves_no_process(dmsetup: Path) -> None:
    fifo = dmsetup.with_name("started")
    os.mkfifo(fifo)
    search = write(dmsetup, f"echo $$ > {fifo}; exec /bin/sleep 60")
    reading = asyncio.create_task(kernel_paths(search_path=search, deadline_seconds=30))
    async with asyncio.timeout(30):
        pid = int(await asyncio.to_thread(fifo.read_text))
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_refusal_says_that_root_is_needed(dmsetup: Path) -> None:
    search = write(
        dmsetup,
        "echo '/dev/mapper/control: open failed: Permission denied' >&2; echo 'Command failed.' >&2; exit 1",
    )
    with pytest.raises(CannotTell, match=r"needs root .*open failed: Permission denied") as caught:
        await kernel_paths(search_path=search)
    assert not caught.value.passing


async def test_a_failure_is_told_in_dmsetups_own_words(dmsetup: Path) -> None:
    search = write(dmsetup, "echo '/dev/x: driver is busy' >&2; exit 3")
    with pytest.raises(CannotTell, match=r"ended with 3, saying: /dev/x: driver is busy"):
        await kernel_paths(search_path=search)


async def test_garbage_is_not_an_empty_answer(dmsetup: Path) -> None:
    search = write(dmsetup, r"printf 'lun: 0 8 multipath what\377\n'")
    with pytest.raises(CannotTell, match="cannot understand"):
        await kernel_paths(search_path=search)


async def test_a_missing_dmsetup_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(CannotTell, match="install") as caught:
        await kernel_paths(search_path=str(tmp_path))
    assert not caught.value.passing


async def test_a_dmsetup_that_cannot_be_run_is_told(dmsetup: Path) -> None:
    search = write(dmsetup, "", interpreter="/no/such/interpreter")
    with pytest.raises(CannotTell, match="cannot run"):
        await kernel_paths(search_path=search)
