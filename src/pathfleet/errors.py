"""Every error that pathfleet raises on purpose.

PathfleetError
├── SettingsError         a setting that cannot be used
├── CannotTell            multipathd gave no usable answer: never the same as "no maps"
│   ├── NeedsRoot         it does this only for root
│   └── StillRunning      a program was told to end and goes on (system.program)
├── NotRunning            nobody to ask: multipathd is not running
│   └── NotInstalled      and its program is nowhere on this node
├── Malformed             a value from a peer that is not what its key promises
│   └── Torn              its chunks are of two generations: it is being written, read it again
├── StoreError            the cluster's memory did not do what was asked
│   ├── StoreUnavailable  it cannot be reached or read at all
│   │   └── EtcdRefused   etcd answers, and says no (store.etcd_gateway)
│   ├── ValueTooBig       one value exceeds what the engine takes
│   ├── Conflict          compare-and-swap lost: somebody else wrote first
│   └── LockBusy          the lock was not free before the deadline
├── Refused               what somebody asked for is not done
│   ├── BadRequest        parameters cannot be used, each with its reason
│   │   ├── BadValue      a property is none, or takes no such value (core.property)
│   │   ├── Unfit         it could be, and does not fit what there is (core.storagechange)
│   │   └── BadOverrides  a text that multipathd would misread, or not survive (cluster.config)
│   ├── Busy              what is in use is left as it is
│   │   └── InUse         a LUN, with who uses it on which node (cluster.retire)
│   ├── Unauthorised      nobody knows who asks
│   ├── Forbidden         it is known who asks, and it is not theirs to ask
│   ├── NotFound          there is no such thing
│   ├── NotAllowed        the thing is there, but cannot be used this way
│   ├── TooBig            the request has more bytes than are read
│   └── TooMany           too often: later again
├── Unreachable           another node did not answer
│   ├── NoAnswerInTime    not before the deadline (api.forward)
│   ├── Refusal           it answered that it cannot say (api.forward)
│   └── Silent            several did not, on which a change depends (cluster.nodes)
├── NoMapsKnown           multipathd of a node cannot be asked, which is not "no maps" (api.nodes)
├── NotYet                a question that is understood, and that nobody here can answer (api.storage)
├── TooManyListeners      no more listeners are served (api.events)
├── Failed                a configuration did not work out (agent.effect)
├── Stopped               work on several nodes came to a halt (cluster.nodes)
├── Halted                any of these, with what was done to a LUN before (api.luns)
├── NotDone               a program could not be run, or not in time (system.program)
└── DiskTrouble           a file of multipathd cannot be read or written safely (system.disk)

Those with a module behind them live there, since they need what it knows; a test keeps this tree true.

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


class NeedsRoot(CannotTell):
    """multipathd does this only for root."""

    code = "needs-root"


class NotInstalled(NotRunning):
    """multipathd is not running, and its program is nowhere on this node."""

    code = "not-installed"


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


class Refused(PathfleetError):
    """What was asked for is not done, and asking the same again will not help; nothing was changed."""

    code = "refused"
    status = 400


class BadRequest(Refused):
    """Parameters cannot be used; `errors` says why, by their names."""

    code = "bad-request"

    def __init__(self, errors: dict[str, str], message: str | None = None) -> None:
        super().__init__(message or "; ".join(f"{name}: {why}" for name, why in errors.items()))
        self.errors = errors


class Busy(Refused):
    """What is in use is left as it is; the message says who uses it."""

    code = "busy"
    status = 409


class Unauthorised(Refused):
    """Who asks did not say who they are, or cannot be who they say."""

    code = "unauthorised"
    status = 401


class Forbidden(Refused):
    """The role of who asks does not allow it."""

    code = "forbidden"
    status = 403


class NotFound(Refused):
    """What is named does not exist."""

    code = "not-found"
    status = 404


class NotAllowed(Refused):
    """What is named cannot be used this way; `allowed` are the methods that can."""

    code = "not-allowed"
    status = 405

    def __init__(self, message: str, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed


class TooBig(Refused):
    """A request has more bytes than are read."""

    code = "too-big"
    status = 413


class TooMany(Refused):
    """Too many attempts; the next is looked at after `retry_seconds`."""

    code = "too-many"
    status = 429

    def __init__(self, message: str, retry_seconds: int) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class Unreachable(PathfleetError):
    """Another node, which was to be asked, did not answer or not in a way that can be used."""

    code = "unreachable"
    status = 503
