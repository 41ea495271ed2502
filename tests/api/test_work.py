"""Work for executors by API: on the node that is asked, and on another one in the role of who asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from pathfleet.agent.executor import Counter, Executor
from pathfleet.cluster.access import Role
from pathfleet.core.work import AnyTask, Holders, RemoveVolume
from pathfleet.store import File
from tests.api.site import Site, Speech, info, site
from tests.cluster.hosts import CONFIGURATION, GIB, STORAGES, WWID, San
from tests.fakes import Memory


class Node(Executor):
    """An executor that does what a node of the SAN does."""

    def __init__(self, san: San, name: str) -> None:
        self._san = san
        self._name = name

    async def do(self, task: AnyTask) -> object:
        return self._san.answer(self._name, task)


@asynccontextmanager
async def served(directory: Path, san: San, role: Role = Role.ADMIN) -> AsyncIterator[Site]:
    """Serve the APIs of `a` and `b`, each with an executor; return that of `a`, with a client of this role."""
    memory = Memory()
    memory.files["storage.cfg"] = File(STORAGES.encode(), "1")
    memory.files["multipath.cfg"] = File(CONFIGURATION.encode(), "1")
    async with AsyncExitStack() as stack:
        for name in san.hosts:
            file = directory / f"{name}.sock"
            await stack.enter_async_context(Counter(Node(san, name), ()).open(file))
        b = await stack.enter_async_context(site(name="b", memory=memory, secret="b's", executor=directory / "b.sock"))
        speech = Speech(info=info(api=f"http://{b.endpoint}", secret="b's"))
        a = await stack.enter_async_context(
            site(
                {"b": speech, "a": Speech(info=info(secret="a's"))},
                memory=memory,
                secret="a's",
                executor=directory / "a.sock",
            )
        )
        a.client.headers.update(a.headers(role))
        yield a


def errand(wwid: str = WWID) -> dict[str, Any]:
    return {"document": msgspec.json.encode(Holders(wwid)).decode()}


async def ask(here: Site, node: str, body: dict[str, Any]) -> Any:
    answer = await here.client.post(f"/nodes/{node}/work", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_a_task_is_done_on_the_node_that_is_named(tmp_path: Path) -> None:
    san = San()
    async with served(tmp_path, san) as here:
        for node in ("a", "b"):
            assert (await ask(here, node, errand()))["answer"]["device"] == "dm-3"
    assert san.told == [("a", "Holders"), ("b", "Holders")]


async def test_what_is_no_task_is_told_as_the_executor_would(tmp_path: Path) -> None:
    async with served(tmp_path, San()) as here:
        for document in ("", "{}", '{"task":"format"}', '{"task":"holders","wwid":"a b"}'):
            assert (await ask(here, "a", {"document": document}))["error"]["code"] == "malformed"


async def test_an_auditor_gives_no_tasks(tmp_path: Path) -> None:
    san = San()
    async with served(tmp_path, san, Role.AUDITOR) as here:
        assert (await here.client.post("/nodes/a/work", json=errand())).status_code == 403
    assert san.told == []


async def test_an_operator_lets_things_grow_on_any_node_and_takes_nothing_away(tmp_path: Path) -> None:
    san = San()
    async with served(tmp_path, san, Role.OPERATOR) as here:
        for node in ("a", "b"):
            content = f"/nodes/{node}/storage/vms/content"
            made = await here.client.post(content, json={"size": "1G", "vmid": 100})
            name = made.json()["data"].partition(":")[2]
            assert (await here.client.put(f"{content}/{name}", json={"size": "2G"})).status_code == 200
            assert (await here.client.delete(f"{content}/{name}")).status_code == 403
            remove = msgspec.json.encode(RemoveVolume("vms", name)).decode()
            answer = await here.client.post(f"/nodes/{node}/work", json={"document": remove})
            assert answer.status_code == 403, answer.text
        retire = await here.client.post(f"/cluster/multipath/wwid/{WWID}/retire", json={"dry-run": True})
        assert retire.status_code == 403
    assert san.steps("RemoveVolume", "Flush", "DeletePaths") == []


async def test_nobody_but_a_node_chooses_the_role_in_which_it_asks(tmp_path: Path) -> None:
    san = San()
    async with served(tmp_path, san, Role.AUDITOR) as here:
        headers = {"X-Pathfleet-Role": "admin"}
        answer = await here.client.post("/nodes/a/work", json=errand(), headers=headers)
        assert answer.status_code == 403
        # a node is an auditor where it asks for nobody
        known = {"authorization": "PathfleetNode b:b's"}
        await here.client.post("/nodes/a/work", json=errand(), headers=known)
        assert san.told == []
        answer = await here.client.post("/nodes/a/work", json=errand(), headers=known | headers)
        assert answer.status_code == 200
        wrong = {"authorization": "PathfleetNode b:another", **headers}
        assert (await here.client.post("/nodes/a/work", json=errand(), headers=wrong)).status_code == 401


async def test_without_an_executor_the_answer_says_what_to_start() -> None:
    async with site(name="a") as here:
        answer = await here.client.post("/nodes/a/work", json=errand(), headers=here.headers(Role.ADMIN))
    assert answer.status_code == 503
    assert "systemctl start pathfleet-executor" in answer.json()["message"]


async def test_a_volume_is_allocated_grown_and_freed_on_either_node(tmp_path: Path) -> None:
    san = San()
    async with served(tmp_path, san) as here:
        for node in ("a", "b"):
            content = f"/nodes/{node}/storage/vms/content"
            made = await here.client.post(content, json={"size": "1G", "vmid": 100})
            assert made.json()["data"] == "vms:vm-100-disk-0", made.text
            grown = await here.client.put(f"{content}/vm-100-disk-0", json={"size": "2G"})
            assert grown.json()["data"]["size"] == 2 * GIB, grown.text
            (listed,) = (await here.client.get(content)).json()["data"]
            assert (listed["volid"], listed["size"], listed["active"], listed["vmid"]) == (
                "vms:vm-100-disk-0",
                2 * GIB,
                False,
                100,
            )
            freed = await here.client.delete(f"{content}/vm-100-disk-0")
            assert freed.status_code == 200, freed.text
    assert san.volumes == {}


async def test_an_auditor_sees_how_much_is_free(tmp_path: Path) -> None:
    san = San()
    async with served(tmp_path, san, Role.AUDITOR) as here:
        for node in ("a", "b"):
            status: Any = await here.data(f"/nodes/{node}/storage/vms/status")
            assert (status["active"], status["total"], status["avail"]) == (True, GIB, GIB)
        for request in ("post", "delete"):
            path = "/storage" if request == "post" else "/storage/vms"
            body = {"storage": "xx", "type": "multipath"}
            more = {"json": body} if request == "post" else {}
            assert (await getattr(here.client, request)(f"{path}", **more)).status_code == 403


async def test_storages_are_made_changed_and_removed(tmp_path: Path) -> None:
    san = San()
    async with served(tmp_path, san) as here:
        await here.client.delete("/storage/vms")
        body = {"storage": "vms", "type": "lvm", "base": f"san:{WWID}", "vgname": "vms", "saferemove": 1}
        made = await here.client.post("/storage", json=body)
        assert made.status_code == 200, made.text
        assert san.steps("Holders", "CreateGroup")[-1] == ("a", "CreateGroup")
        assert (await here.client.delete("/storage/san")).status_code == 409
        digest = (await here.client.get("/storage/vms")).json()["data"]["digest"]
        change = {"nodes": "a", "digest": digest}
        assert (await here.client.put("/storage/vms", json=change)).status_code == 200
        assert (await here.client.put("/storage/vms", json=change)).status_code == 409
        found: Any = await here.data("/storage/vms")
    assert (found["nodes"], found["saferemove"]) == ("a", "1")
