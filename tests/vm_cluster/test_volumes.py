"""A volume group on a LUN that all nodes share: made once, its volumes seen by all, refused where it would harm."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.vm_cluster.cluster import Cluster, Node
from tests.vm_cluster.storages import OnLun, activate, known

REFUSED = OnLun("refused", 0)
NOTICE_SECONDS = 60


@pytest.fixture(scope="module")
def allowed(running: Cluster) -> Iterator[OnLun]:
    """A storage to be made on a LUN that is allowed."""
    REFUSED.allow(running.nodes[0])
    yield REFUSED
    running.nodes[0].pathfleet(f"config lun remove {REFUSED.wwid}")
    running.in_force()


def nothing_was_made(node: Node) -> bool:
    return REFUSED.name not in known(node) and REFUSED.size(node) == 0


def test_every_node_sees_the_group_that_one_has_made(cluster: Cluster, shared: OnLun) -> None:
    sizes = {shared.size(node) for node in cluster.nodes}
    assert len(sizes) == 1
    assert 0 not in sizes
    for node in cluster.nodes:
        (row,) = json.loads(node.pathfleet(f"storage status {shared.name} -o json"))
        assert row["active"]
        assert {row["total"]} == sizes


def test_what_one_node_writes_to_a_volume_another_reads_of_it(cluster: Cluster, volume: str) -> None:
    _, writer, reader = cluster.nodes
    device = activate(writer, volume)
    writer.guest.run(f"yes pathfleet | head -c 8M > /root/written; dd if=/root/written of={device} bs=1M oflag=direct")
    writer.pathfleet(f"storage deactivate {volume}")
    assert writer.guest.run(f"test -e {device}", check=False).code, "it is still there"
    assert activate(reader, volume) == device
    wanted, found = [
        node.guest.run(f"head -c 8M {file} | sha256sum").stdout
        for node, file in ((writer, "/root/written"), (reader, device))
    ]
    assert found == wanted


def test_a_volume_that_another_node_uses_is_not_freed(cluster: Cluster, shared: OnLun, volume: str) -> None:
    asks, uses, _ = cluster.nodes
    activate(uses, volume)
    said = asks.pathfleet(f"storage free {volume}", check=False)
    assert f"is active on node {uses.name}" in said
    listed = json.loads(uses.pathfleet(f"storage content {shared.name} -o json"))
    assert [(row["volid"], row["active"]) for row in listed] == [(volume, True)]


def test_two_nodes_that_allocate_at_once_get_two_volumes(cluster: Cluster, shared: OnLun) -> None:
    with ThreadPoolExecutor() as pool:
        asked = [
            pool.submit(node.pathfleet, f"storage allocate {shared.name} 8M --vmid 200") for node in cluster.nodes[:2]
        ]
        names = [done.result().split()[0] for done in asked]
    try:
        assert len(set(names)) == len(names)
        listed = json.loads(cluster.nodes[-1].pathfleet(f"storage content {shared.name} -o json"))
        assert {*names} <= {row["volid"] for row in listed}
    finally:
        for name in names:
            cluster.nodes[0].pathfleet(f"storage free {name}")


def test_a_lun_that_is_not_allowed_becomes_no_storage(cluster: Cluster, luns: str) -> None:
    assert "is not allowed in this cluster" in REFUSED.add(cluster.nodes[0], luns, check=False)
    assert nothing_was_made(cluster.nodes[0])


def test_a_lun_with_a_file_system_becomes_no_storage(cluster: Cluster, luns: str, allowed: OnLun) -> None:
    node = cluster.nodes[0]
    device = allowed.device
    node.guest.run(f"mkfs.ext4 -q {device} && e2label {device} precious")
    try:
        assert "ext4" in allowed.add(node, luns, check=False)
        assert nothing_was_made(node)
        assert node.guest.run(f"e2label {device}").stdout.strip() == b"precious"
    finally:
        node.guest.run(f"dd if=/dev/zero of={device} bs=1M count=8 oflag=direct")


def test_a_lun_with_a_single_path_becomes_no_storage(cluster: Cluster, luns: str, allowed: OnLun) -> None:
    node = cluster.nodes[0]
    node.guest.run("ip link set fabric-b down")
    cluster.nodes[-1].until(f"cells[{node.name!r}][{allowed.wwid!r}] == 'degraded'", NOTICE_SECONDS)
    assert "has 1 usable paths" in allowed.add(node, luns, check=False)
    assert nothing_was_made(node)
