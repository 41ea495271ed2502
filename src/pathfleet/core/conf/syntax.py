"""The text of multipath.conf and its tree, with the place of everything that multipathd would read otherwise.

The tree says what a human meant; the problems say where multipathd's reader (libmpathutil/parser.c) does not see it
so. What keywords and values mean is not known here: see `core.conf.keywords` and `core.conf.lint`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from msgspec import Struct

from pathfleet.core.conf.tokens import Token, tokens

#: Sections within sections: multipath.conf(5) knows two levels. What is deeper is left out of the tree.
_DEPTH_LIMIT = 4
_BARE_LEFT_OUT = frozenset('"#!{}')


class Problem(Struct, frozen=True, rename="kebab"):
    """Where multipathd reads something else than what is meant. Lines and columns count from 1, in characters."""

    line: int
    column: int
    message: str
    code: str


class Assignment(Struct, frozen=True):
    """A keyword and its value; `quoted` if the value stands in double quotes. The place is the keyword's."""

    keyword: str
    value: str
    line: int = 0
    column: int = 0
    quoted: bool = False


class Section(Struct, frozen=True):
    """What stands between a name and its braces. The place is the name's; a `{` without a name has the name ""."""

    name: str
    entries: tuple[Assignment | Section, ...] = ()
    line: int = 0
    column: int = 0

    @property
    def assignments(self) -> tuple[Assignment, ...]:
        """Its own keywords, in their order."""
        return tuple(entry for entry in self.entries if isinstance(entry, Assignment))

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections within it, in their order."""
        return tuple(entry for entry in self.entries if isinstance(entry, Section))

    def value(self, keyword: str) -> str | None:
        """Return a keyword's value, the last one as for multipathd; None if it is not there."""
        values = [entry.value for entry in self.assignments if entry.keyword == keyword]
        return values[-1] if values else None


class Tree(Struct, frozen=True):
    """A whole text."""

    sections: tuple[Section, ...] = ()
    problems: tuple[Problem, ...] = ()


def parse(text: str) -> Tree:
    """Return the tree of a text, and its problems in the order of their places; never raises.

    For texts that people wrote and for what `show config local` prints.
    """
    reader = _Reader()
    for number, line in enumerate(text.split("\n"), start=1):
        reader.take(number, line)
    return Tree(reader.end(), tuple(sorted(reader.problems, key=lambda problem: (problem.line, problem.column))))


def render(tree: Tree) -> str:
    """Return the text of a tree without problems: `parse` gives the same tree back, but for the positions."""
    return "".join(f"{line}\n" for section in tree.sections for line in _lines(section, ""))


def quoted(value: str) -> str:
    """Return a value in double quotes as multipathd reads them: a `"` within is doubled, nothing else is special."""
    return '"' + value.replace('"', '""') + '"'


def _lines(section: Section, indent: str) -> Iterator[str]:
    yield f"{indent}{section.name} {{"
    for entry in section.entries:
        if isinstance(entry, Section):
            yield from _lines(entry, indent + "\t")
        else:
            value = entry.value if _may_be_bare(entry) else quoted(entry.value)
            yield f"{indent}\t{entry.keyword} {value}"
    yield f"{indent}}}"


def _may_be_bare(entry: Assignment) -> bool:
    graphic = entry.value.isascii() and entry.value.isprintable() and entry.value and " " not in entry.value
    return not entry.quoted and bool(graphic) and not _BARE_LEFT_OUT & set(entry.value)


class _Open(Struct):
    """A section whose closing brace has not come yet."""

    name: str
    line: int
    column: int
    entries: list[Assignment | Section]


