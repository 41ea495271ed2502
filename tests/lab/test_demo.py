"""A whole cluster in a directory: what it makes of the directory, what its agents report, and that it ends."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from inspect import isawaitable
from pathlib import Path

import pytest

from pathfleet.agent import loop as agent_loop
from pathfleet.agent.collect import Collector
from pathfleet.core import node as node_value
from pathfleet.core import report
from pathfleet.errors import SettingsError, StoreError
from pathfleet.lab import san_file
from pathfleet.lab.demo import Demo
from pathfleet.lab.faults import FAULTS, inflict, relieve
from pathfleet.lab.node import Node
from pathfleet.lab.topology import Topology
from pathfleet.store.sqlite import SQLiteStore
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.sysfs import Sysfs
from pathfleet.system.uevents import Uevent
from tests.cli.commands import run_beside
from tests.fakes import open_descriptors
from tests.lab.bench import SMALL

ALIASED = SMALL.replace("count = 3", 'count = 3, aliases = ["data"]')
MARKER = "this-is-a-pathfleet-lab"
#: The deadline of what takes a moment.
SOON_SECONDS = 30


@asynccontextmanager
async def running(directory: Path, text: str = ALIASED, *, speed: float = 1) -> AsyncIterator[Demo]:
    """A demo whose hosts have all reported that all is well."""
    demo = Demo.prepared(san_file.load(text), directory)
    demo.san.clock.speed = speed
    async with demo.running():
        await until_all(demo, directory, "optimal")
        yield demo


def store_of(directory: Path, *, online_seconds: float = 15) -> SQLiteStore:
    return SQLiteStore(directory / "store/cluster.db", online_seconds=online_seconds)


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until something holds, which nothing announces."""
    async with asyncio.timeout(SOON_SECONDS):
        while not (await found if isawaitable(found := holds()) else found):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def until_all(demo: Demo, directory: Path, state: str) -> None:
    """Wait until the store has reports of all hosts, with all maps in this state."""

    async def reported() -> bool:
        return await states(directory) == {host: {state} for host in demo.san.nodes}

    await until(reported)


async def states(directory: Path) -> dict[str, set[str]]:
    """What is said of maps, by host; nothing while there is no store."""
    try:
        async with store_of(directory) as store:
            values = await store.all_values()
    except StoreError:
        return {}
    said = {host: report.decode(of_host) for host, of_host in values.items()}
    return {host: {map_.state for map_ in each.maps.values()} for host, each in said.items() if each}


def agents() -> set[asyncio.Task[object]]:
    """The tasks that run the hosts' agents now."""
    return {task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "") == "Demo._member"}


@contextmanager
def owned_by_nobody(directory: Path) -> Iterator[None]:
    if os.getuid():
        pytest.skip("only root can give a directory away")
    os.chown(directory, 65534, 65534)
    yield
    os.chown(directory, 0, 0)


# the directory


def prepared(directory: Path, text: str = SMALL) -> Demo:
    return Demo.prepared(san_file.load(text), directory)


def test_a_directory_with_somebodys_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(SettingsError, match="not empty and no lab's; name another --directory"):
        prepared(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_link_is_refused_even_to_an_earlier_lab(tmp_path: Path) -> None:
    prepared(tmp_path / "lab")
    (tmp_path / "link").symlink_to("lab")
    with pytest.raises(SettingsError, match="is a link or somebody else's"):
        prepared(tmp_path / "link")


def test_somebody_elses_directory_is_refused_even_with_the_marker_of_a_lab(tmp_path: Path) -> None:
    (tmp_path / MARKER).touch()
    with owned_by_nobody(tmp_path), pytest.raises(SettingsError, match="is a link or somebody else's"):
        prepared(tmp_path)


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="file cannot be written: File exists"):
        prepared(tmp_path / "file")


def test_a_new_directory_is_its_owners_alone(tmp_path: Path) -> None:
    prepared(tmp_path / "a/lab")
    assert stat.S_IMODE((tmp_path / "a/lab").stat().st_mode) == 0o700


def test_a_second_run_begins_with_nothing_of_the_first(tmp_path: Path) -> None:
    prepared(tmp_path)
    (tmp_path / "store/cluster.db").write_text("old")
    (tmp_path / "elsewhere").symlink_to("/")
    prepared(tmp_path, SMALL.replace('"pve"', '"node"'))
    left = {entry.name for entry in tmp_path.iterdir()}
    assert left == {MARKER, "etc", "store", "store.kept", "node1", "node2", "node1.toml", "node2.toml"}
    assert list((tmp_path / "store").iterdir()) == []
    assert {entry.name for entry in (tmp_path / "etc").iterdir()} == {"node1", "node2"}


