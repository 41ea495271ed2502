"""multipathd's words for its maps and paths: `show maps json` byte for byte, and the format wildcards.

The shape is that of real daemons (recordings in tests/data/vm): three blanks a level, strings never escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pathfleet.lab.daemon import Daemon
from pathfleet.lab.devices import Map, Path, group_priority

_PROGRESS_LENGTH = 10
_UNITS = "KMGTP"
_HEAD = b'{\n   "major_version": 0,\n   "minor_version": 1,\n   '
_NO_INQUIRY = ("##", "##", "##")


class Replies:
    """What one daemon says. Maps are rendered once and kept, until they change."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def maps_json(self) -> list[bytes]:
        """Return the reply to `show maps json` in pieces; its maps are not copied into one."""
        maps = self._daemon.maps
        if not maps:
            return [_HEAD, b'"maps": []\n}\n']
        pieces = [_HEAD, b'"maps": [{\n']
        for map_ in maps:
            pieces += (self._json(map_), b"\n   },{\n")
        pieces[-1] = b"\n   }]\n}\n"
        return pieces

    def map_json(self, map_: Map) -> list[bytes]:
        """Return the reply to `show map X json`."""
        return [_HEAD, b'"map": {\n', self._json(map_), b"\n   }\n}\n"]

    def _json(self, map_: Map) -> bytes:
        if map_.rendered is not None:
            return map_.rendered
        text = self._map_text(map_).encode(errors="surrogateescape")
        if map_.retry_since is None:  # while the countdown runs the text changes by itself
            map_.rendered = text
        return text

    def _map_text(self, map_: Map) -> str:
        vend, prod, rev = inquiry(map_)
        groups = map_.groups if map_.watched else []
        return (
            f'      "name" : "{map_.name}",\n      "uuid" : "{map_.wwid}",\n      "sysfs" : "dm-{map_.minor}",\n'
            f'      "failback" : "{self.failback(map_)}",\n      "queueing" : "{self._daemon.queueing.word(map_)}",\n'
            f'      "paths" : {map_.usable if map_.watched else 0},\n      "write_prot" : "rw",\n'
            f'      "dm_st" : "{dm_state(map_)}",\n      "features" : "{features(map_)}",\n'
            f'      "hwhandler" : "{hwhandler(map_)}",\n      "action" : "",\n'
            f'      "path_faults" : {map_.path_faults},\n'
            f'      "vend" : "{vend}",\n      "prod" : "{prod}",\n      "rev" : "{rev}",\n'
            f'      "switch_grp" : {map_.switches},\n      "map_loads" : {map_.loads},\n'
            f'      "total_q_time" : {self._daemon.queueing.waited_seconds(map_)},\n'
            f'      "q_timeouts" : {map_.q_timeouts},\n      "path_groups": '
            + ("[{\n" + "\n      },{\n".join(self._group_texts(map_, groups)) + "\n      }]" if groups else "[]")
        )

    def _group_texts(self, map_: Map, groups: list[list[Path]]) -> Iterator[str]:
        selector = self._daemon.configuration.of(map_.wwid, "path_selector") or "service-time 0"
        for number, group in enumerate(groups):
            paths = "\n         },{\n".join([self._path_text(path) for path in group])
            yield (
                f'         "selector" : "{selector}",\n         "pri" : {group_priority(group)},\n'
                f'         "dm_st" : "{group_state(map_, number)}",\n'
                f'         "marginal_st" : "{marginal_word(all(path.marginal for path in group))}",\n'
                f'         "group" : {number + 1},\n         "paths": [{{\n{paths}\n         }}]'
            )

    def _path_text(self, path: Path) -> str:
        host_wwnn, target_wwnn, host_wwpn, target_wwpn, adapter = addresses(path)
        number = f'            "lun_hex" : "{lun_address(path)}",\n' if self._daemon.dialect.has_lun_hex else ""
        return (
            f'            "dev" : "{path.name}",\n            "dev_t" : "{path.dev_t}",\n'
            f'            "dm_st" : "{dm_word(path)}",\n            "dev_st" : "{device_word(path)}",\n'
            f'            "chk_st" : "{path.check}",\n            "checker" : "{self._daemon.checker.name(path)}",\n'
            f'            "pri" : {path.pri},\n            "host_wwnn" : "{host_wwnn}",\n'
            f'            "target_wwnn" : "{target_wwnn}",\n            "host_wwpn" : "{host_wwpn}",\n'
            f'            "target_wwpn" : "{target_wwpn}",\n            "host_adapter" : "{adapter}",\n'
            f'{number}            "marginal_st" : "{marginal_word(path.marginal)}"'
        )

    def failback(self, map_: Map) -> str:
        """Return a map's `failback` as this release words it."""
        names = self._daemon.dialect.names_manual_failback
        setting = self._daemon.configuration.of(map_.wwid, "failback") or "manual"
        if not map_.watched:
            return "undef" if names else "-"
        if setting == "manual":
            return "manual" if names else "-"
        if setting.isdigit():
            return f"deferred:{setting}" if names else progress(0, int(setting))
        return setting

    def map_words(self) -> Mapping[str, Callable[[Map], str]]:
        """Return what each format wildcard of a map stands for."""
        queueing = self._daemon.queueing
        return {
            "n": lambda m: m.name,
            "w": lambda m: m.wwid,
            "d": lambda m: f"dm-{m.minor}",
            "F": self.failback,
            "Q": queueing.word,
            "N": lambda m: str(m.usable if m.watched else 0),
            "r": lambda _: "rw",
            "t": dm_state,
            "S": lambda m: size_word(m.size),
            "f": features,
            "x": lambda m: str(m.failures),
            "h": hwhandler,
            "A": lambda _: "",
            "0": lambda m: str(m.path_faults),
            "1": lambda m: str(m.switches),
            "2": lambda m: str(m.loads),
            "3": lambda m: str(queueing.waited_seconds(m)),
            "4": lambda m: str(m.q_timeouts),
            "s": lambda m: ",".join(inquiry(m)[:2]),
            "v": lambda m: inquiry(m)[0],
            "p": lambda m: inquiry(m)[1],
            "e": lambda m: inquiry(m)[2],
            "G": lambda _: "--",
            "g": lambda _: "",
            "k": lambda _: "512",
        }

    def path_words(self) -> Mapping[str, Callable[[Path], str]]:
        """Return what each format wildcard of a path stands for."""
        return {
            "w": lambda p: p.lun.wwid,
            "i": lambda p: p.hctl,
            "d": lambda p: p.name,
            "D": lambda p: p.dev_t,
            "t": lambda p: dm_word(p) if self._map_of(p) else "undef",
            "o": lambda p: device_word(p) if self._map_of(p) else "unknown",
            "T": lambda p: p.check if self._map_of(p) else "undef",
            "s": lambda p: f"{vendor(p)},{product(p)}",
            "c": lambda p: self._daemon.checker.name(p) if self._map_of(p) else "(null)",
            "C": self.next_check,
            "p": lambda p: str(p.pri),
            "S": lambda p: size_word(p.size),
            "z": lambda p: p.lun.lun.wwid[1:],
            "M": lambda p: marginal_word(p.marginal),
            "m": lambda p: getattr(self._map_of(p), "name", "[orphan]"),
            "N": lambda p: addresses(p)[0],
            "n": lambda p: addresses(p)[1],
            "R": lambda p: addresses(p)[2],
            "r": lambda p: addresses(p)[3],
            "a": lambda p: addresses(p)[4],
            "G": lambda _: "--",
            "g": lambda _: "",
            "0": lambda p: str(p.failures),
            "P": lambda p: {"fc": "scsi:fcp", "iscsi": "scsi:iscsi", "nvme-tcp": "nvme:tcp"}[p.nexus.transport],
            "I": lambda _: "ok",
            "L": lun_address,
            "A": lambda p: str(p.nexus.target_id),
            "k": lambda _: "512",
        }

    def next_check(self, path: Path) -> str:
        """Return how far the wait for a path's next check is, as a bar."""
        if self._map_of(path) is None:
            return "orphan"
        settings = self._daemon.configuration
        interval = settings.max_polling_interval if path.usable else settings.polling_interval
        left = self._daemon.checker.next_check(path) - int(self._daemon.clock.now)
        return progress(max(0, interval - left), interval)

    def _map_of(self, path: Path) -> Map | None:
        map_ = self._daemon.kernel.maps.get(path.lun.wwid)
        return map_ if map_ is not None and map_.watched else None


