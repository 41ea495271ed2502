r"""POSIX extended regular expressions as multipathd compiles them: glibc's regcomp(3), REG_EXTENDED, the C locale.

What glibc refuses is refused here, and so is what it takes otherwise than it looks, or may take for ever: back
references, huge repetitions, `\d`, a lone `)`. Searching never backtracks, so no pattern makes it slow.
"""

from __future__ import annotations

import re
import string
from typing import Literal

from msgspec import Struct

#: Places of a pattern, its repetitions written out; glibc's memory grows with them (RE_DUP_MAX alone is 32767).
SIZE_LIMIT = 2000
_DEPTH_LIMIT = 20
_REPEATS_LIMIT = 3

_DIGITS, _LETTERS = frozenset(string.digits), frozenset(string.ascii_letters)
_SPACES = frozenset(" \t\n\v\f\r")
_CLASSES = {
    "alpha": _LETTERS,
    "digit": _DIGITS,
    "alnum": _LETTERS | _DIGITS,
    "upper": frozenset(string.ascii_uppercase),
    "lower": frozenset(string.ascii_lowercase),
    "space": _SPACES,
    "blank": frozenset(" \t"),
    "punct": frozenset(string.punctuation),
    "print": frozenset(map(chr, range(0x20, 0x7F))),
    "graph": frozenset(map(chr, range(0x21, 0x7F))),
    "cntrl": frozenset(map(chr, [*range(0x20), 0x7F])),
    "xdigit": frozenset(string.hexdigits),
}
_WORD = _LETTERS | _DIGITS | {"_"}
_INTERVAL = re.compile(r"\{(?:([0-9]{1,5})(?:(,)([0-9]{0,5}))?|(,)([0-9]{1,5}))\}")
_REPEATS = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class BadPatternError(ValueError):
    """A pattern that multipathd must not be given; the message says why."""


class Characters(Struct, frozen=True):
    """One character out of some, or out of all others."""

    those: frozenset[str]
    others: bool = False

    def take(self, character: str) -> bool:
        """Whether this matches a character."""
        return (character in self.those) != self.others


class Anchor(Struct, frozen=True):
    """A place: the start or the end of the text, or a word's edge."""

    at: Literal["start", "end", "word"]


class Sequence(Struct, frozen=True):
    """One after the other."""

    parts: tuple[Node, ...]


class Choice(Struct, frozen=True):
    """One of them."""

    options: tuple[Node, ...]


class Repeat(Struct, frozen=True):
    """The same again: at least and at most so often; `most` None for no end."""

    part: Node
    least: int
    most: int | None


Node = Characters | Anchor | Sequence | Choice | Repeat


def parse(pattern: str) -> Node:
    """Return what a pattern says. Raises BadPatternError."""
    if not pattern.isascii() or "\0" in pattern:
        raise BadPatternError("only ASCII is compared safely")
    parser = _Parser(pattern)
    node = parser.choice(0)
    if parser.at < len(pattern):
        raise BadPatternError("a ) without its (; write \\) for the character")
    size = _size(node)
    if size > SIZE_LIMIT:
        raise BadPatternError(f"its repetitions add up to {size} places, more than {SIZE_LIMIT}")
    return node


def why_refused(pattern: str) -> str | None:
    """Return why multipathd must not be given a pattern, None if it may."""
    try:
        parse(pattern)
    except BadPatternError as error:
        return str(error)
    return None


