"""The node key `multipath-apply`: which cluster configuration is in force on the node, and why not the wanted one.

`{"digest":…|null,"error":…|null,"time":…}` (specification section 3).
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from pathfleet.core import wire
from pathfleet.core.wire import Content, Time

KEY = "multipath-apply"
#: A longer error is cut: the key is one line of the overview, the whole text is in the node's journal.
ERROR_LIMIT = 2000


class Applied(Struct, frozen=True):
    """The value, said at `time` (epoch seconds of the node's clock).

    `digest` is that of the configuration in force, None if nothing of ours is; `error` says why the wanted one is not.
    """

    time: Time
    digest: str | None = None
    error: str | None = None


def content(digest: str | None, error: str | None) -> Content:
    """Return what the key is to say."""
    if error is not None and len(error) > ERROR_LIMIT:
        error = f"{error[: ERROR_LIMIT - 1]}…"
    return {"digest": digest or None, "error": error}


_applied = msgspec.json.Decoder(Applied)


def decode(value: bytes) -> Applied:
    """Return what a node published of its applying. Raises Malformed."""
    return wire.read(_applied, value, KEY)
