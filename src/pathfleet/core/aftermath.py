"""What an apply did to the maps. Compares; decides nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pathfleet.core.drift import Difference
from pathfleet.core.health import Facts, Health, Verdict, judge
from pathfleet.core.maps import Map

#: Releases before 0.9.9 print others than they go by.
_PRINTED_WRONG = frozenset(("force_sync", "retrigger_tries"))
_LISTS = frozenset(("blacklist", "blacklist_exceptions"))
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


def not_in_force(differences: Iterable[Difference]) -> tuple[str, ...]:
    """Return, a phrase for each, which values that were written are not what multipathd goes by.

    A keyword that its release does not print at all proves nothing; an entry of a list that is absent does.
    """
    return tuple(
        f"{each.section} {each.keyword} is {each.effective or 'absent'} instead of {each.wanted}"
        for each in differences
        if each.keyword not in _PRINTED_WRONG and (each.effective is not None or each.section in _LISTS)
    )


def some(phrases: Collection[str]) -> str:
    """Return the first few phrases and how many more there are."""
    first, more = list(phrases)[:_NAMED], len(phrases) - _NAMED
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")
