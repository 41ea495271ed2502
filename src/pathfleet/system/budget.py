"""The time of a task: one end for all the programs that it runs, however many those are and whoever runs them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_end: ContextVar[float] = ContextVar("end", default=math.inf)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let the body, and the asyncio tasks that it makes, end within this time; one around it may be shorter."""
    token = _end.set(min(_end.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _end.reset(token)


def left(most: float) -> float:
    """Return how many seconds there are still, `most` of them; 0 or less if there are none."""
    return min(most, _end.get() - time.monotonic())
