"""Whose turn it is to apply a configuration: one node first, the rest when it is well, nobody after a failure.

There is no server that says so. What nodes published (`multipath-apply`), the file `multipath-roll.json` and one
lock of the store decide: while nobody has applied a digest, who holds the lock is first.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from pathfleet.core.applied import Applied

FILE = "multipath-roll.json"
LOCK = "multipath-roll"


class Roll(Struct, frozen=True, rename="kebab"):
    """The file. `digest`: what is rolled out; `failed`: why, by node. `at_once`: nobody waits for a first one.

    `first` began before all others, and wrote so before it changed anything: should nobody hear how it went, nobody
    else is to find out.
    """

    digest: str | None
    at_once: bool = False
    failed: dict[str, str] = {}
    first: str | None = None


class Go(Struct, frozen=True):
    """Apply it now."""


class Wait(Struct, frozen=True):
    """Somebody must be first: take the lock and look again."""


class Stopped(Struct, frozen=True):
    """It failed on a node; stay as it is. `reason` for the node's own status."""

    reason: str


Turn = Go | Wait | Stopped


def turn(
    digest: str | None, node: str, roll: Roll | None, applied: Mapping[str, Applied], *, first: bool = False
) -> Turn:
    """Return what a node that wants `digest` (None: nothing any more) is to do; `first`: it holds the lock.

    `applied` is what nodes say that are there now.
    """
    before: str | None = None
    if roll is not None and roll.digest == digest:
        before = roll.first
        if node in roll.failed:
            return Stopped(roll.failed[node])
        if roll.failed:
            other, why = next(iter(sorted(roll.failed.items())))
            return Stopped(
                f"stopped: node {other} failed: {why}; not applied here; "
                "correct the configuration, or `pathfleet config apply --retry`"
            )
        if roll.at_once:
            return Go()
    # a node that never had anything says the same as one that took it off: of these only the first one has proven it
    witnesses = [name for name in applied if name != node and (digest is not None or name == before)]
    if any(proves(applied[name], digest) for name in witnesses):
        return Go()
    return Go() if first and before in (None, node) else Wait()


def proves(said: Applied, digest: str | None) -> bool:
    """Whether a node has a digest in force and is well with it."""
    return (said.digest or None) == digest and said.error is None


def begun(roll: Roll | None, digest: str | None, node: str) -> Roll:
    """Return the file before a node begins as the first."""
    known = roll if roll is not None and roll.digest == digest else Roll(digest)
    return msgspec.structs.replace(known, first=node)


def given_back(roll: Roll | None, digest: str | None, node: str) -> Roll:
    """Return the file after the first node could not try it, for a reason of its own: somebody else may be first."""
    known = roll if roll is not None else Roll(digest)
    ours = (known.digest, known.first) == (digest, node)
    return msgspec.structs.replace(known, first=None) if ours else known


def failed(roll: Roll | None, digest: str | None, node: str, error: str) -> Roll:
    """Return the file after a node failed."""
    known = roll if roll is not None and roll.digest == digest else Roll(digest)
    return msgspec.structs.replace(known, failed={**known.failed, node: error})


def encode(roll: Roll) -> bytes:
    """Return the file's content."""
    return msgspec.json.format(msgspec.json.encode(roll, order="sorted")) + b"\n"


_roll = msgspec.json.Decoder(Roll)


def decode(content: bytes | None) -> Roll | None:
    """Return what the file says; None if there is none, or nobody can read it: then a first node is needed anew."""
    try:
        return _roll.decode(content) if content is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
