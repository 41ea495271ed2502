from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pathfleet.cluster import drift, rolling
from pathfleet.cluster.drift import ClusterDrift, NodeDrift, Standing
from pathfleet.core import applied, configuration, wire
from pathfleet.core.drift import Difference, Effective
from pathfleet.core.facts import HIDDEN
from pathfleet.errors import Unreachable
from pathfleet.store import File, Member, Members
from pathfleet.system.multipathd import Multipathd
from tests.fakes import FakeDaemon, Memory, MemoryStore

CFG = b"defaults: defaults\n\tno-path-retry 12\n\tpath-selector round-robin 0\n\n"
DIGEST = configuration.digest(CFG)
IN_FORCE = """defaults {
	path_selector "round-robin 0"
	no_path_retry 12
	user_friendly_names "no"
	find_multipaths "strict"
}
"""


@pytest.fixture
def memory() -> Memory:
    return Memory(files={configuration.FILE: File(CFG, "c1")})


@pytest.fixture
async def store(memory: Memory) -> AsyncIterator[MemoryStore]:
    async with MemoryStore("a", memory) as opened:
        yield opened


async def say(
    memory: Memory, name: str, digest: str | None, error: str | None = None, *, age: int = 0, alive: bool = True
) -> None:
    async with MemoryStore(name, memory) as speaker:
        await speaker.put(applied.KEY, wire.stamp(applied.content(digest, error), int(time.time()) - age))
        if alive:
            await speaker.alive()


async def only(store: MemoryStore) -> NodeDrift:
    (row,) = (await drift.look(store)).nodes
    return row


async def test_a_node_with_the_digest_has_it_in_force(store: MemoryStore, memory: Memory) -> None:
    await say(memory, "a", DIGEST)
    found = await drift.look(store)
    assert found.digest == DIGEST
    assert [(row.node, row.state, row.digest) for row in found.nodes] == [("a", Standing.IN_FORCE, DIGEST)]


async def test_a_node_with_another_digest_is_behind(store: MemoryStore, memory: Memory) -> None:
    await say(memory, "a", "another")
    assert (await only(store)).state is Standing.BEHIND


@pytest.mark.parametrize(
    ("first", "remark"),
    [
        ("another", "waits for node a, which goes first"),
        (None, "waits for node a, which goes first and is not heard of; `pathfleet config apply --retry` lets"),
        (DIGEST, None),
    ],
    ids=["busy", "silent", "done"],
)
async def test_a_node_that_waits_for_the_first_one_is_behind_and_says_whom_it_waits_for(
    store: MemoryStore, memory: Memory, first: str | None, remark: str | None
) -> None:
    await rolling.note_first(store, DIGEST, "a")
    await say(memory, "a", first, alive=first is not None)
    await say(memory, "b", "another")
    a, b = (await drift.look(store)).nodes
    assert b.state is Standing.BEHIND
    assert b.reason == remark or (remark and (b.reason or "").startswith(remark))
    assert "waits" not in (a.reason or "")


async def test_nobody_waits_for_the_first_one_after_a_failure_or_with_another_configuration(
    store: MemoryStore, memory: Memory
) -> None:
    await say(memory, "b", "another")
    await rolling.note_first(store, "older", "a")
    assert (await only(store)).reason is None
    await rolling.note_first(store, DIGEST, "a")
    await rolling.note_failure(store, DIGEST, "a", "it died")
    assert (await only(store)).reason is None


async def test_a_node_that_could_not_apply_it_failed_and_says_why(store: MemoryStore, memory: Memory) -> None:
    await say(memory, "a", "another", "multipathd died")
    row = await only(store)
    assert (row.state, row.error) == (Standing.FAILED, "multipathd died")


@pytest.mark.parametrize(
    ("speech", "reason"),
    [({"age": 1000}, "what it said is old"), ({"alive": False}, "the node is offline")],
)
async def test_a_node_that_does_not_speak_now_is_unknown(
    store: MemoryStore, memory: Memory, speech: dict[str, int], reason: str
) -> None:
    await say(memory, "a", DIGEST, age=speech.get("age", 0), alive="alive" not in speech)
    row = await only(store)
    assert row.state is Standing.UNKNOWN
    assert row.reason is not None
    assert row.reason.startswith(reason)


