"""Times of contenders that take turns, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping

from msgspec import Struct

#: Runs something so often and returns the seconds that one time took.
Contender = Callable[[int], float]


class Times(Struct, frozen=True):
    """Seconds of one execution."""

    best: float
    median: float

    def __truediv__(self, other: Times) -> Times:
        """How many times as long this takes as the other."""
        return Times(self.best / other.best, self.median / other.median)


def here(work: Callable[[], object]) -> Contender:
    """Return `work` as a contender in this process, with the garbage collector running as in a real one."""

    def run(repeats: int) -> float:
        gc.collect()
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        return (time.perf_counter() - start) / repeats

    return run


def take_turns(contenders: Mapping[str, Contender], *, rounds: int, repeats: int) -> dict[str, Times]:
    """Return the times of each contender over `rounds` rounds of `repeats` executions each; one more goes unseen."""
    for run in contenders.values():
        run(repeats)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            seconds[name].append(run(repeats))
    return {name: Times(min(runs), statistics.median(runs)) for name, runs in seconds.items()}