async def test_the_directory_of_a_running_lab_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path):
        with pytest.raises(SettingsError, match="a lab runs in"):
            prepared(tmp_path)
    prepared(tmp_path)


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".", "store", "etc", "control", "a\nb"])
def test_a_host_whose_name_would_leave_the_directory_or_clash_in_it_is_refused(tmp_path: Path, name: str) -> None:
    text = SMALL.replace('{ name = "pve", count = 2, ', f"{{ name = {json.dumps(name)}, ")
    with pytest.raises(SettingsError, match="in a demo, letters"):
        prepared(tmp_path / "lab", text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "told"), [("x" * 100, "too long a name for sockets"), ("a?b", "not the URL")])
def test_a_directory_in_which_it_could_not_run_is_refused_before_it_is_made(
    tmp_path: Path, name: str, told: str
) -> None:
    with pytest.raises(SettingsError, match=told):
        prepared(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nothing", ["hosts", "luns"])
def test_a_topology_without_hosts_or_luns_is_no_demo(tmp_path: Path, nothing: str) -> None:
    lines = [f"{nothing} = []" if line.startswith(nothing) else line for line in SMALL.splitlines()]
    with pytest.raises(SettingsError, match="at least one host and one LUN"):
        prepared(tmp_path, "\n".join(lines))


async def test_a_relative_directory_with_strange_letters_works_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = Path('a "lab" of\\mine')
    async with running(directory) as demo:
        ran = await run_beside("--config", str(demo.settings_file("pve1").absolute()), "maps", "-o", "json")
    assert ran.code == 0
    assert len(json.loads(ran.out)["maps"]) == 3


# what the commands see


@pytest.mark.parametrize(
    ("topology", "transports"), [("demo", {"fc"}), ("iscsi", {"iscsi", "nvme-tcp"})], ids=["demo", "iscsi"]
)
async def test_the_settings_files_show_each_host_to_the_commands(
    tmp_path: Path, topology: str, transports: set[str]
) -> None:
    text = san_file.ready()[topology]
    async with running(tmp_path, text) as demo:
        for host, node in demo.san.nodes.items():
            ran = await run_beside("--config", str(demo.settings_file(host)), "maps", "-o", "json")
            rows = json.loads(ran.out)["maps"]
            told = {(row["wwid"], row["size"], row["transport"], row["health"]) for row in rows}
            assert told == expected(demo.san.topology, host)
            shown, lab = Sysfs(tmp_path / host / "sys"), node.sysfs
            assert shown.ports(node.kernel.paths) == lab.ports(node.kernel.paths)
            assert shown.multipath_maps() == lab.multipath_maps()
        ran = await run_beside("--config", str(demo.settings_file(host)), "status", "-o", "json")
        found = json.loads(ran.out)
    assert {row["transport"] for row in rows} == transports
    assert [(row["node"], row["online"], row["daemon"], row["reason"]) for row in found["nodes"]] == [
        (host, True, "running", None) for host in demo.san.nodes
    ]
    assert {(lun["wwid"], host, cell["state"]) for lun in found["luns"] for host, cell in lun["nodes"].items()} == {
        (wwid, host, health) for host in demo.san.nodes for wwid, *_, health in expected(demo.san.topology, host)
    }


def expected(topology: Topology, host: str) -> set[tuple[str, int, str, str]]:
    transport = {array.name: array.transport for array in topology.arrays}
    return {
        (lun.wwid, lun.size, transport[lun.array], "optimal")
        for lun in topology.luns
        if lun.listed and (not lun.hosts or host in lun.hosts)
    }


async def test_the_commands_see_the_ports_of_each_path(tmp_path: Path) -> None:
    async with running(tmp_path) as demo:
        ran = await run_beside("--config", str(demo.settings_file("pve1")), "maps", "data", "-o", "json")
        shown = {path["path"]: (path["initiator"], path["target"]) for path in paths_of(json.loads(ran.out))}
        ports = demo.san.node("pve1").sysfs.ports(shown)
    assert len(shown) == 4
    assert shown == {device: (port.initiator, port.target) for device, port in ports.items()}


def paths_of(row: dict[str, list[dict[str, list[dict[str, str]]]]]) -> list[dict[str, str]]:
    return [path for group in row["path-groups"] for path in group["paths"]]


# what happens to the hosts is reported


async def test_a_broken_switch_wakes_every_host_and_so_does_a_mended_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_loop, "POLL_SECONDS", 600.0)
    async with running(tmp_path, san_file.ready()["demo"]) as demo:
        inflict(demo.san, "break", "switch-a")
        await until_all(demo, tmp_path, "degraded")
        demo.san.clock.speed = 100  # the paths come back at their next check
        relieve(demo.san, "break", "switch-a")
        await until_all(demo, tmp_path, "optimal")


async def test_a_host_that_is_down_goes_offline_and_comes_back_when_booted(tmp_path: Path) -> None:
    async with running(tmp_path) as demo, store_of(tmp_path, online_seconds=0.5) as store:
        node = demo.san.node("pve1")
        inflict(demo.san, "break", "pve1")
        await until(lambda: not node.channel.listeners)
        await until_online(store, "pve1", online=False)
        assert len(agents()) == 2
        relieve(demo.san, "break", "pve1")
        await until_online(store, "pve1", online=True)
        await until(lambda: bool(node.channel.listeners))


