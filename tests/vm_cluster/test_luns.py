"""A LUN that grows on the array, and one that goes: on all nodes, in order, or not at all."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.vm_cluster.cluster import HEALTHY_SECONDS, SIZE_MIB, Cluster, Node, each, say
from tests.vm_cluster.storages import OnLun, activate, allocate

GOING = OnLun("going", 2)
GROWN_BYTES = SIZE_MIB * 2 << 20


def map_bytes(node: Node, storage: OnLun) -> int:
    return int(node.guest.run(f"blockdev --getsize64 {storage.device}").stdout)


def test_a_lun_that_grew_on_the_array_has_its_new_size_on_every_node_and_in_the_group(
    cluster: Cluster, shared: OnLun, volume: str
) -> None:
    first, other, _ = cluster.nodes
    activate(other, volume)
    size = shared.size(first)
    cluster.array.run(f"san resize {shared.number} {SIZE_MIB * 2}")
    began = time.monotonic()
    first.pathfleet(f"storage grow {shared.name}", deadline=240)
    say(f"grown on all nodes after {time.monotonic() - began:.1f} s")
    assert {map_bytes(node, shared) for node in cluster.nodes} == {GROWN_BYTES}
    assert {shared.size(node) for node in cluster.nodes} == {size + (SIZE_MIB << 20)}
    row = f"luns[{shared.wwid!r}]"
    first.until(f"{row}['size'] == {GROWN_BYTES} and not {row}['warnings']", HEALTHY_SECONDS)


def test_a_lun_that_is_not_allowed_is_seen_by_its_disks_on_every_node(cluster: Cluster) -> None:
    said = seen(cluster.nodes[0])
    (lun,) = [lun for lun in said["luns"] if lun["wwid"] == GOING.wwid]
    assert (lun["allowed"], lun["size"], said["silent"]) == (False, SIZE_MIB << 20, {})
    found = {node: (there["map"], len(there["disks"]), there["holds"]) for node, there in lun["nodes"].items()}
    # these guests had maps of all LUNs before they had pathfleet
    assert found == {node.name: (True, 2, []) for node in cluster.nodes}


@pytest.fixture
def going(cluster: Cluster, luns: str) -> Iterator[str]:
    """A volume of a storage on a LUN of its own, which the array shows anew afterwards."""
    first = cluster.nodes[0]
    first.guest.run(f"dd if=/dev/zero of={GOING.device} bs=1M count=1 oflag=direct")  # no group made here before
    GOING.allow(first)
    GOING.add(first, luns)
    yield allocate(first, GOING)
    cluster.array.run(f"san map {GOING.number}")
    each([node.guest for node in cluster.nodes], lambda guest: guest.run("iscsiadm -m session --rescan"))
    first.until(cluster.all_optimal(), HEALTHY_SECONDS)


def test_a_lun_is_retired_when_its_last_user_has_gone_and_not_before(cluster: Cluster, going: str) -> None:
    asks, uses, _ = cluster.nodes
    device = activate(uses, going)

    assert f"is the base of storage {GOING.name}" in retired(asks)
    asks.pathfleet(f"storage remove {GOING.name}")
    said = retired(asks)
    assert f"node {uses.name}: volume {GOING.name}/{going.partition(':')[2]}" in said, said
    uses.guest.run(f"lvchange --config devices/hints=none -an {device}")  # a native one goes by its own hints
    assert f"has the volume group {GOING.name} (1 volumes) on it" in retired(asks)
    assert {map_bytes(node, GOING) for node in cluster.nodes} == {SIZE_MIB << 20}
    assert GOING.wwid in allowed(asks)

    uses.guest.run(f"vgremove -y {GOING.name} && pvremove {GOING.device}")
    began = time.monotonic()
    assert "unmap it on the array now" in asks.pathfleet(f"storage retire {GOING.wwid}", deadline=240)
    say(f"a LUN retired on all nodes after {time.monotonic() - began:.1f} s")
    cluster.array.run(f"san unmap {GOING.number}")
    assert GOING.wwid not in allowed(asks)
    cluster.in_force()
    for node in cluster.nodes:
        assert GOING.wwid not in node.guest.run("ask show maps json").stdout.decode()
        assert not node.guest.run(f"san devices {GOING.number}").stdout
    asks.until(f"{GOING.wwid!r} not in luns", HEALTHY_SECONDS)


def retired(node: Node) -> str:
    return node.pathfleet(f"storage retire {GOING.wwid}", check=False, deadline=240)


def allowed(node: Node) -> set[str]:
    """Return the LUNs on the cluster's allow-list."""
    return {row["wwid"] for row in seen(node)["luns"] if row["allowed"]}


def seen(node: Node) -> dict[str, Any]:
    """Return what is known of LUNs, asked on a node."""
    said: dict[str, Any] = json.loads(node.pathfleet("config lun list -o json"))
    return said
