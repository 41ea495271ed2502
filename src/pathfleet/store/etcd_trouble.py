"""What can go wrong on the way to etcd and back, in words for an operator."""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx2

from pathfleet.errors import StoreUnavailable

#: What may go wrong below HTTP's answers.
BELOW: Final = (httpx2.HTTPError, httpx2.StreamError, OSError)

#: So often all endpoints may refuse the connection before the cluster counts as down.
_REFUSALS: Final = 3


class Trouble(Exception):
    """One endpoint did not answer; worth `rounds` rounds. `sent`: it may have done it nevertheless."""

    def __init__(self, what: str, *, rounds: float = math.inf, sent: bool = True, remedy: str = "") -> None:
        super().__init__(what)
        self.rounds = rounds
        self.sent = sent
        self.remedy = remedy


def no_gateway(status: int, content: bytes) -> str:
    """Say that this is nothing that etcd's gateway says."""
    return f"not the answer of etcd's gateway (HTTP {status}: {content[:80]!r}); it needs etcd >= 3.4"


def unreadable(name: str, what: str, file: Path | None, error: Exception) -> StoreUnavailable:
    """Return the error for a file that is needed, `what` of the URL, and cannot be used."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return StoreUnavailable(f"store {name}: {what} {file} cannot be used: {why}; check the file and its permissions")


def explained(error: Exception) -> Trouble:
    """Return what went wrong below HTTP, in words."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            why = getattr(cause, "verify_message", None) or cause.reason or "no reason given"
            return Trouble(
                f"TLS failed: {str(why)[:200]}",
                rounds=1,
                sent=not isinstance(error, httpx2.ConnectError),
                remedy="check ca=FILE, cert=FILE and key=FILE of the URL and etcd's own certificate",
            )
    words = next((_words(cause) for cause in causes if isinstance(cause, OSError) and cause.errno), None)
    if isinstance(error, httpx2.ConnectError):
        return Trouble(f"no connection: {words or str(error)[:200]}", rounds=_REFUSALS, sent=False)
    return Trouble(f"connection lost: {words or str(error)[:200] or type(error).__name__}")


def _words(error: OSError) -> str | None:
    """Return what the system says of it; asyncio puts a text of its own there, names have codes of their own (< 0)."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield all that led to `error`, the first cause first."""
    seen: list[BaseException] = []
    todo = [error]
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.append(one)
        todo += [more for more in (one.__cause__, one.__context__) if more is not None]
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions
    yield from reversed(seen)
