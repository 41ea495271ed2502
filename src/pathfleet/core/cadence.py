"""When a node value is due: to be written, refreshed or cleared. Decides; does not write (specification 3)."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from pathfleet.core.wire import REFRESH, Content


class Held(Struct, frozen=True):
    """What the store is known to hold of a key since `since` (seconds of a clock that never steps).

    `content` is what it says and `value` its bytes; both None: it was cleared.
    """

    since: float
    content: Content | None
    value: bytes | None


def due(wanted: Content | None, held: Held | None, now: float, *, clears_return: bool) -> bool:
    """Whether a key must be written (`wanted`) or cleared (`wanted` None) now.

    `held` None: nothing is known of the store, so it must. Unchanged content is due again after REFRESH; a clear
    only where a cleared value can return.
    """
    if held is None or held.content != wanted:
        return True
    if now - held.since < REFRESH:
        return False
    return wanted is not None or clears_return


def lost(held: Mapping[str, Held], stored: Mapping[str, bytes]) -> frozenset[str]:
    """Return the keys of which the store no longer holds what was written or cleared.

    A store that restarted forgets values; a healed partition brings cleared ones back.
    """
    return frozenset(key for key, known in held.items() if stored.get(key) != known.value)
