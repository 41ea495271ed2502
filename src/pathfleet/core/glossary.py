"""What the words of multipathd and of this program mean to an operator, and what to do about them."""

from __future__ import annotations

from msgspec import Struct

from pathfleet.core.health import USABLE_CHECKS, Flag, Health, usable
from pathfleet.core.maps import Path


class Meaning(Struct, frozen=True):
    """A word explained: what it says, and what to do (None: nothing)."""

    says: str
    remedy: str | None = None


HEALTH = {
    Health.OPTIMAL: Meaning("all paths are usable"),
    Health.DEGRADED: Meaning(
        "some paths are not usable; I/O goes on over the others", "repair the paths listed as down"
    ),
    Health.FAILED: Meaning("no path is usable", "repair a path now; I/O to this LUN fails or waits"),
    Health.UNKNOWN: Meaning(
        "nobody can tell: multipathd shows no paths, and only root may ask the kernel", "ask again as root"
    ),
}

FLAGS = {
    Flag.QUEUEING: Meaning(
        "I/O waits for a path instead of failing",
        "repair a path; `multipathd disablequeueing map WWID` lets the waiting I/O fail instead",
    ),
    Flag.SUSPENDED: Meaning(
        "the map is suspended: I/O waits in the kernel",
        "see what suspended it; `dmsetup resume NAME` lets it go on, if nothing is reloading it now",
    ),
    Flag.MARGINAL: Meaning(
        "a path fails now and then and is held back", "check its cable, transceiver and port counters"
    ),
    Flag.BELOW_EXPECTED: Meaning(
        "there are fewer paths than were accepted for this LUN",
        "look for a session logged out or a zone taken away; if it is to stay so: `pathfleet baseline accept WWID`",
    ),
    Flag.SINGLE_DOMAIN: Meaning(
        "all usable paths share one port: its loss takes them all", "check cabling, zoning or portals"
    ),
    Flag.NON_OPTIMAL: Meaning(
        "I/O goes through a path group of lower priority than another usable one",
        "`multipathd switch map WWID group N`, or set failback to immediate",
    ),
    Flag.UNMANAGED: Meaning(
        "multipathd shows no paths, while the kernel still uses some: nobody checks or repairs them",
        "see whether a blacklist or a missing entry in /etc/multipath/wwids hides the LUN",
    ),
}

#: The checker's words (multipath-tools, libmultipath/checkers.h).
CHECKS = {
    "ready": Meaning("usable"),
    "ghost": Meaning("standby: usable after a failover"),
    "i/o pending": Meaning("usable; a check is under way"),
    "faulty": Meaning("the device does not answer its check", "check cable, switch port, target port and LUN mapping"),
    "shaky": Meaning("the array says that this port is being serviced", "wait for the array, or ask its operator"),
    "i/o timeout": Meaning("the check got no answer in time", "check the fabric for congestion and the array's load"),
    "delayed": Meaning(
        "good again, but held back after repeated failures", "wait, or `multipathd reinstate path DEV`"
    ),
    "undef": Meaning("not checked yet", "wait a check interval; if it stays, see `multipathd show paths`"),
    "disconnected": Meaning("the array no longer maps the LUN here", "map it again, or remove the device"),
}

_OFFLINE = Meaning(
    "the kernel has set the device offline", "`echo running > /sys/block/DEV/device/state` after the cause is repaired"
)
_FAILED_IN_KERNEL = Meaning(
    "the check does not fail, but the kernel has the path failed",
    "it returns by itself; after `multipathd fail path`: `multipathd reinstate path DEV`",
)
_NOT_ACTIVE = Meaning(
    "the check does not fail, but the kernel does not say that it uses the path",
    "ask again in a second; if it stays, compare `dmsetup status NAME`",
)
_NOT_TOLD_YET = Meaning("the check fails; the kernel has not been told yet", "ask again in a second")


def of_path(path: Path) -> Meaning:
    """Return what the states of a path mean together."""
    if usable(path):
        return CHECKS[path.chk_st]
    if path.dev_st == "offline":
        return _OFFLINE
    if path.chk_st in USABLE_CHECKS:
        return _FAILED_IN_KERNEL if path.dm_st == "failed" else _NOT_ACTIVE
    meaning = CHECKS.get(path.chk_st)
    if meaning is None:
        return Meaning(f"the checker says {path.chk_st!r}, which this version does not know; taken as not usable")
    if path.dm_st == "active" and path.chk_st == "faulty":
        return _NOT_TOLD_YET
    return meaning