def _size(node: Node) -> int:
    match node:
        case Sequence(parts) | Choice(parts):
            return 1 + sum(map(_size, parts))
        case Repeat(part, least, most):
            return 1 + _size(part) * max(least + 1 if most is None else most, 1)
        case _:
            return 1


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self.at = 0

    def _next(self) -> str:
        return self._pattern[self.at : self.at + 1]

    def choice(self, depth: int) -> Node:
        if depth > _DEPTH_LIMIT:
            raise BadPatternError(f"groups are nested more than {_DEPTH_LIMIT} deep")
        options = [self._sequence(depth)]
        while self._next() == "|":
            self.at += 1
            options.append(self._sequence(depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self._next() not in ("", "|", ")"):
            part = self._atom(depth)
            repeats = 0
            while self._next() in ("*", "+", "?", "{"):
                if isinstance(part, Anchor):
                    raise BadPatternError(f"nothing before the {self._next()} that could be repeated")
                part = self._repeat(part)
                repeats += 1
                if repeats > _REPEATS_LIMIT:
                    raise BadPatternError(f"more than {_REPEATS_LIMIT} repetitions of the same thing in a row")
            parts.append(part)
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeat(self, part: Node) -> Node:
        character = self._next()
        if character in _REPEATS:
            self.at += 1
            least, most = _REPEATS[character]
            return Repeat(part, least, most)
        interval = _INTERVAL.match(self._pattern, self.at)
        if not interval:
            raise BadPatternError("a { that begins no repetition such as {2,3}; write \\{ for the character")
        self.at = interval.end()
        exactly, comma, up_to, _, only_up_to = interval.groups()
        low = int(exactly or 0)
        high = int(only_up_to) if only_up_to else int(up_to) if up_to else None if comma else low
        if high is not None and high < low:
            raise BadPatternError(f"the repetition {interval[0]} ends before it begins")
        return Repeat(part, low, high)

    def _atom(self, depth: int) -> Node:
        character = self._next()
        self.at += 1
        match character:
            case "(":
                return self._group(depth)
            case "[":
                return self._brackets()
            case "\\":
                return self._escaped()
            case ".":
                return Characters(frozenset(), others=True)
            case "^" | "$":
                return Anchor("start" if character == "^" else "end")
            case "*" | "+" | "?" | "{":
                raise BadPatternError(f"nothing before the {character} that could be repeated (any text is .*)")
            case _:
                return Characters(frozenset(character))

    def _group(self, depth: int) -> Node:
        node = self.choice(depth + 1)
        if self._next() != ")":
            raise BadPatternError("a ( without its )")
        self.at += 1
        # `(^)*` is allowed where `^*` is not
        return Sequence((node,)) if isinstance(node, Anchor) else node

    def _escaped(self) -> Node:
        character = self._next()
        self.at += 1
        match character:
            case "":
                raise BadPatternError("it ends with a backslash")
            case "w" | "W":
                return Characters(_WORD, others=character == "W")
            case "s" | "S":
                return Characters(_SPACES, others=character == "S")
            case "b" | "B" | "<" | ">":
                return Anchor("word")
            case "`" | "'":
                return Anchor("start" if character == "`" else "end")
            case _ if character.isdigit():
                raise BadPatternError(f"the back reference \\{character} can take for ever; write the text out")
            case _ if character.isalpha():
                raise BadPatternError(
                    f"\\{character} means the letter {character} here; a digit is [0-9], a blank [[:space:]]"
                )
        return Characters(frozenset(character))

    def _brackets(self) -> Node:
        others = self._next() == "^"
        self.at += others
        those: set[str] = set()
        first = True
        while first or self._next() != "]":
            if self._next() == "":
                raise BadPatternError("a [ without its ]")
            those |= self._element(first=first)
            first = False
        self.at += 1
        return Characters(frozenset(those), others)

    def _element(self, *, first: bool) -> frozenset[str]:
        """Return what one member of a bracket expression stands for."""
        if self._pattern.startswith("[:", self.at):
            return self._class()
        low = self._member()
        following = self._pattern[self.at + 1 : self.at + 2]
        if low == "-" and not first and self._next() != "]":
            raise BadPatternError("a - within [ ] stands first, last, or between two characters")
        if self._next() != "-" or following in ("]", ""):
            return frozenset(low)
        self.at += 1
        high = self._member()
        if high < low:
            raise BadPatternError(f"the range {low}-{high} ends before it begins")
        return frozenset(map(chr, range(ord(low), ord(high) + 1)))

    def _member(self) -> str:
        if self._pattern[self.at : self.at + 2] in ("[.", "[=", "[:"):
            raise BadPatternError("collating symbols and classes as an end of a range are not for multipath.conf")
        member = self._next()
        self.at += 1
        return member

    def _class(self) -> frozenset[str]:
        end = self._pattern.find(":]", self.at)
        name = self._pattern[self.at + 2 : end] if end >= 0 else self._pattern[self.at + 2 :]
        if end < 0 or name not in _CLASSES:
            raise BadPatternError(f"no class of characters is called [:{name[:20]}:]")
        self.at = end + 2
        if self._next() == "-" and self._pattern[self.at + 1 : self.at + 2] not in ("]", ""):
            raise BadPatternError(f"the class [:{name}:] is no end of a range")
        return _CLASSES[name]
