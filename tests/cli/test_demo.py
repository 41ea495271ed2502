from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pathfleet.cli.demo import default_directory
from tests.cli.commands import run, spawn
from tests.lab.bench import SMALL


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader]]:
    """A demo as a process, from its first line on, and the rest of what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pathfleet", "demo", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert (await process.stdout.readline()).startswith(b"A simulated cluster runs: ")
            yield process, process.stdout
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_says_what_to_look_at_and_what_to_break_and_ends_by_itself(tmp_path: Path) -> None:
    ran = await spawn("demo", "--directory", f"{tmp_path}/my lab", "--seconds", "0.1")
    assert (ran.code, ran.err) == (0, "")
    lines = [line.strip() for line in ran.out.splitlines()]
    assert lines[0] == "A simulated cluster runs: 4 hosts, 2 switches, 13 LUNs. Ctrl-C ends it."
    assert f"export PATHFLEET_CONFIG='{tmp_path}/my lab/pve1.toml'" in lines
    assert f"pathfleet lab break switch-a --directory '{tmp_path}/my lab'" in lines
    assert f"pathfleet lab mend --all --directory '{tmp_path}/my lab'" in lines
    for words in ("Open http://127.0.0.1:", "pathfleet status ", "pathfleet maps vm-prod", "pathfleet lab faults"):
        assert any(line.startswith(words) for line in lines)
    assert lines[-1] == "the simulated cluster has ended"


async def test_what_it_says_to_run_runs(tmp_path: Path) -> None:
    async with started("--directory", str(tmp_path)):
        config = str(tmp_path / "pve1.toml")
        assert (await spawn("maps", "vm-prod", PATHFLEET_CONFIG=config)).code == 0
        assert (await spawn("lab", "break", "switch-a", "--directory", str(tmp_path))).code == 0
        ran = await spawn("lab", "show", "--directory", str(tmp_path))
        assert ["switch-a", "switch", "break"] in [line.split() for line in ran.out.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_well(tmp_path: Path, number: signal.Signals) -> None:
    async with started("--directory", str(tmp_path)) as (process, out):
        process.send_signal(number)
        said = (await out.read()).decode()
        assert await process.wait() == 0
    assert said.splitlines()[-1] == "the simulated cluster has ended"
    assert "Traceback" not in said


async def test_a_topology_file_is_run(tmp_path: Path) -> None:
    (tmp_path / "san.toml").write_text(SMALL)
    ran = await spawn("demo", "--topology", f"{tmp_path}/san.toml", "--directory", f"{tmp_path}/lab", "--seconds", "0")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("A simulated cluster runs: 2 hosts, 2 switches, 3 LUNs.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no topology '{file}': name a file, or one of demo, iscsi, large"),
        ("switches", "{file}: not TOML"),
        ("name = 1", "{file}: not a topology: "),
        (SMALL.replace("pve", "../pve"), "host '../pve1': in a demo, letters"),
    ],
)
def test_a_topology_that_cannot_be_used_ends_with_78_and_is_named(
    tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "san.toml"
    if text is not None:
        file.write_text(text)
    ran = run("demo", "--topology", str(file), "--directory", str(tmp_path / "lab"))
    assert (ran.code, ran.out) == (78, "")
    assert ran.err.startswith("pathfleet: " + words.format(file=file))
    assert not (tmp_path / "lab").exists()


def test_somebodys_directory_ends_with_78_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run("demo", "--directory", str(tmp_path))
    assert (ran.code, ran.out) == (78, "")
    assert ran.err == f"pathfleet: {tmp_path} is not empty and no lab's; name another --directory\n"


@pytest.mark.parametrize(
    "arguments", [["--seconds", "-1"], ["--seconds", "soon"], ["--nonsense"], ["extra"]], ids=" ".join
)
def test_wrong_use_ends_with_64(arguments: list[str]) -> None:
    ran = run("demo", *arguments)
    assert (ran.code, ran.out) == (64, "")
    assert "Usage: pathfleet demo" in ran.err


def test_without_a_directory_it_takes_one_of_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert default_directory() == Path("/run/user/7/pathfleet-demo")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert default_directory().name.startswith("pathfleet-demo-")
