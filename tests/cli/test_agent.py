from __future__ import annotations

from pathlib import Path

import pytest

from pathfleet.store.sqlite import SQLiteStore
from tests.cli.commands import Ran, spawn
from tests.fakes import FakeDaemon, says
from tests.replies import group, map_, path, reply

DEGRADED = reply(map_("x1", group(path("sda"), path("sdb", "failed", "faulty"))))


async def once(tmp_path: Path, daemon: str) -> Ran:
    return await spawn(
        "agent",
        "--once",
        PATHFLEET_NODE="n1",
        PATHFLEET_STATE_DIRECTORY=str(tmp_path),
        PATHFLEET_MULTIPATHD_SOCKET=daemon,
    )


async def test_once_publishes_says_what_was_found_and_ends(tmp_path: Path) -> None:
    async with FakeDaemon(str(tmp_path / "socket"), DEGRADED) as daemon:
        ran = await once(tmp_path, daemon.address)
    assert (ran.code, ran.out) == (1, "1 degraded\n")
    async with SQLiteStore(tmp_path / "cluster.db") as store:
        values = await store.values("n1")
        assert (await store.members()).nodes["n1"].online is True
    assert set(values) == {"multipath", "multipath-detail", "pathfleet"}
    assert (tmp_path / "baseline.json").read_text().split() == ["{", '"x1":', "2", "}"]


@pytest.mark.parametrize(
    ("maps", "code", "out"), [(reply(), 0, "none: "), (b"timeout\n", 3, "cannot-tell: multipathd answered `timeout`")]
)
async def test_once_has_the_exit_code_of_what_it_found(tmp_path: Path, maps: bytes, code: int, out: str) -> None:
    async with FakeDaemon(str(tmp_path / "socket"), maps, *[says(maps)] * 3) as daemon:
        ran = await once(tmp_path, daemon.address)
    assert ran.code == code
    assert ran.out.startswith(out)


async def test_once_without_multipathd_says_so(tmp_path: Path) -> None:
    ran = await once(tmp_path, str(tmp_path / "absent"))
    assert ran.code == 4
    assert ran.out.startswith("not-running: nobody listens at")


async def test_a_store_of_garbage_is_named_with_the_next_step_and_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "cluster.db").write_bytes(b"this is no database\n" * 100)
    ran = await once(tmp_path, str(tmp_path / "absent"))
    assert (ran.code, ran.out) == (69, "")
    assert str(tmp_path / "cluster.db") in ran.err
    assert "Traceback" not in ran.err
