from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml

from pathfleet.core import report, wire
from pathfleet.core.report import MapReport
from pathfleet.store.sqlite import SQLiteStore
from tests.cli.commands import run, run_beside

MAPS = {"x": MapReport("optimal", 2, 2), "y": MapReport("failed", 0, 2)}


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


async def test_the_table_shows_every_node_and_what_is_doubtful(cluster: Path) -> None:
    ran = await run_beside("status", state_directory=str(cluster))
    assert (ran.code, ran.err) == (0, "")
    head, bad, good, hung = ran.out.splitlines()
    assert head.split() == ["NODE", "ONLINE", "MULTIPATHD", "AGE", "MAPS", "HEALTH", "REMARK"]
    assert "offline" in bad
    assert "\x1b" not in ran.out
    assert good.split()[:3] == ["good", "online", "running"]
    assert good.split()[4:] == ["s", "2", "1", "failed,", "1", "optimal"]
    assert "unknown (last: 1 failed, 1 optimal)" in hung
    assert "the node cannot tell: it \N{REPLACEMENT CHARACTER}[31mhangs; the report is the last one" in hung


async def test_json_and_yaml_say_the_same(cluster: Path) -> None:
    as_json = await run_beside("status", "-o", "json", state_directory=str(cluster))
    as_yaml = await run_beside("status", "-o", "yaml", state_directory=str(cluster))
    found = json.loads(as_json.out)
    for one, other in zip(found, yaml.safe_load(as_yaml.out), strict=True):
        assert one | {"age": 0} == other | {"age": 0}
        assert list(one) == [
            "node", "online", "daemon", "reason", "age", "maps", "details", "doubt", "versions", "warnings"
        ]  # fmt: skip
    good = found[1]
    assert good["maps"]["y"] == {"state": "failed", "paths-active": 0, "paths-total": 2}
    assert (good["online"], good["doubt"]) == (True, None)


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
