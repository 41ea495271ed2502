"""The matrix of a real cluster: a fabric cut and a node without power cost their own column and nothing else."""

import json
import time

import pytest

from tests.vm_cluster import power
from tests.vm_cluster.cluster import HEALTHY_SECONDS, LUNS, Cluster, all_are, log_in, say

#: The nodes' iSCSI gives up a silent portal after up to 4 s, fast_io_fail_tmo a path after 5 more; the rest is for
#: emulated agents and an emulated store.
NOTICE_SECONDS = 30
#: An etcd store's lease on a node's liveness, and time to be told of its end.
GONE_SECONDS = 60


def test_every_node_shows_every_cell_optimal(cluster: Cluster) -> None:
    names = {node.name for node in cluster.nodes}
    for node in cluster.nodes:
        document = json.loads(node.guest.run("pathfleet status -o json", deadline=120).stdout)
        assert len(document["luns"]) == LUNS
        for row in document["luns"]:
            assert {name: cell["state"] for name, cell in row["nodes"].items()} == dict.fromkeys(names, "optimal")
            assert {cell["paths-total"] for cell in row["nodes"].values()} == {2}


@pytest.mark.parametrize("fabric", ["fabric-a", "fabric-b"])
def test_a_fabric_cut_at_one_node_degrades_its_column_and_no_other(cluster: Cluster, fabric: str) -> None:
    reader, victim, *others = cluster.nodes
    began = time.monotonic()
    victim.guest.run(f"ip link set {fabric} down")
    document = reader.until(all_are("degraded", victim.name), NOTICE_SECONDS)
    say(f"{fabric} cut at one node: seen at another after {time.monotonic() - began:.1f} s")
    for row in document["luns"]:
        assert row["nodes"][victim.name]["paths-active"] == 1
        assert {row["nodes"][node.name]["state"] for node in (reader, *others)} == {"optimal"}
    began = time.monotonic()
    victim.guest.run(f"ip link set {fabric} up")
    reader.until(cluster.all_optimal(), HEALTHY_SECONDS)
    say(f"{fabric} restored: all optimal after {time.monotonic() - began:.1f} s")


def test_the_founding_node_reports_while_its_own_etcd_is_down(cluster: Cluster) -> None:
    victim, *_, reader = cluster.nodes
    victim.guest.run("systemctl stop etcd && ip link set fabric-a down")
    try:
        reader.until(all_are("degraded", victim.name), NOTICE_SECONDS)
    finally:
        victim.guest.run("ip link set fabric-a up && systemctl start etcd", deadline=120)
    reader.until(cluster.all_optimal(), HEALTHY_SECONDS)


def test_a_node_without_power_is_unknown_with_a_reason_and_the_store_goes_on(cluster: Cluster) -> None:
    reader, *others, victim = cluster.nodes
    began = time.monotonic()
    power.off(victim.guest)
    try:
        document = reader.until(
            f"{all_are('unknown', victim.name)} and not nodes[{victim.name!r}]['online']", GONE_SECONDS
        )
        say(f"power cut: the node's column unknown after {time.monotonic() - began:.1f} s")
        for row in document["luns"]:
            assert row["nodes"][victim.name]["reason"]
            assert {row["nodes"][node.name]["state"] for node in (reader, *others)} == {"optimal"}
        members = json.loads(reader.guest.run("pathfleet cluster members -o json", deadline=120).stdout)
        assert {member["name"]: member["healthy"] for member in members} == {
            node.name: node is not victim for node in cluster.nodes
        }
    finally:
        began = time.monotonic()
        power.on(victim.guest)
        log_in(victim)
    reader.until(cluster.all_optimal(), HEALTHY_SECONDS)
    say(f"power restored: all optimal after {time.monotonic() - began:.1f} s")
