"""What a guest's multipathd says, read on this machine: verdicts as pathfleet would give them, and recordings."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pathfleet.core import maps
from pathfleet.core.health import Facts, Verdict, flags, judge
from pathfleet.errors import CannotTell
from tests.vm.guest import target
from tests.vm.machine import Machine

RECORDINGS = Path(__file__).parents[1] / "data/vm"
NOTICE_SECONDS = 40


class Reading:
    """The replies of one guest; with `recording`, those that a test waited for are kept as the project's fixtures."""

    def __init__(self, machine: Machine, *, recording: bool) -> None:
        self._machine = machine
        self._recording = recording

    def reply(self, command: str = "show maps json") -> bytes:
        """Return the raw reply to a command."""
        return self._machine.run(f"ask {command}").stdout

    def until(self, name: str, reached: Callable[[dict[str, Verdict]], bool]) -> dict[str, Verdict]:
        """Return the verdicts by WWID once they are what the test waits for; `name` is the recording's."""
        deadline = time.monotonic() + NOTICE_SECONDS
        while True:
            reply = self.reply()
            try:
                verdicts = {map_.uuid: judge(map_, Facts()) for map_ in maps.decode(reply)}
            except CannotTell:
                verdicts = {}
            if reached(verdicts):
                self.record(name, reply)
                return verdicts
            assert time.monotonic() < deadline, f"not within {NOTICE_SECONDS} s: {name}; {_shown(verdicts)}"
            time.sleep(0.3)

    def record(self, name: str, reply: bytes) -> None:
        """Keep a reply, if this run records."""
        if self._recording:
            directory = RECORDINGS / (maps.version_in(self.reply("help")) or "unknown")
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"{name}.json").write_bytes(reply)


def _shown(verdicts: dict[str, Verdict]) -> list[str]:
    return [
        f"{wwid}: {verdict.health} {verdict.active}/{verdict.total} {[*flags(verdict, Facts())]}"
        for wwid, verdict in verdicts.items()
    ]


def lun(number: int) -> str:
    """Return the WWID of a LUN of the guest's SAN."""
    return target.wwid(number)


def paths(machine: Machine, number: int) -> list[str]:
    """Return the path devices of a LUN, the one by portal 1 first."""
    return machine.run(f"san devices {number}").stdout.decode().split()


def configured(machine: Machine, text: str) -> None:
    """Let multipathd read a further configuration file; it is taken away again after the test."""
    machine.put(text.encode(), "/etc/multipath/conf.d/test.conf")
    machine.run("ask reconfigure")
    deadline = time.monotonic() + NOTICE_SECONDS
    while b"idle" not in machine.run("ask show daemon").stdout:
        assert time.monotonic() < deadline, "multipathd is not done with its configuration"
        time.sleep(0.2)


def overridden(machine: Machine, *properties: str) -> None:
    """Set properties for all maps; multipathd's built-in table for this kind of LUN outranks plain defaults."""
    configured(machine, "\n".join(("overrides {", *properties, "}", "")))


def recorded() -> Iterator[tuple[str, str, bytes]]:
    """Yield each recording: version, name, reply."""
    for file in sorted(RECORDINGS.glob("*/*.json")):
        yield file.parent.name, file.stem, file.read_bytes()