async def until_online(store: SQLiteStore, host: str, *, online: bool) -> None:
    async def is_so() -> bool:
        return (await store.members()).nodes[host].online is online

    await until(is_so)


async def test_agents_outlive_a_lost_store_and_report_to_the_regained_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as demo:
        inflict(demo.san, "store", "store")
        inflict(demo.san, "break", "switch-a")
        await until(lambda: caplog.text.count("store-trouble reading") == 2)
        assert not (tmp_path / "store").is_dir()
        relieve(demo.san, "store", "store")
        assert await states(tmp_path) == {"pve1": {"optimal"}, "pve2": {"optimal"}}
        inflict(demo.san, "break", "array1-ct1-p1")
        await until_all(demo, tmp_path, "degraded")


@pytest.mark.parametrize(
    ("fault", "word"), [("dead", "not-running"), ("busy", "cannot-tell"), ("cuts", "cannot-tell")]
)
async def test_a_daemon_in_trouble_is_reported_so(tmp_path: Path, fault: str, word: str) -> None:
    async with running(tmp_path) as demo, store_of(tmp_path) as store:
        inflict(demo.san, fault, "pve1")
        await until_said(demo.san.node("pve1"), store, word)
        relieve(demo.san, fault, "pve1")
        await until_said(demo.san.node("pve1"), store, "running")


async def until_said(node: Node, store: SQLiteStore, word: str) -> None:
    async def is_so() -> bool:
        said = (await store.values(node.name)).get(node_value.KEY)
        return said is not None and node_value.decode(said).multipathd == word

    node.channel.send(Uevent("change", "dm-0"))  # else it waits for the next poll
    await until(is_so)


SAMPLES = {"switch": "switch-a", "host": "pve1", "lun": "vm1", "path": "pve1:sda", "store": "store"}
VALUES = {"resize": "20G", "clone": "vm2", "alua": "array1-ct0=standby", "suspend": "pve1"}


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_no_fault_ends_an_agent_or_the_lab(tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str) -> None:
    async with running(tmp_path, speed=100) as demo:
        component = SAMPLES[FAULTS[fault].applies_to[0]]
        watching = agents()
        inflict(demo.san, fault, component, VALUES.get(fault, ""))
        await all_read_again(demo)
        relieve(demo.san, fault, component)
        await all_read_again(demo)
        await until_whole(demo)
        assert (agents(), demo.san.applied) == (watching, [])
    assert len(watching) == 2
    assert [record.getMessage() for record in caplog.records if "defect" in record.getMessage()] == []


async def all_read_again(demo: Demo) -> None:
    """Wake every agent, and wait until each has heard it."""
    for node in demo.san.nodes.values():
        node.channel.send(Uevent("change", "dm-0"))
    await until(lambda: not any(source._waiting for n in demo.san.nodes.values() for source in n.channel.listeners))


async def until_whole(demo: Demo) -> None:
    """Wait until each host's daemon shows all paths of all maps as usable."""
    for node in demo.san.nodes.values():
        await until(lambda node=node: is_whole(node))  # type: ignore[misc]


async def is_whole(node: Node) -> bool:
    snapshot = await Collector(Multipathd(node.multipathd_socket), sysfs=node.sysfs).collect()
    return [(verdict.active, verdict.total) for verdict in snapshot.verdicts] == [(4, 4)] * 3


# the end


async def test_cancelled_it_leaves_no_task_no_descriptor_and_nobody_listening(tmp_path: Path) -> None:
    tasks, descriptors = asyncio.all_tasks(), open_descriptors()
    up = asyncio.Event()

    async def run() -> None:
        async with running(tmp_path):
            up.set()
            await asyncio.Event().wait()

    cluster = asyncio.create_task(run())
    async with asyncio.timeout(SOON_SECONDS):
        await up.wait()
        silent_reader, silent = await asyncio.open_unix_connection(tmp_path / "control")
        cluster.cancel()
        await asyncio.gather(cluster, return_exceptions=True)
        assert cluster.cancelled()
        assert await silent_reader.read() == b""
    silent.close()
    await silent.wait_closed()
    assert asyncio.all_tasks() == tasks
    await until(lambda: open_descriptors() == descriptors)
    for entry in (*tmp_path.glob("*.socket"), tmp_path / "control"):
        with socket.socket(socket.AF_UNIX) as client:
            assert client.connect_ex(str(entry)) != 0


async def test_with_a_host_down_it_ends_as_well(tmp_path: Path) -> None:
    tasks = asyncio.all_tasks()
    async with asyncio.timeout(SOON_SECONDS), running(tmp_path) as demo:
        inflict(demo.san, "break", "pve1")
        await until(lambda: not demo.san.node("pve1").channel.listeners)
    assert asyncio.all_tasks() == tasks


async def test_it_runs_again_in_the_same_directory(tmp_path: Path) -> None:
    for _ in range(2):
        async with running(tmp_path):
            pass
    shutil.rmtree(tmp_path)
