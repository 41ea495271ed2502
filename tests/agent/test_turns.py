from __future__ import annotations

import asyncio

import pytest

from pathfleet.agent.turns import Turns
from pathfleet.errors import Busy
from pathfleet.system.program import StillRunning


async def test_a_turn_is_not_waited_for_longer_than_said() -> None:
    turns = Turns()
    async with turns.of(("vms",), 10):
        with pytest.raises(Busy, match="under way here; this one did not begin, nothing was changed: try again"):
            async with turns.of(("3600a", "vms"), 0.01):
                pytest.fail("it is not its turn")
        async with turns.of(("3600a",), 10), turns.of(("3600b", "others"), 10):
            pass
    async with turns.of(("vms", "vms"), 10):
        pass


async def test_what_still_runs_keeps_the_turn_until_it_has_ended() -> None:
    turns, end = Turns(), asyncio.get_running_loop().create_future()
    with pytest.raises(StillRunning):
        async with turns.of(("vms",), 10):
            raise StillRunning("`lvextend` still runs", end)
    with pytest.raises(Busy, match="`lvextend` still runs; this one did not begin"):
        async with turns.of(("vms",), 10):
            pytest.fail("it is not its turn")
    end.set_result(None)
    await asyncio.sleep(0)
    async with turns.of(("vms",), 10):
        pass
