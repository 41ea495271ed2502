"""What all node values have in common: canonical JSON with a `time`, read from peers that nobody vouches for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from pathfleet.errors import Malformed

#: Seconds after which unchanged content is written again.
REFRESH = 60
#: Seconds after which a value comes from a writer that stopped.
STALE = 3 * REFRESH

#: What a key is to say, without `time`.
Content = dict[str, object]

#: Epoch seconds; a number that no clock shows is no time.
Time = Annotated[int, Meta(ge=0, lt=1 << 40)]
Count = Annotated[int, Meta(ge=0, lt=1 << 31)]
Bytes = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]

T = TypeVar("T")


def stamp(content: Mapping[str, object], time: int) -> bytes:
    """Return the node value that says `content` at `time`: sorted keys, no blanks."""
    return msgspec.json.encode({**content, "time": time}, order="sorted")


def read(decoder: msgspec.json.Decoder[T], value: bytes, key: str) -> T:
    """Return what a peer wrote under `key`. Raises Malformed, whatever the bytes are."""
    try:
        return decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the value of `{key}` is not what it should be: {error}") from error
