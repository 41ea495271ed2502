from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from pathfleet.agent import loop as agent_loop
from pathfleet.agent import supervise
from pathfleet.agent.collect import Collector
from pathfleet.agent.loop import Agent, UeventSource
from pathfleet.cluster import live
from pathfleet.core import maps
from pathfleet.core.maps import Map
from pathfleet.errors import CannotTell, StoreUnavailable
from pathfleet.store import Store
from pathfleet.store.sqlite import SQLiteStore
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.notify import Notifier
from pathfleet.system.sysfs import Sysfs
from pathfleet.system.uevents import Uevent
from tests.fakes import FakeDaemon, MemoryStore
from tests.replies import group, map_, path, reply

WWID = "3600a098038314c6c6e3f4b6f4c6c5a30"
GOOD = reply(map_(WWID, group(path("sda"), path("sdb"))))
BAD = reply(map_(WWID, group(path("sda"), path("sdb", "failed", "faulty"))))


class Node:
    """What an agent asks: a multipathd of which each reading is noted with its time, and uevents that a test sends."""

    def __init__(self) -> None:
        self.answer: bytes | Exception = GOOD
        self.readings: asyncio.Queue[float] = asyncio.Queue()
        self.events: asyncio.Queue[Uevent | Exception] = asyncio.Queue()
        self.listening = asyncio.Event()

    async def maps(self) -> tuple[Map, ...]:
        self.readings.put_nowait(asyncio.get_running_loop().time())
        if isinstance(self.answer, Exception):
            raise self.answer
        return maps.decode(self.answer)

    async def version(self) -> str | None:
        return "0.9.4"

    @asynccontextmanager
    async def uevents(self) -> AsyncIterator[UeventSource]:
        self.listening.set()
        yield self

    async def next(self) -> Uevent:
        event = await self.events.get()
        if isinstance(event, Exception):
            raise event
        return event

    async def read(self, times: int = 1) -> float:
        """Wait for so many more readings; return when the last of them began."""
        async with asyncio.timeout(30):
            for _ in range(times):
                last = await self.readings.get()
        return last


class Supervisor:
    """Listens at a NOTIFY_SOCKET."""

    def __init__(self, bound: socket.socket) -> None:
        self.address = str(bound.getsockname())
        self.told: list[str] = []
        self._bound = bound

    async def hears(self, message: str) -> None:
        async with asyncio.timeout(30):
            while not any(message in told for told in self.told):
                received = await asyncio.get_running_loop().sock_recv(self._bound, 4096)
                self.told.append(received.decode())


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.setblocking(False)
        yield Supervisor(bound)


@pytest.fixture
async def node() -> Node:
    return Node()


Runner = Callable[..., AbstractAsyncContextManager[MemoryStore]]


