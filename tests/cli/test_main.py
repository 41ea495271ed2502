from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from pathfleet import __version__
from tests.cli.commands import run, spawn
from tests.fakes import FakeDaemon
from tests.replies import group, map_, path, reply

COMMANDS = ["agent", "baseline", "baseline show", "baseline accept", "completion", "inspect", "maps", "status"]


@pytest.mark.parametrize("command", ["", *COMMANDS])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help(command: str, option: str) -> None:
    ran = run(*command.split(), option)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: pathfleet {command}".rstrip() + " ")


def test_the_help_lists_every_command() -> None:
    out = run("--help").out
    assert all(f"\n  {command} " in out for command in COMMANDS if " " not in command)


def test_the_version_is_told() -> None:
    assert run("--version").out == f"pathfleet, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"], ["maps", "--nonsense"], ["maps", "a", "b"], ["inspect"], ["status", "-o", "xml"],
        ["maps", "-o", "wire"], ["baseline"], ["baseline", "nonsense"], ["completion", "tcsh"], ["--config"], [],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_use_ends_with_64_and_says_how(arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (64, "")
    assert "Usage: pathfleet" in ran.err or "--config" in ran.err
    assert "Error: " in ran.err or "Commands:" in ran.err


@pytest.mark.parametrize("command", [["maps"], ["status"], ["agent", "--once"], ["baseline", "show"]], ids=" ".join)
@pytest.mark.parametrize(
    ("text", "reason"),
    [("node = 7\n", "node"), ("colour = 1\n", "colour"), ("node\n", "is not TOML"), (None, "no such file")],
)
def test_settings_that_cannot_be_used_end_with_78_and_are_named(
    tmp_path: Path, command: list[str], text: str | None, reason: str
) -> None:
    file = tmp_path / "settings.toml"
    if text is not None:
        file.write_text(text)
    ran = run("--config", str(file), *command)
    assert (ran.code, ran.out) == (78, "")
    assert ran.err.startswith("pathfleet: ")
    assert str(file) in ran.err
    assert reason in ran.err


async def test_wrong_use_of_a_process_ends_with_64_without_a_traceback() -> None:
    ran = await spawn("nonsense")
    assert ran.code == 64
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_asks_the_command(shell: str) -> None:
    ran = run("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert f"_PATHFLEET_COMPLETE={shell}_complete" in ran.out


TWO = reply(map_("3600a1", group(path("sda"))), map_("3600b2", group(path("sdb")), name="data"))


async def offered(words: str, tmp_path: Path, **settings: str) -> list[str]:
    """What bash would offer for the last of the words."""
    count = str(len(words.split(" ")) - 1)
    variables = {
        "_PATHFLEET_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": count,
        "PATHFLEET_STATE_DIRECTORY": str(tmp_path),
    }
    ran = await spawn(stdin=b"", **variables, **settings)
    assert ran.err == ""
    return [line.partition(",")[2] for line in ran.out.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        ("pathfleet ma", ["maps"]),
        ("pathfleet maps ", ["3600a1", "3600b2", "data"]),
        ("pathfleet maps 3600a", ["3600a1"]),
        ("pathfleet maps da", ["data"]),
        ("pathfleet baseline accept 3600b", ["3600b2"]),
        ("pathfleet status --out", ["--output"]),
        ("pathfleet inspect x -o wi", ["wire"]),
    ],
)
async def test_bash_is_offered_commands_options_and_wwids(tmp_path: Path, words: str, offers: list[str]) -> None:
    async with FakeDaemon(str(tmp_path / "socket"), TWO) as daemon:
        assert await offered(words, tmp_path, PATHFLEET_MULTIPATHD_SOCKET=daemon.address) == offers


async def test_completion_asks_where_the_settings_on_the_command_line_say(tmp_path: Path) -> None:
    async with FakeDaemon(str(tmp_path / "socket"), TWO) as daemon:
        (tmp_path / "settings.toml").write_text(f'multipathd-socket = "{daemon.address}"\n')
        assert await offered(f"pathfleet --config {tmp_path}/settings.toml maps d", tmp_path) == ["data"]


async def test_completion_stays_silent_when_nobody_can_tell(tmp_path: Path) -> None:
    assert await offered("pathfleet maps ", tmp_path, PATHFLEET_MULTIPATHD_SOCKET=str(tmp_path / "absent")) == []
    assert await offered("pathfleet maps ", tmp_path, PATHFLEET_LOG_LEVEL="loud") == []


async def test_nobody_reading_on_is_no_crash() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pathfleet", "--help", stdout=writer, stderr=asyncio.subprocess.PIPE
        )
    finally:
        os.close(writer)
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (141, b"")
