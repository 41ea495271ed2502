"""The kinds of values of multipath.conf(5): what each may be, and which spellings mean the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches

import msgspec
from msgspec import Struct

from pathfleet.core.conf.ere import why_refused

INT_MAX = 2**31 - 1
_UINT_MAX = 2**32 - 1
_YES_NO = {"1": "yes", "0": "no"}

_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,9})")
#: A name that device-mapper takes as it is; what else stands in one it would mangle.
_NAME = re.compile(r"[A-Za-z0-9#+:=@_.\-]+")
_GRAPHIC = re.compile(r"[!-~]+")
_TEXT = re.compile(r"[ -~]*")
_KEY = re.compile(r"(?:0x)?0*[0-9a-f]{1,16}(?::aptpl)?", re.IGNORECASE)
_UID_ATTRIBUTES = re.compile(r"[a-z]+:[A-Za-z0-9_]+(?: +[a-z]+:[A-Za-z0-9_]+)*")
_ALIAS_LIMIT = 127

#: What becomes of a line with a value that multipathd does not take.
_IGNORED = "multipathd ignores the line, before 0.8.8 often the whole file"
_REGEX_HARM = "multipathd ignores the line, or refuses the file and stays down"


class Kind(Struct, frozen=True):
    """What a value may be. `why_not` says why one is refused, None if it is not; `allowed` says what to write.

    `spellings`: other ways to write a value, and the one that multipathd prints; `spell` makes it where they are
    without number. `harm`: what becomes of a bad one.
    """

    allowed: str
    why_not: Callable[[str], str | None]
    spellings: Mapping[str, str] = {}
    harm: str = _IGNORED
    spell: Callable[[str], str] = str

    def canonical(self, value: str) -> str:
        """Return the one spelling of a value; equal values then are equal texts."""
        return self.spellings.get(value) or self.spell(value)


def words(*allowed: str, spellings: Mapping[str, str] = {}) -> Kind:
    """One of some words."""

    def why_not(value: str) -> str | None:
        return None if value in allowed or value in spellings else near(value, allowed) or "no such word"

    return Kind(_one_of(allowed), why_not, spellings)


def near(value: str, allowed: tuple[str, ...]) -> str | None:
    """Return a question for the word that was meant, None if there is none like it."""
    found = get_close_matches(value[:80].lower(), allowed, n=1)
    return f"did you mean {found[0]}?" if found else None


def whole(
    least: int, most: int = INT_MAX, *others: str, spellings: Mapping[str, str] = {}, harm: str = _IGNORED
) -> Kind:
    """A whole number from `least` to `most`, or one of some words."""
    numbers = f"{least} to {most}" if most < INT_MAX else f"a whole number from {least} on"

    def why_not(value: str) -> str | None:
        if value in others or value in spellings:
            return None
        if not _WHOLE.fullmatch(value):
            return near(value, others) or "not a whole number"
        return None if least <= int(value) <= most else "out of range"

    return Kind(f"{numbers}, or {_one_of(others)}" if others else numbers, why_not, spellings, harm)


def matching(form: re.Pattern[str], allowed: str, *, longest: int = 1000) -> Kind:
    """A text of a form."""

    def why_not(value: str) -> str | None:
        return None if len(value) <= longest and form.fullmatch(value) else "not of this form"

    return Kind(allowed, why_not)


def counted(at: int, *first: str) -> Kind:
    """Words with a count of those that follow it: `name N args…` (`at` 1), or `N args…` (`at` 0) for some names."""
    form = "NAME COUNT ARGUMENTS…" if at else "COUNT ARGUMENTS…"

    def why_not(value: str) -> str | None:
        parts = value.split()
        if len(parts) <= at or not re.fullmatch(r"[0-9]{1,3}", parts[at]):
            return f"the count of its arguments is missing ({form})"
        if int(parts[at]) != len(parts) - at - 1:
            return f"it counts {parts[at]} arguments, and has {len(parts) - at - 1}"
        names = parts[:1] if at else parts[1:2]
        return (
            near(names[0], first) or f"{names[0]!r} is not known"
            if first and names and names[0] not in first
            else None
        )

    name = f" with NAME {_one_of(first)}" if at else f" ({_one_of(first)})" if first else ""
    return Kind(f'"{form}"{name}', why_not, spell=lambda value: " ".join(value.split()))


def _why_no_regex(value: str) -> str | None:
    return why_refused(value.removeprefix("!"))


def _why_no_plain_regex(value: str) -> str | None:
    if value.startswith("!"):
        return "only in a blacklist does a ! at the start mean all others"
    return why_refused(value)


def _why_no_mode(value: str) -> str | None:
    return None if re.fullmatch(r"0?[0-7]{1,3}", value) else "not of this form"


def _why_no_key(value: str) -> str | None:
    bare = value.lower().removesuffix(":aptpl").removeprefix("0x")
    if value == "file" or (_KEY.fullmatch(value) and len(bare) <= 16 and bare.strip("0")):
        return None
    return "not of this form"


def _spell_key(value: str) -> str:
    key, colon, flags = value.lower().partition(":")
    return value if value == "file" or _why_no_key(value) else f"{int(key, 16):#x}{colon}{flags}"


def _spell_owner(value: str) -> str:
    """Return the number in octal behind a 0: so multipathd prints what it reads in decimal (libmultipath/dict.c)."""
    if value == "root":
        return "00"
    return f"0{int(value):o}" if _WHOLE.fullmatch(value) else value


def _spell_mode(value: str) -> str:
    return value if _why_no_mode(value) else f"0{int(value, 8):o}"


def _one_of(allowed: tuple[str, ...]) -> str:
    return allowed[0] if len(allowed) == 1 else f"{', '.join(allowed[:-1])} or {allowed[-1]}" if allowed else ""


YES_NO = words("yes", "no", spellings=_YES_NO)
COUNT = whole(0)
#: Where multipathd takes 0 for "not set".
FROM_ONE = whole(1)
#: Off, or a number from 1: `no` and `0` are the same.
OFF_OR_COUNT = whole(1, INT_MAX, "no", spellings={"0": "no"})
OFF_OR_SECONDS = whole(1, INT_MAX, "0", "off")
NO_PATH_RETRY = whole(1, INT_MAX, "fail", "queue", spellings={"0": "fail"})
DEV_LOSS = whole(1, _UINT_MAX, "infinity", spellings={str(INT_MAX): "infinity", str(_UINT_MAX): "infinity"})
FAILBACK = whole(1, INT_MAX, "immediate", "manual", "followover")
REGEX = Kind("a POSIX extended regular expression (any text is .*)", _why_no_plain_regex, harm=_REGEX_HARM)
BLACKLIST_REGEX = Kind("a POSIX extended regular expression (any text is .*)", _why_no_regex, harm=_REGEX_HARM)
MODE = Kind("three octal digits", _why_no_mode, spell=_spell_mode)
RESERVATION_KEY = Kind(
    "1 to 16 hexadecimal digits but not 0, maybe followed by :aptpl, or file", _why_no_key, spell=_spell_key
)
_NUMBERED = whole(0, _UINT_MAX, "root")
#: By number: a name that a node does not know is ignored there.
OWNER = msgspec.structs.replace(_NUMBERED, spell=_spell_owner)
UID_ATTRIBUTES = matching(_UID_ATTRIBUTES, '"TYPE:ATTRIBUTE TYPE:ATTRIBUTE…"')
ALIAS = matching(_NAME, f"1 to {_ALIAS_LIMIT} of A-Z a-z 0-9 # + - . : = @ _", longest=_ALIAS_LIMIT)
GRAPHIC = matching(_GRAPHIC, "one word of ASCII characters")
PATHNAME = matching(re.compile(r"/[ -~]*"), "an absolute path")
TEXT = matching(_TEXT, "a text of ASCII characters")
NO_SLASH = matching(re.compile(r"[ -.0-~]*"), "a text of ASCII characters without /")
