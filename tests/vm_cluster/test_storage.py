"""A volume group on a LUN that all nodes share: what is written while fabrics fail is there when they are back."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.vm.guest import target
from tests.vm_cluster.cluster import SIZE_MIB, Cluster, Node, say
from tests.vm_cluster.test_config import in_force

LUN = target.wwid(3)
NUMBER = 3
STATE = "/run/writer"
#: Longer than whatever a path takes to fail, so that what is written then waits for a path.
CUT_SECONDS = 40
PATIENCE_SECONDS = 120


@pytest.fixture(scope="module", autouse=True)
def shared(running: Cluster) -> None:
    """The cluster with a LUN that waits for its paths as long as it takes, and on it the storage `vms`."""
    first = running.nodes[0]
    storages = json.loads(first.pathfleet("storage list -o json"))["storages"]
    if "vms" not in {storage["storage"] for storage in storages}:
        first.pathfleet(f"config lun add {LUN} --alias vmstore")
        first.pathfleet(f"config set --wwid {LUN} no-path-retry=queue")
        in_force(first)
        first.pathfleet("storage add multipath san")
        first.pathfleet(f"storage add lvm vms --base san:{LUN} --vgname vms")


@pytest.fixture
def volume(cluster: Cluster) -> Iterator[str]:
    """A volume that one node allocates."""
    said = cluster.nodes[0].pathfleet("storage allocate vms 8M --vmid 100")
    name = said.split()[0]
    yield name
    for node in cluster.nodes:
        node.pathfleet(f"storage deactivate {name}", check=False)
    cluster.nodes[0].pathfleet(f"storage free {name}")


@dataclass(frozen=True)
class Writer:
    """A program in a guest that writes what can be checked."""

    node: Node
    device: str

    def start(self) -> None:
        self.node.guest.run(
            f"rm -f {STATE}; setsid writer {self.device} {STATE} > {STATE}.log 2>&1 & echo $! > {STATE}.pid"
        )

    def acknowledged(self) -> int:
        """Return how many blocks the device has taken so far."""
        return int((self.node.guest.run(f"cat {STATE} || echo 0").stdout.split() or [b"0"])[0])

    def goes_on(self) -> None:
        """Wait until more has been taken."""
        before = self.acknowledged()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.acknowledged() <= before + 1:
            assert time.monotonic() < deadline, f"no write in {PATIENCE_SECONDS} s: {self.log()}"
            time.sleep(0.5)

    def is_waiting(self, seconds: float) -> None:
        """Watch that nothing more is taken and that the program has been told of no error."""
        before = self.acknowledged()
        time.sleep(seconds)
        assert self.acknowledged() == before
        assert self.node.guest.run(f"kill -0 $(cat {STATE}.pid)", check=False).code == 0, self.log()

    def end(self) -> str:
        """End it; return what a check of everything found, and fail if anything was lost."""
        self.node.guest.run(
            f"kill $(cat {STATE}.pid); while kill -0 $(cat {STATE}.pid) 2>/dev/null; do sleep 0.1; done"
        )
        return self.node.guest.run(f"writer verify {self.device} {STATE}").stdout.decode().strip()

    def log(self) -> str:
        return self.node.guest.run(f"cat {STATE}.log", check=False).stdout.decode()


def test_a_writer_loses_nothing_while_one_fabric_fails_then_both(cluster: Cluster, volume: str) -> None:
    reader, node, *_ = cluster.nodes
    device = node.pathfleet(f"storage activate {volume}").split()[-1]
    writer = Writer(node, device)
    writer.start()
    writer.goes_on()
    node.guest.run("ip link set fabric-a down")
    reader.until(f"cells[{node.name!r}][{LUN!r}] == 'degraded'", PATIENCE_SECONDS)
    writer.goes_on()
    node.guest.run("ip link set fabric-b down")
    document = reader.until(f"cells[{node.name!r}][{LUN!r}] == 'failed'", PATIENCE_SECONDS)
    (row,) = [row for row in document["luns"] if row["wwid"] == LUN]
    assert "queueing" in row["nodes"][node.name]["flags"]
    writer.is_waiting(CUT_SECONDS)
    node.guest.run("ip link set fabric-a up && ip link set fabric-b up")
    writer.goes_on()
    say(f"one fabric cut, then both for {CUT_SECONDS} s and more: {writer.end()}")


def test_two_nodes_that_allocate_at_once_get_two_volumes(cluster: Cluster) -> None:
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(node.pathfleet, "storage allocate vms 8M --vmid 200") for node in cluster.nodes[:2]]
        names = [done.result().split()[0] for done in asked]
    try:
        assert len(set(names)) == len(names)
        listed = json.loads(cluster.nodes[-1].pathfleet("storage content vms -o json"))
        assert {*names} <= {volume["volid"] for volume in listed}
    finally:
        for name in names:
            cluster.nodes[0].pathfleet(f"storage free {name}")


def test_a_lun_that_grew_on_the_array_has_its_new_size_on_every_node_and_in_the_group(cluster: Cluster) -> None:
    first = cluster.nodes[0]
    before = json.loads(first.guest.run("vgs --reportformat json --units b --nosuffix -o vg_size vms").stdout)
    cluster.array.run(f"san resize {NUMBER} {SIZE_MIB * 2}")
    began = time.monotonic()
    first.pathfleet("storage grow vms", deadline=240)
    say(f"grown on all nodes after {time.monotonic() - began:.1f} s")
    document = first.until(f"luns[{LUN!r}]['size'] == {SIZE_MIB * 2 << 20} and not luns[{LUN!r}]['warnings']", 60)
    assert document
    after = json.loads(first.guest.run("vgs --reportformat json --units b --nosuffix -o vg_size vms").stdout)
    sizes = [int(found["report"][0]["vg"][0]["vg_size"]) for found in (before, after)]
    assert sizes[1] - sizes[0] == SIZE_MIB << 20
