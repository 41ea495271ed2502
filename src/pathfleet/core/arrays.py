"""Which array a LUN comes from, told in few bytes: the beginning of a WWID names the maker of the LUN.

A WWID begins with the type of its designator, of which most are NAA: format and IEEE company id follow (SPC-4, 7.8.6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pathfleet.core.maps import Map

_PREFIX: Final = 8
#: A node has LUNs of no more makers, or does not tell all.
_LIMIT: Final = 32
_WORD: Final = 40


def arrays(maps: Iterable[Map]) -> dict[str, str]:
    """Return by the beginning of WWIDs what such LUNs are: vendor and product, or the vendor if products differ.

    Where vendors differ, too, nothing can be told so.
    """
    found: dict[str, set[tuple[str, str]]] = {}
    for map_ in maps:
        if map_.uuid and map_.vendor:
            found.setdefault(map_.uuid[:_PREFIX], set()).add((map_.vendor, map_.product or ""))
    named = {prefix: _name(inquiries) for prefix, inquiries in sorted(found.items())[:_LIMIT]}
    return {prefix: name for prefix, name in named.items() if name}


def array_of(wwid: str, told: Mapping[str, str]) -> str | None:
    """Return what a LUN is by what a node tells of its arrays, None if it does not."""
    return told.get(wwid[:_PREFIX])


def _name(inquiries: set[tuple[str, str]]) -> str | None:
    if len(inquiries) == 1:
        return " ".join(filter(None, next(iter(inquiries))))[:_WORD]
    vendors = {vendor for vendor, _ in inquiries}
    return vendors.pop()[:_WORD] if len(vendors) == 1 else None
