"""What multipathd goes by, compared with what the cluster's configuration means it to.

Effective is what `show config local` says: every default, the overrides, the sections of LUNs that have a map, and
devices only as they apply to the disks there are. What a release does not print when it is not set counts as unset.
A node's own `overrides` and `multipaths` take precedence of the cluster's defaults: multipathd then goes by something
else, though it took all of the drop-ins. Which values mean the same is known to `core.conf.keywords` alone.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from pathfleet.core.conf import syntax
from pathfleet.core.conf.effective import LISTED, Settings, outranked, settings
from pathfleet.core.conf.syntax import Tree
from pathfleet.core.facts import HIDDEN
from pathfleet.core.render import DropIns

#: Releases before 0.9.9 print others than they go by.
_PRINTED_WRONG = frozenset(("force_sync", "retrigger_tries"))


class Effective(Struct, frozen=True, rename="kebab"):
    """What a node's multipathd goes by: its answer to `show config local`, and its version if it tells.

    Reservation keys may be hidden; those are not compared.
    """

    text: str
    version: str | None = None


class Difference(Struct, frozen=True, rename="kebab"):
    """A keyword with another value than is wanted, in the spelling that multipathd prints.

    `section` is `defaults`, `overrides`, `protocol TYPE`, `multipath WWID`, or of a list, such as `blacklist`.
    `effective` None: multipathd shows none.
    """

    section: str
    keyword: str
    wanted: str
    effective: str | None

    @property
    def listed(self) -> bool:
        """Whether it is an entry of a list, of which multipathd prints all."""
        return self.section.startswith("blacklist")

    @property
    def proven(self) -> bool:
        """Whether multipathd goes by something else for sure: what its release does not print may be in force."""
        return self.effective is not None or self.listed

    def __str__(self) -> str:
        return f"{self.section} {self.keyword} is {self.effective or 'absent'} instead of {self.wanted}"


def differences(drop_ins: DropIns, effective: str) -> list[Difference]:
    """Return where what multipathd goes by differs from what the drop-ins say.

    `devices` are not compared (multipathd merges them with its hardware table), nor LUNs that have no map here.
    """
    wanted, tree = _wanted(drop_ins), syntax.parse(effective)
    there = settings(tree)
    return _not_taken(wanted, there, _maps(tree)) + _outranking(wanted, there)


def not_taken(drop_ins: DropIns, effective: str) -> list[Difference]:
    """Return where multipathd did not take what the drop-ins say: the same section has another value."""
    tree = syntax.parse(effective)
    return _not_taken(_wanted(drop_ins), settings(tree), _maps(tree))


def _not_taken(wanted: Settings, there: Settings, maps: Collection[str]) -> list[Difference]:
    return [
        _difference(key, value, there.get(key))
        for key, value in wanted.items()
        if there.get(key) not in (value, HIDDEN) and _comparable(key, maps)
    ]


def _wanted(drop_ins: DropIns) -> Settings:
    return settings(syntax.parse(drop_ins.baseline or "")) | settings(syntax.parse(drop_ins.overrides or ""))


def _outranking(wanted: Settings, there: Settings) -> list[Difference]:
    """Return what is not the cluster's and takes precedence of it; entries of `devices` do so by nature."""
    found = []
    for key, value in there.items():
        below = None if key in wanted or key[0] == "devices" or value == HIDDEN else outranked(key, wanted)
        if below is not None and below[1] != value:
            found.append(_difference(key, below[1], value))
    return found


def _comparable(key: tuple[str, ...], maps: Collection[str]) -> bool:
    if key[0] == "devices" or key[-1] in _PRINTED_WRONG:
        return False
    return key[0] != "multipaths" or key[1] in maps


def _maps(tree: Tree) -> set[str]:
    """Return the WWIDs that have a section: each LUN with a map has one, be there anything in it or not."""
    sections = (section for section in tree.sections if section.name == "multipaths")
    return {multipath.value("wwid") or "" for section in sections for multipath in section.sections}


def _difference(key: tuple[str, ...], wanted: str, effective: str | None) -> Difference:
    match key:
        case (section, "device", vendor, product) if wanted == LISTED:
            return Difference(section, "device", f"vendor={vendor} product={product}", None)
        case (section, keyword, entry) if wanted == LISTED:
            return Difference(section, keyword, entry, None)
        case ("multipaths", wwid, keyword):
            return Difference(f"multipath {wwid}", keyword, wanted, effective)
        case (_, "protocol", kind, keyword):
            return Difference(f"protocol {kind}", keyword, wanted, effective)
        case _:
            return Difference(key[0], key[-1], wanted, effective)
