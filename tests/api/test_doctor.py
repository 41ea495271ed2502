from __future__ import annotations

import asyncio
import time

import pytest

from pathfleet.cluster.access import Role
from pathfleet.core import mutes
from pathfleet.core.facts import NodeFacts
from pathfleet.core.node import Daemon
from pathfleet.store import File
from tests.api.site import LUN1, Speech, info, site
from tests.core.examined import facts, map_
from tests.fakes import Memory

WELL = {LUN1: ("optimal", 2, 2)}
MUTES = "/cluster/multipath/doctor/mutes"
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


def new_mute(**more: object) -> dict[str, object]:
    return {"code": "single-path", "until": int(time.time()) + 3600, "reason": "one cable", **more}


async def test_an_operator_mutes_a_finding_until_a_time_and_lets_it_be_heard_again() -> None:
    async with site(name="a", facts=sick("a")) as a, a.connected(Role.OPERATOR) as operator:
        given = new_mute(subject=EVIL)
        answer = await operator.post(MUTES, json=given)
        assert answer.status_code == 200, answer.text
        assert await a.data(MUTES) == [given]
        said = await a.data("/nodes/a/doctor")
        assert isinstance(said, dict)
        assert said["findings"] == []
        assert [each["mute"] for each in said["muted"]] == [given]
        answer = await operator.delete(f"{MUTES}/single-path", params={"subject": EVIL})
        assert answer.status_code == 200, answer.text
        assert await a.data(MUTES) == []


async def test_a_mute_of_the_same_code_and_subject_replaces_the_one_before() -> None:
    async with site(name="a") as a, a.connected(Role.OPERATOR) as operator:
        for given in (new_mute(), new_mute(subject="a"), new_mute(reason="another cable")):
            assert (await operator.post(MUTES, data=given)).status_code == 200
        said = await a.data(MUTES)
    assert isinstance(said, list)
    assert [(each["subject"], each["reason"]) for each in said] == [(None, "another cable"), ("a", "one cable")]


async def test_ending_a_mute_ends_that_of_its_subject_alone_and_what_is_not_muted_is_not_found() -> None:
    async with site(name="a") as a, a.connected(Role.OPERATOR) as operator:
        assert (await operator.post(MUTES, json=new_mute(subject="a"))).status_code == 200
        answer = await operator.delete(f"{MUTES}/single-path")
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
        assert "is not muted" in answer.json()["message"]
        assert len(a.memory.files[mutes.FILE].content) > 0
        assert (await operator.delete(f"{MUTES}/single-path?subject=a")).status_code == 200
        assert (await operator.delete(f"{MUTES}/single-path?subject=a")).status_code == 404


async def test_what_two_mute_at_once_is_muted_both() -> None:
    async with site(name="a") as a, a.connected(Role.OPERATOR) as operator:
        answers = await asyncio.gather(
            *(operator.post(MUTES, json=new_mute(subject=subject)) for subject in ("a", "b", "c"))
        )
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        said = await a.data(MUTES)
    assert isinstance(said, list)
    assert [each["subject"] for each in said] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("wrong", "about"),
    [
        ({"code": "nonsense"}, "code"),
        ({"until": 1 << 40}, "until"),
        ({"until": "soon"}, "until"),
        ({"reason": ""}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": "x" * 401}, "reason"),
        ({"subject": ""}, "subject"),
        ({"subject": "x" * 257}, "subject"),
        ({"days": 3}, "days"),
    ],
)
async def test_a_mute_that_cannot_be_is_refused_by_the_name_of_what_is_wrong(
    wrong: dict[str, object], about: str
) -> None:
    async with site(name="a") as a, a.connected(Role.OPERATOR) as operator:
        answer = await operator.post(MUTES, json=new_mute(**wrong))
        assert (answer.status_code, [*answer.json()["errors"]]) == (400, [about])
        assert mutes.FILE not in a.memory.files


async def test_a_mute_whose_time_is_over_does_not_fit() -> None:
    async with site(name="a") as a, a.connected(Role.OPERATOR) as operator:
        answer = await operator.post(MUTES, json=new_mute(until=1))
        assert (answer.status_code, answer.json()["code"]) == (409, "unfit")
        assert answer.json()["errors"] == {"until": "this time is over already"}


async def test_an_auditor_reads_what_is_muted_and_changes_nothing_of_it() -> None:
    async with site(name="a") as a:
        assert await a.data(MUTES) == []
        assert (await a.client.post(MUTES, json=new_mute())).status_code == 403
        assert (await a.client.delete(f"{MUTES}/single-path")).status_code == 403
        assert (await a.get(MUTES, authorization="")).status_code == 401


async def test_mutes_that_cannot_be_understood_are_an_error_and_are_not_written_over() -> None:
    async with site(name="a") as a, a.connected(Role.OPERATOR) as operator:
        a.memory.files[mutes.FILE] = File(b"garbage", "1")
        assert (await a.get(MUTES)).status_code >= 500
        assert (await operator.post(MUTES, json=new_mute())).status_code >= 500
        assert a.memory.files[mutes.FILE].content == b"garbage"
