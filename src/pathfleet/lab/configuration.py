"""The part of multipath.conf that a simulated multipathd obeys, and the wwids file.

A host's directory is its /etc/multipath: `multipath.conf` and `conf.d/*.conf` are read over what the lab itself
configures, in the daemon's order. Bad files do what they do to the real one: see `Fate`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from pathfleet.errors import SettingsError
from pathfleet.lab.dialect import Dialect

#: multipath.conf(5), but for the first four, which suit a lab whose arrays have no entry in the hardware table.
DEFAULTS: Mapping[str, str] = {
    "path_grouping_policy": "group_by_prio",
    "failback": "immediate",
    "find_multipaths": "strict",
    "prio": "alua",
    "polling_interval": "5",
    "user_friendly_names": "no",
    "path_selector": "service-time 0",
    "path_checker": "tur",
    "detect_checker": "yes",
    "uxsock_timeout": "4000",
    "fast_io_fail_tmo": "5",
    "alias_prefix": "mpath",
    "marginal_pathgroups": "off",
}
_LINE_LIMIT = 1 << 16
#: What the daemon makes of a polling_interval that is no number, before it spins on it.
_NONSENSE_INTERVAL = "4294967294"


class Fate(StrEnum):
    """What a configuration does to the daemon that reads it."""

    LIVES = "lives"
    DIES = "dies"
    HANGS = "hangs"


class Configuration(Struct, frozen=True):
    """What the daemon goes by. `multipaths`: by WWID; `blacklist`: patterns of WWIDs; `wwids`: None for no file.

    `overrides` has the last word but for `multipaths` (multipath.conf(5)).
    """

    defaults: dict[str, str]
    multipaths: dict[str, dict[str, str]]
    blacklist: tuple[str, ...] = ()
    blacklisted_devices: tuple[str, ...] = ()
    wwids: frozenset[str] | None = None
    fate: Fate = Fate.LIVES
    overrides: dict[str, str] = {}

    def of(self, wwid: str, keyword: str) -> str | None:
        """Return a keyword's value for a LUN."""
        general = self.overrides.get(keyword, self.defaults.get(keyword))
        return self.multipaths.get(wwid, {}).get(keyword, general)

    def seconds(self, keyword: str, otherwise: int) -> int:
        """Return a positive whole number, `otherwise` if the value is none."""
        value = self.defaults.get(keyword, "")
        return int(value) if value.isdigit() and int(value) else otherwise

    @property
    def polling_interval(self) -> int:
        """Seconds between the checks of a path that is not well."""
        return self.seconds("polling_interval", 5)

    @property
    def max_polling_interval(self) -> int:
        """Seconds between the checks of a path that has been well."""
        return max(self.seconds("max_polling_interval", 4 * self.polling_interval), self.polling_interval)

    def may_have_map(self, wwid: str, devices: Iterable[str]) -> bool:
        """Whether a LUN on these devices gets a map."""
        if self.is_blacklisted(wwid, devices):
            return False
        strict = self.defaults.get("find_multipaths") == "strict"
        return not strict or self.wwids is None or wwid in self.wwids

    def is_blacklisted(self, wwid: str, devices: Iterable[str]) -> bool:
        """Whether the blacklist names a LUN or one of its devices."""
        return any(re.search(pattern, wwid) for pattern in self.blacklist) or any(
            re.search(pattern, device) for pattern in self.blacklisted_devices for device in devices
        )


class _Section(Struct):
    defaults: dict[str, str]
    multipaths: dict[str, dict[str, str]]
    blacklist: list[str]
    devices: list[str]
    overrides: dict[str, str]


def read(directory: Path | None, dialect: Dialect, base: Configuration) -> Configuration:
    """Return what a daemon of this release makes of a host's files."""
    found = _Section(dict(base.defaults), {wwid: dict(each) for wwid, each in base.multipaths.items()}, [], [], {})
    fate = Fate.LIVES
    for file in _files(directory):
        try:
            _take(found, _sections(_text(file)))
        except re.error:
            # In the main file this ends the daemon, in a drop-in only the rest of the file is lost (config.c)
            fate = Fate.DIES if file.name == "multipath.conf" else fate
    interval = found.defaults["polling_interval"]
    if dialect.dies_of_polling_interval and fate is Fate.LIVES:
        fate = Fate.DIES if interval == "0" else Fate.HANGS if not interval.isdigit() else fate
    elif not interval.isdigit():
        found.defaults["polling_interval"] = _NONSENSE_INTERVAL
    wwids = base.wwids if directory is None else _wwids(directory / "wwids")
    blacklist, devices = tuple(found.blacklist), tuple(found.devices)
    return Configuration(found.defaults, found.multipaths, blacklist, devices, wwids, fate, found.overrides)


def write_wwids(file: Path, wwids: Iterable[str]) -> None:
    """Write a wwids file as `multipath -a` leaves it. Raises SettingsError."""
    head = "# Multipath wwids, Version : 1.0\n# Valid WWIDs:\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(head + "".join(f"/{wwid}/\n" for wwid in wwids), "utf-8")
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error.strerror}") from error


def _files(directory: Path | None) -> list[Path]:
    if directory is None:
        return []
    main = directory / "multipath.conf"
    return [*([main] if main.exists() else []), *sorted((directory / "conf.d").glob("*.conf"))]


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", errors="replace")
    except OSError:
        return ""  # multipathd warns and goes on


def _wwids(file: Path) -> frozenset[str] | None:
    if not file.exists():
        return None
    lines = (line.strip() for line in _text(file).splitlines())
    return frozenset(line.strip("/") for line in lines if line.startswith("/"))


_WORD = re.compile(r'"((?:[^"]|"")*)"?|([^\s"#!{}]+)|([{}])|[#!].*')

Statement = tuple[tuple[str, ...], str, str]


def _sections(text: str) -> Iterator[Statement]:
    """Yield each statement: the sections around it, its keyword and value; a section that closes has no keyword."""
    around: list[str] = []
    for line in text.split("\n"):
        words = [
            match[1].replace('""', '"') if match[1] is not None else match[2] or match[3]
            for match in _WORD.finditer(line[:_LINE_LIMIT])
            if match[1] is not None or match[2] or match[3]
        ]
        if not words:
            continue
        if words[0] == "}":
            yield tuple(around), "", ""
            del around[-1:]
        elif words[-1] == "{":
            around.append(words[0])
        elif len(words) > 1:
            yield tuple(around), words[0], words[1]


def _take(found: _Section, statements: Iterator[Statement]) -> None:
    multipath: dict[str, str] = {}
    for around, keyword, value in statements:
        match around:
            case ("defaults",) if keyword:
                found.defaults[keyword] = value
            case ("overrides",) if keyword:
                found.overrides[keyword] = value
            case ("blacklist",) if keyword in ("wwid", "devnode"):
                re.compile(value)
                (found.blacklist if keyword == "wwid" else found.devices).append(value)
            case ("multipaths", "multipath") if keyword:
                multipath[keyword] = value
            case ("multipaths", "multipath"):
                # without a wwid multipathd warns and ignores the section
                found.multipaths.setdefault(multipath.pop("wwid", ""), {}).update(multipath)
                found.multipaths.pop("", None)
                multipath = {}
            case _:
                pass
