"""A cluster of guests on a SAN: an array, and nodes that reach its LUNs by two fabrics and each other by a third LAN.

The nodes are one etcd cluster, made by `pathfleet cluster`, and run pathfleet by its units.
"""

import json
import random
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.vm import installation
from tests.vm.conftest import install_commands
from tests.vm.image import Image
from tests.vm.machine import Guest, Lan, Machine

T = TypeVar("T")

NODES = 3
LUNS = 4
SIZE_MIB = 128
HEALTHY_SECONDS = 180
ROLL_SECONDS = 180
#: The name of a card in every guest, and the network that it leads to.
LANS = {"fabric-a": "10.77.0", "fabric-b": "10.78.0", "cluster": "10.79.0"}
ARRAY = 1
FIRST_NODE = 11
UNITS = "pathfleet-agent pathfleet-executor"
HERE = Path(__file__).parent
REPOSITORY = installation.REPOSITORY
CARD = (
    'ACTION=="add", SUBSYSTEM=="net", ATTR{{address}}=="{mac}", NAME="{name}",'
    ' RUN+="/sbin/ip address add {address}/24 dev {name}", RUN+="/sbin/ip link set {name} up"\n'
)

# Emulated members are late more often than a member that is gone: they would elect a leader all the time.
PATIENCE = "[Service]\nEnvironment=ETCD_HEARTBEAT_INTERVAL=500 ETCD_ELECTION_TIMEOUT=5000\n"


@dataclass(frozen=True)
class Node:
    """A member of the cluster."""

    name: str
    number: int
    guest: Guest

    @property
    def address(self) -> str:
        """Where the other nodes reach it."""
        return f"{LANS['cluster']}.{self.number}"

    def until(self, condition: str, seconds: float = 60) -> dict[str, Any]:
        """Return the matrix as this node sees it once a condition holds; `guest/matrix.py` says of what."""
        command = f"matrix {seconds} {shlex.quote(condition)}"
        found = json.loads(self.guest.run(command, deadline=seconds + 60).stdout)
        document: dict[str, Any] = found["document"]
        assert found["reached"], f"{self.name}, not within {seconds} s: {condition}\n{json.dumps(document, indent=1)}"
        return document

    def pathfleet(self, arguments: str, *, check: bool = True, deadline: float = 120) -> str:
        """Run the project's command; return what it says, errors included."""
        return self.guest.run(f"pathfleet {arguments} 2>&1", check=check, deadline=deadline).stdout.decode()


@dataclass(frozen=True)
class Cluster:
    """Guests that run."""

    array: Guest
    nodes: tuple[Node, ...]

    def all_optimal(self) -> str:
        """Return the condition that every node has every LUN, all paths usable."""
        return f"len(cells) == {len(self.nodes)} and {all_are('optimal')}"

    def in_force(self) -> None:
        """Wait until every node has what the cluster's configuration says."""
        deadline = time.monotonic() + ROLL_SECONDS
        while True:
            said = self.nodes[-1].pathfleet("config status -o json", check=False)
            # anything else is trouble with the store, which passes
            if said.startswith("{") and all(row["state"] == "in-force" for row in json.loads(said)["nodes"]):
                return
            assert time.monotonic() < deadline, f"not within {ROLL_SECONDS} s: {said}"
            time.sleep(1)


def all_are(state: str, node: str | None = None) -> str:
    """Return the condition that all LUNs are in a state, on one node or on each."""
    columns = "cells.values()" if node is None else f"[cells[{node!r}]]"
    return f"all([*column.values()] == [{state!r}] * {LUNS} for column in {columns})"


@contextmanager
def started(image: Image, nodes: int = NODES) -> Iterator[Cluster]:
    """Start a cluster of bare guests; they end with the block. Raises MachineError."""
    numbers = {"array": ARRAY} | {f"node{number + 1}": FIRST_NODE + number for number in range(nodes)}
    groups = _groups()
    with ExitStack() as stack:
        machines = {
            # Each emulator must be a child of this thread, with which it ends.
            name: stack.enter_context(Machine(image, cpus=1, name=name, lans=_lans(groups, number), connected=False))
            for name, number in numbers.items()
        }
        with _timed(f"{len(machines)} guests start"):
            each(machines.values(), Machine.connect)
        yield Cluster(
            machines.pop("array"), tuple(Node(name, numbers[name], machine) for name, machine in machines.items())
        )


def assemble(cluster: Cluster) -> None:
    """Make of bare guests a SAN, an etcd cluster and running agents. Raises MachineError, InstallationError."""
    with _timed("LANs"):
        each([(ARRAY, cluster.array), *((node.number, node.guest) for node in cluster.nodes)], _set_up_lans)
    with _timed("LUNs"):
        cluster.array.run(f"san target {LUNS} {SIZE_MIB}", deadline=180)
    with _timed("every node logs in"):
        each(cluster.nodes, log_in)
    with _timed("pathfleet is installed"):
        each(cluster.nodes, install)
    _found(cluster.nodes)
    with _timed("its units start"):
        each(cluster.nodes, start)


