from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import pytest

from pathfleet.cluster import doctor
from pathfleet.cluster.doctor import Diagnosis
from pathfleet.core import configuration, mutes, node, report, rules, storagecfg, wire
from pathfleet.core.facts import NodeFacts, Unexamined
from pathfleet.core.findings import Examined, Sighting, rule
from pathfleet.core.mutes import Mute
from pathfleet.core.node import NodeInfo, Versions
from pathfleet.core.report import MapReport
from pathfleet.errors import BadRequest, CannotTell, NotFound, StoreUnavailable, Unreachable
from pathfleet.store import File
from tests.core.examined import SIZE, WWID, facts, map_
from tests.fakes import Memory, MemoryStore

WELL = {WWID: MapReport("optimal", 2, 2, SIZE)}


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
async def store(memory: Memory) -> AsyncIterator[MemoryStore]:
    async with MemoryStore("a", memory) as opened:
        yield opened


async def say(memory: Memory, name: str, maps: dict[str, MapReport] | None = None, *, alive: bool = True) -> None:
    async with MemoryStore(name, memory) as speaker:
        now = int(time.time())
        await speaker.put("multipath", report.plain(WELL if maps is None else maps, now))
        info = NodeInfo("running", now, Versions("1.0", "0.9.4"))
        await speaker.put(node.KEY, wire.stamp(node.content(info), now))
        if alive:
            await speaker.alive()


def now_facts(name: str, **more: object) -> NodeFacts:
    said = facts(name, **more)
    return NodeFacts(**{field: getattr(said, field) for field in said.__struct_fields__} | {"time": int(time.time())})


async def ask(name: str) -> NodeFacts:
    return now_facts(name)


def codes(found: Diagnosis) -> list[str]:
    return [finding.code for finding in found.findings]


async def test_a_healthy_cluster_is_nothing_but_healthy(memory: Memory, store: MemoryStore) -> None:
    await say(memory, "a")
    await say(memory, "b")
    assert await doctor.of_cluster(store, ask, time.time) == Diagnosis([], [], [], ["a", "b"])


async def test_a_node_that_cannot_be_asked_is_judged_by_what_it_published_and_said_so(
    memory: Memory, store: MemoryStore
) -> None:
    await say(memory, "a")
    await say(memory, "b", {WWID: MapReport("failed", 0, 0)})

    async def deaf(name: str) -> NodeFacts:
        if name == "b":
            raise Unreachable("no agent answers")
        return now_facts(name)

    found = await doctor.of_cluster(store, deaf, time.time)
    assert codes(found) == ["stale-map"]
    assert found.unexamined == [Unexamined("what only the node itself knows", "no agent answers", "b")]
    assert found.examined == ["a"]


async def test_a_node_that_is_offline_is_not_asked_and_said(memory: Memory, store: MemoryStore) -> None:
    await say(memory, "a")
    await say(memory, "b", {WWID: MapReport("failed", 0, 0)}, alive=False)
    found = await doctor.of_cluster(store, ask, time.time)
    assert (codes(found), found.examined) == ([], ["a"])
    assert found.unexamined == [Unexamined("the node", "the node is offline", "b")]


async def test_a_node_cannot_speak_for_another(memory: Memory, store: MemoryStore) -> None:
    await say(memory, "a")

    async def liar(_: str) -> NodeFacts:
        return now_facts("b", unexamined=(Unexamined("all", "why", "c"),))

    found = await doctor.of_cluster(store, liar, time.time)
    assert found.examined == ["a"]
    assert found.unexamined == [Unexamined("all", "why", "a")]


async def test_a_mute_keeps_a_finding_quiet_and_shows_it_as_muted(memory: Memory, store: MemoryStore) -> None:
    await say(memory, "a", {WWID: MapReport("failed", 0, 0)})
    now = int(time.time())
    await doctor.mute(store, Mute("stale-map", now + 1000, "known", WWID), now)

    async def stale(name: str) -> NodeFacts:
        return now_facts(name, maps=(map_(paths_active=0, paths_total=0),))

    found = await doctor.of_cluster(store, stale, time.time)
    assert codes(found) == []
    assert [(each.finding.code, each.mute.reason) for each in found.muted] == [("stale-map", "known")]
    await doctor.unmute(store, "stale-map", WWID)
    assert mutes.FILE not in memory.files
    assert codes(await doctor.of_cluster(store, stale, time.time)) == ["stale-map"]


