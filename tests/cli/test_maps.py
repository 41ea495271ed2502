from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import Ran, run, run_beside, spawn
from tests.fakes import FakeDaemon, says
from tests.replies import group, map_, path, reply

GOOD_WWID = "3600a098038314c6c6e3f4b6f4c6c5a30"
BAD_WWID = "3600a098038314c6c6e3f4b6f4c6c5a31"
TWO = reply(
    map_(GOOD_WWID, group(path("pfa", host_adapter="192.0.2.1"), path("pfb", "active", "ghost")), sysfs="dm-900"),
    map_(BAD_WWID, group(path("pfc"), path("pfd", "failed", "faulty"), pri=10), name="data", sysfs="dm-901"),
)
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e[bold]x[/y]"


async def ask(tmp_path: Path, *arguments: str, maps: bytes = TWO) -> Ran:
    async with FakeDaemon(str(tmp_path / "socket"), maps) as daemon:
        return await run_beside(*arguments, multipathd_socket=daemon.address, state_directory=str(tmp_path))


async def test_the_table_has_the_worst_first(tmp_path: Path) -> None:
    ran = await ask(tmp_path, "maps")
    assert (ran.code, ran.err) == (0, "")
    _, first, second = ran.out.splitlines()
    assert first.split()[:4] == ["degraded", "1/2", "data", BAD_WWID]
    assert second.split()[:6] == ["optimal", "2/2,", "1", "standby", "-", GOOD_WWID]


async def test_it_is_the_same_as_a_process(tmp_path: Path) -> None:
    async with FakeDaemon(str(tmp_path / "socket"), TWO) as daemon:
        ran = await spawn("maps", "-o", "json", PATHFLEET_MULTIPATHD_SOCKET=daemon.address)
    assert (ran.code, ran.err) == (0, "")
    assert [row["wwid"] for row in json.loads(ran.out)["maps"]] == [BAD_WWID, GOOD_WWID]


@pytest.mark.parametrize("name", [BAD_WWID, "data", "dm-901"])
async def test_one_map_is_named_by_wwid_alias_or_device(tmp_path: Path, name: str) -> None:
    ran = await ask(tmp_path, "maps", name, "-o", "json")
    assert (ran.code, json.loads(ran.out)["wwid"]) == (0, BAD_WWID)


async def test_one_map_is_shown_with_its_paths_what_they_mean_and_what_to_do(tmp_path: Path) -> None:
    lines = (await ask(tmp_path, "maps", "data")).out.splitlines()
    assert lines[0] == "data: degraded, 1/2 paths usable"
    assert BAD_WWID in lines[1]
    assert "path group 1: active, priority 10" in [line.strip() for line in lines]
    (down,) = [line.split() for line in lines if " pfd " in line]
    assert down[:5] == ["down", "pfd", "failed", "faulty", "running"]
    advice = lines[lines.index("what to do:") + 1 :]
    assert lines[lines.index("what to do:") - 1] == ""
    assert any(line.startswith("  - degraded: ") for line in advice)
    assert any(line.startswith("  - pfd: ") for line in advice)


async def test_a_map_that_is_not_there_is_said_to(tmp_path: Path) -> None:
    ran = await ask(tmp_path, "maps", "nothing")
    assert (ran.code, ran.out) == (69, "")
    assert ran.err == "pathfleet: no map 'nothing' on this node; `pathfleet maps` lists them\n"


async def test_no_maps_is_an_answer(tmp_path: Path) -> None:
    ran = await ask(tmp_path, "maps", maps=reply())
    assert (ran.code, ran.out) == (0, "no-maps: multipathd has no maps\n")


def test_not_running_is_another(tmp_path: Path) -> None:
    ran = run("maps", "-o", "json", multipathd_socket=str(tmp_path / "absent"))
    assert ran.code == 4
    assert json.loads(ran.out)["answer"] == "not-running"


async def test_cannot_tell_is_the_third(tmp_path: Path) -> None:
    async with FakeDaemon(str(tmp_path / "socket"), TWO, *[says(b"timeout\n")] * 3) as daemon:
        ran = await run_beside("maps", multipathd_socket=daemon.address)
    assert ran.code == 3
    assert ran.out.startswith("cannot-tell: multipathd answered `timeout`")


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
@pytest.mark.parametrize("arguments", [["maps"], ["maps", GOOD_WWID]])
async def test_what_a_device_is_called_does_not_steer_the_terminal(
    tmp_path: Path, output: str, arguments: list[str]
) -> None:
    hostile = reply(
        map_(
            GOOD_WWID,
            group(path(ESCAPES, ESCAPES, ESCAPES, host_adapter=ESCAPES, target_wwpn=ESCAPES), dm=ESCAPES),
            name=ESCAPES,
            vend=ESCAPES,
            prod=ESCAPES,
            queueing=ESCAPES,
        )
    )
    ran = await ask(tmp_path, *arguments, "-o", output, maps=hostile)
    assert ran.code == 0
    assert "owned" in ran.out
    assert all(char.isprintable() or char == "\n" for char in ran.out)
    assert "[bold]x[/y]" in ran.out


async def test_the_settings_file_names_the_socket(tmp_path: Path) -> None:
    async with FakeDaemon(str(tmp_path / "socket"), TWO) as daemon:
        (tmp_path / "settings.toml").write_text(f'multipathd-socket = "{daemon.address}"\n')
        ran = await run_beside("--config", str(tmp_path / "settings.toml"), "maps", "data")
    assert ran.code == 0
