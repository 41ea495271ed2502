"""Write or remove a file of the cluster's store past every check: `storefile.py write NAME FILE`, `remove NAME`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pathfleet.settings import load
from pathfleet.store import open_store


async def main(name: str, content: bytes | None) -> None:
    settings = load()
    async with open_store(settings.store_url, node=settings.node) as store:
        found = await store.read(name)
        await store.swap(name, content, found.revision if found else None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[2], Path(sys.argv[3]).read_bytes() if sys.argv[1] == "write" else None))