async def test_without_quorum_nobody_knows(
    store: MemoryStore, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(memory, "a", DIGEST)

    async def members() -> Members:
        return Members({"a": Member(online=None)}, quorate=False)

    monkeypatch.setattr(store, "members", members)
    row = await only(store)
    assert (row.state, row.reason) == (
        Standing.UNKNOWN,
        "the store has no quorum: nobody knows whether the node is there",
    )


@pytest.mark.parametrize("value", [b"garbage", b'{"digest":7}'])
async def test_garbage_and_silence_are_unknown_with_a_reason(store: MemoryStore, memory: Memory, value: bytes) -> None:
    await store.alive()
    assert "it has not said" in ((await only(store)).reason or "")
    memory.values["a"] = {applied.KEY: value}
    row = await only(store)
    assert row.state is Standing.UNKNOWN
    assert "not what it should be" in (row.reason or "")


async def test_without_a_configuration_a_node_with_nothing_has_it_in_force(memory: Memory) -> None:
    memory.files.clear()
    await say(memory, "a", None)
    async with MemoryStore("b", memory) as store:
        found = await drift.look(store)
    assert found == ClusterDrift(None, [NodeDrift("a", Standing.IN_FORCE, None, None, found.nodes[0].age)])


async def look(tmp_path: Path, store: MemoryStore, effective: str) -> NodeDrift:
    async with FakeDaemon(str(tmp_path / "socket")) as daemon:
        daemon.replies["show config local"] = effective.encode()
        (row,) = (await drift.look(store, lambda _: drift.effective(Multipathd(daemon.address)))).nodes
    return row


async def test_multipathd_itself_is_asked(tmp_path: Path, store: MemoryStore, memory: Memory) -> None:
    await say(memory, "a", DIGEST)
    row = await look(tmp_path, store, IN_FORCE)
    assert (row.state, row.differences) == (Standing.IN_FORCE, [])


async def test_another_value_than_the_digest_promises_is_drift(
    tmp_path: Path, store: MemoryStore, memory: Memory
) -> None:
    await say(memory, "a", DIGEST)
    row = await look(tmp_path, store, IN_FORCE.replace("retry 12", 'retry "queue"'))
    assert row.state is Standing.DRIFTED
    assert row.differences == [Difference("defaults", "no_path_retry", "12", "queue")]


async def test_a_nodes_own_overrides_that_outrank_the_defaults_are_drift(
    tmp_path: Path, store: MemoryStore, memory: Memory
) -> None:
    await say(memory, "a", DIGEST)
    row = await look(tmp_path, store, IN_FORCE + "overrides {\n\tno_path_retry queue\n}\n")
    assert row.state is Standing.DRIFTED
    assert row.differences == [Difference("overrides", "no_path_retry", "12", "queue")]


async def test_what_multipathd_does_not_print_is_named_and_proves_nothing(
    tmp_path: Path, store: MemoryStore, memory: Memory
) -> None:
    await say(memory, "a", DIGEST)
    row = await look(tmp_path, store, IN_FORCE.replace("\tno_path_retry 12\n", ""))
    assert row.state is Standing.IN_FORCE
    assert row.differences == [Difference("defaults", "no_path_retry", "12", None)]


async def test_what_multipathd_does_not_answer_is_unknown_and_not_empty(
    tmp_path: Path, store: MemoryStore, memory: Memory
) -> None:
    await say(memory, "a", DIGEST)
    (row,) = (await drift.look(store, lambda _: drift.effective(Multipathd(str(tmp_path / "nobody"))))).nodes
    assert row.differences is None
    assert "nobody listens" in (row.reason or "")


async def test_an_answer_that_is_no_configuration_is_unknown(
    tmp_path: Path, store: MemoryStore, memory: Memory
) -> None:
    await say(memory, "a", DIGEST)
    row = await look(tmp_path, store, "timeout\n")
    assert row.differences is None
    assert "'timeout\\n'" in (row.reason or "")


async def test_one_node_that_cannot_be_asked_costs_its_own_row(store: MemoryStore, memory: Memory) -> None:
    for name in ("a", "b"):
        await say(memory, name, DIGEST)

    async def ask(node: str) -> Effective:
        if node == "a":
            raise Unreachable("node a is away")
        return Effective(IN_FORCE.replace("retry 12", "retry 3"))

    a, b = (await drift.look(store, ask)).nodes
    assert (a.state, a.differences, a.reason) == (Standing.IN_FORCE, None, "node a is away")
    assert (b.state, b.differences) == (Standing.DRIFTED, [Difference("defaults", "no_path_retry", "12", "3")])


async def test_a_reservation_key_that_is_hidden_is_not_compared(store: MemoryStore, memory: Memory) -> None:
    content = CFG.replace(b"\tno-path", b"\treservation-key 0x1\n\tno-path")
    memory.files[configuration.FILE] = File(content, "c2")
    await say(memory, "a", configuration.digest(content))

    async def ask(_: str) -> Effective:
        return Effective(IN_FORCE.replace("\tno_path", f"\treservation_key {HIDDEN}\n\tno_path"))

    (row,) = (await drift.look(store, ask)).nodes
    assert (row.state, row.differences) == (Standing.IN_FORCE, [])
