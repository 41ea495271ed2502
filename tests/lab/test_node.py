"""A simulated host's sysfs, uevents and kernel, as the real agent asks for them; and the real agent on it."""

from __future__ import annotations

import asyncio
from importlib import resources
from pathlib import Path

import pytest

from pathfleet.agent import loop as agent_loop
from pathfleet.agent.collect import Collector
from pathfleet.agent.loop import Agent
from pathfleet.core import report
from pathfleet.lab import san_file
from pathfleet.lab.clock import Clock
from pathfleet.lab.faults import inflict, relieve
from pathfleet.lab.node import Node
from pathfleet.lab.san import San
from pathfleet.lab.sysfs_tree import write_sysfs
from pathfleet.lab.uevents import Channel, LabUevents
from pathfleet.store import Store, open_store
from pathfleet.system import examine_disks
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.notify import Notifier
from pathfleet.system.sysfs import Sysfs
from pathfleet.system.uevents import LOST, Uevent
from tests.lab.bench import SMALL, Bench


@pytest.mark.parametrize("transport", ["fc", "iscsi", "nvme-tcp"])
def test_the_written_tree_tells_the_real_reader_the_same_facts(tmp_path: Path, transport: str) -> None:
    bench = Bench(SMALL.replace('name = "array1"', f'name = "array1", transport = "{transport}"'))
    node = bench.san.nodes["pve1"]
    write_sysfs(node.kernel, tmp_path)
    real, simulated = Sysfs(tmp_path), node.sysfs
    assert real.ports(node.kernel.paths) == simulated.ports(node.kernel.paths)
    assert real.multipath_maps() == simulated.multipath_maps()
    for dm in ("dm-0", "dm-2", "dm-9", "sda", ""):
        assert real.size_bytes(dm) == simulated.size_bytes(dm) or dm == "sda"
        assert real.map_slaves(dm) == simulated.map_slaves(dm)
        assert real.map_uuid(dm) == simulated.map_uuid(dm)
    ports = simulated.ports(node.kernel.paths).values()
    assert {port.transport for port in ports} == {transport}
    assert all(port.initiator and port.target for port in ports)


@pytest.mark.parametrize("transport", ["fc", "nvme-tcp"])
def test_disks_in_the_written_tree_have_the_wwids_of_their_luns(tmp_path: Path, transport: str) -> None:
    bench = Bench(SMALL.replace('name = "array1"', f'name = "array1", transport = "{transport}"'))
    kernel = bench.san.nodes["pve1"].kernel
    write_sysfs(kernel, tmp_path)
    disks = examine_disks.of_luns(tmp_path)
    assert {disk.device: disk.wwid for disk in disks} == {name: path.lun.wwid for name, path in kernel.paths.items()}


def test_the_demos_lun_that_is_not_allowed_is_found_by_its_disks_and_has_no_map(tmp_path: Path) -> None:
    bench = Bench((resources.files("pathfleet.lab") / "topologies/demo.toml").read_text("utf-8"))
    bench.passes(1)
    node = bench.san.nodes["pve1"]
    write_sysfs(node.kernel, tmp_path)
    new = bench.san.fabric.lun("new").lun.wwid
    assert [disk.wwid for disk in examine_disks.of_luns(tmp_path)].count(new) == 4
    assert new not in (Sysfs(tmp_path).multipath_maps() or {new})


def test_a_device_that_went_has_no_port() -> None:
    bench = Bench()
    bench.inflict("logout", "pve1-hba0")
    assert set(bench.san.nodes["pve1"].sysfs.ports(["sda", "sdg"])) == {"sdg"}


async def test_uevents_tell_which_path_failed_and_came_back() -> None:
    bench = Bench()
    bench.passes(1)
    async with bench.san.nodes["pve1"].uevents() as uevents:
        bench.inflict("offline", "pve1:sda")
        bench.relieve("offline", "pve1:sda")
        assert [await uevents.next() for _ in range(2)] == [
            Uevent("change", "dm-0", "PATH_FAILED", "8:0"),
            Uevent("change", "dm-0", "PATH_REINSTATED", "8:0"),
        ]


async def test_alua_changes_raise_no_uevent_of_a_path() -> None:
    bench = Bench()
    bench.passes(1)
    async with bench.san.nodes["pve1"].uevents() as uevents:
        bench.inflict("alua", "vm1", "array1-ct1=standby")
        assert {event.dm_action for event in uevents._waiting} <= {None}


async def test_more_uevents_than_anybody_takes_are_told_as_lost() -> None:
    channel = Channel()
    async with LabUevents(channel) as uevents:
        for _ in range(5000):
            channel.send(Uevent("change", "dm-0"))
        assert await uevents.next() == LOST


def collector(node: Node) -> Collector:
    return Collector(Multipathd(node.multipathd_socket), sysfs=node.sysfs, kernel_paths=node.kernel_paths)


async def test_the_real_collector_finds_sizes_ports_and_what_multipathd_does_not_show(san: San) -> None:
    node = san.node("pve1")
    assert node.directory is not None
    snapshot = await collector(node).collect()
    assert {(v.health.value, v.size, v.transport) for v in snapshot.verdicts} == {("optimal", 10 << 30, "fc")}
    (node.directory / "conf.d/x.conf").write_text('blacklist {\n wwid ".*"\n}\n')
    multipathd = Multipathd(node.multipathd_socket)
    await multipathd.ask("reconfigure")
    snapshot = await collector(node).collect()
    assert {(v.health.value, v.active, v.unmanaged) for v in snapshot.verdicts} == {("optimal", 4, True)}


async def test_a_broken_switch_wakes_the_real_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_loop, "POLL_SECONDS", 600.0)
    lab = San(
        san_file.load(SMALL),
        sockets=lambda host: str(tmp_path / f"{host}.socket"),
        clock=Clock(),
    )
    node = lab.node("pve1")
    url = f"sqlite://{tmp_path}/cluster.db"
    agent = Agent(open_store(url, node="pve1"), collector(node), uevents=node.uevents, notifier=Notifier(None))
    async with lab.running(), open_store(url, node="pve2") as reader:
        running = asyncio.create_task(agent.run())
        try:
            await _until(reader, {("optimal", 4)})
            inflict(lab, "break", "switch-a")
            await _until(reader, {("degraded", 3)})
            relieve(lab, "break", "switch-a")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def _until(store: Store, states: set[tuple[str, int]]) -> None:
    async with asyncio.timeout(30):
        while True:
            published = report.decode(await store.values("pve1"))
            if published and {(m.state, m.paths_active) for m in published.maps.values()} == states:
                return
            await asyncio.sleep(0.02)
