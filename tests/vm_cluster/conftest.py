"""One cluster for all tests of this directory, only where it is asked for: it takes minutes to start."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import image, machine
from tests.vm_cluster import cluster as clusters
from tests.vm_cluster import keep
from tests.vm_cluster.cluster import Cluster

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
    """The cluster with all cells optimal, before the test and after it."""
    running.nodes[0].until(running.all_optimal(), clusters.HEALTHY_SECONDS)
    yield running
    for node in running.nodes:
        clusters.restore(node)
    running.nodes[0].until(running.all_optimal(), clusters.HEALTHY_SECONDS)
