"""Apply what the store says, and be killed at it: `interrupted.py SECONDS...`, once after each of these times.

Every other time it is an empty configuration that is applied. What was interrupted before is undone first, as a
service that starts again does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from pathfleet.agent.apply import Applier
from pathfleet.cluster import config
from pathfleet.core.wanted import Wanted, wanted
from pathfleet.settings import load
from pathfleet.store import open_store
from pathfleet.system.dropins import Files
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.multipathd_unit import MultipathdUnit
from pathfleet.system.wwids import Wwids


async def plan() -> Wanted:
    async with open_store(load().store_url) as store:
        current = await config.read(store)
    return wanted(current.content, current.overrides_content, version=await Multipathd().version())


async def apply(what: Wanted) -> None:
    applier = Applier(Multipathd(), MultipathdUnit(), Files(), Wwids())
    await applier.recover()
    await applier.apply(what)


def main(moments: list[float]) -> None:
    cluster = asyncio.run(plan())
    for number, moment in enumerate(moments):
        child = os.fork()
        if child == 0:
            asyncio.run(apply(Wanted() if number % 2 else cluster))
            os._exit(0)
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main([float(moment) for moment in sys.argv[1:]])
