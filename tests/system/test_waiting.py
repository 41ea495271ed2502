from __future__ import annotations

import asyncio
import threading

import pytest

from pathfleet.errors import CannotTell
from pathfleet.system.waiting import waited


async def test_a_call_returns_what_it_returns_and_raises_what_it_raises() -> None:
    assert await waited("LUN a", lambda: 3, seconds=10) == 3
    with pytest.raises(ZeroDivisionError):
        await waited("LUN a", lambda: 1 // 0, seconds=10)


async def test_what_hangs_is_given_up_and_holds_up_nobody_else() -> None:
    go = threading.Event()
    try:
        with pytest.raises(CannotTell, match=r"LUN a is blocked: it did not answer within 0.05 s"):
            await waited("LUN a", go.wait, seconds=0.05)
        assert await waited("LUN a", lambda: 3, seconds=10) == 3
    finally:
        go.set()


async def test_so_many_hang_at_once_and_no_more() -> None:
    go = threading.Event()
    hanging = [asyncio.create_task(waited(f"LUN {lun}", go.wait, seconds=30)) for lun in "abcd" for _ in range(16)]
    try:
        await asyncio.sleep(0)
        with pytest.raises(CannotTell, match="LUN a is blocked: 16 calls wait for it already, 64 in all"):
            await waited("LUN a", lambda: 3, seconds=10)
        with pytest.raises(CannotTell, match="64 in all"):
            await waited("LUN e", lambda: 3, seconds=10)
    finally:
        go.set()
    await asyncio.gather(*hanging)
    assert await waited("LUN a", lambda: 3, seconds=10) == 3