@pytest.fixture
def running(node: Node, supervisor: Supervisor, tmp_path: Path) -> Runner:
    @asynccontextmanager
    async def run(store: MemoryStore | None = None) -> AsyncIterator[MemoryStore]:
        store = store or MemoryStore()
        agent = Agent(
            store,
            Collector(node, sysfs=Sysfs(tmp_path)),
            uevents=node.uevents,
            notifier=Notifier(supervisor.address),
        )
        task = asyncio.create_task(agent.run())
        try:
            yield store
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    return run


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Troubles are tried again at once, so that a test need not wait."""
    monkeypatch.setattr(supervise, "_BACK_OFF_SECONDS", (0.01,))
    monkeypatch.setattr(agent_loop, "POLL_SECONDS", 0.05)


async def published(store: MemoryStore, text: bytes) -> None:
    async with asyncio.timeout(30):
        while text not in store.memory.values.get("a", {}).get("multipath", b""):
            await store.memory.stirred.wait()


class TestAUevent:
    async def test_wakes_the_agent(self, node: Node, running: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(agent_loop, "POLL_SECONDS", 600.0)
        async with running() as store:
            await published(store, b"optimal")
            await node.read()
            await asyncio.sleep(agent_loop.SPACING_SECONDS)
            node.answer = BAD
            node.events.put_nowait(Uevent("change", "dm-0", "PATH_FAILED"))
            await published(store, b"degraded")

    async def test_has_a_second_reading_follow_for_the_checker(
        self, node: Node, running: Runner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(agent_loop, "FOLLOW_UP_SECONDS", 0.3)
        monkeypatch.setattr(agent_loop, "POLL_SECONDS", 600.0)
        async with running():
            await node.read()
            node.events.put_nowait(Uevent("change"))
            first = await node.read()
            assert await node.read() - first > 0.25
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(node.readings.get(), 0.5)

    async def test_is_one_of_a_burst_that_is_read_few_times(
        self, node: Node, running: Runner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(agent_loop, "FOLLOW_UP_SECONDS", 60.0)
        async with running():
            times = [await node.read()]
            for _ in range(200):
                node.events.put_nowait(Uevent("change"))
                await asyncio.sleep(0.001)
            with contextlib.suppress(TimeoutError):
                while True:
                    times.append(await asyncio.wait_for(node.readings.get(), 1.5))
            assert len(times) > 1
            assert all(after - before >= agent_loop.SPACING_SECONDS for before, after in pairwise(times))

    async def test_that_comes_during_a_reading_is_not_lost(
        self, node: Node, running: Runner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(agent_loop, "POLL_SECONDS", 600.0)
        async with running() as store:
            await node.read()
            node.answer = BAD
            node.events.put_nowait(Uevent("change"))
            await published(store, b"degraded")


class TestThePoll:
    async def test_sees_what_raises_no_uevent(
        self, node: Node, running: Runner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(agent_loop, "POLL_SECONDS", 0.1)
        async with running() as store:
            await published(store, b"optimal")
            node.answer = BAD
            await published(store, b"degraded")

    async def test_is_every_ten_seconds(self) -> None:
        assert agent_loop.POLL_SECONDS == 10


@pytest.mark.usefixtures("impatient")
class TestTheAgentGoesOn:
    async def test_after_a_defect_in_a_reading(
        self, node: Node, running: Runner, caplog: pytest.LogCaptureFixture
    ) -> None:
        node.answer = ZeroDivisionError()
        async with running() as store:
            await node.read(times=3)
            node.answer = GOOD
            await published(store, b"optimal")
        assert any(record.exc_info and "defect" in record.message for record in caplog.records)

    async def test_when_nobody_can_tell(self, node: Node, running: Runner) -> None:
        async with running() as store:
            await published(store, b"optimal")
            node.answer = CannotTell("it hangs")
            async with asyncio.timeout(30):
                while b"it hangs" not in store.memory.values["a"]["pathfleet"]:
                    await store.memory.stirred.wait()
            assert b"optimal" in store.memory.values["a"]["multipath"]

    @pytest.mark.parametrize("trouble", [OSError(1, "no netlink"), ZeroDivisionError()])
    async def test_after_trouble_with_uevents_and_hears_them_again(
        self, node: Node, running: Runner, monkeypatch: pytest.MonkeyPatch, trouble: Exception
    ) -> None:
        monkeypatch.setattr(agent_loop, "POLL_SECONDS", 60.0)
        async with running() as store:
            await node.listening.wait()
            node.listening.clear()
            node.events.put_nowait(trouble)
            await node.listening.wait()
            node.answer = BAD
            node.events.put_nowait(Uevent("change"))
            await published(store, b"degraded")

    @pytest.mark.parametrize("trouble", [StoreUnavailable("the disk is full"), ZeroDivisionError()])
    @pytest.mark.parametrize("method", ["values", "put", "alive"])
    async def test_after_trouble_with_the_store(
        self, node: Node, running: Runner, monkeypatch: pytest.MonkeyPatch, trouble: Exception, method: str
    ) -> None:
        monkeypatch.setattr(agent_loop, "ALIVE_SECONDS", 0.01)
        store = MemoryStore()
        store.faults[method] = trouble
        async with running(store):
            await node.read(times=3)
            store.faults.clear()
            await published(store, b"optimal")
            while (await store.members()).nodes["a"].online is not True:
                await node.read()

    @pytest.mark.parametrize("trouble", [StoreUnavailable("not there yet"), ZeroDivisionError()])
    async def test_when_its_store_cannot_be_opened_at_first_and_says_that_it_waits_and_no_longer(
        self, running: Runner, supervisor: Supervisor, trouble: Exception
    ) -> None:
        store = MemoryStore()
        store.faults["open"] = trouble
        async with running(store):
            await supervisor.hears("STATUS=in trouble")
            assert "READY=1" in supervisor.told
            store.faults.clear()
            await published(store, b"optimal")
            await supervisor.hears("STATUS=1 optimal")

    async def test_and_its_status_tells_the_end_of_a_trouble_as_it_told_the_beginning(
        self, node: Node, running: Runner, supervisor: Supervisor
    ) -> None:
        async with running():
            await supervisor.hears("STATUS=1 optimal")
            node.answer = ZeroDivisionError("a defect")
            await supervisor.hears("STATUS=in trouble, trying again: a defect")
            supervisor.told.clear()
            node.answer = GOOD
            await supervisor.hears("STATUS=1 optimal")


async def test_the_supervisor_hears_all_of_a_life(running: Runner, supervisor: Supervisor) -> None:
    async with running() as store:
        await published(store, b"optimal")
    await supervisor.hears("STOPPING=1")
    assert supervisor.told == ["STATUS=1 optimal", "READY=1", "WATCHDOG=1", "STOPPING=1"]


async def test_two_agents_share_a_store_and_each_tells_of_its_own_node(tmp_path: Path) -> None:
    def store(name: str | None) -> Store:
        return SQLiteStore(tmp_path / "store.db", node=name)

    async def once(name: str, text: bytes) -> bool:
        async with FakeDaemon(str(tmp_path / f"{name}.socket"), text) as daemon:
            agent = Agent(
                store(name),
                Collector(Multipathd(daemon.address), sysfs=Sysfs(tmp_path)),
                uevents=Node().uevents,
                notifier=Notifier(None),
            )
            _, published = await agent.once()
            return published

    assert all(await asyncio.gather(once("one", GOOD), once("two", BAD)))
    async with store(None) as reader:
        one, two = await live.columns(reader, time.time())
    assert (one.node, one.online, one.maps[WWID].state, one.doubt) == ("one", True, "optimal", None)
    assert (two.node, two.online, two.maps[WWID].state, two.doubt) == ("two", True, "degraded", None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_in_good_order(
    tmp_path: Path, supervisor: Supervisor, number: signal.Signals
) -> None:
    async with FakeDaemon(str(tmp_path / "socket"), GOOD) as daemon:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pathfleet", "agent",
            env={
                **os.environ,
                "NOTIFY_SOCKET": supervisor.address,
                "PATHFLEET_NODE": "n1",
                "PATHFLEET_STATE_DIRECTORY": str(tmp_path),
                "PATHFLEET_MULTIPATHD_SOCKET": daemon.address,
            },
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            await supervisor.hears("WATCHDOG=1")
            process.send_signal(number)
            _, log = await asyncio.wait_for(process.communicate(), 30)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    await supervisor.hears("STOPPING=1")
    assert process.returncode == 0, log.decode()
    assert {"READY=1", "STATUS=1 optimal"} < set(supervisor.told)
    assert b"Traceback" not in log
    async with SQLiteStore(tmp_path / "cluster.db") as store:
        assert b'"state":"optimal"' in (await store.values("n1"))["multipath"]
