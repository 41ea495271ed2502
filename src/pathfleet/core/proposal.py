"""What a node's own multipath files say, as a configuration for the whole cluster.

The node's defaults and multipaths become properties, the names in its bindings file become aliases, all the rest
becomes the overrides; and what cannot be taken over is named with its place and the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct

from pathfleet.core import schema
from pathfleet.core.conf import syntax
from pathfleet.core.conf.lint import lint
from pathfleet.core.conf.syntax import Assignment, Section, Tree
from pathfleet.core.property import BadValue

#: Sections that become the overrides as they are; the order is multipath.conf(5)'s.
_KEPT = ("blacklist", "blacklist_exceptions", "devices", "overrides")
_STAYS = "where it stands it stays in force, on that node alone"
#: Before 0.9.0 a keyword of `path_checker`'s (multipath-tools, libmultipath/dict.c).
_SYNONYMS = {"checker": "path_checker"}


class Source(Struct, frozen=True):
    """A file of the node: how it is called there, and its text."""

    name: str
    text: str


class NodeFiles(Struct, frozen=True):
    """What a node has in its /etc: configuration files in the order in which multipathd reads them.

    `wwids` and `bindings` are None where there is no such file.
    """

    sources: tuple[Source, ...] = ()
    wwids: Source | None = None
    bindings: Source | None = None


class Left(Struct, frozen=True, rename="kebab"):
    """What is not taken over: where it stands, what it is, and why."""

    file: str
    line: int | None
    what: str
    why: str


class Proposal(Struct, frozen=True):
    """A configuration for the cluster: properties by name, LUNs, the text of the overrides; and what is left."""

    defaults: dict[str, str]
    wwids: dict[str, dict[str, str]]
    overrides: str
    left: tuple[Left, ...] = ()


def propose(files: NodeFiles, *, without: Collection[str] = ()) -> Proposal:
    """Return the proposal that a node's files make; LUNs in `without` are left out."""
    return _Reading(files, frozenset(without)).proposal()


