from __future__ import annotations

import time

from pathfleet.core.facts import NodeFacts
from pathfleet.core.node import Daemon
from tests.api.site import LUN1, Speech, info, site
from tests.core.examined import facts, map_
from tests.fakes import Memory

WELL = {LUN1: ("optimal", 2, 2)}
EVIL = "x\x1b[2J`id`"


def sick(name: str) -> NodeFacts:
    return NodeFacts(name, int(time.time()), Daemon.RUNNING, version="0.9.4", maps=(map_(EVIL, EVIL, paths_total=1),))


async def test_a_node_says_what_is_wrong_on_it_and_by_what() -> None:
    async with site(name="a", facts=sick("a")) as a:
        said = await a.data("/nodes/a/doctor")
    assert isinstance(said, dict)
    assert [finding["code"] for finding in said["findings"]] == ["single-path"]
    assert said["facts"]["node"] == "a"


async def test_the_cluster_is_examined_by_asking_each_node() -> None:
    memory = Memory()
    async with site(name="b", memory=memory, facts=sick("b"), secret="b's") as b:
        await Speech(WELL, info(api=f"http://{b.endpoint}", secret="b's")).say(memory, "b")
        await Speech(WELL).say(memory, "a")
        healthy = NodeFacts("a", int(time.time()), Daemon.RUNNING, version="0.9.4", maps=())
        async with site(name="a", memory=memory, facts=healthy, secret="a's") as a:
            await Speech(WELL, info(secret="a's")).say(memory, "a")
            said = await a.data("/cluster/multipath/doctor")
            forwarded = await a.data("/nodes/b/doctor")
    assert isinstance(said, dict)
    assert isinstance(forwarded, dict)
    assert said["examined"] == ["a", "b"], said["unexamined"]
    assert [(finding["code"], finding["nodes"]) for finding in said["findings"]] == [("single-path", ["b"])]
    assert EVIL not in said["findings"][0]["remedy"]
    assert forwarded["facts"]["maps"][0]["wwid"] == EVIL


async def test_a_node_that_nobody_can_ask_is_unexamined() -> None:
    memory = Memory()
    await Speech(WELL).say(memory, "b")
    await Speech(WELL).say(memory, "a")
    async with site(name="a", memory=memory, facts=facts("a")) as a:
        said = await a.data("/cluster/multipath/doctor")
    assert isinstance(said, dict)
    assert [each["node"] for each in said["unexamined"]] == ["b"]


async def test_nobody_without_a_token_is_told() -> None:
    async with site(name="a", facts=facts("a")) as a:
        assert (await a.get("/nodes/a/doctor", authorization="")).status_code == 401