class _Reader:
    """Goes through the lines, holding the sections that are open."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._open = [_Open("", 0, 0, [])]
        self._too_deep = 0
        #: A word that stood alone on its line: a section if the brace comes on the next one.
        self._alone: tuple[int, Token] | None = None
        self._line = 0

    def take(self, number: int, line: str) -> None:
        """Read one line, statement by statement."""
        self._line = number
        waiting = tokens(line, self._complain)
        while waiting:
            self._statement(waiting)

    def end(self) -> tuple[Section, ...]:
        """Close what is open, and return the sections of the outermost level."""
        self._give_up_waiting()
        while len(self._open) > 1:
            self._line = self._open[-1].line
            self._complain(
                self._open[-1].column,
                "unclosed-section",
                f"the section {self._open[-1].name!r} is never closed: multipathd takes all that follows for a part "
                "of it; add a line with }",
            )
            self._close()
        return tuple(entry for entry in self._open[0].entries if isinstance(entry, Section))

    def _complain(self, column: int, code: str, message: str) -> None:
        self.problems.append(Problem(self._line, column, message, code))

    def _statement(self, waiting: deque[Token]) -> None:
        first = waiting.popleft()
        if first.kind == "open":
            self._brace_without_name(first)
        else:
            self._give_up_waiting()
            if first.kind == "quoted":
                self._complain(
                    first.column,
                    "quoted-keyword",
                    "multipathd knows no keyword in double quotes; write it without them",
                )
            if first.kind == "close":
                self._closed(first)
            elif waiting and waiting[0].kind == "open":
                waiting.popleft()
                self._opened(first, self._line)
            else:
                self._assignment(first, waiting)
                return
        if waiting:
            self._complain(
                waiting[0].column,
                "text-after-brace",
                "multipathd ignores what follows a brace on its line; put it on a line of its own",
            )

    def _assignment(self, keyword: Token, waiting: deque[Token]) -> None:
        values: list[Token] = []
        while waiting and waiting[0].kind in ("word", "quoted"):
            values.append(waiting.popleft())
        if len(values) > 1:
            self._complain(
                values[1].column,
                "extra-words",
                f"multipathd reads one word or one quoted value after {keyword.text!r} and ignores the rest; "
                "put the value in double quotes",
            )
        if waiting:
            self._complain(
                waiting[0].column,
                "brace-after-value",
                f"multipathd ignores this {waiting[0].text}; a section opens with NAME {{ and closes with }}, "
                "each on a line of its own",
            )
        if waiting and waiting[0].kind == "open":
            waiting.popleft()
            self._opened(keyword, self._line)
        elif values:
            value = " ".join(token.text for token in values)
            self._enter(Assignment(keyword.text, value, self._line, keyword.column, values[0].kind == "quoted"))
        else:
            self._alone = (self._line, keyword)

    def _brace_without_name(self, brace: Token) -> None:
        if self._alone is None:
            self._complain(
                brace.column, "stray-brace", "no section's name stands before this {; write the name, or take it out"
            )
            self._opened(Token("word", "", brace.column), self._line)
            return
        (line, name), self._alone = self._alone, None
        self._complain(
            brace.column,
            "brace-on-next-line",
            f"multipathd looks for the brace on the line of the name; write {name.text} {{ on line {line}",
        )
        self._opened(name, line)

    def _give_up_waiting(self) -> None:
        """The word that stood alone got no brace: it was a keyword without a value."""
        if self._alone is None:
            return
        (line, keyword), self._alone = self._alone, None
        message = (
            f"{keyword.text!r} has no value, and multipathd ignores it; write one (a value that begins with # or ! "
            "stands in double quotes)"
        )
        self.problems.append(Problem(line, keyword.column, message, "missing-value"))

    def _enter(self, entry: Assignment) -> None:
        if self._too_deep:
            return
        if len(self._open) > 1:
            self._open[-1].entries.append(entry)
            return
        self._complain(
            entry.column,
            "outside-section",
            f"{entry.keyword!r} stands in no section, and multipathd ignores it; put it into one",
        )

    def _opened(self, name: Token, line: int) -> None:
        if self._too_deep or len(self._open) > _DEPTH_LIMIT:
            if not self._too_deep:
                self._complain(name.column, "too-deep", "multipath.conf has no sections so deep; take it out")
            self._too_deep += 1
            return
        self._open.append(_Open(name.text, line, name.column, []))

    def _closed(self, brace: Token) -> None:
        if self._too_deep:
            self._too_deep -= 1
        elif len(self._open) > 1:
            self._close()
        else:
            self._complain(
                brace.column, "stray-brace", "this } closes nothing; look for one too many, or for a { that is missing"
            )

    def _close(self) -> None:
        done = self._open.pop()
        self._open[-1].entries.append(Section(done.name, tuple(done.entries), done.line, done.column))
