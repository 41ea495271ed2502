from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from pathfleet.core import report, wire
from pathfleet.core.report import MapReport
from pathfleet.store.sqlite import SQLiteStore
from tests.cli.commands import run, run_beside

MAPS = {"x": MapReport("optimal", 2, 2), "y": MapReport("failed", 0, 2)}
WELL = {"x": MapReport("optimal", 2, 2)}


@pytest.fixture
async def cluster(tmp_path: Path) -> Path:
    """Three nodes: one well, one that cannot tell, one with garbage and an evil name."""
    now = int(time.time())
    async with SQLiteStore(tmp_path / "cluster.db", node="good") as good:
        await good.alive()
        await good.put("multipath", report.plain(MAPS, now))
        await good.put("pathfleet", wire.stamp({"multipathd": "running", "start": 0, "versions": {}}, now))
    async with SQLiteStore(tmp_path / "cluster.db", node="hung") as hung:
        await hung.alive()
        await hung.put("multipath", report.plain(MAPS, now - 40))
        said = {"multipathd": "cannot-tell", "reason": "it \x1b[31mhangs", "start": 0, "versions": {}}
        await hung.put("pathfleet", wire.stamp(said, now))
    async with SQLiteStore(tmp_path / "cluster.db", node="\x1b[2Jbad") as bad:
        await bad.put("multipath", b"garbage")
    return tmp_path


async def test_the_page_shows_the_matrix_the_nodes_and_what_is_wrong(cluster: Path) -> None:
    ran = await run_beside("status", state_directory=str(cluster))
    assert (ran.code, ran.err) == (0, "")
    assert "\x1b" not in ran.out
    lines = ran.out.splitlines()
    assert lines[0] == "2 LUNs: 1 failed, 1 unknown; 2 of 3 nodes online"
    assert lines[2].split()[:5] == ["LUN", "STATE", "\N{REPLACEMENT CHARACTER}[2Jbad", "good", "hung"]
    assert lines[3].split()[:5] == ["y", "failed", "·", "✗0/2", "?"]
    assert lines[4].split()[:5] == ["x", "unknown", "·", "2/2", "?"]
    (good,) = [line.split() for line in lines if line.startswith("good ")]
    assert good[1:3] == ["online", "running"]
    wrong = "\n".join(lines[lines.index("what is wrong:") :])
    assert "it \N{REPLACEMENT CHARACTER}[31mhangs" in wrong
    assert "is not what it should be" in wrong or "offline" in wrong


async def test_json_and_yaml_are_the_matrix(cluster: Path) -> None:
    as_json = await run_beside("status", "-o", "json", state_directory=str(cluster))
    as_yaml = await run_beside("status", "-o", "yaml", state_directory=str(cluster))
    found = json.loads(as_json.out)
    assert list(found) == ["luns", "nodes", "warnings"]
    assert [lun["wwid"] for lun in found["luns"]] == [lun["wwid"] for lun in yaml.safe_load(as_yaml.out)["luns"]]
    cell = found["luns"][0]["nodes"]["good"]
    assert (cell["state"], cell["paths-active"], cell["paths-total"]) == ("failed", 0, 2)
    assert 0 <= cell["age"] < 60
    assert [node["daemon"] for node in found["nodes"]] == ["unknown", "running", "cannot-tell"]


async def test_a_store_that_nobody_wrote_to_has_no_nodes(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "cluster.db", node="a"):
        pass
    ran = await run_beside("status", state_directory=str(tmp_path))
    assert (ran.code, ran.out) == (0, "no node has reported yet; `pathfleet agent` on each node does\n")


def test_a_store_that_is_not_there_is_named(tmp_path: Path) -> None:
    ran = run("status", state_directory=str(tmp_path))
    assert (ran.code, ran.out) == (69, "")
    assert ran.err.startswith("pathfleet: store ")
    assert str(tmp_path / "cluster.db") in ran.err


def test_a_store_of_garbage_is_named_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "cluster.db").write_bytes(b"this is no database\n" * 100)
    ran = run("status", state_directory=str(tmp_path))
    assert (ran.code, ran.out) == (69, "")
    assert str(tmp_path / "cluster.db") in ran.err
    assert "move it away" in ran.err or "restore" in ran.err or "remove" in ran.err