def addresses(path: Path) -> tuple[str, str, str, str, str]:
    """Return a path's host and target WWNN, host and target WWPN, and host adapter, as multipathd finds them."""
    nexus = path.nexus
    if nexus.transport == "fc":
        adapter = f"0000:{0x3B + nexus.instance:02x}:00.0"
        return nexus.initiator.node, nexus.array.node, nexus.initiator.address, nexus.target.address, adapter
    if nexus.transport == "iscsi":
        adapter = nexus.initiator.address if nexus.connected else "[undef]"
        return "[undef]", nexus.array.node, "[undef]", "[undef]", adapter
    return "[undef]", "[undef]", "[undef]", "[undef]", "[undef]"


def lun_address(path: Path) -> str:
    """Return the LUN's 8-byte address: peripheral addressing below 256, flat above (SAM-5)."""
    number = path.lun.lun.number
    return f"0x{number if number < 256 else 0x4000 | number:04x}000000000000"


def features(map_: Map) -> str:
    """Return the kernel's feature string; a suspended map has lost its queueing until it is resumed."""
    return "1 queue_if_no_path" if map_.queue and not map_.suspended else "0"


def hwhandler(map_: Map) -> str:
    """Return the kernel's hardware handler of a map."""
    nexus = map_.groups[0][0].nexus if map_.groups else None
    return "1 alua" if nexus and nexus.array.alua and nexus.transport != "nvme-tcp" else "0"


