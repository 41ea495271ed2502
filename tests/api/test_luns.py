"""A LUN that grows, or goes, by API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pathfleet.agent.executor import Executor
from pathfleet.cluster import config
from pathfleet.cluster.access import Role
from pathfleet.core.work import AnyTask, Holder, Rescan
from pathfleet.errors import CannotTell, Unreachable
from pathfleet.store import File
from tests.api import test_work
from tests.api.site import Site, until
from tests.api.test_work import served
from tests.cluster.hosts import GIB, WWID, San, goes_down

GROW = f"/cluster/multipath/wwid/{WWID}/grow"
RETIRE = f"/cluster/multipath/wwid/{WWID}/retire"


def no_storage(here: Site) -> None:
    """Let no storage lie on the LUN."""
    here.memory.files["storage.cfg"] = File(b"", "2")


async def test_a_lun_grows_on_every_node_and_each_step_is_told(tmp_path: Path) -> None:
    san = San(size=2 * GIB)
    async with served(tmp_path, san) as here:
        answer = await here.client.post(GROW, json={})
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert data["result"] == {"wwid": WWID, "size": 2 * GIB, "nodes": ["a", "b"], "group": "vms"}
    assert {"node": "b", "what": f"the map grew to {2 * GIB} bytes", "failed": False} in data["steps"]
    assert san.disk == 2 * GIB


async def test_a_lun_goes_from_every_node(tmp_path: Path) -> None:
    san = San()
    async with served(tmp_path, san) as here:
        no_storage(here)
        answer = await here.client.post(RETIRE, json={})
        assert (await config.read(here.store)).configuration.wwids == {}
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["result"]["paths"] == {"a": ["sda", "sdb"], "b": ["sda", "sdb"]}
    assert all(host.map is None for host in san.hosts.values())


async def test_what_halts_tells_what_was_done_before(tmp_path: Path) -> None:
    san = San(size=2 * GIB)
    san.fails["b", "ResizeMap"] = CannotTell("multipathd hangs")
    async with served(tmp_path, san) as here:
        answer = await here.client.post(GROW, json={})
    body = answer.json()
    assert (answer.status_code, body["code"]) == (409, "stopped")
    assert "multipathd hangs" in body["message"]
    lines = body["errors"]["steps"].split("\n")
    assert f"a: the map grew to {2 * GIB} bytes" in lines
    assert lines[-1].startswith("FAILED b: resizing the map: ")


async def test_what_is_in_use_is_told_apart_from_what_is_under_way(tmp_path: Path) -> None:
    san = San()
    san.hosts["b"].holders = (Holder("mount", "/srv", "dm-3"),)
    async with served(tmp_path, san) as here:
        no_storage(here)
        answer = await here.client.post(RETIRE, json={"force": True})
        assert WWID in (await config.read(here.store)).configuration.wwids
    assert (answer.status_code, answer.json()["code"]) == (409, "in-use")
    assert "mount /srv on dm-3" in answer.json()["message"]


async def test_a_node_that_is_down_is_left_out_by_its_name(tmp_path: Path) -> None:
    san = San()
    san.fails["b", "Holders"] = Unreachable("node b is offline")
    async with served(tmp_path, san) as here:
        no_storage(here)
        assert (await here.client.post(RETIRE, json={"without": ["c"]})).json()["errors"].keys() == {"without"}
        assert (await here.client.post(RETIRE, json={})).status_code == 409
        online = (await here.client.post(RETIRE, json={"without": ["b"]})).json()
        assert online["errors"]["without"].startswith("node b is online: it cannot be left out")
        goes_down(here.memory, "b")
        answer = await here.client.post(RETIRE, json={"without": ["b"]})
    assert answer.json()["data"]["result"]["nodes"] == ["a"], answer.text


@pytest.mark.parametrize("path", [GROW, RETIRE])
async def test_a_dry_run_asks_and_changes_nothing(tmp_path: Path, path: str) -> None:
    san = San(size=2 * GIB, disk=None)
    san.hosts["b"].holders = (Holder("mount", "/srv", "dm-3"),)
    async with served(tmp_path, san) as here:
        answer = await here.client.post(path, json={"dry-run": True})
    outlook = answer.json()["data"]["outlook"]
    assert outlook["nodes"]["b"]["holders"] == [{"kind": "mount", "name": "/srv", "on": "dm-3"}]
    assert outlook["storages"] == ["vms"]
    assert {step["node"] for step in outlook["steps"]} >= {"a", "b"}
    assert {task for _, task in san.told} == {"Holders"}


async def test_a_dry_run_tells_all_that_stands_against_retiring(tmp_path: Path) -> None:
    san = San()
    san.hosts["a"].holders = (Holder("mount", "/srv", "dm-3"),)
    san.fails["b", "Holders"] = Unreachable("no answer")
    async with served(tmp_path, san) as here:
        outlook = (await here.client.post(RETIRE, json={"dry-run": True})).json()["data"]["outlook"]
    assert list(outlook["cannot-tell"]) == ["b"]
    silent, base, used = outlook["against"]
    assert "node b does not tell" in silent
    assert "base of storage vms" in base
    assert "mount /srv" in used


async def test_a_dry_run_of_a_lun_that_nobody_has_says_so(tmp_path: Path) -> None:
    san = San()
    for host in san.hosts.values():
        host.map, host.paths = None, {}
    async with served(tmp_path, san) as here:
        outlook = (await here.client.post(GROW, json={"dry-run": True})).json()["data"]["outlook"]
    assert outlook["against"] == [f"no node has a map of LUN {WWID}"]


@pytest.mark.parametrize(("path", "role"), [(GROW, Role.AUDITOR), (RETIRE, Role.OPERATOR)])
async def test_only_an_operator_grows_and_only_an_admin_retires(tmp_path: Path, path: str, role: Role) -> None:
    san = San()
    async with served(tmp_path, san, role) as here:
        assert (await here.client.post(path, json={"dry-run": True})).status_code == 403
    assert san.told == []


@asynccontextmanager
async def held(directory: Path, san: San, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Site, Any, Any]]:
    """Serve the cluster; rescanning says that it began, and waits to be let go."""
    began, go_on = asyncio.Event(), asyncio.Event()

    class Slow(test_work.Node):
        async def do(self, task: AnyTask) -> object:
            if isinstance(task, Rescan):
                began.set()
                await go_on.wait()
            return await super().do(task)

    slow: Callable[[San, str], Executor] = Slow
    monkeypatch.setattr(test_work, "Node", slow)
    async with served(directory, san) as here:
        yield here, began, go_on


async def test_what_has_begun_ends_although_its_client_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    san = San(size=2 * GIB)
    async with held(tmp_path, san, monkeypatch) as (here, began, go_on):
        asked = asyncio.create_task(here.client.post(GROW, json={}))
        await began.wait()
        asked.cancel()
        with suppress(asyncio.CancelledError, httpx2.HTTPError):
            await asked
        go_on.set()
        await until(lambda: not here.service.under_way)
    assert san.disk == 2 * GIB


async def test_one_agent_does_one_at_a_time_to_a_lun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    san = San(size=2 * GIB)
    async with held(tmp_path, san, monkeypatch) as (here, began, go_on):
        asked = asyncio.create_task(here.client.post(GROW, json={}))
        await began.wait()
        second = await here.client.post(RETIRE, json={})
        assert (second.status_code, second.json()["code"]) == (409, "busy")
        go_on.set()
        assert (await asked).status_code == 200
        assert (await here.client.post(GROW, json={})).status_code == 200
