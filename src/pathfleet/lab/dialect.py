"""What differs between releases of multipath-tools in what they say on the socket."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from pathfleet.lab.topology import Version

#: Dates in the banner: as recorded from real daemons, but for 0.14.3, whose is that of its release.
_BANNER_DATES: Mapping[Version, str] = {
    "0.8.5": "11/09, 2020",
    "0.9.4": "12/19, 2022",
    "0.11.1": "01/24, 2025",
    "0.14.3": "02/09, 2026",
}
#: Format wildcards in the order of `show wildcards`: letter, heading, release that brought it.
MAP_WILDCARDS = (
    *(("n", "name", "0"), ("w", "uuid", "0"), ("d", "sysfs", "0"), ("F", "failback", "0"), ("Q", "queueing", "0")),
    *(("N", "paths", "0"), ("r", "write_prot", "0"), ("t", "dm-st", "0"), ("S", "size", "0"), ("f", "features", "0")),
    *(("x", "failures", "0"), ("h", "hwhandler", "0"), ("A", "action", "0"), ("0", "path_faults", "0")),
    *(("1", "switch_grp", "0"), ("2", "map_loads", "0"), ("3", "total_q_time", "0"), ("4", "q_timeouts", "0")),
    *(("s", "vend/prod/rev", "0"), ("v", "vend", "0"), ("p", "prod", "0"), ("e", "rev", "0"), ("G", "foreign", "0")),
    *(("g", "vpd page data", "0"), ("k", "max_sectors_kb", "0.9.9")),
)
PATH_WILDCARDS = (
    *(("w", "uuid", "0"), ("i", "hcil", "0"), ("d", "dev", "0"), ("D", "dev_t", "0"), ("t", "dm_st", "0")),
    *(("o", "dev_st", "0"), ("T", "chk_st", "0"), ("s", "vend/prod/rev", "0"), ("c", "checker", "0")),
    *(
        ("C", "next_check", "0"),
        ("p", "pri", "0"),
        ("S", "size", "0"),
        ("z", "serial", "0"),
        ("M", "marginal_st", "0"),
    ),
    *(("m", "multipath", "0"), ("N", "host WWNN", "0"), ("n", "target WWNN", "0"), ("R", "host WWPN", "0")),
    *(("r", "target WWPN", "0"), ("a", "host adapter", "0"), ("G", "foreign", "0"), ("g", "vpd page data", "0")),
    *(("0", "failures", "0"), ("P", "protocol", "0"), ("I", "init_st", "0.8.8"), ("L", "LUN hex", "0.8.9")),
    *(("A", "TPG", "0.9.6"), ("k", "max_sectors_kb", "0.9.9")),
)
GROUP_WILDCARDS = (("s", "selector", "0"), ("p", "pri", "0"), ("t", "dm_st", "0"), ("M", "marginal_st", "0"))


class Dialect(Struct, frozen=True):
    """One release, as Debian has it. What is not explained is as its name says."""

    version: Version
    banner: str
    has_lun_hex: bool
    has_pathname_socket: bool
    has_reconfigure_all: bool
    errors_begin_with_fail: bool
    #: Debian 11's fix of CVE-2022-41974 lost the words for a command that there is not: only the help text follows.
    names_unknown_commands: bool
    names_manual_failback: bool
    #: A map that the configuration no longer allows, but that is open, stays in the listings, without paths.
    lists_maps_given_up: bool
    lists_nothing_as_ok: bool
    tells_pending_reconfigure: bool
    #: A map whose groups are no longer in the order of their priorities is loaded anew, not just switched.
    sorts_groups_again: bool
    #: `polling_interval 0` divides by zero, and what is no number spins the checker for ever.
    dies_of_polling_interval: bool

    def knows(self, since: str) -> bool:
        """Whether the release is `since` or newer."""
        return _numbers(self.version) >= _numbers(since)

    def failure(self, why: str = "") -> bytes:
        """Return how a command's failure is answered; `why` only where failures tell one."""
        return f"fail\n{why}".encode() if self.errors_begin_with_fail else b"fail\n"

    def denied(self) -> bytes:
        """Return the answer to a user who may only read."""
        if not self.knows("0.8.8"):
            return b"permission deny: need to be root"
        return (b"fail\n" if self.errors_begin_with_fail else b"") + b"permission deny: need to be root\n"

    def timed_out(self) -> bytes:
        """Return the answer when the maps were locked for too long."""
        return (b"fail\n" if self.errors_begin_with_fail else b"") + b"timeout\n"

    def nothing(self) -> bytes:
        """Return the answer of a listing command with nothing to list."""
        return b"ok\n" if self.lists_nothing_as_ok else b""


def dialect(version: Version) -> Dialect:
    """Return how a release speaks."""

    def since(release: str) -> bool:
        return _numbers(version) >= _numbers(release)

    return Dialect(
        version,
        f"multipath-tools v{version} ({_BANNER_DATES[version]})\n",
        has_lun_hex=since("0.8.9"),
        has_pathname_socket=since("0.12.0"),
        has_reconfigure_all=since("0.8.8"),
        errors_begin_with_fail=since("0.9.8"),
        names_unknown_commands=since("0.8.8"),
        names_manual_failback=since("0.9.9"),
        lists_maps_given_up=since("0.9.4"),
        lists_nothing_as_ok=since("0.8.8"),
        tells_pending_reconfigure=since("0.10.0"),
        sorts_groups_again=since("0.9.6"),
        dies_of_polling_interval=since("0.10.0"),
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
