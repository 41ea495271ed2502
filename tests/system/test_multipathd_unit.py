from __future__ import annotations

import pytest

from pathfleet.errors import StoreError
from pathfleet.system import multipathd_unit
from pathfleet.system.multipathd_unit import MultipathdUnit


class Systemctl:
    def __init__(self) -> None:
        self.ran: list[str] = []

    async def __call__(self, name: str, *arguments: str) -> None:
        self.ran.append(" ".join((name, *arguments)))


async def test_one_that_systemd_gave_up_on_is_started_without_waiting() -> None:
    systemctl = Systemctl()
    await MultipathdUnit(systemctl).start()
    assert systemctl.ran == [
        "systemctl reset-failed multipathd.service",
        "systemctl start --no-block multipathd.service",
    ]


async def test_one_that_spins_is_killed() -> None:
    systemctl = Systemctl()
    await MultipathdUnit(systemctl).kill()
    assert systemctl.ran == ["systemctl kill --signal=KILL multipathd.service"]


async def test_what_systemd_does_not_do_is_an_error() -> None:
    with pytest.raises(StoreError, match="ended with 1"):
        await multipathd_unit.run("false")
