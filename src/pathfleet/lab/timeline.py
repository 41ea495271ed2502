"""A script of faults: a small TOML file that says what happens when, the same way each time.

Each of its `[[steps]]` says `at` which second which fault begins (`break = "switch-a"`, `value` where it needs one),
`for` how long, or how it flaps; `mend` ends one (`end` names the fault, if it is not `break`). See docs/lab.md.
"""

from __future__ import annotations

import logging
import math
import random
import tomllib
from collections.abc import Iterator
from itertools import islice

import msgspec
from msgspec import Struct

from pathfleet.errors import SettingsError
from pathfleet.lab.faults import FAULTS, inflict, relieve
from pathfleet.lab.san import San

log = logging.getLogger(__name__)

_DEFAULT_UNTIL_SECONDS = 3600.0
_STEPS_LIMIT = 100_000


class Flapping(Struct, frozen=True, forbid_unknown_fields=True):
    """A fault that comes and goes: there for `duty` of each `period` (seconds), until then.

    `jitter`: by how much of its length each interval may be longer or shorter.
    """

    period: float
    duty: float = 0.5
    until: float = _DEFAULT_UNTIL_SECONDS
    jitter: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what would never flap."""
        if not (0 < self.period < math.inf and 0 < self.duty < 1 and 0 <= self.jitter < 1):
            raise ValueError("flaps: period > 0, 0 < duty < 1, 0 <= jitter < 1")


class Step(Struct, frozen=True):
    """At `at` (seconds from the beginning) a fault begins, or ends."""

    at: float
    fault: str
    component: str
    value: str = ""
    ends: bool = False


class Timeline(Struct, frozen=True):
    """The steps in their order."""

    seed: int
    steps: tuple[Step, ...]

    def start(self, san: San) -> None:
        """Let the steps happen on a lab's clock, from now. Raises SettingsError if one of them cannot."""
        for step in self.steps:
            san.kind(step.component)
        begin = san.clock.now
        for step in self.steps:
            san.clock.at(begin + step.at, lambda step=step: _do(san, step))  # type: ignore[misc]


def load(text: str) -> Timeline:
    """Return the timeline that a file's text describes. Raises SettingsError that names the step."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"not TOML: {error}") from error
    seed, steps = document.pop("seed", 0), document.pop("steps", [])
    if document or not isinstance(seed, int) or not isinstance(steps, list):
        raise SettingsError("not a timeline: it has `seed`, a whole number, and `[[steps]]`, and nothing else")
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    found: list[Step] = []
    for number, table in enumerate(steps, 1):
        try:
            found += islice(_steps(dict(table), chance), _STEPS_LIMIT)
        except (msgspec.ValidationError, SettingsError, TypeError, ValueError) as error:
            raise SettingsError(f"step {number}: {error}") from error
        if len(found) >= _STEPS_LIMIT:
            raise SettingsError(f"step {number}: {_STEPS_LIMIT} steps or more")
    return Timeline(seed, tuple(sorted(found, key=lambda step: step.at)))


class _Rest(Struct, frozen=True, forbid_unknown_fields=True):
    at: float
    value: str = ""
    end: str = ""
    lasts: float | None = msgspec.field(default=None, name="for")
    flaps: Flapping | None = None


def _steps(table: dict[str, object], chance: random.Random) -> Iterator[Step]:
    named = [key for key in table if key in FAULTS or key == "mend"]
    if len(named) != 1:
        raise SettingsError(f"names one fault, of {', '.join(FAULTS)}, or mend")
    fault, component = named[0], table.pop(named[0])
    if not isinstance(component, str):
        raise SettingsError(f"{fault}: the name of a component is text")
    rest = msgspec.convert(table, _Rest)
    if not (0 <= rest.at < math.inf and (rest.lasts is None or 0 <= rest.lasts < math.inf)):
        raise SettingsError("at and for: seconds, 0 or more")
    if fault == "mend":
        ended = rest.end or "break"
        if ended not in FAULTS:
            raise SettingsError(f"end: there is no fault {ended!r}")
        yield Step(rest.at, ended, component, rest.value, ends=True)
    elif rest.flaps:
        yield from _flaps(Step(rest.at, fault, component, rest.value), rest.flaps, chance)
    else:
        yield Step(rest.at, fault, component, rest.value)
        if rest.lasts is not None:
            yield Step(rest.at + rest.lasts, fault, component, rest.value, ends=True)


def _flaps(step: Step, flapping: Flapping, chance: random.Random) -> Iterator[Step]:
    at, ends = step.at, False
    lengths = (flapping.period * flapping.duty, flapping.period * (1 - flapping.duty))
    while at < flapping.until or ends:
        yield msgspec.structs.replace(step, at=round(at, 3), ends=ends)
        at += max(0.001, lengths[ends] * (1 + chance.uniform(-flapping.jitter, flapping.jitter)))
        ends = not ends


def _do(san: San, step: Step) -> None:
    log.info("step at=%g fault=%s ends=%s component=%s", step.at, step.fault, step.ends, step.component)
    try:
        (relieve if step.ends else inflict)(san, step.fault, step.component, step.value)
    except SettingsError as error:  # what it is about may have gone by an earlier step
        log.warning("step-not-done at=%g error=%s", step.at, error)
