"""Print this guest's node values as JSON, once a condition holds; runs with the guest's pathfleet and its Python.

`values.py SECONDS CONDITION`: the condition is a Python expression over `values` (text by key), `maps`, `detail`
and `info` (the decoded values, empty where there are none).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from pathfleet.errors import StoreUnavailable
from pathfleet.settings import Settings, load
from pathfleet.store import open_store


def decoded(values: dict[str, str], key: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(values[key]) if key in values else {}
    return document


async def stored(settings: Settings) -> dict[str, str]:
    try:
        async with open_store(settings.store_url) as store:
            return {key: value.decode() for key, value in (await store.values(settings.node)).items()}
    except StoreUnavailable:
        return {}  # it was taken away


async def main(seconds: float, condition: str) -> int:
    settings = load()
    deadline = time.monotonic() + seconds
    while True:
        values = await stored(settings)
        names = {
            "values": values,
            "maps": decoded(values, "multipath").get("maps", {}),
            "detail": decoded(values, "multipath-detail").get("maps", {}),
            "info": decoded(values, "pathfleet"),
        }
        try:
            reached = eval(condition, names)
        except KeyError:
            reached = False
        if reached or time.monotonic() > deadline:
            print(json.dumps({"reached": bool(reached), "at": time.time(), "values": values}))
            return 0
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(float(sys.argv[1]), sys.argv[2])))
