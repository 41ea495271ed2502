"""A topology made of what a node sees behaves, when it is run, like the SAN it was made of."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from pathfleet.agent.collect import Collector, Snapshot
from pathfleet.agent.loop import Agent
from pathfleet.cluster import live
from pathfleet.core.column import Column, Said
from pathfleet.core.maps import Map
from pathfleet.core.node import PublishedNodeInfo, Versions
from pathfleet.core.ports import Port
from pathfleet.core.report import MapReport, Report
from pathfleet.errors import SettingsError
from pathfleet.lab import san_file
from pathfleet.lab.clock import Clock
from pathfleet.lab.faults import inflict
from pathfleet.lab.node import Node
from pathfleet.lab.san import San
from pathfleet.lab.survey import survey
from pathfleet.lab.topology import Topology
from pathfleet.store.sqlite import SQLiteStore
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.notify import Notifier
from tests.lab.bench import SMALL

NVME = SMALL.replace('name = "array1"', 'name = "array1", transport = "nvme-tcp"')
TOPOLOGIES = {"demo": san_file.ready()["demo"], "iscsi": san_file.ready()["iscsi"], "nvme-tcp": NVME}

#: A path: transport, initiator, target, priority of its group.
Way = tuple[str | None, str | None, str | None, int]
#: What a host sees of each LUN by WWID: size, name and ways.
Sight = dict[str, tuple[int | None, str, list[Way]]]


def collector(node: Node) -> Collector:
    return Collector(Multipathd(node.multipathd_socket), sysfs=node.sysfs, kernel_paths=node.kernel_paths)


@asynccontextmanager
async def running(topology: Topology, directory: Path) -> AsyncIterator[San]:
    directory.mkdir(exist_ok=True)
    lab = San(topology, sockets=lambda host: str(directory / f"{host}.socket"), clock=Clock(speed=100))
    async with lab.running():
        yield lab


async def sights(lab: San) -> dict[str, Sight]:
    return {name: sight(await collector(node).collect()) for name, node in lab.nodes.items()}


def sight(snapshot: Snapshot) -> Sight:
    return {
        verdict.map.uuid: (verdict.size, verdict.map.name, sorted(ways(verdict.map, snapshot.facts.ports), key=str))
        for verdict in snapshot.verdicts
    }


def ways(map_: Map, ports: Mapping[str, Port]) -> Iterator[Way]:
    for group in map_.path_groups:
        for path in group.paths:
            port = ports[path.dev]
            yield port.transport, port.initiator, port.target, group.pri


async def reports(lab: San, directory: Path) -> list[Column]:
    """What the real agents of all hosts say in a store."""
    file = directory / "cluster.db"
    for name, node in lab.nodes.items():
        store = SQLiteStore(file, node=name)
        await Agent(store, collector(node), uevents=node.uevents, notifier=Notifier(None)).once()
    async with SQLiteStore(file) as reader:
        return await live.columns(reader, time.time())


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
async def test_run_again_it_shows_the_same_luns_paths_hosts_and_fabrics(tmp_path: Path, name: str) -> None:
    async with running(san_file.load(TOPOLOGIES[name]), tmp_path / "real") as real:
        here = next(iter(real.nodes))
        text = san_file.dump(
            survey(here, await collector(real.nodes[here]).collect(), await reports(real, tmp_path / "real"))
        )
        before = await sights(real)
    async with running(san_file.load(text), tmp_path / "again") as again:
        after = await sights(again)
    assert after[here] == before[here]
    assert {host: shape(seen) for host, seen in after.items()} == {host: shape(seen) for host, seen in before.items()}
    versions = [{host.name: host.version for host in lab.topology.hosts} for lab in (real, again)]
    assert versions[0] == versions[1]
    assert fabrics(again.topology) == fabrics(real.topology)


def shape(seen: Sight) -> dict[str, tuple[int | None, list[tuple[str | None, int]]]]:
    """What remains the same on a host whose ports nobody knew."""
    return {
        wwid: (size, sorted([(transport, pri) for transport, _, _, pri in paths], key=str))
        for wwid, (size, _, paths) in seen.items()
    }


def fabrics(topology: Topology) -> dict[str, int]:
    """How many of them each transport uses: nothing joins the networks of two transports."""
    fabric_of = topology.fabric_of()
    used = {(array.transport, fabric_of[port.switch]) for array in topology.arrays for port in array.ports()}
    return Counter(transport for transport, _ in used)


async def surveyed(directory: Path, text: str = SMALL) -> tuple[Snapshot, Topology]:
    async with running(san_file.load(text), directory) as lab:
        snapshot = await collector(lab.node("pve1")).collect()
    return snapshot, survey("pve1", snapshot, [])


async def test_without_other_nodes_it_is_this_host_alone(tmp_path: Path) -> None:
    _, found = await surveyed(tmp_path)
    assert [(host.name, host.version, len(host.ports)) for host in found.hosts] == [("pve1", "0.9.4", 2)]
    assert [(array.name, len(array.controllers), array.alua) for array in found.arrays] == [("array1", 2, True)]
    assert [switch.fabric for switch in found.switches] == ["a", "b"]


async def test_luns_stay_with_the_controller_that_is_best_for_them(tmp_path: Path) -> None:
    async with running(san_file.load(SMALL), tmp_path) as lab:
        inflict(lab, "swap", "vm1")
        lab.clock.advance(lab.clock.now + 30)  # until the daemon has noticed
        found = survey("pve1", await collector(lab.node("pve1")).collect(), [])
        owners = {lun.wwid: lun.controller for lun in found.luns}
        wwids = [lab.fabric.lun(name).wwid for name in ("vm1", "vm2", "vm3")]
    assert owners[wwids[0]] == owners[wwids[1]] != owners[wwids[2]]


async def test_a_lun_that_another_node_does_not_report_is_not_shown_to_it(tmp_path: Path) -> None:
    snapshot, _ = await surveyed(tmp_path)
    some = snapshot.verdicts[0].map.uuid
    found = survey("pve1", snapshot, [other("pve2", some)])
    assert {lun.wwid: lun.hosts for lun in found.luns if not lun.hosts} == {some: ()}
    assert {lun.hosts for lun in found.luns if lun.wwid != some} == {("pve1",)}


def other(node: str, *wwids: str, version: str | None = "0.11.1") -> Column:
    maps = {wwid: MapReport("optimal", 4, 4) for wwid in wwids}
    info = PublishedNodeInfo("running", 0, Versions(None, version), time=0)
    return Column(node, True, Said(Report(maps, 0), info=info))


async def test_a_node_that_reported_nothing_is_no_host(tmp_path: Path) -> None:
    snapshot, _ = await surveyed(tmp_path)
    silent = Column("pve2", False)
    assert [host.name for host in survey("pve1", snapshot, [silent, other("pve3")]).hosts] == ["pve1"]


@pytest.mark.parametrize(
    ("version", "taken"),
    [
        ("0.8.9", "0.8.5"), ("0.10.0", "0.9.4"), ("0.99.0", "0.14.3"), (None, "0.14.3"),
        ("0.9.4-3+deb12u1", "0.9.4"), ("", "0.8.5"), ("beta\x1b[31m", "0.8.5"), ("9" * 50, "0.14.3"),
    ],
)  # fmt: skip
async def test_the_nearest_version_is_taken_whatever_a_node_says_of_it(
    tmp_path: Path, version: str | None, taken: str
) -> None:
    snapshot, _ = await surveyed(tmp_path)
    found = survey("pve1", snapshot, [other("pve2", snapshot.verdicts[0].map.uuid, version=version)])
    assert found.hosts[1].version == taken


async def test_strange_names_of_nodes_and_maps_are_written_so_that_they_can_be_read_again(tmp_path: Path) -> None:
    snapshot, _ = await surveyed(tmp_path)
    found = survey("pve1", snapshot, [other('\x1b"\\\n\x7f§', snapshot.verdicts[0].map.uuid)])
    assert san_file.load(san_file.dump(found)) == found


async def test_a_card_that_carries_two_transports_is_a_port_of_each(tmp_path: Path) -> None:
    text = san_file.ready()["iscsi"]
    async with running(san_file.load(text), tmp_path) as lab:
        snapshot = await collector(lab.node("node1")).collect()
    ports = {
        device: msgspec.structs.replace(port, initiator=by_network(port))
        for device, port in snapshot.facts.ports.items()
    }
    merged = msgspec.structs.replace(snapshot, facts=msgspec.structs.replace(snapshot.facts, ports=ports))
    found = survey("node1", merged, [])
    assert sorted((port.transport, port.address) for port in found.hosts[0].ports) == [
        ("iscsi", "10.9.100.1"), ("iscsi", "10.9.101.1"), ("nvme-tcp", "10.9.100.1")
    ]  # fmt: skip
    async with running(found, tmp_path) as again:
        assert sight(await collector(again.node("node1")).collect()) == sight(merged)


def by_network(port: Port) -> str:
    """One address for both transports in each of the two networks."""
    assert port.initiator is not None
    return f"10.9.{port.initiator.split('.')[1]}.1"


async def test_without_known_ports_it_is_refused(tmp_path: Path) -> None:
    snapshot, _ = await surveyed(tmp_path)
    blind = msgspec.structs.replace(snapshot, facts=msgspec.structs.replace(snapshot.facts, ports={}))
    with pytest.raises(SettingsError, match="nothing to make a topology of"):
        survey("pve1", blind, [])


async def test_paths_of_other_transports_are_left_out(tmp_path: Path) -> None:
    snapshot, _ = await surveyed(tmp_path)
    ports = {device: Port("sas", "0x1", "0x2") for device in snapshot.facts.ports}
    sas = msgspec.structs.replace(snapshot, facts=msgspec.structs.replace(snapshot.facts, ports=ports))
    with pytest.raises(SettingsError, match="no path has two known ports"):
        survey("pve1", sas, [])
