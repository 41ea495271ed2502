"""What the doctor finds: a rule for each thing that can be wrong, with a code that never changes.

Here is what a rule is and what it goes by; the rules themselves are in `core.rules`, one function each. What nodes
say is not trusted: it is cut, and becomes part of a command only where it is a plain name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

from msgspec import Struct

from pathfleet.core.column import Column
from pathfleet.core.configuration import Configuration
from pathfleet.core.facts import NodeFacts
from pathfleet.core.reason import shortened
from pathfleet.core.storagecfg import Expectations, Storages

Severity = Literal["error", "warning", "info"]
Kind = Literal["cluster", "node", "lun", "storage"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

_SEEN_LIMIT = 600
_NAMES_SHOWN = 6
#: What may stand in a command that somebody will paste into a root shell.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:+-]{0,127}")


class Sighting(Struct, frozen=True):
    """One thing that a rule saw: at which node, LUN (its WWID) or storage, on which nodes, and the facts in words.

    `names` are put into the remedy for the words that stand there for them (`DEV`, `GROUP`).
    """

    kind: Kind
    subject: str
    seen: str
    nodes: tuple[str, ...] = ()
    names: Mapping[str, str] = {}


class Finding(Struct, frozen=True, rename="kebab"):
    """What is wrong, what that means and what to do. `subject`: a node, a WWID, a storage, or `cluster`.

    `alias`: what the LUN is called, if it has one name and that is not its WWID.
    """

    code: str
    severity: Severity
    kind: Kind
    subject: str
    nodes: tuple[str, ...]
    seen: str
    meaning: str
    remedy: str
    alias: str | None = None


class Examined(Struct, frozen=True):
    """All that there is to go by at `now` (epoch seconds).

    `columns`: what nodes published. `facts`: what was examined on nodes, which knows more and is newer. `digest`: of
    the configuration that nodes are to have in force, None if there is none, "" if it is not known. `overrides`: its
    free text.
    """

    now: int
    columns: Mapping[str, Column] = {}
    facts: Mapping[str, NodeFacts] = {}
    configuration: Configuration = Configuration()
    overrides: str = ""
    digest: str | None = None
    storages: Storages = Storages({})
    expectations: Expectations = {}

    @property
    def nodes(self) -> list[str]:
        """The names of all nodes of which anything is known."""
        return sorted({*self.columns, *self.facts})

    def sights(self) -> Iterator[Sight]:
        """Yield every map on every node, as examined there, else as reported, unless that is in doubt."""
        for node in self.nodes:
            facts, column = self.facts.get(node), self.columns.get(node)
            if facts is not None and facts.maps is not None:
                for each in facts.maps:
                    yield Sight(node, each.wwid, each.name, each.size, each.paths_active, each.paths_total, each.flags)
            elif column is not None and column.doubt is None:
                yield from _reported(column)

    def aliases(self) -> dict[str, str]:
        """Return the names of LUNs by WWID, of those that have one name everywhere."""
        names: dict[str, set[str]] = {}
        for sight in self.sights():
            if sight.name:
                names.setdefault(sight.wwid, set()).add(sight.name)
        return {wwid: min(of) for wwid, of in names.items() if len(of) == 1 and of != {wwid}}


class Sight(Struct, frozen=True):
    """A map on a node. `name` None: it is not known."""

    node: str
    wwid: str
    name: str | None
    size: int | None
    active: int
    total: int
    flags: tuple[str, ...]


def _reported(column: Column) -> Iterator[Sight]:
    for wwid, map_ in column.maps.items():
        detail = column.said.details.get(wwid)
        name = detail.name if detail and detail.name else None if column.said.cut else wwid
        flags = detail.flags if detail else ()
        yield Sight(column.node, wwid, name, map_.size, map_.paths_active, map_.paths_total, flags)


class Rule(Struct, frozen=True):
    """One thing that can be wrong. `remedy` has the command to run, with NODE, WWID and such for what it is about."""

    code: str
    severity: Severity
    meaning: str
    remedy: str
    look: Callable[[Examined], Iterator[Sighting]]

    def findings(self, examined: Examined, aliases: Mapping[str, str]) -> Iterator[Finding]:
        """Yield what is found; `aliases` are those of `examined`."""
        for each in self.look(examined):
            yield Finding(
                self.code,
                self.severity,
                each.kind,
                shortened(each.subject, 128),
                each.nodes,
                shortened(each.seen, _SEEN_LIMIT),
                self.meaning,
                _filled(self.remedy, each),
                _alias(each, aliases),
            )


def rule(
    code: str, severity: Severity, meaning: str, remedy: str
) -> Callable[[Callable[[Examined], Iterator[Sighting]]], Rule]:
    """Make a rule of the function that looks for it."""
    return lambda look: Rule(code, severity, meaning, remedy, look)


def _alias(sighting: Sighting, aliases: Mapping[str, str]) -> str | None:
    alias = aliases.get(sighting.subject) if sighting.kind == "lun" else None
    return alias and shortened(alias, 128)


def _filled(remedy: str, sighting: Sighting) -> str:
    """Return the remedy about what was seen; a name that is not plain stays the word that stands for it."""
    words = dict(sighting.names)
    if sighting.kind == "lun":
        words["WWID"] = sighting.subject
    if sighting.kind == "node":
        words["NODE"] = sighting.subject
    elif len(sighting.nodes) == 1:
        words["NODE"] = sighting.nodes[0]
    for word, name in words.items():
        if _PLAIN.fullmatch(name):
            remedy = re.sub(rf"\b{word}\b", name, remedy)
    return remedy


def listed(names: Iterable[str]) -> str:
    """Return names as a list, a long one cut."""
    names = [shortened(name, 100) for name in names]
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def by_lun(sights: Iterable[Sight]) -> dict[str, list[Sight]]:
    """Return what was seen of each LUN."""
    found: dict[str, list[Sight]] = {}
    for sight in sights:
        found.setdefault(sight.wwid, []).append(sight)
    return found


def of_lun(wwid: str, sights: Iterable[Sight], seen: str) -> Sighting:
    """Return a sighting of a LUN on the nodes of these."""
    return Sighting("lun", wwid, seen, tuple(sorted({sight.node for sight in sights})))
