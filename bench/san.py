"""A made-up SAN: `count` LUNs over four Fibre Channel paths in two groups, as multipathd 0.9 prints them.

The same seed makes the same SAN.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator

from msgspec import Struct

from pathfleet.core.health import Facts
from pathfleet.core.ports import Port

_SIZES = tuple(gigabytes << 30 for gigabytes in (32, 100, 512, 2048, 4096))
_INITIATORS = ("0x2100000e1ed0a1b0", "0x2100000e1ed0a1b1")
_TARGETS = ("0x500a098188ae5c01", "0x500a098198ae5c01", "0x500a098288ae5c01", "0x500a098298ae5c01")
_SD_MAJORS = (8, *range(65, 72), *range(128, 136))
# What a path that is in trouble shows: the kernel's state, the device's and the checker's.
_TROUBLES = (
    ("failed", "running", "faulty"),
    ("failed", "offline", "faulty"),
    ("active", "running", "ghost"),
    ("active", "running", "i/o pending"),
    ("failed", "running", "i/o timeout"),
)
_HEALTHY = ("active", "running", "ready")


class San(Struct, frozen=True):
    """What multipathd replies to `show maps json`, and what sysfs would say of the same devices."""

    reply: bytes
    sizes: dict[str, int]
    ports: dict[str, Port]

    @property
    def facts(self) -> Facts:
        """The same for `judge`."""
        return Facts(sizes=self.sizes, ports=self.ports)

    def transports(self) -> dict[str, str]:
        """Return the transport by path device."""
        return {device: str(port.transport) for device, port in self.ports.items()}


def make(count: int, *, seed: int = 1, troubled: float = 0.05) -> San:
    """Return a SAN of which the share `troubled` of the maps has a path that is not ready; of these some have none."""
    chance = random.Random(seed)
    disks = itertools.count()
    sizes: dict[str, int] = {}
    ports: dict[str, Port] = {}
    maps = []
    for number in range(count):
        sizes[f"dm-{number}"] = chance.choice(_SIZES)
        names = [disk_name(next(disks)) for _ in range(4)]
        ports |= {
            name: Port("fc", _INITIATORS[place % 2], _TARGETS[place], f"{place % 2 + 7}:0:{place // 2}:{number + 1}")
            for place, name in enumerate(names)
        }
        maps.append(_map(number, wwid(chance), list(_states(chance, troubled))))
    text = f'{{\n   "major_version": 0,\n   "minor_version": 1,\n   "maps": [{",".join(maps)}]\n}}\n'
    return San(text.encode(), sizes, ports)


def wwid(chance: random.Random) -> str:
    """Return a WWID of SCSI: NAA 6 and nothing that two of them have in common."""
    return f"36{chance.getrandbits(124):031x}"


def disk_name(index: int) -> str:
    """Return the kernel's name of its disk number `index`: sda, …, sdz, sdaa, …."""
    letters = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return "sd" + letters


def _states(chance: random.Random, troubled: float) -> Iterator[tuple[str, str, str]]:
    bad = chance.sample(range(4), chance.choice((1, 1, 2, 4))) if chance.random() < troubled else ()
    trouble = chance.choice(_TROUBLES)
    return (trouble if place in bad else _HEALTHY for place in range(4))


def _map(number: int, wwid: str, states: list[tuple[str, str, str]]) -> str:
    usable = sum(dm_state == "active" for dm_state, _, _ in states)
    groups = ",".join(_group(number, place, states) for place in (0, 1))
    return f"""{{
      "name" : "{f"lun{number:05}" if number % 10 == 9 else wwid}",
      "uuid" : "{wwid}",
      "sysfs" : "dm-{number}",
      "failback" : "immediate",
      "queueing" : "{"30 chk" if usable else "on"}",
      "paths" : {usable},
      "write_prot" : "rw",
      "dm_st" : "active",
      "features" : "1 queue_if_no_path",
      "hwhandler" : "1 alua",
      "action" : "",
      "path_faults" : {4 - usable},
      "vend" : "NETAPP",
      "prod" : "LUN C-Mode",
      "rev" : "9141",
      "switch_grp" : 0,
      "map_loads" : 1,
      "total_q_time" : 0,
      "q_timeouts" : 0,
      "path_groups": [{groups}]
   }}"""


def _group(number: int, place: int, states: list[tuple[str, str, str]]) -> str:
    paths = ",".join(_path(number, at, states[at]) for at in (2 * place, 2 * place + 1))
    return f"""{{
         "selector" : "service-time 0",
         "pri" : {(50, 10)[place]},
         "dm_st" : "{("active", "enabled")[place]}",
         "marginal_st" : "normal",
         "group" : {place + 1},
         "paths": [{paths}]
      }}"""


def _path(number: int, place: int, state: tuple[str, str, str]) -> str:
    index = number * 4 + place
    dm_state, device_state, checker_state = state
    major, minor = _SD_MAJORS[index // 16 % 16], index % 16 * 16 | index & 0xFFF00
    return f"""{{
            "dev" : "{disk_name(index)}",
            "dev_t" : "{major}:{minor}",
            "dm_st" : "{dm_state}",
            "dev_st" : "{device_state}",
            "chk_st" : "{checker_state}",
            "checker" : "tur",
            "pri" : {(50, 10)[place // 2]},
            "host_wwnn" : "{_INITIATORS[place % 2].replace("0x21", "0x20")}",
            "target_wwnn" : "0x500a098088ae5c01",
            "host_wwpn" : "{_INITIATORS[place % 2]}",
            "target_wwpn" : "{_TARGETS[place]}",
            "host_adapter" : "0000:3b:00.{place % 2}",
            "lun_hex" : "0x{number % 0x4000 + 1:04x}000000000000",
            "marginal_st" : "normal"
         }}"""


def facts_document(san: San) -> bytes:
    """Return sizes and transports as JSON, for a rival in another process."""
    return json.dumps({"sizes": san.sizes, "transports": san.transports()}).encode()
