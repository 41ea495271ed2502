"""One line of multipath.conf as words, quoted values and braces: multipathd's libmpathutil/parser.c, alloc_strvec."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

#: Bytes of a line that multipathd reads at once (MAXBUF - 1); what follows it takes for a line of its own.
LINE_LIMIT = 1023

#: Told of a flaw: its column, counted from 1 in characters, a stable code, and a message.
Complain = Callable[[int, str, str], None]

_TOKEN = re.compile(
    r"""(?P<open>\{) | (?P<close>\}) | (?P<comment>[#!].*)
    | "(?P<quoted>[^"]*(?:""[^"]*)*)(?P<end>"?)
    | (?P<word>[^\x00\ \t\v\f\r"\#!{}]+)""",
    re.VERBOSE | re.DOTALL,
)
#: What may end a line or a word early, or is no character at all.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


class Token(Struct, frozen=True):
    """A word, a brace, or what stood in double quotes."""

    kind: Literal["open", "close", "word", "quoted"]
    text: str
    column: int


def tokens(line: str, complain: Complain) -> deque[Token]:
    """Return the tokens of a line without its comment, as they were meant."""
    line = line.removesuffix("\r")  # where multipathd ends a line too
    _check_characters(line, complain)
    found: deque[Token] = deque()
    word_end = -1
    for match in _TOKEN.finditer(line):
        column = match.start() + 1
        if match["comment"] is not None:
            if match.start() == word_end:
                complain(
                    column,
                    "comment-in-word",
                    f"{match[0][0]!r} begins a comment, also in the middle of a word: multipathd stops reading here; "
                    "put the value in double quotes, or a blank before the comment",
                )
            break
        if match["quoted"] is not None:
            found.append(_quoted(match, column, complain))
        elif match["word"] is not None:
            word_end = match.end()
            found.append(_word(match["word"], column, complain))
        else:
            found.append(Token("open" if match["open"] else "close", match[0], column))
    return found


def _quoted(match: re.Match[str], column: int, complain: Complain) -> Token:
    if not match["end"]:
        complain(
            column,
            "missing-quote",
            "the closing double quote is missing: multipathd takes the rest of the line for the value; add it "
            '(a double quote within a value is written "")',
        )
    return Token("quoted", match["quoted"].replace('""', '"'), column)


def _word(word: str, column: int, complain: Complain) -> Token:
    foreign = _NOT_ASCII.search(word)
    if foreign:
        complain(
            column + foreign.start(),
            "not-ascii",
            f"outside double quotes multipathd takes {foreign[0]!r} for a blank; write ASCII, or quote the value",
        )
    return Token("word", word, column)


def _check_characters(line: str, complain: Complain) -> None:
    control = _CONTROL.search(line)
    if control:
        complain(
            control.start() + 1,
            "control-character",
            f"the character {control[0]!r} may end the line or a word for multipathd; take it out",
        )
    if len(line) * 4 > LINE_LIMIT and len(line.encode("utf-8", "surrogatepass")) > LINE_LIMIT:
        complain(
            1,
            "line-too-long",
            f"the line has more than {LINE_LIMIT} bytes: multipathd takes the rest for another line; shorten it",
        )
