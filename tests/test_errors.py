"""The tree at the head of errors.py is the whole family."""

from __future__ import annotations

import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from importlib import import_module

import pytest

import pathfleet
from pathfleet import errors
from pathfleet.cli import _exit_code
from pathfleet.core.property import BadValue
from pathfleet.errors import (
    BadRequest,
    Busy,
    CannotTell,
    Conflict,
    NotFound,
    NotInstalled,
    NotRunning,
    PathfleetError,
    SettingsError,
    StoreUnavailable,
)


def family() -> Iterator[type[PathfleetError]]:
    for module in pkgutil.walk_packages(pathfleet.__path__, "pathfleet."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    waiting: list[type[PathfleetError]] = [PathfleetError]
    while waiting:
        waiting += (kind := waiting.pop()).__subclasses__()
        if kind.__module__.startswith("pathfleet.") and not kind.__name__.startswith("_"):
            yield kind


KINDS = sorted(set(family()), key=lambda kind: kind.__name__)


def drawn() -> Iterator[tuple[str, str, str]]:
    """Each kind of the tree with its parent and its module."""
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(
            r"(?P<branch>[│├└─ ]*)(?P<name>[A-Z][A-Za-z]+)(?: .*\((?P<module>[a-z_]+\.[a-z_]+)\)$| {2,}|$)", line
        )
        if found is None or (not found["branch"] and found["name"] != "PathfleetError"):
            continue
        depth = len(found["branch"]) // 4
        above[depth:] = [found["name"]]
        yield found["name"], above[depth - 1] if depth else "Exception", f"pathfleet.{found['module'] or 'errors'}"


def test_every_error_is_drawn_below_its_parent_with_its_module() -> None:
    assert sorted(drawn()) == sorted(
        (kind.__name__, kind.__base__.__name__, kind.__module__) for kind in KINDS if kind.__base__
    )


def test_no_two_errors_share_a_code_that_they_state() -> None:
    codes = Counter(kind.__dict__["code"] for kind in KINDS if "code" in kind.__dict__)
    assert {code for code, count in codes.items() if count > 1} == set()


def test_every_error_says_when_it_occurs() -> None:
    assert [kind.__name__ for kind in KINDS if not kind.__doc__] == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CannotTell("it hangs"), 3),
        (NotRunning("nobody there"), 4),
        (NotInstalled("nothing there"), 4),
        (BadRequest({"size": "is none"}), 64),
        (BadValue("prio", "x", "alua"), 64),
        (NotFound("no such LUN"), 69),
        (Conflict("changed meanwhile"), 69),
        (Busy("a storage uses it"), 69),
        (StoreUnavailable("away"), 69),
        (SettingsError("colour"), 78),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_ends_a_command_with_the_code_of_its_kind(error: PathfleetError, code: int) -> None:
    assert _exit_code(error) == code
