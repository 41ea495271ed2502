#!/usr/bin/python3
"""Print this guest's node values as JSON, once a condition holds; runs with the guest's pathfleet and its Python.

`values.py SECONDS CONDITION`: the condition is a Python expression over `values` (text by key), `maps`, `detail`
and `info` (the decoded values, empty where there are none).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

sys.path.insert(0, "/opt/pathfleet")

from pathfleet.settings import load
from pathfleet.store import open_store


def decoded(values: dict[str, str], key: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(values[key]) if key in values else {}
    return document


async def main(seconds: float, condition: str) -> int:
    settings = load()
    deadline = time.monotonic() + seconds
    async with open_store(settings.store_url) as store:
        while True:
            values = {key: value.decode() for key, value in (await store.values(settings.node)).items()}
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
