from __future__ import annotations

import json
from pathlib import Path

import pytest

from pathfleet.agent.baseline import Baseline
from tests.cli.commands import Ran, run, run_beside
from tests.fakes import FakeDaemon, says
from tests.replies import group, map_, path, reply

TWO = reply(map_("x1", group(path("sda"), path("sdb"))), map_("x2", group(path("sdc"))), map_("pathless"))


async def ask(tmp_path: Path, *arguments: str) -> Ran:
    async with FakeDaemon(str(tmp_path / "socket"), TWO) as daemon:
        return await run_beside(
            "baseline", *arguments, multipathd_socket=daemon.address, state_directory=str(tmp_path)
        )


async def test_all_is_accepted_as_it_is_and_the_rest_forgotten(tmp_path: Path) -> None:
    Baseline(tmp_path).accept({"x1": 4, "gone": 4}, forget_others=True)
    ran = await ask(tmp_path, "accept", "--all")
    assert (ran.code, ran.out) == (0, "accepted: x1 has 2 path(s)\naccepted: x2 has 1 path(s)\n")
    assert Baseline(tmp_path).read() == {"x1": 2, "x2": 1}


async def test_one_is_accepted_and_the_rest_kept(tmp_path: Path) -> None:
    Baseline(tmp_path).accept({"x1": 4, "gone": 4}, forget_others=True)
    assert (await ask(tmp_path, "accept", "x1")).code == 0
    assert Baseline(tmp_path).read() == {"x1": 2, "gone": 4}


@pytest.mark.parametrize("wwids", [["nothing"], ["x1", "nothing"], ["pathless"]])
async def test_what_is_not_there_is_not_accepted_and_nothing_changes(tmp_path: Path, wwids: list[str]) -> None:
    ran = await ask(tmp_path, "accept", *wwids)
    assert ran.code == 69
    assert f"{wwids[-1]}; nothing was changed" in ran.err
    assert Baseline(tmp_path).read() == {}


@pytest.mark.parametrize("arguments", [[], ["--all", "x1"]])
async def test_either_wwids_or_all_must_be_said(tmp_path: Path, arguments: list[str]) -> None:
    ran = await ask(tmp_path, "accept", *arguments)
    assert ran.code == 64
    assert "name the WWIDs to accept, or give --all" in ran.err


def test_nothing_is_accepted_while_multipathd_does_not_run(tmp_path: Path) -> None:
    ran = run("baseline", "accept", "--all", multipathd_socket=str(tmp_path / "absent"), state_directory=str(tmp_path))
    assert ran.code == 4
    assert "nothing is accepted now: nobody listens" in ran.err


async def test_nothing_is_accepted_while_nobody_can_tell(tmp_path: Path) -> None:
    async with FakeDaemon(str(tmp_path / "socket"), TWO, *[says(b"fail\n")] * 3) as daemon:
        ran = await run_beside("baseline", "accept", "--all", multipathd_socket=daemon.address)
    assert ran.code == 3
    assert "nothing is accepted now: multipathd answered `fail`" in ran.err


def test_what_is_accepted_is_shown(tmp_path: Path) -> None:
    Baseline(tmp_path).accept({"x2": 1, "x1": 4}, forget_others=True)
    table = run("baseline", "show", state_directory=str(tmp_path))
    assert [line.split() for line in table.out.splitlines()] == [["WWID", "PATHS"], ["x1", "4"], ["x2", "1"]]
    ran = run("baseline", "show", "-o", "json", state_directory=str(tmp_path))
    assert json.loads(ran.out) == {"paths": {"x1": 4, "x2": 1}}


def test_what_cannot_be_read_is_not_shown_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "baseline.json").write_bytes(b"garbage")
    ran = run("baseline", "show", state_directory=str(tmp_path))
    assert (ran.code, ran.out) == (78, "")
    assert str(tmp_path / "baseline.json") in ran.err


async def test_a_state_directory_that_is_not_there_is_named_with_the_next_step(tmp_path: Path) -> None:
    async with FakeDaemon(str(tmp_path / "socket"), TWO) as daemon:
        ran = await run_beside(
            "baseline", "accept", "--all", multipathd_socket=daemon.address, state_directory=str(tmp_path / "absent")
        )
    assert ran.code == 78
    assert "state-directory" in ran.err
