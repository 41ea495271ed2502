"""Nodes that follow the cluster's configuration, one first, on one store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from pathfleet.agent import follow, supervise
from pathfleet.agent.apply import NOT_RUNNING, Applier, Outcome
from pathfleet.agent.follow import Follower
from pathfleet.cluster import config, rolling
from pathfleet.core import applied, roll, wire
from pathfleet.core.applied import Applied
from pathfleet.core.configuration import FILE, OVERRIDES_FILE, combined_digest
from pathfleet.core.wanted import Wanted
from pathfleet.errors import StoreError
from pathfleet.store import Members, Store, open_store
from pathfleet.system.dropins import Attempt, Files
from tests.agent.apply_bench import FRAGILE, UNLISTED, Host, lab, until, wwid
from tests.fakes import Memory, MemoryStore

THREE = FRAGILE.replace("count = 2", "count = 3")
CFG = b"defaults: defaults\n\tno-path-retry 7\n"
DIGEST = combined_digest(CFG, b"")
#: It passes every check, and costs each node its map.
HARMFUL = 'blacklist {{\n\twwid "{}"\n}}\n'


class Recorded(Applier):
    """An applier of whose beginnings and ends a list is kept."""

    log: list[tuple[str, str]]
    name: str

    async def apply(self, wanted: Wanted) -> Outcome:
        self.log.append(("begins", self.name))
        outcome = await super().apply(wanted)
        self.log.append(("ends", self.name))
        return outcome


class Cluster:
    """Hosts that follow one store, and what an operator of the store does and sees."""

    def __init__(self, hosts: list[Host], url: str) -> None:
        self.hosts = {host.node.name: host for host in hosts}
        self.url = url
        self.log: list[tuple[str, str]] = []
        self.operator = open_store(url, node="operator")

    def follower(self, name: str) -> Follower:
        applier = self.hosts[name].applier
        applier.__class__ = Recorded
        assert isinstance(applier, Recorded)
        applier.log, applier.name = self.log, name
        return Follower(open_store(self.url, node=name), applier)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        async with self.operator, AsyncExitStack() as stack:
            tasks = [asyncio.create_task(self.follower(name).serve()) for name in self.hosts]
            tasks += [asyncio.create_task(self._agent(name)) for name in self.hosts]
            stack.push_async_callback(_ended, tasks)
            yield

    async def _agent(self, name: str) -> None:
        """Say that a node lives, as its agent does."""
        async with open_store(self.url, node=name) as store:
            while True:
                await store.alive()
                await asyncio.sleep(1)

    async def write(self, name: str, content: bytes | None) -> None:
        await write(self.operator, name, content)

    async def said(self) -> dict[str, Applied]:
        values = await self.operator.all_values()
        return {node: applied.decode(said[applied.KEY]) for node, said in values.items() if applied.KEY in said}

    async def all_say(self, digest: str | None) -> None:
        async with asyncio.timeout(30):
            while True:
                said = await self.said()
                if len(said) == len(self.hosts) and all((s.digest, s.error) == (digest, None) for s in said.values()):
                    return
                await asyncio.sleep(0.02)

    async def errors(self, count: int) -> dict[str, str]:
        async with asyncio.timeout(30):
            while True:
                found = {node: said.error for node, said in (await self.said()).items() if said.error}
                if len(found) == count:
                    return found
                await asyncio.sleep(0.02)


async def write(store: Store, name: str, content: bytes | None) -> None:
    file = await store.read(name)
    await store.swap(name, content, file.revision if file else None)


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setattr(follow, "CHECK_SECONDS", 0.3)
    monkeypatch.setattr(follow, "AGAIN_SECONDS", 0.1)
    async with lab(tmp_path, THREE) as hosts:
        yield Cluster(hosts, f"sqlite://{tmp_path}/cluster.db")


async def test_one_node_is_first_and_the_rest_follows_when_it_is_well(cluster: Cluster) -> None:
    async with cluster.following():
        await cluster.all_say(None)
        await cluster.write(FILE, CFG)
        await cluster.all_say(DIGEST)
    (_, first), (_, same) = cluster.log[:2]
    assert cluster.log[:2] == [("begins", first), ("ends", same)]
    assert first == same
    assert sorted(name for what, name in cluster.log if what == "ends") == sorted(cluster.hosts)
    for host in cluster.hosts.values():
        assert "no_path_retry 7" in await host.multipathd.effective()
        assert host.reconfigurations() == 1


async def test_an_allowed_lun_becomes_a_map_with_its_alias_and_an_emptied_file_tears_it_down(tmp_path: Path) -> None:
    async with lab(tmp_path, UNLISTED) as hosts:
        cluster = Cluster(hosts, f"sqlite://{tmp_path}/cluster.db")
        before = hosts[0].tree()
        async with cluster.following():
            cfg = f"wwid: {wwid(hosts[0], 'vm1')}\n\talias db\n".encode()
            await cluster.write(FILE, cfg)
            await cluster.all_say(combined_digest(cfg, b""))
            assert [await host.names() for host in hosts] == [{"db"}, {"db"}]
            await cluster.write(FILE, b"")
            await cluster.all_say(None)
        assert hosts[0].tree() == before


async def test_a_store_without_any_configuration_takes_nothing_off_a_node_until_somebody_says_so(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, UNLISTED) as hosts:
        cluster = Cluster(hosts, f"sqlite://{tmp_path}/cluster.db")
        before = hosts[0].tree()
        async with cluster.following():
            await cluster.write(FILE, CFG)
            await cluster.all_say(DIGEST)
            applied = hosts[0].tree()
            await cluster.write(FILE, None)
            errors = await cluster.errors(len(hosts))
            assert all("the store has no multipath.cfg" in error for error in errors.values())
            assert hosts[0].tree() == applied
            await config.write(cluster.operator, await config.plan_clear(cluster.operator))
            await cluster.all_say(None)
        assert hosts[0].tree() == before


async def test_when_the_first_node_fails_the_others_stay_as_they_are(cluster: Cluster) -> None:
    async with cluster.following():
        await cluster.write(FILE, CFG)
        await cluster.all_say(DIGEST)
        cluster.log.clear()
        trees = {name: host.tree() for name, host in cluster.hosts.items()}
        lun = wwid(next(iter(cluster.hosts.values())), "vm1")
        await cluster.write(OVERRIDES_FILE, HARMFUL.format(lun).encode())
        errors = await cluster.errors(3)
        assert len(cluster.log) == 2
        ((_, failed), _) = cluster.log
        assert errors.pop(failed).startswith(
            f"maps got worse: map {lun} has 0 usable path(s), before it had 4; rolled"
        )
        for error in errors.values():
            assert error.startswith(f"stopped: node {failed} failed: maps got worse")
        assert {name: host.tree() for name, host in cluster.hosts.items()} == trees
        assert {said.digest for said in (await cluster.said()).values()} == {DIGEST}
        roll = await rolling.read(cluster.operator)
        assert roll is not None
        assert set(roll.failed) == {failed}
        await cluster.write(OVERRIDES_FILE, None)
        await cluster.all_say(DIGEST)


async def test_a_failure_is_not_tried_again_until_somebody_says_so(cluster: Cluster) -> None:
    lun = wwid(next(iter(cluster.hosts.values())), "vm1")
    async with cluster.following():
        await cluster.write(OVERRIDES_FILE, HARMFUL.format(lun).encode())
        await cluster.errors(3)
        assert len(cluster.log) == 2
        digest = combined_digest(b"", HARMFUL.format(lun).encode())
        await asyncio.sleep(3 * follow.CHECK_SECONDS)
        assert len(cluster.log) == 2
        await rolling.retry(cluster.operator, digest)
        await until(lambda: len(cluster.log) == 4)
        await cluster.errors(3)


async def test_at_once_nobody_waits(cluster: Cluster) -> None:
    async with cluster.following():
        await cluster.all_say(None)
        await rolling.begin(cluster.operator, DIGEST, at_once=True)
        async with cluster.operator.lock("multipath-roll"):  # which would let all others wait
            await cluster.write(FILE, CFG)
            await cluster.all_say(DIGEST)


async def test_files_that_somebody_touched_are_put_back(cluster: Cluster) -> None:
    host = cluster.hosts["pve2"]
    async with cluster.following():
        await cluster.write(FILE, CFG)
        await cluster.all_say(DIGEST)
        before = host.tree()
        (host.etc / "conf.d/zz-pathfleet-10-baseline.conf").unlink()
        await until(lambda: host.tree() == before)


async def test_one_apply_by_hand_says_how_it_went(cluster: Cluster) -> None:
    async with cluster.operator:
        await cluster.write(FILE, CFG)
        assert await cluster.follower("pve1").once() == Outcome(DIGEST)
        assert (await cluster.said())["pve1"].digest == DIGEST
        assert await cluster.follower("pve1").once(retry=True) == Outcome(DIGEST)


async def test_a_node_that_could_not_try_leaves_its_turn_to_one_that_can(cluster: Cluster) -> None:
    name, *rest = cluster.hosts
    cluster.hosts[name].node.daemon.stop()
    async with cluster.operator:
        await cluster.write(FILE, CFG)
        assert (await cluster.follower(name).once()).error == NOT_RUNNING
        known = await rolling.read(cluster.operator)
        assert known == roll.Roll(DIGEST)
    async with cluster.following():
        await until(lambda: {("ends", other) for other in rest} <= set(cluster.log))
        for other in rest:
            assert "no_path_retry 7" in await cluster.hosts[other].multipathd.effective()
        assert (await cluster.errors(1))[name] == NOT_RUNNING
        cluster.hosts[name].node.start_daemon()
        await cluster.all_say(DIGEST)


async def test_a_node_that_could_not_try_does_not_take_the_turn_again_at_once(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.node.daemon.hang()
    store = await filled(MemoryStore("pve1"))
    follower = Follower(store, host.applier)
    first = await follower.once()
    assert "nothing was changed" in (first.error or "")
    noted = len(store.memory.changes)
    assert await follower.once() == first
    assert not any(change.files for change in store.memory.changes[noted:])
    monkeypatch.setattr(follow, "CHECK_SECONDS", 0.0)
    follower = Follower(store, host.applier)
    await follower.once()
    assert any(change.files for change in store.memory.changes[noted:])


async def test_a_turn_that_the_node_may_have_died_of_is_not_given_back(host: Host) -> None:
    store = await filled(MemoryStore("pve1"))
    async with store:
        await rolling.note_first(store, DIGEST, "pve1")
    host.node.daemon.stop()
    assert (await Follower(store, host.applier).once()).error == NOT_RUNNING
    async with store:
        assert await rolling.read(store) == roll.Roll(DIGEST, first="pve1")


async def test_a_node_that_waits_says_again_and_again_what_it_has(host: Host) -> None:
    store = await filled(MemoryStore("pve1"))
    async with store:
        await rolling.note_first(store, DIGEST, "other")
    task = asyncio.create_task(Follower(store, host.applier).serve())
    await until(lambda: applied.KEY in store.memory.values.get("pve1", {}))
    said = applied.decode(store.memory.values["pve1"][applied.KEY])
    assert (said.digest, said.error) == (None, None)
    await _ended([task])


@pytest.mark.parametrize("why", ["offline", "old", "ahead", "well"])
async def test_only_the_fresh_word_of_a_node_that_is_online_proves_a_configuration(host: Host, why: str) -> None:
    store = await filled(MemoryStore("pve1"))
    other = MemoryStore("other", store.memory)
    async with other:
        await rolling.note_first(other, DIGEST, "other")
        age = {"old": 1000, "ahead": -1000}.get(why, 0)
        await other.put(applied.KEY, wire.stamp(applied.content(DIGEST, None), int(time.time()) - age))
        if why != "offline":
            await other.alive()
    task = asyncio.create_task(Follower(store, host.applier).serve())
    await until(lambda: applied.KEY in store.memory.values.get("pve1", {}))
    said = applied.decode(store.memory.values["pve1"][applied.KEY])
    assert said.digest == (DIGEST if why == "well" else None)
    await _ended([task])


async def test_while_another_process_applies_a_node_says_what_it_has_and_not_that_it_has_nothing(host: Host) -> None:
    store = await filled(MemoryStore("pve1"))
    await Follower(store, host.applier).once()
    files = Files(host.etc, host.state)
    files.begin(Attempt("another"), frozenset(), version=None)
    with files.locked():
        outcome = await Follower(store, host.applier).once()
    assert outcome.digest == DIGEST
    assert "another process" in (outcome.error or "")


async def test_a_map_that_was_open_goes_at_a_later_cycle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "CHECK_SECONDS", 0.1)
    async with lab(tmp_path, UNLISTED) as hosts:
        store = MemoryStore("pve1")
        lun = wwid(hosts[0], "vm1")
        async with store:
            await store.swap(FILE, f"wwid: {lun}\n".encode(), None)
        await Follower(store, hosts[0].applier).once()
        async with store:
            await write(store, FILE, b"")
        task = asyncio.create_task(Follower(store, hosts[0].applier).serve())
        await until(lambda: applied.decode(store.memory.values["pve1"][applied.KEY]).digest is None)
        assert await hosts[0].names() == {lun}
        hosts[0].close_maps()
        await until(lambda: not hosts[0].node.kernel.maps)
        await _ended([task])


class NoQuorum(MemoryStore):
    async def members(self) -> Members:
        return Members({}, quorate=False)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with lab(tmp_path) as hosts:
        yield hosts[0]


async def filled(store: MemoryStore, content: bytes = CFG) -> MemoryStore:
    async with store:
        await store.swap(FILE, content, None)
    return store


async def test_without_quorum_nothing_is_changed(host: Host) -> None:
    before = host.tree()
    store = await filled(NoQuorum("pve1"))
    outcome = await Follower(store, host.applier).once()
    assert (outcome.digest, outcome.stops) == (None, False)
    assert "no quorum" in (outcome.error or "")
    assert applied.decode(store.memory.values["pve1"][applied.KEY]).error == outcome.error
    assert host.tree() == before


async def test_a_file_that_cannot_be_understood_is_refused_with_its_line_and_what_is_in_force_stays(
    host: Host,
) -> None:
    store = await filled(MemoryStore("pve1"))
    await Follower(store, host.applier).once()
    before = host.tree()
    async with store:
        await write(store, FILE, b"defaults: defaults\n\tpolling-interval abc\n")
    outcome = await Follower(store, host.applier).once()
    assert outcome.digest == DIGEST
    assert "multipath.cfg, line 2" in (outcome.error or "")
    assert host.tree() == before


class Deaf(MemoryStore):
    """Takes no failure."""

    deaf = True

    async def swap(self, name: str, content: bytes | None, revision: str | None) -> str | None:
        known = roll.decode(content) if name == roll.FILE else None
        if self.deaf and known is not None and known.failed:
            raise StoreError("not now")
        return await super().swap(name, content, revision)


async def test_a_failure_that_the_store_did_not_take_is_not_tried_again_and_noted_later(host: Host) -> None:
    store = Deaf("pve1")
    overrides = HARMFUL.format(wwid(host, "vm1")).encode()
    async with store:
        await store.swap(OVERRIDES_FILE, overrides, None)
    follower = Follower(store, host.applier)
    first = await follower.once()
    async with store:
        unheard = await rolling.read(store)
    assert unheard is not None
    assert (unheard.first, unheard.failed) == ("pve1", {})  # so nobody else tries it
    reconfigured = host.reconfigurations()
    assert (await follower.once()).error == first.error
    assert host.reconfigurations() == reconfigured
    store.deaf = False
    assert (await follower.once()).error == first.error
    async with store:
        heard = await rolling.read(store)
    assert heard is not None
    assert set(heard.failed) == {"pve1"}


async def test_an_apply_that_has_begun_is_brought_to_its_end(host: Host) -> None:
    store = await filled(MemoryStore("pve1"))
    task = asyncio.create_task(Follower(store, host.applier).once())
    await until((host.etc / "conf.d/zz-pathfleet-10-baseline.conf").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await host.applier.digest() == DIGEST
    assert await host.applier.recover() is None


async def test_a_store_that_is_lost_is_waited_for(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "_BACK_OFF_SECONDS", (0.01,))
    store = await filled(MemoryStore("pve1", Memory()))
    store.memory.lost = True
    task = asyncio.create_task(Follower(store, host.applier).serve())
    await asyncio.sleep(0.05)
    store.memory.regain()
    await until(lambda: applied.KEY in store.memory.values.get("pve1", {}))
    assert await host.applier.digest() == DIGEST
    await _ended([task])
