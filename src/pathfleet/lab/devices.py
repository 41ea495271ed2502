"""What a host has of the SAN: path devices and maps, as its kernel keeps them and its multipathd notes upon them.

State only. `kernel` and `multipathd` change it; a lab holds half a million paths, so it is kept small.
"""

from __future__ import annotations

from pathfleet.lab.fabric import LiveLun, Nexus

_LETTERS = 26
#: The kernel's SCSI disk majors (linux/major.h); 16 disks of a major, then the extended minors of all of them.
_SD_MAJORS = (8, *range(65, 72), *range(128, 136))
_NVME_MAJOR = 259  # blkext
#: The checker's words for a path that can carry I/O.
UP_WORDS = frozenset(("ready", "ghost"))


class Path:
    """A block device, `number`th of its kind.

    `active` is the kernel's verdict on it in its map; `check`, `pri` and `marginal` are multipathd's. `offline`: its
    sysfs state was set so. `pinned`: failed by command, so that no checker looks until it is reinstated.
    """

    __slots__ = (
        "active",
        "check",
        "failures",
        "lun",
        "marginal",
        "name",
        "nexus",
        "number",
        "offline",
        "pinned",
        "pri",
        "size",
    )

    def __init__(self, nexus: Nexus, lun: LiveLun, number: int) -> None:
        self.nexus = nexus
        self.lun = lun
        self.number = number
        self.name = f"nvme{nexus.instance}n{lun.lun.number + 1}" if nexus.transport == "nvme-tcp" else sd_name(number)
        self.size = lun.size
        self.offline = self.pinned = self.marginal = False
        self.active = True
        self.check = "undef"
        self.pri = -1
        self.failures = 0

    @property
    def dev_t(self) -> str:
        """`MAJOR:MINOR`."""
        return f"{_NVME_MAJOR}:{self.number}" if self.nexus.transport == "nvme-tcp" else sd_dev_t(self.number)

    @property
    def hctl(self) -> str:
        """Its address `H:C:T:L`, as multipathd writes it for NVMe too."""
        nexus, number = self.nexus, self.lun.lun.number
        if nexus.transport == "nvme-tcp":
            return f"{nexus.instance}:{nexus.target_id + 1}:{number + 1}:{number + 1}"
        return f"{nexus.instance}:0:{nexus.target_id}:{number}"

    @property
    def usable(self) -> bool:
        """Whether multipathd counts it."""
        return self.check in UP_WORDS


class Map:
    """A multipath map. `groups` and `current` are the kernel's table; what follows `watched` is multipathd's.

    `watched`: multipathd manages it; otherwise it only knows that the map is there. `retry_until`: I/O waits until
    then for a path (simulated seconds). `rendered`: its part of `show maps json`, None if that must be made anew.
    """

    __slots__ = (
        "current",
        "exhausted",
        "failures",
        "groups",
        "loads",
        "minor",
        "name",
        "open",
        "path_faults",
        "q_timeouts",
        "queue",
        "queue_disabled",
        "queue_seconds",
        "rendered",
        "retry_since",
        "retry_until",
        "size",
        "suspended",
        "switches",
        "watched",
        "wwid",
    )

    def __init__(self, wwid: str, name: str, minor: int, *, is_open: bool) -> None:
        self.wwid = wwid
        self.name = name
        self.minor = minor
        self.open = is_open
        self.groups: list[list[Path]] = []
        self.current = 0
        self.size = 0
        self.suspended = self.queue = False
        self.forget()

    def forget(self) -> None:
        """Be as for a multipathd that has just started."""
        self.watched = True
        self.retry_since: float | None = None
        self.retry_until: float | None = None
        self.queue_disabled = self.exhausted = False
        self.loads = self.path_faults = self.switches = self.failures = self.q_timeouts = 0
        self.queue_seconds = 0.0
        self.rendered: bytes | None = None

    @property
    def paths(self) -> list[Path]:
        """All of them, the groups one after the other."""
        return [path for group in self.groups for path in group]

    @property
    def lun(self) -> LiveLun | None:
        """The LUN, None if the map has no path."""
        return self.groups[0][0].lun if self.groups else None

    @property
    def usable(self) -> int:
        """How many paths multipathd counts."""
        return sum(path.check in UP_WORDS for group in self.groups for path in group)

    def changed(self) -> None:
        """Have it rendered anew."""
        self.rendered = None


def sd_name(number: int) -> str:
    """Return the name of the `number`th SCSI disk: `sda`, …, `sdz`, `sdaa`, … (the kernel's sd.c)."""
    letters = ""
    while number >= 0:
        letters = chr(ord("a") + number % _LETTERS) + letters
        number = number // _LETTERS - 1
    return f"sd{letters}"


def sd_dev_t(number: int) -> str:
    """Return the device number of the `number`th SCSI disk: 16 minors each, 256 disks, then extended minors."""
    return f"{_SD_MAJORS[(number & 0xF0) >> 4]}:{((number & 0xF) << 4) | (number & 0xFFF00)}"


def group_priority(group: list[Path]) -> int:
    """Return a group's priority: the mean of its paths that are up, 0 without any (libmultipath, switchgroup.c)."""
    ups = [path.pri for path in group if path.check in UP_WORDS]
    return sum(ups) // len(ups) if ups else 0
