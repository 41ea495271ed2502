from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pathfleet.cli.events import Printer
from pathfleet.cli.following import following
from pathfleet.cli.overview import Choice
from pathfleet.cli.watch import watch
from pathfleet.cluster.journal import Event
from pathfleet.core import report
from pathfleet.core.change import CellChange, Change, LunChange, NodeChange, WarningsChange
from pathfleet.core.matrix import Cell, LunHead, NodeHead, State
from pathfleet.core.node import Versions
from pathfleet.core.report import MapReport
from pathfleet.errors import StoreError
from pathfleet.store.sqlite import SQLiteStore
from tests.cli.commands import run
from tests.cli.documents import applied, cell, document, lun, node
from tests.fakes import Memory, MemoryStore

WELL = {"x": MapReport("optimal", 2, 2)}
HALF = {"x": MapReport("degraded", 1, 2)}
KNOWN = document(lun("1", "data", a=cell("degraded", 2)), nodes=[node("a")])


def event(kind: str, change: Change) -> Event:
    return Event("00000000-1", kind, msgspec.json.encode(change))


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().out.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", line) for line in lines)
    return [line[21:] for line in lines]


class TestALine:
    def test_says_what_a_cell_was_and_is_and_why(self, capsys: pytest.CaptureFixture[str]) -> None:
        printer = Printer(KNOWN, "table")
        failed = Cell(State.FAILED, 0, 4, "no path is usable")
        printer.show(event("cell", CellChange("1", "a", failed, State.DEGRADED, State.FAILED)))
        printer.show(event("cell", CellChange("1", "a", None, State.FAILED, None)))
        printer.show(event("cell", CellChange("2", "a", failed, None, State.FAILED)))
        assert said(capsys) == [
            "data  a  degraded -> failed  no path is usable",
            "data  a  failed -> gone",
            "2  a  - -> failed  no path is usable",
        ]

    def test_says_what_changed_in_the_head_of_a_row(self, capsys: pytest.CaptureFixture[str]) -> None:
        printer = Printer(KNOWN, "table")
        head = LunHead("1", "other", State.DEGRADED, 2 << 40, "fc", ("san",), ("nodes do not agree",))
        printer.show(event("lun", LunChange("1", head)))
        printer.show(event("lun", LunChange("1", msgspec.structs.replace(head, cluster_state=State.FAILED))))
        printer.show(event("lun", LunChange("1", None)))
        assert said(capsys) == [
            "data  alias data -> other; size 1 TiB -> 2 TiB; storages - -> san; warning: nodes do not agree",
            "other  the LUN is gone",
        ]

    def test_says_what_changed_in_the_head_of_a_column(self, capsys: pytest.CaptureFixture[str]) -> None:
        printer = Printer(KNOWN, "table")
        off = NodeHead("a", False, "running", "the node is offline", None, Versions("0.1.0", "0.9.4"))
        refused = NodeHead(
            "a", True, "not-running", "it was stopped", applied("abc", "refused"), Versions("0.1.0", "1.0")
        )
        for head in (off, refused, None, refused):
            printer.show(event("node", NodeChange("a", head)))
        gone_off, back, gone, new = said(capsys)
        assert gone_off == "node a  online -> offline; the node is offline"
        assert back.startswith("node a  offline -> online; multipathd running -> not-running; it was stopped; ")
        assert back.endswith("; multipath-tools 0.9.4 -> 1.0; configuration: refused")
        assert (gone, new) == ("node a  the node is gone", "node a  online, multipathd not-running")

    def test_does_not_steer_the_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        printer = Printer(document(), "table")
        evil = Cell(State.FAILED, 0, 4, "\x1b[2J")
        printer.show(event("cell", CellChange("\x1b]0;x\x07", "\n", evil, None, None)))
        assert all(char.isprintable() or char == "\n" for char in capsys.readouterr().out)

    @pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", None)])
    def test_is_an_object_for_programs(
        self, capsys: pytest.CaptureFixture[str], output: str, read: Callable[[str], dict[str, object]] | None
    ) -> None:
        printer = Printer(KNOWN, output, clock=lambda: 7.5)
        change = CellChange("1", "a", Cell(State.FAILED, 0, 4, "no\x1b"), State.DEGRADED, State.FAILED)
        printer.show(event("cell", change))
        out = capsys.readouterr().out
        if read is None:
            assert out.startswith('---\ntime: 7\nkind: cell\nalias: data\nwwid: "1"\n')
            return
        assert out.count("\n") == 1
        assert "\x1b" not in out
        assert read(out) == {
            "time": 7, "kind": "cell", "alias": "data", "wwid": "1", "node": "a", "before": "degraded",
            "cluster-state": "failed",
            "cell": {"state": "failed", "paths-active": 0, "paths-total": 4, "reason": "no\x1b", "flags": []},
        }  # fmt: skip

    def test_says_what_is_wrong_with_the_whole_and_when_it_no_longer_is(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        printer = Printer(KNOWN, "table")
        printer.show(event("warnings", WarningsChange(("the store is in trouble", "line 3 is none"))))
        printer.show(event("warnings", WarningsChange(("line 3 is none",))))
        assert said(capsys) == [
            "cluster  warning: the store is in trouble; warning: line 3 is none",
            "cluster  no longer: the store is in trouble",
        ]


@asynccontextmanager
async def events(directory: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pathfleet", "events", *options,
        env={**os.environ, "PATHFLEET_STATE_DIRECTORY": str(directory)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def of_a_cell(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Return the next event that is one of a cell."""
    assert process.stdout is not None
    while True:
        found: dict[str, Any] = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        if found["kind"] == "cell":
            return found


async def test_what_is_wrong_is_told_and_then_each_change_until_ctrl_c(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "cluster.db", node="a") as store:
        await store.alive()
        await store.put("multipath", report.plain(HALF, int(time.time())))
        async with events(tmp_path, "-o", "json") as process:
            first = await of_a_cell(process)
            assert (first["wwid"], first["before"], first["cell"]["state"]) == ("x", None, "degraded")
            await store.put("multipath", report.plain(WELL, int(time.time())))
            second = await of_a_cell(process)
            assert (second["before"], second["cell"]["state"], second["cluster-state"]) == (
                "degraded", "optimal", "optimal",
            )  # fmt: skip
            process.send_signal(signal.SIGINT)
            out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (0, b"")
    assert b"Traceback" not in out


async def test_since_now_leaves_out_what_is_wrong_already(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "cluster.db", node="a") as store:
        await store.alive()
        await store.put("multipath", report.plain(HALF, int(time.time())))
        async with events(tmp_path, "--since-now", "-o", "json") as process:
            # nothing says that it follows: changes until one is seen
            seen = asyncio.create_task(of_a_cell(process))
            for state in [MapReport("failed", 0, 2), MapReport("degraded", 1, 2)] * 20:
                await store.put("multipath", report.plain({"x": state}, int(time.time())))
                await asyncio.wait([seen], timeout=0.5)
                if seen.done():
                    break
            assert (await seen)["before"] is not None
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0


async def test_nobody_reading_on_is_no_crash(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "cluster.db", node="a") as store:
        await store.alive()
        await store.put("multipath", report.plain(HALF, int(time.time())))
        reader, writer = os.pipe()
        os.close(reader)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pathfleet", "events",
            env={**os.environ, "PATHFLEET_STATE_DIRECTORY": str(tmp_path)},
            stdout=writer, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        os.close(writer)
        _, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (141, b"")


def test_a_store_that_cannot_be_read_at_the_start_ends_it(tmp_path: Path) -> None:
    ran = run("events", state_directory=str(tmp_path))
    assert (ran.code, ran.out) == (69, "")


class TestFollowing:
    async def test_ends_when_the_store_cannot_be_read_at_the_start(self) -> None:
        store = MemoryStore("a")
        store.faults["all_values"] = StoreError("away")
        with pytest.raises(StoreError, match="away"):
            async with following(store):
                raise AssertionError

    async def test_goes_on_through_trouble_of_the_store_and_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        memory = Memory()
        async with MemoryStore("a", memory) as writer:
            await writer.alive()
            await writer.put("multipath", report.plain(WELL, int(time.time())))
            shown = asyncio.create_task(watch(MemoryStore(None, memory), Choice()))
            shown_text = ""

            async def until(text: str) -> None:
                nonlocal shown_text
                async with asyncio.timeout(30):
                    while text not in shown_text:
                        await asyncio.sleep(0.05)
                        shown_text += capsys.readouterr().out
                shown_text = shown_text.partition(text)[2]

            await until("1 LUN: 1 optimal")
            memory.lost = True
            await until("STORE NOT READABLE: ")
            await until("1 LUN: 1 optimal")
            memory.regain()
            await writer.put("multipath", report.plain(HALF, int(time.time())))
            await until("1 LUN: 1 degraded")
            assert "STORE NOT READABLE" not in shown_text
            shown.cancel()
            await asyncio.gather(shown, return_exceptions=True)