def dm_state(map_: Map) -> str:
    """Return whether a map is suspended."""
    return "suspend" if map_.suspended else "active"


def dm_word(path: Path) -> str:
    """Return the kernel's verdict on a path."""
    return "active" if path.active else "failed"


def device_word(path: Path) -> str:
    """Return the state of the SCSI device; a port that is gone does not make it `offline`."""
    return "offline" if path.offline else "running"


def group_state(map_: Map, number: int) -> str:
    """Return a group's state in the kernel."""
    return "active" if number == map_.current else "enabled"


def marginal_word(marginal: bool) -> str:
    """Return `marginal` or `normal`."""
    return "marginal" if marginal else "normal"


def vendor(path: Path) -> str:
    """Return the vendor as multipathd reads it."""
    return "NVME" if path.nexus.transport == "nvme-tcp" else path.nexus.array.vendor


def product(path: Path) -> str:
    """Return the product as multipathd reads it: NVMe's model number keeps its padding."""
    array = path.nexus.array
    return f"{array.product:<40}" if array.transport == "nvme-tcp" else array.product


def inquiry(map_: Map) -> tuple[str, str, str]:
    """Return vendor, product and revision of a map's paths."""
    if not map_.groups or not map_.watched:
        return _NO_INQUIRY
    path = map_.groups[0][0]
    return vendor(path), product(path), path.nexus.array.revision


def progress(done: int, total: int) -> str:
    """Return multipathd's bar: `XX........ 1/4`."""
    filled = _PROGRESS_LENGTH * done // total if total else 0
    return "X" * filled + "." * (_PROGRESS_LENGTH - filled) + f" {done}/{total}"


def size_word(size: int) -> str:
    """Return a size as multipathd rounds it: `64M`, `8.0M`."""
    value, unit = size / 1024, 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f}{_UNITS[unit]}" if value < 10 else f"{value:.0f}{_UNITS[unit]}"
