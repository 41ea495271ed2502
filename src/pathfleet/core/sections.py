"""Proxmox's SectionConfig text: sections, their properties, and changes that touch nothing else.

    KIND: ID
            PROPERTY VALUE

What counts is what Proxmox's own reader would take: its quirks are the rules here. What it would ignore is told as
a Problem. Unlike its writer, this one keeps the text: comments, blank lines, odd indentation and sections of
unknown kinds stay byte for byte, and only what is changed is written anew, the way Proxmox writes it. (Proxmox
drops comments at its own next write.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping

from msgspec import Struct

from pathfleet.errors import PathfleetError

# What Perl's \s means on bytes. Lines end at LF alone, so a CR is a blank at the end of its line.
_BLANKS = " \t\r\f\v"
_WORD = re.compile(r"\S+", re.ASCII)
_KEY_AND_VALUE = re.compile(r"(\S+)\s*(.*)", re.ASCII | re.DOTALL)


class Problem(Struct, frozen=True):
    """What Proxmox's reader would ignore, in line `line` (1 is the first)."""

    line: int
    message: str


class Property(Struct, frozen=True):
    """One line `KEY VALUE` of a section; `value` is None for a bare word."""

    key: str
    value: str | None
    line: int


class Section(Struct, frozen=True):
    """A section from its header in line `line` to before line `end`, which is the empty line after it."""

    kind: str
    id: str
    line: int
    end: int
    properties: tuple[Property, ...] = ()

    def first(self, key: str) -> Property | None:
        """Return the first property of a key, which is the one that counts."""
        return next((found for found in self.properties if found.key == key), None)


class Sections(Struct, frozen=True):
    """A text and what it says. A change returns the Sections of the changed text."""

    lines: tuple[str, ...]
    sections: tuple[Section, ...]
    problems: tuple[Problem, ...]
    fold: bool = False

    def render(self) -> str:
        """Return the text."""
        return "\n".join(self.lines)

    def find(self, kind: str, name: str) -> Section | None:
        """Return the section that counts: the last of its kind and id."""
        return next((found for found in reversed(self.sections) if (found.kind, found.id) == (kind, name)), None)

    def set(self, kind: str, name: str, key: str, value: str, *, required: Collection[str] = ()) -> Sections:
        """Give a property of an existing section its value: one line changes, or one is new.

        `required` are the keys that the section's kind cannot do without: they are written first. Raises ValueError
        for what the format cannot carry, KeyError when there is no such section.
        """
        section = self._section(kind, name)
        written = _written(key, value)
        lines = list(self.lines)
        if (old := section.first(key)) is not None:
            lines[old.line - 1] = _rewritten(lines[old.line - 1], old, value)
            return _read(lines, self.fold)
        rank = _rank(required)
        place = max((found.line for found in section.properties if rank(found.key) < rank(key)), default=section.line)
        lines.insert(place, written + ("\r" if lines[section.line - 1].endswith("\r") else ""))
        if place == len(lines) - 1:
            lines.append("")
        return _read(lines, self.fold)

    def unset(self, kind: str, name: str, key: str) -> Sections:
        """Remove a property, with its duplicates: the next of them would count. Raises KeyError like `set`."""
        gone = {found.line for found in self._section(kind, name).properties if found.key == key}
        return _read([line for number, line in enumerate(self.lines, 1) if number not in gone] or [""], self.fold)

    def add(self, kind: str, name: str, properties: Mapping[str, str], *, required: Collection[str] = ()) -> Sections:
        """Append a section. Raises ValueError for what the format cannot carry."""
        header = f"{kind}: {name}"
        if _header(header) != (kind, name) or _is_comment(header) or "\n" in header:
            raise ValueError(f"{header!r} cannot be a section's header")
        lines = list(self.lines)
        if lines[-1]:
            lines.append("")
        if len(lines) > 1 and lines[-2]:
            lines.append("")
        keys = sorted(properties, key=_rank(required))
        lines[-1:] = [header, *(_written(key, properties[key]) for key in keys), "", ""]
        return _read(lines, self.fold)

    def remove(self, kind: str, name: str) -> Sections:
        """Remove a section, with its duplicates and the empty line after each. Raises KeyError like `set`."""
        self._section(kind, name)
        lines = list(self.lines)
        for section in reversed(self.sections):
            if (section.kind, section.id) != (kind, name):
                continue
            if section.end > len(lines):
                lines.append("")
            has_empty_line = section.end < len(lines) and not lines[section.end - 1]
            del lines[section.line - 1 : section.end - 1 + has_empty_line]
        return _read(lines, self.fold)

    def _section(self, kind: str, name: str) -> Section:
        section = self.find(kind, name)
        if section is None:
            raise KeyError(f"{kind}: {name}")
        return section


