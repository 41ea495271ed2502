"""multipathd as systemd runs it: started again after a configuration ended it, killed when it spins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from pathfleet.system import program

UNIT: Final = "multipathd.service"
_DEADLINE_SECONDS: Final = 5.0

#: Runs a program with arguments to its end; raises StoreError when it cannot or the program fails.
Runner = Callable[..., Awaitable[None]]


async def run(name: str, *arguments: str) -> None:
    """Run a program. Raises StoreError with what it said."""
    await program.run(name, *arguments, deadline_seconds=_DEADLINE_SECONDS)


class MultipathdUnit(Struct, frozen=True):
    """The unit; `run` talks to systemd. All raise StoreError where systemd does not do it."""

    run: Runner = run

    async def start(self) -> None:
        """Start it where it does not run, also after it died so often that systemd gave up; do not wait for it."""
        await self.run("systemctl", "reset-failed", UNIT)
        await self.run("systemctl", "start", "--no-block", UNIT)

    async def kill(self) -> None:
        """End it at once: one that spins takes no notice of anything else. The kernel's maps go on."""
        await self.run("systemctl", "kill", "--signal=KILL", UNIT)
