"""The commands of multipathd's socket: which exist in a release, and how a line is taken for one of them.

Keywords may be shortened as long as they stay unique, and a parameter with blanks stands in double quotes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from pathfleet.lab.dialect import Dialect

#: In the order of the help text: the words with their synonyms, `$` for a parameter; then the release that brought it.
_COMMANDS = tuple(
    line.split("  ") if "  " in line else [line, "0"]
    for line in """list|show paths
list|show paths format $format
list|show paths raw format $format
list|show path $path
list|show maps|multipaths
list|show status
list|show daemon
list|show maps|multipaths status
list|show maps|multipaths stats
list|show maps|multipaths format $format
list|show maps|multipaths raw format $format
list|show maps|multipaths topology
list|show topology
list|show maps|multipaths json
list|show map|multipath $map topology
list|show map|multipath $map format $format
list|show map|multipath $map raw format $format
list|show map|multipath $map json
list|show config local
list|show config
list|show blacklist
list|show devices
list|show wildcards
reset maps|multipaths stats
reset map|multipath $map stats
add path $path
remove|del path $path
add map|multipath $map
remove|del map|multipath $map
remove|del maps|multipaths
switch|switchgroup map|multipath $map group $group
reconfigure
reconfigure all  0.8.8
suspend map|multipath $map
resume map|multipath $map
resize map|multipath $map
reload map|multipath $map
reset map|multipath $map
reinstate path $path
fail path $path
disablequeueing map|multipath $map
restorequeueing map|multipath $map
disablequeueing maps|multipaths
restorequeueing maps|multipaths
quit|exit
shutdown
getprstatus map|multipath $map
setprstatus map|multipath $map
unsetprstatus map|multipath $map
forcequeueing daemon
restorequeueing daemon
getprkey map|multipath $map
setprkey map|multipath $map key $key
unsetprkey map|multipath $map
setmarginal path $path
unsetmarginal path $path
unsetmarginal map|multipath $map
getprhold map|multipath $map  0.13.0
setprhold map|multipath $map  0.13.0
unsetprhold map|multipath $map  0.13.0""".splitlines()
)
#: The help text before 0.8.8 had these elsewhere: each with the command that it stood after.
_STOOD_AFTER = {
    "list|show maps|multipaths": "list|show daemon",
    "list|show topology": "list|show maps|multipaths json",
    "list|show map|multipath $map json": "list|show map|multipath $map topology",
    "list|show config local": "list|show config",
    "reload map|multipath $map": "reset map|multipath $map",
    "reinstate path $path": "restorequeueing maps|multipaths",
    "fail path $path": "reinstate path $path",
    "forcequeueing daemon": "unsetprkey map|multipath $map",
    "restorequeueing daemon": "forcequeueing daemon",
}
_NOT_FOUND = "not found"
_MISSING = "Missing argument"
_WORDS = re.compile(r'"([^"]*)"|(\S+)')


class Command(Struct, frozen=True):
    """A command understood: its keywords in their first spelling, and its parameters by name."""

    verb: str
    parameters: Mapping[str, str] = {}

    @property
    def reads(self) -> bool:
        """Whether any user may give it."""
        return self.verb.startswith("list")


class NotUnderstood(Exception):
    """No such command; the text says what multipathd makes of it."""


class Grammar:
    """The commands of one release."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._lines = _lines(dialect)
        self._commands = {_signature(line): line for line in self._lines}
        words = (synonyms for line in self._lines for synonyms in line.split() if not synonyms.startswith("$"))
        self._keywords = {word: synonyms.split("|")[0] for synonyms in words for word in synonyms.split("|")}
        self._takes = {
            first.split("|")[0]: second[1:]
            for line in self._lines
            for first, second in zip(line.split(), line.split()[1:], strict=False)
            if second.startswith("$")
        }

    def help(self, line: str, why: str) -> bytes:
        """Return the help text as the answer to a line that was not understood."""
        commands = "".join(f" {each}\n" for each in self._lines)
        fail = "fail\n" if self._dialect.errors_begin_with_fail else ""
        complaint = "" if why == _NOT_FOUND and not self._dialect.names_unknown_commands else f"{line}: {why}\n"
        return f"{fail}{complaint}{self._dialect.banner}CLI commands reference:\n{commands}".encode(errors="replace")

    def parse(self, line: str) -> Command:
        """Return the command that a line gives. Raises NotUnderstood."""
        words = [match[1] if match[1] is not None else match[2] for match in _WORDS.finditer(line)]
        signature: list[str] = []
        parameters: dict[str, str] = {}
        remaining = iter(words)
        for word in remaining:
            keyword = self._keyword(word)
            signature.append(keyword)
            # `reset maps stats` and the like have keywords that take nothing; `map` and `path` always take one
            if keyword in self._takes:
                value = next(remaining, None)
                if value is None:
                    raise NotUnderstood(_MISSING)
                parameters[self._takes[keyword]] = value
                signature.append("$")
        if tuple(signature) not in self._commands:
            raise NotUnderstood(_MISSING)
        return Command(" ".join(word for word in signature if word != "$"), parameters)

    def _keyword(self, word: str) -> str:
        if word in self._keywords:
            return self._keywords[word]
        fitting = {self._keywords[keyword] for keyword in self._keywords if keyword.startswith(word)}
        if len(fitting) != 1:
            raise NotUnderstood(_NOT_FOUND)
        return fitting.pop()


def _lines(dialect: Dialect) -> list[str]:
    """Return the commands of a release in the order of its help text."""
    lines = [line for line, since in _COMMANDS if dialect.knows(since)]
    if not dialect.knows("0.8.8"):
        for line, before in _STOOD_AFTER.items():
            lines.remove(line)
            lines.insert(lines.index(before) + 1, line)
    return lines


def _signature(line: str) -> tuple[str, ...]:
    return tuple("$" if word.startswith("$") else word.split("|")[0] for word in line.split())