async def test_a_finding_that_several_mutes_cover_is_muted_until_the_last_of_them_ends(
    memory: Memory, store: MemoryStore
) -> None:
    await say(memory, "a", {WWID: MapReport("failed", 0, 0)})
    now = int(time.time())
    for subject, seconds in ((None, 1000), (WWID, 3000), ("a", 2000)):
        await doctor.mute(store, Mute("stale-map", now + seconds, "known", subject), now)

    async def stale(name: str) -> NodeFacts:
        return now_facts(name, maps=(map_(paths_active=0, paths_total=0),))

    found = await doctor.of_cluster(store, stale, time.time)
    assert [each.mute.subject for each in found.muted] == [WWID]


async def test_mutes_that_cannot_be_read_mute_nothing_and_are_said(memory: Memory, store: MemoryStore) -> None:
    await say(memory, "a")
    memory.files[mutes.FILE] = File(b"garbage", "1")
    found = await doctor.of_cluster(store, ask, time.time)
    assert [each.what for each in found.unexamined] == ["what is muted"]


async def test_what_there_is_not_cannot_be_muted_nor_unmuted(store: MemoryStore) -> None:
    with pytest.raises(BadRequest, match="no finding 'nonsense'"):
        await doctor.mute(store, Mute("nonsense", 2, "why"), 1)
    with pytest.raises(BadRequest, match="over already"):
        await doctor.mute(store, Mute("stale-map", 1, "why"), 1)
    with pytest.raises(BadRequest, match="why it may stay so"):
        await doctor.mute(store, Mute("stale-map", 2, " "), 1)
    with pytest.raises(BadRequest, match="a node, WWID or storage"):
        await doctor.mute(store, Mute("stale-map", 2, "why", ""), 1)
    with pytest.raises(NotFound, match="not muted"):
        await doctor.unmute(store, "stale-map", None)


async def test_a_rule_with_a_defect_costs_only_itself(
    memory: Memory, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    @rule("broken", "error", "", "")
    def broken(_: Examined) -> Iterator[Sighting]:
        raise ZeroDivisionError

    await say(memory, "a", {WWID: MapReport("failed", 0, 0)})
    monkeypatch.setattr(doctor, "RULES", (broken, *rules.RULES))

    async def nobody(_: str) -> NodeFacts:
        raise CannotTell("no")

    found = await doctor.of_cluster(store, nobody, time.time)
    assert codes(found) == ["stale-map"]
    assert any("defect" in each.why for each in found.unexamined)


async def test_a_node_alone_is_judged_with_the_clusters_files(memory: Memory, store: MemoryStore) -> None:
    await say(memory, "a")
    await say(memory, "b", {WWID: MapReport("failed", 0, 0)})
    memory.files[storagecfg.FILE] = File(f"multipath: san\n\nlvm: vms\n\tvgname vg\n\tbase san:{WWID}\n".encode(), "1")
    memory.files[configuration.FILE] = File(b"wwid: 3600\n", "1")
    found = await doctor.of_node(store, now_facts("a"), time.time())
    assert codes(found) == ["config-not-applied", "storage-lun-not-configured", "lun-not-configured"]


async def test_without_a_store_a_node_is_judged_by_itself_and_that_is_said(store: MemoryStore) -> None:
    sick = now_facts("a", maps=(map_(paths_active=1, paths_total=1),))
    found = await doctor.of_node(None, sick, time.time(), "no quorum")
    assert codes(found) == ["single-path"]
    assert found.unexamined == [Unexamined("what the cluster wants", "no quorum")]
    store.faults["read"] = StoreUnavailable("gone")
    lost = await doctor.of_node(store, sick, time.time())
    assert codes(lost) == ["single-path"]
    assert [each.why for each in lost.unexamined] == ["gone"]
