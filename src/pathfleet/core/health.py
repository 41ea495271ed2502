"""The rules of specification section 1: what a map's paths mean for its health, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from pathfleet.core.dmstatus import KernelPath
from pathfleet.core.maps import Map, Path, known
from pathfleet.core.ports import Port


class Health(StrEnum):
    """How many paths of a map are usable: all, some, none; or nobody can tell."""

    OPTIMAL = "optimal"
    DEGRADED = "degraded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Flag(StrEnum):
    """What stands beside the health of a map, never instead of it."""

    QUEUEING = "queueing"
    SUSPENDED = "suspended"
    MARGINAL = "marginal"
    BELOW_EXPECTED = "below-expected"
    SINGLE_DOMAIN = "single-domain"
    NON_OPTIMAL = "non-optimal"
    UNMANAGED = "unmanaged"


#: The checker's words for a path that can carry I/O now (`ghost`: after a failover). Any other word, known or
#: not, is one that cannot.
USABLE_CHECKS = frozenset(("ready", "ghost", "i/o pending"))


class KernelMap(Struct, frozen=True, gc=False):
    """What the kernel has of a map of which multipathd shows no path.

    `paths` is None where only root may ask for their states; `count` is known to everybody.
    """

    count: int
    paths: tuple[KernelPath, ...] | None = None


class Facts(Struct, frozen=True):
    """What the node knows beside multipathd's reply. Nothing here must be there.

    `sizes`: bytes by `dm-N`. `ports`: by path device. `kernel`: by WWID. `baseline`: the number of paths that was
    accepted for a WWID. `transports`: the last transport seen of a WWID, for a map whose paths are all gone.
    """

    sizes: Mapping[str, int] = {}
    ports: Mapping[str, Port] = {}
    kernel: Mapping[str, KernelMap] = {}
    baseline: Mapping[str, int] = {}
    transports: Mapping[str, str] = {}


class Verdict(Struct, frozen=True, gc=False):
    """One map judged; `flags` says what stands beside its health.

    `active` of its `total` paths are usable, `standby` of these behind a passive port (`ghost`). `queueing` is
    multipathd's own word (`on`, `55 sec`) while I/O waits for a path, else None. `size` in bytes. `unmanaged`:
    the numbers are the kernel's, as multipathd shows no paths.
    """

    map: Map
    health: Health
    active: int
    total: int
    standby: int = 0
    queueing: str | None = None
    size: int | None = None
    transport: str | None = None
    unmanaged: bool = False


def usable(path: Path) -> bool:
    """Whether a path can carry I/O: the kernel says active and the checker agrees."""
    return path.dm_st == "active" and path.chk_st in USABLE_CHECKS


def initiator_of(path: Path, ports: Mapping[str, Port]) -> str | None:
    """Return the initiator port of a path, None if nobody knows it."""
    port = ports.get(path.dev)
    return (port and port.initiator) or known(path.host_wwpn) or known(path.host_adapter)


def target_of(path: Path, ports: Mapping[str, Port]) -> str | None:
    """Return the target port of a path, None if nobody knows it.

    multipathd's `target_wwnn` will not do: for iSCSI it is the IQN, which all portals of an array share.
    """
    port = ports.get(path.dev)
    return (port and port.target) or known(path.target_wwpn)


def judge(map_: Map, facts: Facts) -> Verdict:
    """Judge one map."""
    active = total = standby = 0
    for group in map_.path_groups:
        for path in group.paths:
            total += 1
            # `usable` written out: a call for each path would cost as much as all the rest, and so would a hash
            if path.dm_st == "active" and (path.chk_st == "ready" or path.chk_st in USABLE_CHECKS):
                active += 1
                if path.chk_st == "ghost":
                    standby += 1
    kernel = None if total else facts.kernel.get(map_.uuid)
    if kernel and kernel.count:
        return _judge_unmanaged(map_, kernel, facts)
    return Verdict(
        map_,
        health_of(active, total),
        active,
        total,
        standby,
        None if active else _waiting(map_),
        facts.sizes.get(map_.sysfs),
        _transport(map_, facts),
    )


def health_of(active: int, total: int) -> Health:
    """Return the health of a map with `active` usable of `total` paths."""
    if not active:
        return Health.FAILED
    return Health.OPTIMAL if active == total else Health.DEGRADED


def _judge_unmanaged(map_: Map, kernel: KernelMap, facts: Facts) -> Verdict:
    """multipathd shows no paths while the kernel's map still has some: the kernel decides."""
    active = sum(path.active for path in kernel.paths or ())
    health = Health.UNKNOWN if kernel.paths is None else health_of(active, kernel.count)
    return Verdict(
        map_,
        health,
        active,
        kernel.count,
        queueing=_waiting(map_) if health is Health.FAILED else None,
        size=facts.sizes.get(map_.sysfs),
        transport=_transport(map_, facts),
        unmanaged=True,
    )


def _waiting(map_: Map) -> str | None:
    """Return how I/O waits when no path is left, None if it fails instead.

    With `-` multipathd has no opinion, and the kernel's feature decides (multipath.conf(5), no_path_retry).
    """
    if map_.queueing in ("-", ""):
        return "on" if "queue_if_no_path" in map_.features else None
    return None if map_.queueing == "off" else map_.queueing


def _transport(map_: Map, facts: Facts) -> str | None:
    for group in map_.path_groups if facts.ports else ():
        for path in group.paths:
            port = facts.ports.get(path.dev)
            if port and port.transport:
                return port.transport
    return facts.transports.get(map_.uuid)


def flags(verdict: Verdict, facts: Facts) -> tuple[Flag, ...]:
    """Return what stands beside the health of a map."""
    map_ = verdict.map
    working = [path for group in map_.path_groups for path in group.paths if usable(path)]
    claims = (
        (Flag.QUEUEING, verdict.queueing is not None),
        (Flag.SUSPENDED, map_.dm_st == "suspend"),
        (Flag.MARGINAL, any(path.marginal_st == "marginal" for group in map_.path_groups for path in group.paths)),
        (Flag.BELOW_EXPECTED, verdict.total < facts.baseline.get(map_.uuid, 0)),
        (Flag.SINGLE_DOMAIN, _shared(initiator_of, working, facts) or _shared(target_of, working, facts)),
        (Flag.NON_OPTIMAL, _non_optimal(map_)),
        (Flag.UNMANAGED, verdict.unmanaged),
    )
    return tuple(flag for flag, holds in claims if holds)


def _shared(port_of: Callable[[Path, Mapping[str, Port]], str | None], working: Sequence[Path], facts: Facts) -> bool:
    """Whether all usable paths are known to go through one port."""
    ports = {port_of(path, facts.ports) for path in working}
    return len(ports) == 1 and None not in ports


def _non_optimal(map_: Map) -> bool:
    """Whether the group in use has a lower priority than another one, both with usable paths.

    From a group that has none left, the next I/O moves away by itself.
    """
    groups = [group for group in map_.path_groups if any(usable(path) for path in group.paths)]
    in_use = [group.pri for group in groups if group.dm_st == "active"]
    return bool(in_use) and max(group.pri for group in groups) > in_use[0]
