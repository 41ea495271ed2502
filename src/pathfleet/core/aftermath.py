"""What an apply did to the maps. Compares; decides nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pathfleet.core.health import Facts, Health, Verdict, judge
from pathfleet.core.maps import Map

_NAMED = 3


def verdicts(maps: Iterable[Map]) -> dict[str, Verdict]:
    """Return each map's health by its WWID."""
    return {map_.uuid: judge(map_, Facts()) for map_ in maps if map_.uuid}


def worse(
    before: Mapping[str, Verdict], after: Mapping[str, Verdict], *, may_go: Collection[str] = ()
) -> tuple[str, ...]:
    """Return, a phrase for each, which maps lost usable paths or are gone; `may_go` are those meant to."""
    losses = []
    for wwid, was in before.items():
        now = after.get(wwid)
        if was.health not in (Health.OPTIMAL, Health.DEGRADED) or wwid in may_go:
            continue
        if now is None:
            losses.append(f"map {wwid} is gone")
        elif now.active < was.active:
            losses.append(f"map {wwid} has {now.active} usable path(s), before it had {was.active}")
    return tuple(losses)


def some(phrases: Collection[str]) -> str:
    """Return the first few phrases and how many more there are."""
    first, more = list(phrases)[:_NAMED], len(phrases) - _NAMED
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")
