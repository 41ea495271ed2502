"""Maps, path groups and paths, as multipathd says them in its reply to `show maps json`.

Decoding takes every version since 0.6.2. The names are those of multipathd's own output; what the reply does not
have (`marginal_st` before 0.8.3) has the value that changes no verdict. Fields that nobody here asks for are
skipped: the decoder's time goes with the number of strings it makes.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Struct

from pathfleet.errors import CannotTell

#: How multipathd prints what it does not know.
UNKNOWN_WORDS = frozenset(("", "[undef]", "[unknown]", "(null)", "undef", "unknown"))


class Path(Struct, frozen=True, gc=False):
    """One device of a map. `dm_st` is the kernel's word, `chk_st` the checker's, `dev_st` the SCSI layer's."""

    dev: str
    dm_st: str = "undef"
    dev_st: str = "unknown"
    chk_st: str = "undef"
    pri: int = -1
    host_wwpn: str = ""
    target_wwpn: str = ""
    host_adapter: str = ""
    marginal_st: str = "normal"


class PathGroup(Struct, frozen=True, gc=False):
    """Paths of one priority; the one that carries the I/O has `dm_st` "active"."""

    pri: int = -1
    dm_st: str = "undef"
    paths: tuple[Path, ...] = ()


class Map(Struct, frozen=True, gc=False):
    """A LUN as multipathd assembled it on this node. `uuid` is the WWID, `sysfs` the kernel's `dm-N`."""

    name: str = ""
    uuid: str = ""
    sysfs: str = ""
    queueing: str = "-"
    dm_st: str = "undef"
    features: str = ""
    vend: str = ""
    prod: str = ""
    path_groups: tuple[PathGroup, ...] = ()

    @property
    def vendor(self) -> str | None:
        """Who made the LUN, None if it is not known."""
        return _word(self.vend)

    @property
    def product(self) -> str | None:
        """What the LUN is, None if it is not known."""
        return _word(self.prod)


def _word(padded: str) -> str | None:
    # `##` is multipathd's word for a map without paths
    return None if padded.strip() in ("", "##") else padded.strip()


class _ManyMaps(Struct, frozen=True, gc=False):
    maps: tuple[Map, ...]


class _OneMap(Struct, frozen=True, gc=False):
    map: Map


_many_maps = msgspec.json.Decoder(_ManyMaps)
_one_map = msgspec.json.Decoder(_OneMap)
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(reply: bytes) -> tuple[Map, ...]:
    """Return the maps of a reply to `show maps json` or `show map WWID json`.

    Raises CannotTell, with what the reply was instead, for anything else. A string that multipathd printed
    without escaping costs at most itself.
    """
    try:
        # multipathd escapes nothing: a backslash is itself, even where it happens to make sense as JSON
        return _many_maps.decode(_escaped(reply) if b"\\" in reply else reply).maps
    except _UNDECODABLE as error:
        return _decode_odd(reply.rstrip(b"\0 \r\n\t"), error)


def _decode_odd(text: bytes, error: Exception) -> tuple[Map, ...]:
    if not text.lstrip().startswith(b"{"):
        raise refusal(text)
    escaped = _escaped(text)
    for decoder in (_many_maps, _one_map):
        try:
            document = decoder.decode(escaped)
        except _UNDECODABLE:
            continue
        return document.maps if isinstance(document, _ManyMaps) else (document.map,)
    raise _broken(text, error)


# Each field stands on its own line, so the raw string is what lies between the first quote after the colon and
# the quote that ends the line (print.c of multipath-tools, every version); after a comma there follows another
# field, else the end of the object, which tells a line break within the string. The bound, far above any string of
# multipathd, keeps the search linear where no quote ends a line.
_STRING_FIELD = re.compile(
    r'^([ \t]*"\w+" : ")(.{0,1024}?)("(?:,[ \t]*(?=\r?\n[ \t]*")|(?=\r?\n[ \t]*\})))', re.MULTILINE | re.DOTALL
)


def _escaped(text: bytes) -> bytes:
    """Escape the strings that multipathd printed raw; bytes that are not UTF-8 become U+FFFD."""

    def escape(field: re.Match[str]) -> str:
        head, raw, tail = field.groups()
        return head + msgspec.json.encode(raw).decode()[1:-1] + tail

    return _STRING_FIELD.sub(escape, text.decode("utf-8", "replace")).encode()


_PROMPT = b"multipathd>"


def refusal(text: bytes) -> CannotTell:
    """Return what a reply that is no JSON means, in words."""
    first = text.split(b"\n", 1)[0].decode("utf-8", "replace").strip()[:120]
    words = text[:200].split()
    if not words:
        return CannotTell("multipathd sent an empty reply; ask again, or look at `journalctl -u multipathd`")
    if _PROMPT in text:
        return CannotTell(
            "this is an interactive session of multipathd, its prompt stands around the answer; "
            "use the output of `multipathd show maps json` alone",
            passing=False,
        )
    if b"timeout" in words[:2]:
        return CannotTell(
            "multipathd answered `timeout`: it was too busy to look at its maps; "
            "if this lasts, raise uxsock_timeout in multipath.conf"
        )
    if b"permission" in words[:2]:
        return CannotTell("multipathd answered `permission deny`; run this as root", passing=False)
    if b"CLI commands reference" in text or b"multipath-tools v" in text:
        return CannotTell(
            "multipathd answered with its help text: it does not know the command; "
            "maps in JSON need multipath-tools 0.6.2 or newer",
            passing=False,
        )
    if words[0] == b"fail":
        return CannotTell(
            "multipathd answered `fail`: a map vanished while it was listed, or it is shutting down; "
            "if this lasts, look at `journalctl -u multipathd`"
        )
    if words == [b"ok"]:
        return CannotTell(
            "multipathd answered `ok`, which lists nothing; use the output of `multipathd show maps json`",
            passing=False,
        )
    return CannotTell(f"not an answer of multipathd in JSON; it starts with {first!r}", passing=False)


def _broken(text: bytes, error: Exception) -> CannotTell:
    if _PROMPT in text:
        return refusal(text)
    if not text.endswith(b"}") or text.count(b"{") > text.count(b"}"):
        return CannotTell(
            f"the reply of multipathd is cut short after {len(text)} bytes; ask again "
            "(multipath-tools 0.8.8 to 0.9.1 do this when they are slow)"
        )
    return CannotTell(f"the reply of multipathd is not the JSON it should be: {error}")


_VERSION = re.compile(rb"multipath-tools v(\d+(?:\.\d+)+)")


def version_in(help_text: bytes) -> str | None:
    """Return the version that multipathd's help text names in its banner, None if it names none.

    The help text is the answer to any unknown command, in every version.
    """
    found = _VERSION.search(help_text)
    return found[1].decode() if found else None


def known(word: str) -> str | None:
    """Return a word of multipathd, None if it is one of those that say "I do not know"."""
    return None if word in UNKNOWN_WORDS else word
