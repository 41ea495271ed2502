"""A volume group on a LUN that all nodes share: what is written while fabrics fail is there when they are back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.vm_cluster.cluster import Cluster, Node, restore, say
from tests.vm_cluster.storages import SHARED

STATE = "/run/writer"
#: Longer than whatever a path takes to fail, so that what is written then waits for a path.
CUT_SECONDS = 40
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Writer:
    """A program in a guest that writes what can be checked."""

    node: Node
    device: str

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Run it while the body runs; it never outlives that, and the node's fabrics are whole after it."""
        self.node.guest.run(
            f"rm -f {STATE}; setsid writer {self.device} {STATE} > {STATE}.log 2>&1 & echo $! > {STATE}.pid"
        )
        try:
            yield
        finally:
            restore(self.node)  # what waits for a path cannot be ended
            self.node.guest.run(
                f"kill $(cat {STATE}.pid); while kill -0 $(cat {STATE}.pid) 2>/dev/null; do sleep 0.1; done",
                deadline=PATIENCE_SECONDS,
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

    def found(self) -> str:
        """Return what a check of everything found, and fail if anything was lost."""
        return self.node.guest.run(f"writer verify {self.device} {STATE}").stdout.decode().strip()

    def log(self) -> str:
        return self.node.guest.run(f"cat {STATE}.log", check=False).stdout.decode()


def test_a_writer_loses_nothing_while_one_fabric_fails_then_both(cluster: Cluster, volume: str) -> None:
    reader, node, *_ = cluster.nodes
    device = node.pathfleet(f"storage activate {volume}").split()[-1]
    writer = Writer(node, device)
    with writer.writing():
        writer.goes_on()
        node.guest.run("ip link set fabric-a down")
        reader.until(f"cells[{node.name!r}][{SHARED.wwid!r}] == 'degraded'", PATIENCE_SECONDS)
        writer.goes_on()
        node.guest.run("ip link set fabric-b down")
        reader.until(f"cells[{node.name!r}][{SHARED.wwid!r}] == 'failed'", PATIENCE_SECONDS)
        # what multipathd does meanwhile is told beside the report, a moment later
        reader.until(f"'queueing' in luns[{SHARED.wwid!r}]['nodes'][{node.name!r}]['flags']", PATIENCE_SECONDS)
        writer.is_waiting(CUT_SECONDS)
        restore(node)
        writer.goes_on()
    say(f"one fabric cut, then both for {CUT_SECONDS} s and more: {writer.found()}")
