"""Print the cluster's matrix as this guest sees it, once a condition holds; runs with the guest's pathfleet.

`matrix.py SECONDS CONDITION`: the condition is a Python expression over `cells` (state by node, then by WWID), `luns`
(rows by WWID), `nodes` (rows by name) and `document`, as `pathfleet status -o json` has them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import msgspec

from pathfleet.cluster import live
from pathfleet.errors import StoreError
from pathfleet.settings import load
from pathfleet.store import open_store


async def look(store_url: str) -> dict[str, Any]:
    try:
        async with open_store(store_url) as store:
            document: dict[str, Any] = msgspec.to_builtins(await live.look(store, time.time()))
    except StoreError as error:
        return {"luns": [], "nodes": [], "trouble": str(error)}
    return document


def names(document: dict[str, Any]) -> dict[str, object]:
    nodes = {row["node"]: row for row in document["nodes"]}
    return {
        "document": document,
        "nodes": nodes,
        "luns": {row["wwid"]: row for row in document["luns"]},
        "cells": {
            node: {row["wwid"]: row["nodes"][node]["state"] for row in document["luns"] if node in row["nodes"]}
            for node in nodes
        },
    }


async def main(seconds: float, condition: str) -> None:
    store_url = load().store_url
    deadline = time.monotonic() + seconds
    while True:
        document = await look(store_url)
        try:
            reached = bool(eval(condition, names(document)))
        except KeyError:
            reached = False
        if reached or time.monotonic() > deadline:
            print(json.dumps({"reached": reached, "document": document}))
            return
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), sys.argv[2]))