@pytest.mark.parametrize("url", ["sqlite://relative", "consul", "mysql://x/y", "sqlite:///"])
def test_a_url_of_no_store_is_a_setting_that_cannot_be_used(url: str) -> None:
    ran = run("status", store=url)
    assert (ran.code, ran.out) == (78, "")
    assert ran.err.startswith("pathfleet: store")


@pytest.mark.parametrize(
    "options",
    [["--all", "--problems"], ["--one-line", "--watch"], ["--one-line", "-o", "json"], ["--watch", "-o", "yaml"]],
    ids=" ".join,
)
def test_options_that_contradict_each_other_are_used_wrongly(options: list[str]) -> None:
    ran = run("status", *options)
    assert (ran.code, ran.out) == (64, "")


class TestOneLine:
    async def test_is_a_line_with_the_exit_code_of_a_plug_in(self, cluster: Path) -> None:
        ran = await run_beside("status", "--one-line", state_directory=str(cluster))
        assert (ran.code, ran.err) == (2, "")
        assert ran.out.startswith("PATHFLEET CRITICAL - 1 of 2 LUNs failed: y; ")
        assert ran.out.count("\n") == 1

    def test_is_unknown_when_the_store_cannot_be_read(self, tmp_path: Path) -> None:
        ran = run("status", "--one-line", state_directory=str(tmp_path))
        assert (ran.code, ran.err) == (3, "")
        assert ran.out.startswith("PATHFLEET UNKNOWN - store ")

    def test_is_unknown_when_the_settings_cannot_be_used(self) -> None:
        ran = run("status", "--one-line", store="mysql://x/y")
        assert ran.code == 3
        assert ran.out.startswith("PATHFLEET UNKNOWN - ")


@asynccontextmanager
async def watching(directory: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pathfleet", "status", "--watch",
        env={**os.environ, "PATHFLEET_STATE_DIRECTORY": str(directory), "PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(stream: asyncio.StreamReader, text: str) -> None:
    async with asyncio.timeout(30):
        while text not in (await stream.readline()).decode():
            assert not stream.at_eof()


class TestWatch:
    async def test_prints_a_page_for_each_change_and_ends_quietly_at_ctrl_c(self, tmp_path: Path) -> None:
        async with SQLiteStore(tmp_path / "cluster.db", node="a") as store:
            await store.alive()
            await store.put("multipath", report.plain(WELL, int(time.time())))
            async with watching(tmp_path) as process:
                assert process.stdout is not None
                assert process.stderr is not None
                await until(process.stdout, "Ctrl-C ends")
                await until(process.stdout, "1 LUN: 1 optimal; ")
                await store.alive()
                await store.put("multipath", report.plain(MAPS, int(time.time())))
                await until(process.stdout, "last change at")
                await until(process.stdout, "2 LUNs: 1 failed, 1 optimal; ")
                process.send_signal(signal.SIGINT)
                await process.stdout.read()
                assert await asyncio.wait_for(process.wait(), 30) == 0
                assert await process.stderr.read() == b""

    async def test_redraws_in_place_on_a_terminal(self, tmp_path: Path) -> None:
        async with SQLiteStore(tmp_path / "cluster.db", node="a") as store:
            await store.alive()
            await store.put("multipath", report.plain(WELL, int(time.time())))
            controller, terminal = pty.openpty()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "pathfleet", "status", "--watch",
                env={**os.environ, "PATHFLEET_STATE_DIRECTORY": str(tmp_path), "TERM": "xterm",
                     "COLUMNS": "100", "LINES": "30", "PYTHONUTF8": "1"},
                stdout=terminal, stderr=terminal,
            )  # fmt: skip
            os.close(terminal)
            try:
                seen = await asyncio.to_thread(read_until, controller, "Ctrl-C ends")
                seen += await asyncio.to_thread(read_until, controller, "Ctrl-C ends")
                process.send_signal(signal.SIGINT)
                assert await asyncio.wait_for(process.wait(), 30) == 0
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
                os.close(controller)
        assert "1 LUN: 1 " in seen
        assert "\x1b[2K" in seen

    def test_of_a_store_that_is_not_there_ends_at_once(self, tmp_path: Path) -> None:
        ran = run("status", "--watch", state_directory=str(tmp_path))
        assert (ran.code, ran.out) == (69, "")


def read_until(descriptor: int, text: str) -> str:
    seen = b""
    end = time.monotonic() + 20
    while text.encode() not in seen:
        assert time.monotonic() < end
        seen += os.read(descriptor, 65536)
    return seen.decode(errors="replace")
