"""The store of this guest as seen by its node; runs with the guest's pathfleet and its Python.

`values.py SECONDS CONDITION` prints the node's values as JSON once a condition holds: a Python expression over
`values` (text by key), `maps`, `detail`, `info` and `applied` (the decoded values, empty where there are none), and
`wanted`, the digest that nodes are to have in force.
`values.py --write NAME` makes a file of the store what standard input says, unchecked; nothing removes it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from pathfleet.cluster import config
from pathfleet.errors import StoreUnavailable
from pathfleet.settings import Settings, load
from pathfleet.store import open_store


def decoded(values: dict[str, str], key: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(values[key]) if key in values else {}
    return document


async def stored(settings: Settings) -> tuple[dict[str, str], str | None]:
    try:
        async with open_store(settings.store_url) as store:
            values = {key: value.decode() for key, value in (await store.values(settings.node)).items()}
            return values, (await config.read(store)).wanted_digest
    except StoreUnavailable:
        return {}, None  # it was taken away


async def main(seconds: float, condition: str) -> int:
    settings = load()
    deadline = time.monotonic() + seconds
    while True:
        values, wanted = await stored(settings)
        names = {
            "values": values,
            "maps": decoded(values, "multipath").get("maps", {}),
            "detail": decoded(values, "multipath-detail").get("maps", {}),
            "info": decoded(values, "pathfleet"),
            "applied": decoded(values, "multipath-apply"),
            "wanted": wanted,
        }
        try:
            reached = eval(condition, names)
        except KeyError:
            reached = False
        if reached or time.monotonic() > deadline:
            print(json.dumps({"reached": bool(reached), "at": time.time(), "values": values}))
            return 0
        await asyncio.sleep(0.02)


async def write(name: str, content: bytes) -> int:
    settings = load()
    async with open_store(settings.store_url, node=settings.node) as store:
        file = await store.read(name)
        await store.swap(name, content, file.revision if file else None)
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        sys.exit(asyncio.run(write(sys.argv[2], sys.stdin.buffer.read())))
    sys.exit(asyncio.run(main(float(sys.argv[1]), sys.argv[2])))
