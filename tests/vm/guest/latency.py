"""Measure, in a guest, from the kernel's uevent of a failed path to the changed value in the store.

`latency COUNT DEVICE`: fails and reinstates the path COUNT times; prints milliseconds, one number a line. Runs with
the guest's pathfleet beside its agent.
"""

from __future__ import annotations

import asyncio
import sys
import time

from pathfleet.settings import load
from pathfleet.store import Store, open_store
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.uevents import Uevents

SECONDS = 30


async def measured(store: Store, node: str, device: str) -> float:
    before = (await store.values(node))["multipath"]
    async with Uevents() as uevents:
        await Multipathd().ask(f"fail path {device}")
        while (await uevents.next()).dm_action != "PATH_FAILED":
            pass
        began = time.monotonic()
        while (await store.values(node))["multipath"] == before:  # noqa: ASYNC110 - the store is the agent's
            await asyncio.sleep(0.005)
        return (time.monotonic() - began) * 1000


async def mended(store: Store, node: str, device: str) -> None:
    await Multipathd().ask(f"reinstate path {device}")
    while b"degraded" in (await store.values(node))["multipath"]:  # noqa: ASYNC110 - likewise
        await asyncio.sleep(0.1)
    await asyncio.sleep(2)  # the agent's second look, which follows each event, is not to be measured as the first


async def main(count: int, device: str) -> None:
    settings = load()
    async with open_store(settings.store_url) as store:
        for _ in range(count):
            async with asyncio.timeout(SECONDS):
                print(round(await measured(store, settings.node, device), 1), flush=True)
                await mended(store, settings.node, device)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
