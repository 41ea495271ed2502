"""The file `doctor-mutes.json` in the store: findings that somebody has seen and that stay quiet for a while.

A mute always ends: what nobody looks at again is not known to be harmless for ever.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from pathfleet.core.findings import Finding
from pathfleet.core.wire import Time
from pathfleet.errors import Malformed

FILE = "doctor-mutes.json"
#: More are refused: whoever mutes so much has switched the doctor off.
LIMIT = 500


class Mute(Struct, frozen=True, rename="kebab"):
    """Findings of `code` about `subject` (None: about anything) are quiet until `until` (epoch seconds)."""

    code: str
    until: Time
    reason: str
    subject: str | None = None

    def covers(self, finding: Finding, now: int) -> bool:
        """Whether it keeps this finding quiet at `now`. A node is also a subject of what was found on it alone."""
        if self.code != finding.code or now >= self.until:
            return False
        return self.subject in (None, finding.subject) or finding.nodes == (self.subject,)


class _Mutes(Struct, frozen=True):
    mutes: tuple[Mute, ...] = ()


_decoder = msgspec.json.Decoder(_Mutes)


def decode(content: bytes | None) -> tuple[Mute, ...]:
    """Return the mutes of the file, also those that are over. Raises Malformed."""
    if content is None:
        return ()
    try:
        return _decoder.decode(content).mutes
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"{FILE} cannot be understood, so nothing is muted: {error}") from error


def encode(mutes: Iterable[Mute]) -> bytes | None:
    """Return the file, None if there is nothing to remember."""
    kept = tuple(sorted(mutes, key=lambda mute: (mute.code, mute.subject or "")))
    return msgspec.json.format(msgspec.json.encode(_Mutes(kept), order="sorted")) if kept else None


def with_one(mutes: Iterable[Mute], new: Mute, now: int) -> tuple[Mute, ...]:
    """Return the mutes with a new one, which replaces one of the same code and subject; those that are over go."""
    return (*(mute for mute in without(mutes, new.code, new.subject) if mute.until > now), new)


def without(mutes: Iterable[Mute], code: str, subject: str | None) -> tuple[Mute, ...]:
    """Return the mutes without the one of this code and subject."""
    return tuple(mute for mute in mutes if (mute.code, mute.subject) != (code, subject))
