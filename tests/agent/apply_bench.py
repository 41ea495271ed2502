"""Hosts of a lab that are configured by appliers, on files of their own, fast."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from pathfleet.agent.apply import Applier
from pathfleet.agent.effect import Timing, Watch
from pathfleet.core.configuration import combined_digest
from pathfleet.core.render import DropIns
from pathfleet.core.wanted import Wanted
from pathfleet.lab import san_file
from pathfleet.lab.clock import Clock
from pathfleet.lab.node import Node
from pathfleet.lab.san import San
from pathfleet.system.disk import Disk
from pathfleet.system.dropins import Files
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.wwids import Wwids
from tests.lab.bench import SMALL

#: 0.11.1 dies of `polling_interval 0` and spins on what is no number.
FRAGILE = SMALL.replace("0.9.4", "0.11.1")
UNLISTED = FRAGILE.replace('name = "vm"', 'name = "vm", listed = false')
#: Waits are long where nothing but a failure ends them: a busy machine is no failure.
FAST = Timing(configured=10.0, steady=0.01, settled=2.0, back=10.0, ask=2.0, pause=0.002)


class Unit:
    """systemd, as far as it runs a lab's daemon; `asked` is what it was asked to do."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.asked: list[str] = []

    async def start(self) -> None:
        self.asked.append("start")
        self._node.start_daemon()

    async def kill(self) -> None:
        self.asked.append("kill")
        self._node.daemon.stop()


class Host:
    """One host with its applier and what an operator would look at."""

    def __init__(self, node: Node, state: Path) -> None:
        assert node.directory is not None
        self.node = node
        self.state = state
        self.etc = node.directory
        self.multipathd = Multipathd(node.multipathd_socket)
        self.unit = Unit(node)
        self.applier = self.started_anew()

    def started_anew(self, disk: Disk | None = None) -> Applier:
        """Return a new applier, as after a start of its process."""
        files = Files(self.etc, self.state, disk=disk)
        wwids = Wwids(self.etc, self.state, disk=disk, late_seconds=0)
        self.applier = Applier(self.multipathd, self.unit, files, wwids, watch=Watch(self.multipathd, FAST))
        return self.applier

    async def names(self) -> set[str]:
        return {map_.name for map_ in await self.multipathd.maps()}

    def tree(self) -> dict[str, bytes | None]:
        """Everything in /etc/multipath, by name; None for a directory."""
        return {
            str(path.relative_to(self.etc)): path.read_bytes() if path.is_file() else None
            for path in sorted(self.etc.rglob("*"))
        }

    def close_maps(self) -> None:
        """Let nobody use the maps: then multipathd may take them away."""
        for map_ in self.node.kernel.maps.values():
            map_.open = False

    def reconfigurations(self) -> int:
        return self.node.daemon.reconfigurations  # type: ignore[attr-defined,no-any-return]


@asynccontextmanager
async def lab(tmp_path: Path, text: str = FRAGILE) -> AsyncIterator[list[Host]]:
    """Run a lab; yield its hosts."""
    san = San(
        san_file.load(text),
        sockets=lambda host: str(tmp_path / f"{host}.socket"),
        files=tmp_path / "files",
        clock=Clock(speed=1000),
    )
    async with san.running():
        for node in san.nodes.values():
            _count_reconfigurations(node)
        yield [Host(node, tmp_path / "state" / name) for name, node in san.nodes.items()]


def _count_reconfigurations(node: Node) -> None:
    daemon = node.daemon
    original = daemon.reconfigure
    daemon.reconfigurations = 0  # type: ignore[attr-defined]

    def counted() -> None:
        daemon.reconfigurations += 1  # type: ignore[attr-defined]
        original()

    daemon.reconfigure = counted  # type: ignore[method-assign]


def wanted(baseline: str, *wwids: str, overrides: str | None = None) -> Wanted:
    """Return what is wanted, whatever is wrong with it."""
    digest = combined_digest(baseline.encode(), (overrides or "").encode() + "".join(wwids).encode())
    return Wanted(digest, DropIns(baseline, overrides), frozenset(wwids))


def wwid(host: Host, lun: str) -> str:
    return host.node.kernel.fabric.lun(lun).wwid


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the disk and the daemon have no event to wait for
            await asyncio.sleep(0.01)
