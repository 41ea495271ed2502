"""Why a cell of the matrix is as it is, in an operator's words; and what several such reasons have in common.

Every change of a reason is an event: no word here moves with time. What a peer wrote is cut to a sentence's length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pathfleet.core.detail import DownPath, MapDetail
from pathfleet.core.glossary import FLAGS, HEALTH
from pathfleet.core.health import Flag, Health
from pathfleet.core.report import MapReport

_PATHS_SHOWN = 8
_DOWN = "down: "
_LAST = "; last reported: "
_TARGET = re.compile(r"\(target (.*?)\)")
_MEANINGS = {flag.value: meaning.says for flag, meaning in FLAGS.items()}
_SAYS_UNKNOWN = HEALTH[Health.UNKNOWN].says


def shortened(text: str, limit: int = 200) -> str:
    """Return a peer's text, cut to `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def of_report(map_: MapReport, detail: MapDetail) -> str:
    """Return why a map is as its node reports it: paths, those that are down, what its flags mean."""
    paths = f"{map_.paths_active} of {map_.paths_total} paths usable" if map_.paths_total else "no paths at all"
    flags = [_MEANINGS.get(flag, flag) for flag in known_flags(detail)]
    return "; ".join([paths, *_down(detail.down), *flags])


def known_flags(detail: MapDetail) -> tuple[str, ...]:
    """Return the flags that a cell carries: as reported, no more and no longer ones than there can be."""
    return tuple(shortened(flag, 40) for flag in detail.flags[: 2 * len(Flag)])


def _down(paths: tuple[DownPath, ...]) -> Iterable[str]:
    if not paths:
        return
    by_target: dict[str | None, list[str]] = {}
    for path in paths[:_PATHS_SHOWN]:
        by_target.setdefault(path.target, []).append(shortened(path.path, 40))
    words = [
        ", ".join(names) + (f" (target {shortened(target, 100)})" if target else "")
        for target, names in by_target.items()
    ]
    more = len(paths) - _PATHS_SHOWN
    yield f"{_DOWN}{', '.join(words)}" + (f" and {more} more" if more > 0 else "")


def of_word(state: str) -> str:
    """Return why a map is unknown though its node reports it."""
    if state == Health.UNKNOWN:
        return _SAYS_UNKNOWN
    return f"the node says {shortened(state, 40)!r}, a state that this version does not know"


def of_doubt(doubt: str, map_: MapReport) -> str:
    """Return why a map is unknown though it was reported once."""
    return f"{doubt}{_LAST}{shortened(map_.state, 40)} {map_.paths_active}/{map_.paths_total}"


def of_absence(daemon: str, storages: tuple[str, ...], *, reported: bool) -> str:
    """Return why a LUN is missing: who expects it, and what the node says instead."""
    if daemon in ("not-running", "not-installed"):
        said = f"multipathd is {daemon.replace('-', ' ')} there"
    else:
        said = "the node reports no such LUN" if reported else "the node reports no LUN at all"
    return f"{expected_by(storages)}, {said}"


def expected_by(storages: tuple[str, ...]) -> str:
    """Return which storages expect a LUN."""
    return f"expected by storage {', '.join(storages)}" if storages else "expected"


def gist(reason: str) -> str:
    """Return a reason without what each LUN has of its own: the names of its path devices, its state before.

    Reasons of one cause have one gist: all LUNs that lost their paths to one target. Documents carry reasons as
    text, so it is read here, beside what writes it.
    """
    before, found, rest = reason.partition(_LAST)[0].partition(f"; {_DOWN}")
    if not found:
        return before
    paths, semicolon, after = rest.partition("; ")
    targets = sorted(set(_TARGET.findall(paths)))
    down = f"paths to {', '.join(targets)}" if targets else "some paths"
    return f"{before}; {_DOWN}{down}{semicolon}{after}"