class _Reading:
    def __init__(self, files: NodeFiles, without: frozenset[str]) -> None:
        self._files = files
        self._without = without
        self._defaults: dict[str, str] = {}
        self._wwids: dict[str, dict[str, str]] = {}
        self._kept: list[Section] = []
        self._left: list[Left] = []
        self._friendly = False
        #: The LUNs whose own section says how they are named, whatever the defaults say.
        self._friendly_of: dict[str, bool] = {}

    def proposal(self) -> Proposal:
        for source in self._files.sources:
            self._take(source)
        if self._files.wwids:
            self._take_wwids(self._files.wwids)
        if self._files.bindings:
            self._take_bindings(self._files.bindings)
        self._drop_double_aliases()
        overrides = syntax.render(Tree(_in_order(self._kept)))
        return Proposal(self._defaults, self._wwids, overrides, tuple(self._left))

    def _take(self, source: Source) -> None:
        tree = syntax.parse(source.text)
        for problem in tree.problems:
            self._leave(source, problem.line, "the line", f"{problem.message}; look at what became of it below")
        for section in tree.sections:
            match section.name:
                case "defaults":
                    self._take_defaults(source, section)
                case "multipaths":
                    self._take_multipaths(source, section)
                case name if name in _KEPT:
                    self._kept.append(Section(name, tuple(self._tolerable(source, section))))
                case name:
                    self._leave(source, section.line, f"section {name!r}", "multipath.conf has no such section")

    def _tolerable(self, source: Source, section: Section) -> Iterator[Assignment | Section]:
        """Yield the entries of a section that may stand in the overrides; say of each other one why not."""
        for entry in section.entries:
            errors = _errors(section.name, entry)
            if errors and isinstance(entry, Section) and entry.entries == entry.assignments:
                # each assignment is a line of its own, below the two that open the sections
                bad = {line - 3: message for line, message in errors.items() if 3 <= line < 3 + len(entry.entries)}
                for place, message in bad.items():
                    self._leave_assignment(source, entry.assignments[place], message)
                kept = tuple(each for place, each in enumerate(entry.entries) if place not in bad)
                entry = Section(entry.name, kept, entry.line, entry.column)  # noqa: PLW2901 - what is left of it
                errors = _errors(section.name, entry)
            if not errors:
                yield entry
            elif isinstance(entry, Assignment):
                self._leave_assignment(source, entry, next(iter(errors.values())))
            else:
                self._leave(source, entry.line, f"section {entry.name!r}", next(iter(errors.values())))

    def _leave_assignment(self, source: Source, entry: Assignment, why: str) -> None:
        self._leave(source, entry.line, f"{entry.keyword} {entry.value!r}", f"{why}; {_STAYS}")

    def _take_defaults(self, source: Source, section: Section) -> None:
        for entry in section.entries:
            if isinstance(entry, Section):
                self._leave(source, entry.line, f"section {entry.name!r}", "it does not belong into `defaults`")
            elif (found := self._property(source, entry, None)) is not None:
                self._defaults[found[0]] = found[1]
            if isinstance(entry, Assignment) and entry.keyword == "user_friendly_names":
                self._friendly = entry.value in ("yes", "1")

    def _take_multipaths(self, source: Source, section: Section) -> None:
        for entry in section.entries:
            if isinstance(entry, Section) and entry.name == "multipath":
                self._take_multipath(source, entry)
            else:
                self._leave(source, entry.line, "what stands there", "only `multipath` belongs into `multipaths`")

    def _take_multipath(self, source: Source, section: Section) -> None:
        assignments = [entry for entry in section.entries if isinstance(entry, Assignment)]
        wwid = next((entry.value for entry in reversed(assignments) if entry.keyword == "wwid"), None)
        if wwid is None:
            self._leave(source, section.line, "a section `multipath`", "it has no wwid")
        elif self._is_taken(source, section.line, wwid):
            for entry in assignments:
                if entry.keyword == "user_friendly_names":
                    self._friendly_of[wwid] = entry.value in ("yes", "1")
                if entry.keyword != "wwid" and (found := self._property(source, entry, wwid)) is not None:
                    self._wwids[wwid][found[0]] = found[1]

    def _is_taken(self, source: Source, line: int, wwid: str) -> bool:
        """Make a LUN part of the proposal, if it can be; say why if not."""
        if wwid in self._without:
            self._leave(source, line, f"LUN {wwid}", "you left it out")
            return False
        try:
            self._wwids.setdefault(schema.check_wwid(wwid), {})
        except BadValue as error:
            self._leave(source, line, f"LUN {wwid!r}", str(error))
            return False
        return True

    def _property(self, source: Source, entry: Assignment, wwid: str | None) -> tuple[str, str] | None:
        """Return an assignment as a property, None (and the reason is noted) if it is none."""
        name = _SYNONYMS.get(entry.keyword, entry.keyword).replace("_", "-")
        row = schema.BY_NAME.get(name)
        if row is not None and row.fixed is not None:
            if entry.value != row.fixed:
                why = f"a cluster can live with {row.allowed}, and the drop-in says so"
                self._leave(source, entry.line, f"{entry.keyword} {entry.value!r}", why)
            return None
        try:
            return name, schema.check(name, entry.value, wwid=wwid)
        except BadValue as error:
            self._leave_assignment(source, entry, _why_not(error, known=row is not None))
            return None

    def _take_wwids(self, source: Source) -> None:
        for number, line in _lines(source.text):
            if line.startswith("/") and line.endswith("/") and len(line) > 2:
                self._is_taken(source, number, line[1:-1])
            else:
                self._leave(source, number, repr(line), "a line of this file is /WWID/")

    def _take_bindings(self, source: Source) -> None:
        for number, line in _lines(source.text):
            alias, *rest = line.split()
            wwid = rest[0] if rest else ""
            if wwid in self._wwids and self._is_friendly(wwid) and "alias" not in self._wwids[wwid]:
                try:
                    self._wwids[wwid]["alias"] = schema.check("alias", alias, wwid=wwid)
                except BadValue as error:
                    self._leave(source, number, f"the name {alias!r} of {wwid}", str(error))
            elif self._friendly and wwid not in self._wwids and wwid not in self._without:
                self._leave(source, number, f"the name {alias!r}", f"LUN {wwid or '?'} is in none of the other files")

    def _is_friendly(self, wwid: str) -> bool:
        return self._friendly_of.get(wwid, self._friendly)

    def _drop_double_aliases(self) -> None:
        owners = {wwid: wwid for wwid in self._wwids}
        for wwid, properties in self._wwids.items():
            alias = properties.get("alias")
            if alias is not None and owners.setdefault(alias, wwid) != wwid:
                del properties["alias"]
                why = f"this is the name of LUN {owners[alias]}"
                self._left.append(Left("the files together", None, f"the alias {alias!r} of {wwid}", why))

    def _leave(self, source: Source, line: int | None, what: str, why: str) -> None:
        self._left.append(Left(source.name, line, what, why))


def _why_not(error: BadValue, *, known: bool) -> str:
    return f"allowed: {error.allowed}" if known else "the cluster's configuration has no such property"


def _errors(section: str, entry: Assignment | Section) -> dict[int, str]:
    """Return by line what is wrong with an entry as the only one of its section."""
    text = syntax.render(Tree((Section(section, (entry,)),)))
    return {found.line: found.message for found in lint(text) if found.severity == "error"}


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield what is neither empty nor a comment, with its number."""
    for number, line in enumerate(text.splitlines(), start=1):
        if (stripped := line.strip()) and not stripped.startswith("#"):
            yield number, stripped


def _in_order(sections: Sequence[Section]) -> tuple[Section, ...]:
    """Return one section of each name, with all entries in the order in which they were read."""
    merged: dict[str, list[Assignment | Section]] = {name: [] for name in _KEPT}
    for section in sections:
        merged[section.name] += section.entries
    return tuple(Section(name, tuple(_without_doubles(entries))) for name, entries in merged.items() if entries)


def _without_doubles(entries: Sequence[Assignment | Section]) -> Iterator[Assignment | Section]:
    """Leave out what stands there twice word for word: of two files that say the same."""
    seen: set[object] = set()
    for entry in entries:
        key = _plain(entry)
        if key not in seen:
            seen.add(key)
            yield entry


def _plain(entry: Assignment | Section) -> object:
    if isinstance(entry, Assignment):
        return entry.keyword, entry.value
    return entry.name, tuple(_plain(each) for each in entry.entries)
