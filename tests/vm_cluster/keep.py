"""A cluster that outlives the tests: `python -m tests.vm_cluster.keep DIRECTORY` runs one until it is told to end.

`PATHFLEET_VM_CLUSTER_KEEP=DIRECTORY` lets the tests use it, and start it where there is none.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import msgspec
from msgspec import Struct

from tests.vm import image
from tests.vm.machine import Guest
from tests.vm_cluster import cluster
from tests.vm_cluster.cluster import Cluster, Node

START_SECONDS = 900


class Kept(Struct, frozen=True):
    """A guest that somebody else keeps running."""

    name: str
    number: int
    directory: str
    port: int


class Record(Struct, frozen=True):
    """A cluster that process `pid` keeps running."""

    pid: int
    suite: str
    array: Kept
    nodes: tuple[Kept, ...]


def attach(directory: Path, suite: str) -> Cluster:
    """Return the cluster that is kept at a directory, started first where there is none. Raises MachineError."""
    file = directory / "cluster.json"
    if not _is_kept(file):
        _start(directory, suite)
    record = msgspec.json.decode(file.read_bytes(), type=Record)
    built = image.image(record.suite)
    guests = {kept.name: Guest(built, Path(kept.directory), kept.port) for kept in (record.array, *record.nodes)}
    cluster.each(guests.values(), Guest.connect)
    return Cluster(guests["array"], tuple(Node(kept.name, kept.number, guests[kept.name]) for kept in record.nodes))


def detach(kept: Cluster) -> None:
    """Log out of all guests."""
    for guest in (kept.array, *(node.guest for node in kept.nodes)):
        guest.disconnect()


def keep(directory: Path, suite: str) -> None:
    """Run a cluster until a signal comes."""
    directory.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _interrupted)
    with cluster.started(image.image(suite)) as running:
        cluster.assemble(running)
        nodes = tuple(_kept(node.name, node.number, node.guest) for node in running.nodes)
        record = Record(os.getpid(), suite, _kept("array", cluster.ARRAY, running.array), nodes)
        (directory / "cluster.json").write_bytes(msgspec.json.encode(record))
        cluster.say(f"kept by process {os.getpid()}; SIGTERM ends it")
        with suppress(KeyboardInterrupt):
            signal.pause()
    (directory / "cluster.json").unlink()


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _kept(name: str, number: int, guest: Guest) -> Kept:
    return Kept(name, number, str(guest.directory), guest.port)


def _is_kept(file: Path) -> bool:
    try:
        os.kill(msgspec.json.decode(file.read_bytes(), type=Record).pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return True


def _start(directory: Path, suite: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cluster.json").unlink(missing_ok=True)
    with (directory / "log").open("wb") as log:
        # No object of this process: it outlives it.
        keeper = os.posix_spawn(
            sys.executable,
            (sys.executable, "-m", "tests.vm_cluster.keep", str(directory), suite),
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, log.fileno(), number) for number in (1, 2)],
            setsid=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while not (directory / "cluster.json").exists():
        assert os.waitpid(keeper, os.WNOHANG) == (0, 0), (directory / "log").read_text()
        assert time.monotonic() < deadline, f"no cluster within {START_SECONDS} s: {directory / 'log'}"
        time.sleep(0.5)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "bookworm")