def parse(text: str, *, fold: bool = False) -> Sections:
    """Return what a text says, whatever it is. `fold`: kinds are lower-cased, as storage.cfg's are."""
    return _read(text.split("\n"), fold)


def _read(lines: list[str], fold: bool) -> Sections:
    sections: list[Section] = []
    problems: list[Problem] = []
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if _ends_section(line) or _is_comment(line):
            continue
        header = _header(line)
        if header is None:
            problems.append(Problem(number, f"{_quoted(line)} is outside of any section and is ignored"))
            continue
        end = next((at for at in range(number, len(lines)) if _ends_section(lines[at])), len(lines))
        properties, ignored = _body(lines[number:end], number + 1)
        kind, name = header
        sections.append(Section(kind.lower() if fold else kind, name, number, end + 1, properties))
        problems += ignored
        number = end
    return Sections(tuple(lines), tuple(sections), tuple(problems), fold)


def _body(lines: Iterable[str], start: int) -> tuple[tuple[Property, ...], list[Problem]]:
    properties: list[Property] = []
    problems: list[Problem] = []
    for number, line in enumerate(lines, start):
        if _is_comment(line):
            continue
        found = _property(line)
        if found is not None:
            properties.append(Property(*found, number))
        elif not line.strip(_BLANKS):
            problems.append(Problem(number, "blanks alone do not end a section: the line must be empty"))
        elif _header(line):
            problems.append(Problem(number, f"{_quoted(line)} begins no section: it needs an empty line before it"))
        else:
            problems.append(Problem(number, f"{_quoted(line)} is not indented and is ignored"))
    return tuple(properties), problems


def _ends_section(line: str) -> bool:
    # Perl takes "0" for false: by accident, but so it reads.
    return line in ("", "0")


def _is_comment(line: str) -> bool:
    return line.lstrip(_BLANKS).startswith("#")


def _header(line: str) -> tuple[str, str] | None:
    """Read `KIND: ID`, or `KIND:ID`, at the very beginning of a line."""
    words = _WORD.findall(line)
    if not 1 <= len(words) <= 2 or line[0] in _BLANKS:
        return None
    if len(words) == 2:
        return (words[0][:-1], words[1]) if words[0].endswith(":") and len(words[0]) > 1 else None
    colon = words[0].rfind(":", 1, len(words[0]) - 1)
    return (words[0][:colon], words[0][colon + 1 :]) if colon > 0 else None


def _property(line: str) -> tuple[str, str | None] | None:
    found = _KEY_AND_VALUE.fullmatch(line.strip(_BLANKS)) if line[:1] in tuple(_BLANKS) else None
    return (found[1], found[2] or None) if found else None


def _quoted(line: str) -> str:
    return repr(line if len(line) <= 60 else line[:60] + "…")


def _written(key: str, value: str) -> str:
    """Return the line of a property as Proxmox writes it."""
    line = f"\t{key} {value}"
    if "\n" in line or "\r" in line or _is_comment(line) or _property(line) != (key, value):
        raise ValueError(f"{key!r} with {value!r} cannot be written as a property")
    return "\tdisable" if (key, value) == ("disable", "1") else line


def _rewritten(line: str, old: Property, value: str) -> str:
    """Return the line with another value; indentation, blanks between and the line's end stay."""
    if old.value == value:
        return line
    text = line.rstrip(_BLANKS)
    before = text + " " if old.value is None else text[: len(text) - len(old.value)]
    return before + value + line[len(text) :]


def _rank(required: Collection[str]) -> Callable[[str], tuple[int, str]]:
    first = {"comment": 0, "disable": 1}
    return lambda key: (first.get(key, 2 if key in required else 3), key)


def standing(sections: Collection[Section]) -> tuple[list[Section], list[Problem]]:
    """Return the sections that count: the last of each id, whatever its kind."""
    last = {section.id: section for section in sections}
    problems = [
        Problem(section.line, f"section `{section.id}` comes again in line {last[section.id].line}, which counts")
        for section in sections
        if section is not last[section.id]
    ]
    return [section for section in sections if section is last[section.id]], problems


def settle(section: Section, check: Callable[[str, str | None], str]) -> tuple[dict[str, str], list[Problem]]:
    """Return the values that count, the first good one of each key.

    `check` returns the value in its usual form, or raises a PathfleetError that says why it is none.
    """
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for found in section.properties:
        if found.key in values:
            problems.append(Problem(found.line, f"`{found.key}` is there twice; the first one counts"))
            continue
        try:
            values[found.key] = check(found.key, found.value)
        except PathfleetError as error:
            problems.append(Problem(found.line, str(error)))
    return values, problems
