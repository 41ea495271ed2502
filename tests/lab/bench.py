"""A small lab that a test drives by its clock, and what its daemons say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pathfleet.core import maps
from pathfleet.core.health import Facts, Verdict, judge
from pathfleet.core.maps import Map
from pathfleet.lab import faults, san_file
from pathfleet.lab.commands import Commands
from pathfleet.lab.san import San

#: One host, two fabrics, an array with two controllers that have a port in each: four paths a LUN.
SMALL = """
name = "small"
switches = [{ name = "switch-a", fabric = "a" }, { name = "switch-b", fabric = "b" }]
arrays = [{ name = "array1" }]
hosts = [{ name = "pve", count = 2, version = "0.9.4" }]
luns = [{ name = "vm", count = 3, size = "10G" }]
defaults = { no_path_retry = 6 }
"""


class Bench:
    """A lab at rest: time passes when the test says so."""

    def __init__(self, text: str = SMALL, files: Path | None = None) -> None:
        self.store: list[bool] = []
        self.san = San(
            san_file.load(text),
            sockets=lambda host: f"@nobody-listens-{host}",
            files=files,
            on_store=self.store.append,
        )
        self._commands = {name: Commands(node.daemon) for name, node in self.san.nodes.items()}

    def passes(self, seconds: float) -> None:
        self.san.clock.advance(self.san.clock.now + seconds)

    def inflict(self, fault: str, name: str, value: str = "", *, seconds: float = 30) -> None:
        faults.inflict(self.san, fault, name, value)
        self.passes(seconds)

    def relieve(self, fault: str, name: str, value: str = "", *, seconds: float = 30) -> None:
        faults.relieve(self.san, fault, name, value)
        self.passes(seconds)

    def ask(self, command: str, host: str = "pve1", *, uid: int = 0) -> bytes:
        return b"".join(self._commands[host].answer(command, uid=uid))

    def maps(self, host: str = "pve1") -> tuple[Map, ...]:
        return maps.decode(self.ask("show maps json", host))

    def map(self, lun: str = "vm1", host: str = "pve1") -> Map:
        wwid = self.san.fabric.lun(lun).lun.wwid
        (found,) = [map_ for map_ in self.maps(host) if map_.uuid == wwid]
        return found

    def verdict(self, lun: str = "vm1", host: str = "pve1") -> Verdict:
        return judge(self.map(lun, host), Facts())

    def counts(self, host: str = "pve1") -> Counter[tuple[str, int, int]]:
        """How many maps there are of each health, with so many usable of so many paths."""
        verdicts = [judge(map_, Facts()) for map_ in self.maps(host)]
        return Counter((verdict.health.value, verdict.active, verdict.total) for verdict in verdicts)
