"""The cluster's configuration on real nodes: written on one, in force on all, stopped where it harms."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.vm.guest import target
from tests.vm_cluster.cluster import ROLL_SECONDS, Cluster, Node, say

LUN = target.wwid(1)
#: Read after all of pathfleet's.
OWN_FILE = "/etc/multipath/conf.d/zzz-own.conf"
HARMFUL = 'blacklist {\n wwid ".*"\n}\n'


@pytest.fixture
def configured(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster whose configuration names one LUN."""
    cluster.nodes[0].pathfleet(f"config lun add {LUN} --alias archive")
    yield cluster
    cluster.nodes[0].pathfleet(f"config lun remove {LUN}", check=False)
    cluster.in_force()


def names(node: Node) -> dict[str, str]:
    shown = json.loads(node.guest.run("ask show maps json").stdout)["maps"]
    return {map_["uuid"]: map_["name"] for map_ in shown}


def test_a_lun_named_on_one_node_has_its_name_on_all(configured: Cluster) -> None:
    began = time.monotonic()
    configured.in_force()
    say(f"a LUN named: in force on all nodes after {time.monotonic() - began:.1f} s")
    assert [names(node)[LUN] for node in configured.nodes] == ["archive"] * len(configured.nodes)


def test_a_nodes_own_file_that_overrules_the_configuration_is_seen_from_another(configured: Cluster) -> None:
    configured.in_force()
    asked, *_, other = configured.nodes
    assert differences(asked) == {node.name: [] for node in configured.nodes}
    other.guest.put(b"defaults {\n find_multipaths yes\n}\n", OWN_FILE)
    try:
        other.guest.run("multipathd reconfigure")
        found = {"section": "defaults", "keyword": "find_multipaths", "wanted": "strict", "effective": "on"}
        drifted = {node.name: [found] if node is other else [] for node in configured.nodes}
        deadline = time.monotonic() + ROLL_SECONDS
        while (seen := differences(asked)) != drifted:
            assert time.monotonic() < deadline, seen
    finally:
        other.guest.run(f"rm {OWN_FILE} && multipathd reconfigure")
    configured.in_force()


def differences(node: Node) -> dict[str, list[dict[str, str]]]:
    """Return by node where its multipathd goes by something else, as `node` says it of all."""
    found = json.loads(node.guest.run("pathfleet config diff -o json", check=False, deadline=120).stdout)
    return {row["node"]: row["differences"] for row in found["nodes"]}


def test_a_harmful_override_let_past_the_linter_is_undone_where_it_came_first_and_reaches_no_other(
    configured: Cluster,
) -> None:
    first = configured.nodes[0]
    configured.in_force()
    before = [node.guest.run("cat /etc/multipath/conf.d/*").stdout for node in configured.nodes]
    maps = [names(node) for node in configured.nodes]
    first.guest.put(HARMFUL.encode(), "/root/harmful.conf")
    first.guest.run("storefile write multipath-overrides.conf /root/harmful.conf", deadline=60)
    try:
        began = time.monotonic()
        said = first.until("any(row['apply'] and row['apply']['error'] for row in nodes.values())", ROLL_SECONDS)
        say(f"a harmful override: told after {time.monotonic() - began:.1f} s")
        said = first.until("all(row['apply'] and row['apply']['error'] for row in nodes.values())", ROLL_SECONDS)
        errors = [row["apply"]["error"] for row in said["nodes"]]
        assert sum(error.startswith("stopped: ") for error in errors) == len(errors) - 1
        assert [node.guest.run("cat /etc/multipath/conf.d/*").stdout for node in configured.nodes] == before
        assert [names(node) for node in configured.nodes] == maps
    finally:
        first.guest.run("storefile remove multipath-overrides.conf", deadline=60)
    configured.in_force()
