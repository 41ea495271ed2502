"""Try what a store is for, step by step, and say in words what works and what does not."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct

from pathfleet.errors import StoreError
from pathfleet.store import Store

#: A file of this name is written and removed again.
SCRATCH = f"check-{socket.gethostname().partition('.')[0].lower()[:32]}-{os.getpid()}"
_NOTICE_SECONDS = 5.0


class Step(Struct, frozen=True):
    """`outcome`: ok, failed, or skipped since an earlier one failed. `took` in milliseconds."""

    step: str
    outcome: str
    says: str
    took: float | None = None


async def check(store: Store) -> list[Step]:
    """Open a store, try every step, close it. Never raises for what the store does."""
    found: list[Step] = []
    opened = await _tried("open", lambda: _opened(store))
    found.append(opened)
    steps: dict[str, Callable[[], Awaitable[str]]] = {
        "members": lambda: _members(store),
        "read": lambda: _read(store),
        "write": lambda: _write(store),
        "lock": lambda: _lock(store),
        "notice": lambda: _notice(store),
    }
    for name, step in steps.items():
        if opened.outcome == "ok":
            found.append(await _tried(name, step))
        else:
            found.append(Step(name, "skipped", "the store is not open"))
    if opened.outcome == "ok":
        await store.__aexit__(None, None, None)
    return found


async def _tried(name: str, step: Callable[[], Awaitable[str]]) -> Step:
    began = time.monotonic()
    try:
        says = await step()
    except StoreError as error:
        return Step(name, "failed", str(error), _since(began))
    return Step(name, "ok", says, _since(began))


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 2)


async def _opened(store: Store) -> str:
    await store.__aenter__()
    return "the store can be reached"


async def _members(store: Store) -> str:
    members = await store.members()
    if not members.quorate:
        raise StoreError(
            "there is no quorum: nothing can be written, and nobody knows which other nodes are there; "
            "bring back a majority of the store's members"
        )
    online = sum(member.online is True for member in members.nodes.values())
    gone = sorted(name for name, member in members.nodes.items() if not member.online)
    return f"{online} of {len(members.nodes)} nodes are online" + (f"; not: {', '.join(gone)}" if gone else "")


async def _read(store: Store) -> str:
    values = await store.all_values()
    size = sum(len(value) for of_node in values.values() for value in of_node.values())
    return f"{sum(map(len, values.values()))} values of {len(values)} nodes, {size} bytes"


async def _write(store: Store) -> str:
    revision = await store.swap(SCRATCH, b"one", None)
    try:
        changed = await store.swap(SCRATCH, b"two", revision)
        file = await store.read(SCRATCH)
        if file is None or (file.content, file.revision) != (b"two", changed):
            raise StoreError(f"a file that was just written reads as {file!r}: the store does not keep what it takes")
        revision = changed
    finally:
        await store.swap(SCRATCH, None, revision)
    return "a file was written, changed, read and removed"


async def _lock(store: Store) -> str:
    async with store.lock(SCRATCH, wait_seconds=_NOTICE_SECONDS):
        return "a lock was had and given back"


async def _notice(store: Store) -> str:
    changes = store.changes()
    await anext(changes)
    revision = await store.swap(SCRATCH, b"one", None)
    try:
        async with asyncio.timeout(_NOTICE_SECONDS):
            while SCRATCH not in (await anext(changes)).files:
                pass
    except TimeoutError:
        raise StoreError(f"a change was not noticed within {_NOTICE_SECONDS:g} s") from None
    finally:
        await store.swap(SCRATCH, None, revision)
    return "a change was noticed"
