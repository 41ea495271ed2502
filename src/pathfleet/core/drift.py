"""What multipathd goes by, compared with what the cluster's configuration means it to.

Effective is what `show config local` says: every default, the overrides, the sections of LUNs that have a map, and
devices only as they apply to the disks there are. What a release does not print when it is not set counts as unset.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from pathfleet.core import schema, syntax
from pathfleet.core.render import DropIns
from pathfleet.core.syntax import Assignment, Section, Tree

#: Words that mean the same to multipathd (libmultipath/dict.c), by keyword; "*": where it takes yes or no.
_SAME: dict[str, dict[str, str]] = {
    "no_path_retry": {"fail": "0"},
    "fast_io_fail_tmo": {"off": "0"},
    "eh_deadline": {"off": "0"},
    "flush_on_last_del": {"yes": "always", "no": "unused"},
    "find_multipaths": {"no": "strict", "0": "strict", "yes": "on", "1": "on"},
    "dev_loss_tmo": {"2147483647": "infinity", "4294967295": "infinity"},
    "*": {"1": "yes", "0": "no"},
}
_YES_OR_NO = frozenset(row.keyword for row in schema.PROPERTIES if row.kind == "boolean")
#: Releases before 0.9.9 print others than they go by.
_PRINTED_WRONG = ("force_sync", "retrigger_tries")
_LISTS = ("blacklist", "blacklist_exceptions")


class Difference(Struct, frozen=True, rename="kebab"):
    """A keyword with another value than is wanted. `effective` None: multipathd shows none."""

    section: str
    keyword: str
    wanted: str
    effective: str | None

    @property
    def listed(self) -> bool:
        """Whether it is an entry of a list, of which multipathd prints all."""
        return self.section in _LISTS


def differences(drop_ins: DropIns, effective: str) -> list[Difference]:
    """Return where multipathd's own words differ from what the drop-ins say.

    `devices` are not compared (multipathd merges them with its hardware table), nor LUNs that have no map here.
    """
    wanted: dict[tuple[str, str], str] = {}
    for text in (drop_ins.baseline, drop_ins.overrides):
        wanted |= _settings(syntax.parse(text or ""))
    tree = syntax.parse(effective)
    there = _settings(tree)
    maps = {section for section, _ in there}
    found = []
    for (section, keyword), value in wanted.items():
        if keyword in _PRINTED_WRONG or (section.startswith("multipath ") and section not in maps):
            continue
        if section in _LISTS:
            if (section, keyword) not in there:
                found.append(Difference(section, *_entry(keyword), None))
        elif not same(keyword, value, there.get((section, keyword))):
            found.append(Difference(section, keyword, value, there.get((section, keyword))))
    return found


def same(keyword: str, one: str, other: str | None) -> bool:
    """Whether two values of a keyword mean the same to multipathd."""
    return other is not None and _canonical(keyword, one) == _canonical(keyword, other)


def _canonical(keyword: str, value: str) -> str:
    value = " ".join(value.split())
    if keyword == "reservation_key" and value.startswith("0x"):
        return value.lower().replace("0x", "").lstrip("0")
    value = _SAME.get(keyword, {}).get(value, value)
    return _SAME["*"].get(value, value) if keyword in _YES_OR_NO else value


def _settings(tree: Tree) -> dict[tuple[str, str], str]:
    """Return values by section and keyword, the last one of each; of lists, the entries themselves are the keys."""
    found: dict[tuple[str, str], str] = {}
    for section in tree.sections:
        match section.name:
            case "defaults":
                found |= {("defaults", entry.keyword): entry.value for entry in section.assignments}
            case "overrides":
                found |= _overrides(section)
            case "multipaths":
                found |= _multipaths(section)
            case name if name in _LISTS:
                found |= {(name, text): "" for text in _entries(section)}
            case _:
                pass
    return found


def _overrides(section: Section) -> dict[tuple[str, str], str]:
    found = {("overrides", entry.keyword): entry.value for entry in section.assignments}
    for protocol in section.sections:
        name = f"protocol {protocol.value('type')}"
        found |= {(name, entry.keyword): entry.value for entry in protocol.assignments if entry.keyword != "type"}
    return found


def _multipaths(section: Section) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for multipath in section.sections:
        # the WWID too, so that a LUN with a map is known by it, whatever else its section says
        name = f"multipath {multipath.value('wwid')}"
        found |= {(name, entry.keyword): entry.value for entry in multipath.assignments}
    return found


def _entries(section: Section) -> Iterator[str]:
    for entry in section.entries:
        if isinstance(entry, Assignment):
            yield f"{entry.keyword} {entry.value}"
        else:
            yield f"{entry.name} " + " ".join(sorted(f"{each.keyword}={each.value}" for each in entry.assignments))


def _entry(text: str) -> tuple[str, str]:
    keyword, _, value = text.partition(" ")
    return keyword, value
