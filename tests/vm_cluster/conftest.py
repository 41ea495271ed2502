"""One cluster for all tests of this directory, only where it is asked for: it takes minutes to start."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import image, machine
from tests.vm_cluster import cluster as clusters
from tests.vm_cluster import keep
from tests.vm_cluster.cluster import Cluster
from tests.vm_cluster.storages import SHARED, OnLun, allocate, known

HERE = Path(__file__).parent
KEPT_AT = os.environ.get("PATHFLEET_VM_CLUSTER_KEEP")
IS_WANTED = bool(KEPT_AT or os.environ.get("PATHFLEET_VM_CLUSTER"))


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.vm)
            item.add_marker(pytest.mark.xdist_group("vm-cluster"))
            item.add_marker(pytest.mark.skipif(not IS_WANTED, reason="a cluster of guests: make test-cluster"))


@pytest.fixture(scope="session")
def running() -> Iterator[Cluster]:
    """The cluster, as a test may have left it."""
    lacking = image.missing_tools() + machine.missing_tools()
    if lacking:
        pytest.skip(f"no virtual machines without {', '.join(lacking)}: run tools/system_deps")
    suite = os.environ.get("PATHFLEET_VM_SUITE", "bookworm")
    if KEPT_AT:
        kept = keep.attach(Path(KEPT_AT), suite)
        yield kept
        keep.detach(kept)
        return
    with clusters.started(image.image(suite)) as started:
        clusters.assemble(started)
        yield started


@pytest.fixture
def cluster(running: Cluster) -> Iterator[Cluster]:
    """The cluster with all cells optimal; after the test, its fabrics are whole again."""
    running.nodes[0].until(running.all_optimal(), clusters.HEALTHY_SECONDS)
    yield running
    for node in running.nodes:
        clusters.restore(node)


@pytest.fixture(scope="session")
def luns(running: Cluster) -> str:
    """The storage whose volumes are the LUNs; it stays."""
    if "san" not in known(running.nodes[0]):
        running.nodes[0].pathfleet("storage add multipath san")
    return "san"


@pytest.fixture(scope="session")
def shared(running: Cluster, luns: str) -> OnLun:
    """The storage that all nodes share, on a LUN that waits for paths as long as it takes; it stays."""
    first = running.nodes[0]
    if SHARED.name not in known(first):
        SHARED.allow(first)
        first.pathfleet(f"config lun set {SHARED.wwid} no-path-retry=queue")
        running.in_force()
        said = SHARED.add(first, luns)
        assert "is made" in said, said
    return SHARED


@pytest.fixture
def volume(cluster: Cluster, shared: OnLun) -> Iterator[str]:
    """A volume that one node allocates."""
    name = allocate(cluster.nodes[0], shared)
    yield name
    for node in cluster.nodes:  # by LVM itself, which is quicker in an emulated guest
        node.guest.run(f"lvchange -an {shared.name}/{name.partition(':')[2]}", check=False)
    cluster.nodes[0].pathfleet(f"storage free {name}")