def _groups() -> list[str]:
    """Return a multicast group for each LAN, unlike those of any other cluster on this machine."""
    own = random.SystemRandom()
    second, port = own.randrange(1, 255), own.randrange(20000, 60000)
    return [f"239.77.{second}.{number}:{port + number}" for number in range(1, len(LANS) + 1)]


def _lans(groups: list[str], number: int) -> list[Lan]:
    return [Lan(group, _mac(lan, number)) for lan, group in enumerate(groups)]


def _mac(lan: int, number: int) -> str:
    return f"52:54:00:77:{lan:02x}:{number:02x}"


def _set_up_lans(numbered: tuple[int, Guest]) -> None:
    number, guest = numbered
    cards = (
        CARD.format(mac=_mac(lan, number), name=name, address=f"{network}.{number}")
        for lan, (name, network) in enumerate(LANS.items())
    )
    guest.put("".join(cards).encode(), "/etc/udev/rules.d/71-lans.rules")
    guest.run("udevadm control --reload && udevadm trigger -c add -s net && udevadm settle")
    install_commands(guest)


def log_in(node: Node) -> None:
    """Let a node find the array's LUNs by both fabrics."""
    initiator = f"InitiatorName=iqn.2025-01.test.pathfleet:{node.name}\n"
    node.guest.put(initiator.encode(), "/etc/iscsi/initiatorname.iscsi")
    # How soon a silent portal is noticed: within 4 s instead of 10, and multipathd's fast_io_fail_tmo comes on top.
    node.guest.run("sed -Ei 's/^(node.conn.*noop_out_(interval|timeout) =).*/\\1 2/' /etc/iscsi/iscsid.conf")
    node.guest.run("san login", deadline=HEALTHY_SECONDS)


def restore(node: Node) -> None:
    """Undo what a test may have done to a node's fabrics."""
    node.guest.run("ip link set fabric-a up && ip link set fabric-b up")


def install(node: Node) -> None:
    """Install the project, not started yet."""
    guest = node.guest
    installation.install(guest)
    for program in (HERE / "guest").glob("*.py"):
        guest.put(program, f"{installation.HOME}/{program.name}")
        launcher = f'#!/bin/sh\nexec python3 {installation.HOME}/{program.name} "$@"\n'
        guest.put(launcher.encode(), f"/usr/local/sbin/{program.stem}")
        guest.run(f"chmod 0755 /usr/local/sbin/{program.stem}")
    for unit in (REPOSITORY / "packaging").glob("*.service"):
        guest.put(unit, f"/etc/systemd/system/{unit.name}")
    guest.put(REPOSITORY / "packaging/pathfleet.sysusers", "/usr/lib/sysusers.d/pathfleet.conf")
    guest.run("mkdir -p /etc/systemd/system/etcd.service.d")
    guest.put(PATIENCE.encode(), "/etc/systemd/system/etcd.service.d/patience.conf")
    settings = f'api-listen = "{node.address}:8440"\n'
    guest.run("mkdir -p /etc/pathfleet && systemd-sysusers && systemctl daemon-reload")
    if guest.run("test -e /etc/pathfleet/pathfleet.toml", check=False).code:
        guest.put(settings.encode(), "/etc/pathfleet/pathfleet.toml")


def _found(nodes: tuple[Node, ...]) -> None:
    first, *others = nodes
    with _timed("the store is founded"):
        first.pathfleet(f"cluster init {first.address} --write-settings", deadline=240)
    for other in others:
        with _timed(f"{other.name} joins"):
            _join(first, other)
    with _timed("the first nodes hear of the later ones"):
        each(nodes[:-1], lambda node: node.pathfleet("cluster settings --write-settings"))


def _join(first: Node, other: Node) -> None:
    token = first.guest.run(f"pathfleet cluster token {other.name} {other.address}", deadline=120).stdout
    other.guest.run("pathfleet cluster join - --write-settings", stdin=token, deadline=240)


def start(node: Node) -> None:
    """Start it by its units, now and at every boot."""
    node.guest.run(f"systemctl enable {UNITS} && systemctl restart {UNITS}", deadline=240)


def each(things: Iterable[T], do: Callable[[T], object]) -> None:
    """Do something to all at once; the first error is raised when all are done."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        for done in [pool.submit(do, thing) for thing in things]:
            done.result()


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - began:.1f} s")


def say(text: str) -> None:
    """Tell whoever waits."""
    print(f"vm cluster: {text}", file=sys.stderr, flush=True)
