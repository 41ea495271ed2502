"""Every error that pathfleet raises on purpose.

PathfleetError
├── SettingsError         a setting that cannot be used
├── CannotTell            multipathd gave no usable answer: never the same as "no maps"
├── NotRunning            nobody to ask: multipathd is not running (or not installed)
├── Malformed             a value from a peer that is not what its key promises
│   └── Torn              its chunks are of two generations: it is being written, read it again
└── StoreError            the cluster's memory did not do what was asked
    ├── StoreUnavailable  it cannot be reached or read at all
    ├── ValueTooBig       one value exceeds what the engine takes
    ├── Conflict          compare-and-swap lost: somebody else wrote first
    └── LockBusy          the lock was not free before the deadline

The text of an error is for an operator: what happened, where, and what to do next. `code` is for programs and
never changes; `status` is the HTTP status that the API answers with.
"""

from __future__ import annotations


class PathfleetError(Exception):
    """Something that an operator can understand and act on."""

    code = "error"
    status = 500


class SettingsError(PathfleetError):
    """A setting is unknown, has the wrong type, or names something that does not exist."""

    code = "settings"
    status = 500


class CannotTell(PathfleetError):
    """multipathd was asked and gave no usable answer.

    `passing` says that asking again may help (a busy daemon, a reply cut short), as opposed to an answer that
    will stay the same (an old daemon without the command, no permission).
    """

    code = "cannot-tell"
    status = 503

    def __init__(self, reason: str, *, passing: bool = True) -> None:
        super().__init__(reason)
        self.passing = passing


class NotRunning(PathfleetError):
    """multipathd is not running, so there is nobody to ask."""

    code = "not-running"
    status = 503


class Malformed(PathfleetError):
    """A value in the store is not what its key promises."""

    code = "malformed"
    status = 502


class Torn(Malformed):
    """A value in several chunks was read while it was being written; a second read will do."""

    code = "torn"


class StoreError(PathfleetError):
    """The store did not do what was asked of it."""

    code = "store"
    status = 503


class StoreUnavailable(StoreError):
    """The store cannot be reached, opened or read."""

    code = "store-unavailable"


class ValueTooBig(StoreError):
    """A value exceeds what the engine takes; the old value is still there."""

    code = "value-too-big"
    status = 413


class Conflict(StoreError):
    """The file changed since it was read; nothing was written. Read it again, merge, retry."""

    code = "conflict"
    status = 409


class LockBusy(StoreError):
    """Another holder kept the lock until the deadline."""

    code = "lock-busy"
    status = 409
