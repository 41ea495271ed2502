"""The file `multipath-roll.json` in the store: which nodes failed with the configuration that is rolled out."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pathfleet.core import roll
from pathfleet.core.roll import Roll
from pathfleet.errors import Conflict
from pathfleet.store import Store

_TRIES = 5


async def read(store: Store) -> Roll | None:
    """Return what the file says, None if there is nothing to read. Raises StoreError."""
    file = await store.read(roll.FILE)
    return roll.decode(file.content if file else None)


async def begin(store: Store, digest: str | None, *, at_once: bool = False) -> None:
    """Roll a configuration out, `at_once` on all nodes together; who failed with it, or began it, stays known.

    `digest` is as nodes publish it: None for nothing. Raises StoreError.
    """
    await _change(store, lambda known: _begun(known, digest, at_once=at_once))


async def note_first(store: Store, digest: str | None, node: str) -> None:
    """Say who is the first with a configuration, before it changes anything. Raises StoreError."""
    await _change(store, lambda known: roll.begun(known, digest, node))


async def give_back(store: Store, digest: str | None, node: str) -> None:
    """Say that a node is not the first after all, if it still is; others may be. Raises StoreError."""
    await _change(store, lambda known: roll.given_back(known, digest, node))


async def note_failure(store: Store, digest: str | None, node: str, error: str) -> None:
    """Stop the roll: a node failed. Raises StoreError."""
    await _change(store, lambda known: roll.failed(known, digest, node, error))


async def retry(store: Store, digest: str | None, *, at_once: bool = False) -> None:
    """Forget the failures with a configuration, so that nodes try it again. Raises StoreError."""
    await _change(store, lambda _: Roll(digest, at_once))


def _begun(known: Roll | None, digest: str | None, *, at_once: bool) -> Roll:
    if known is None or known.digest != digest:
        return Roll(digest, at_once)
    return msgspec.structs.replace(known, at_once=at_once)


async def _change(store: Store, change: Callable[[Roll | None], Roll]) -> None:
    for tries_left in reversed(range(_TRIES)):
        file = await store.read(roll.FILE)
        known = roll.decode(file.content if file else None)
        fresh = change(known)
        if fresh == known:
            return
        try:
            await store.swap(roll.FILE, roll.encode(fresh), file.revision if file else None)
        except Conflict:
            if not tries_left:
                raise
        else:
            return
