"""What a parsed multipath.conf sets, flat: so that two of them, or one and what is in force, compare by keyword."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pathfleet.core.conf.keywords import ALIASES, IDENTITY, REPEATABLE, Place, canonical
from pathfleet.core.conf.syntax import Section, Tree

#: The value of a line in a list, such as the blacklist: it is there, or it is not.
LISTED = "listed"

#: Settings as `settings` returns them.
Settings = Mapping[tuple[str, ...], str]


def settings(tree: Tree) -> dict[tuple[str, ...], str]:
    """Return every setting as (section, what it is for…, keyword) -> value, merged as multipathd does.

    ("defaults", "polling_interval") -> "5"; ("devices", VENDOR, PRODUCT, REVISION, "prio") -> "alua";
    ("multipaths", WWID, "alias") -> …; ("overrides", "protocol", TYPE, "dev_loss_tmo") -> …;
    ("blacklist", "wwid", PATTERN) -> LISTED; ("blacklist", "device", VENDOR, PRODUCT) -> LISTED. The last one wins.
    A section that does not say what it is for is left out, as multipathd leaves it out; what is not set reads "".
    Values are in the one spelling that multipathd prints.
    """
    return {key: value for section in tree.sections for key, value in _settings(section, (), ())}


def outranked(key: tuple[str, ...], wanted: Settings) -> tuple[str, str] | None:
    """Return of which wanted setting, as its section and value, a setting of another section takes precedence.

    multipathd's order is multipaths, overrides, devices, defaults (multipath.conf(5)).
    """
    keyword = key[-1]
    in_overrides, in_defaults = wanted.get(("overrides", keyword)), wanted.get(("defaults", keyword))
    if key[0] == "multipaths" and in_overrides is not None:
        return "overrides", in_overrides
    if key[0] not in ("multipaths", "overrides", "devices") or in_overrides is not None or in_defaults is None:
        return None
    return "defaults", in_defaults


def _settings(section: Section, around: Place, key: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    place = (*around, section.name)
    key = _key(section, place, key)
    identity = IDENTITY.get(place, ())
    if identity and not any(key[-len(identity) :]):
        return
    if identity and place[:-1] in REPEATABLE:
        yield key, LISTED
        return
    for entry in section.entries:
        if isinstance(entry, Section):
            yield from _settings(entry, place, key)
        elif place in REPEATABLE:
            yield (*key, entry.keyword, entry.value), LISTED
        elif entry.keyword not in identity:
            yield (*key, ALIASES.get(entry.keyword, entry.keyword)), canonical(place, entry.keyword, entry.value)


def _key(section: Section, place: Place, key: tuple[str, ...]) -> tuple[str, ...]:
    named = () if place in (("devices", "device"), ("multipaths", "multipath")) else (section.name,)
    return (*key, *named, *(section.value(keyword) or "" for keyword in IDENTITY.get(place, ())))
