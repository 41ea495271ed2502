"""Rules about LUNs as nodes see them: paths, sizes, names, identity."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from pathfleet.core.agreement import taken
from pathfleet.core.facts import Disk
from pathfleet.core.findings import Examined, Sight, Sighting, by_lun, listed, of_lun, rule
from pathfleet.core.reason import shortened

_FRIENDLY = re.compile(r"mpath[a-z]{1,8}")


@rule(
    "single-path",
    "warning",
    "The LUN has one path: there is nothing to fail over to, its loss takes the LUN away.",
    "Log in to the other portals or zone the other ports, then look again: `pathfleet node NODE --paths`.",
)
def single_path(examined: Examined) -> Iterator[Sighting]:
    """A map with one path."""
    for wwid, sights in by_lun(sight for sight in examined.sights() if sight.total == 1).items():
        yield of_lun(wwid, sights, f"one path on {listed(sight.node for sight in sights)}")


@rule(
    "single-domain",
    "warning",
    "All paths that work now go through one initiator port or one target port: its loss takes them all.",
    "Compare the ports of its paths (`pathfleet node NODE --paths`) with cabling, zoning and portals.",
)
def single_domain(examined: Examined) -> Iterator[Sighting]:
    """Several paths, one port."""
    flagged = (sight for sight in examined.sights() if sight.total > 1 and "single-domain" in sight.flags)
    for wwid, sights in by_lun(flagged).items():
        yield of_lun(wwid, sights, f"one port for all its paths on {listed(sight.node for sight in sights)}")


@rule(
    "size-differs",
    "error",
    "Nodes see one LUN with different sizes. A node that sees the old size fails I/O behind its end; it may also be "
    "two LUNs with one WWID.",
    "On the nodes with the other size: `for path in /sys/block/sd*/device/rescan; do echo 1 > $path; done`, then "
    "`multipathd resize map WWID`.",
)
def size_differs(examined: Examined) -> Iterator[Sighting]:
    """Nodes disagree on the size of a map."""
    for wwid, sights in by_lun(sight for sight in examined.sights() if sight.size is not None).items():
        sizes: dict[int, list[str]] = {}
        for sight in sights:
            sizes.setdefault(sight.size or 0, []).append(sight.node)
        if len(sizes) > 1:
            seen = "; ".join(f"{size} bytes on {listed(nodes)}" for size, nodes in sorted(sizes.items()))
            common = taken(sizes)
            yield of_lun(wwid, [sight for sight in sights if sight.size != common], seen)


@rule(
    "map-size-differs",
    "warning",
    "The map is not as large as its paths, or these are not all equally large: the array changed the LUN and the node "
    "has not taken it in full.",
    "On NODE: `for path in /sys/block/sd*/device/rescan; do echo 1 > $path; done`, then `multipathd resize map WWID`.",
)
def map_size_differs(examined: Examined) -> Iterator[Sighting]:
    """A map has another size than its paths."""
    for node, facts in examined.facts.items():
        sizes = {disk.device: disk.size for disk in facts.disks or ()}
        for map_ in facts.maps or ():
            paths = {size for device in map_.slaves if (size := sizes.get(device))}
            if map_.size and paths and paths != {map_.size}:
                of_paths = listed(f"{size} bytes" for size in sorted(paths))
                yield Sighting("lun", map_.wwid, f"the map has {map_.size} bytes, its paths {of_paths}", (node,))


@rule(
    "two-luns-one-wwid",
    "error",
    "Devices that say they are one LUN are not: different vendor, product or serial number under one WWID. Writing "
    "through such a map destroys data.",
    "Stop using the LUN. Give each LUN an identity of its own on the arrays (a copy or restored array often keeps "
    'it), and compare `multipathd show paths format "%w %d %s %z"` on NODE.',
)
def two_luns_one_wwid(examined: Examined) -> Iterator[Sighting]:
    """What identifies a LUN contradicts itself under one WWID."""
    said: dict[str, dict[str, dict[str, set[str]]]] = {}
    for node, facts in examined.facts.items():
        # arrays for which one groups by serial number have one for each controller
        by_serial = "group_by_serial" in (facts.effective or "")
        for disk in facts.disks or ():
            if wwid := disk.map or disk.wwid:
                for what, value in _identity(disk, with_serial=not by_serial):
                    said.setdefault(wwid, {}).setdefault(what, {}).setdefault(value, set()).add(node)
    for wwid, whats in said.items():
        seen = [f"{what} {listed(map(repr, sorted(values)))}" for what, values in whats.items() if len(values) > 1]
        nodes = {node for values in whats.values() if len(values) > 1 for of in values.values() for node in of}
        if seen:
            yield Sighting("lun", wwid, "; ".join(seen), tuple(sorted(nodes)))


def _identity(disk: Disk, *, with_serial: bool) -> Iterator[tuple[str, str]]:
    for what, value in (("vendor", disk.vendor), ("product", disk.product)):
        if value:
            yield what, shortened(value, 60)
    if with_serial and disk.serial:
        yield "serial number", shortened(disk.serial, 60)


@rule(
    "stale-map",
    "warning",
    "A map without any path: its LUN is gone or unreachable, and what still uses the map waits or fails.",
    "Bring the paths back; or if the LUN is gone, end what uses the map (`lsblk /dev/mapper/NAME` on NODE), then "
    "`multipath -f NAME`.",
)
def stale_map(examined: Examined) -> Iterator[Sighting]:
    """A map that has no paths at all."""
    for wwid, sights in by_lun(sight for sight in examined.sights() if sight.total == 0).items():
        names = {sight.name or wwid for sight in sights}
        seen = f"no path of it on {listed(sight.node for sight in sights)}"
        yield replace(of_lun(wwid, sights, seen), names={"NAME": names.pop()} if len(names) == 1 else {})


@rule(
    "map-not-allowed",
    "warning",
    "The node has a map of a LUN that neither the cluster's configuration nor its own /etc/multipath/wwids allows: "
    "after the next start it will not have it.",
    "`pathfleet config lun add WWID` to keep it on all nodes; else end what uses it, and `multipath -f WWID` on NODE.",
)
def map_not_allowed(examined: Examined) -> Iterator[Sighting]:
    """A map whose LUN is no longer on the allow-list."""
    for node, facts in examined.facts.items():
        if facts.wwids is None or not _strict(examined):
            continue
        allowed = {*facts.wwids, *examined.configuration.wwids}
        for map_ in facts.maps or ():
            if map_.wwid not in allowed:
                yield Sighting("lun", map_.wwid, f"a map {shortened(map_.name)!r} on {shortened(node, 100)}", (node,))


@rule(
    "lun-not-configured",
    "info",
    "Nodes have maps of a LUN that the cluster's configuration does not name: such as one that a node boots from.",
    "`pathfleet config lun add WWID` if the LUN is the cluster's.",
)
def lun_not_configured(examined: Examined) -> Iterator[Sighting]:
    """A map that only a node's own list allows."""
    if _strict(examined):
        for wwid, sights in by_lun(examined.sights()).items():
            if wwid not in examined.configuration.wwids:
                yield of_lun(wwid, sights, f"maps on {listed(sight.node for sight in sights)}")


def _strict(examined: Examined) -> bool:
    """Whether the cluster has a list of LUNs at all."""
    return bool(examined.configuration.wwids)


@rule(
    "unmanaged-map",
    "error",
    "The kernel uses a map whose paths multipathd does not look after: nobody checks or repairs them.",
    "See whether a blacklist hides the LUN (`multipathd show blacklist` on NODE) or /etc/multipath/wwids lacks it; "
    "then `multipathd add map WWID`.",
)
def unmanaged_map(examined: Examined) -> Iterator[Sighting]:
    """A map that the kernel has and multipathd has not."""
    for wwid, sights in by_lun(sight for sight in examined.sights() if "unmanaged" in sight.flags).items():
        yield of_lun(wwid, sights, f"only the kernel has it on {listed(sight.node for sight in sights)}")


@rule(
    "friendly-names",
    "warning",
    "Maps are named by each node for itself (mpatha, …): one name may be another LUN on another node, and names move.",
    "`pathfleet config lun add WWID`, and an alias if it needs a name: `pathfleet config alias WWID NAME`.",
)
def friendly_names(examined: Examined) -> Iterator[Sighting]:
    """A map named mpathX, if no configuration gave it this name."""
    given = {properties.get("alias") for properties in examined.configuration.wwids.values()}
    named = (s for s in examined.sights() if s.name and _FRIENDLY.fullmatch(s.name) and s.name not in given)
    for wwid, sights in by_lun(named).items():
        yield of_lun(wwid, sights, _names(sights))


@rule(
    "alias-conflict",
    "error",
    "One name stands for several LUNs: whoever opens it by name may get another LUN's data.",
    "`pathfleet config alias WWID NAME` with a name of its own, and take aliases out of the nodes' own files.",
)
def alias_conflict(examined: Examined) -> Iterator[Sighting]:
    """A name that two LUNs have, on one node or on two."""
    owners: dict[str, list[Sight]] = {}
    for sight in examined.sights():
        if sight.name and sight.name != sight.wwid:
            owners.setdefault(sight.name, []).append(sight)
    for name, sights in owners.items():
        wwids = sorted({sight.wwid for sight in sights})
        if len(wwids) > 1:
            yield of_lun(wwids[0], sights, f"{shortened(name, 128)!r} is the name of {listed(wwids)}")


@rule(
    "alias-differs",
    "warning",
    "Nodes name one LUN differently: what refers to it by name works on some nodes only.",
    "`pathfleet config alias WWID NAME`, or no alias at all: `pathfleet config unset --wwid WWID alias`.",
)
def alias_differs(examined: Examined) -> Iterator[Sighting]:
    """A LUN with several names."""
    for wwid, sights in by_lun(sight for sight in examined.sights() if sight.name).items():
        if len({sight.name for sight in sights}) > 1:
            yield of_lun(wwid, sights, _names(sights))


def _names(sights: list[Sight]) -> str:
    names: dict[str, list[str]] = {}
    for sight in sights:
        names.setdefault(sight.name or "?", []).append(sight.node)
    return "; ".join(f"{shortened(name, 128)!r} on {listed(nodes)}" for name, nodes in sorted(names.items()))


@rule(
    "queues-for-ever",
    "info",
    "Without any path, I/O to the LUN waits without end. Nobody can tell here whether something resets a node that "
    "hangs; if so, a number is better, so that I/O fails and what uses it can go elsewhere.",
    "`pathfleet config lun set WWID no-path-retry=30`, or `pathfleet config set no-path-retry=30` for all.",
)
def queues_for_ever(examined: Examined) -> Iterator[Sighting]:
    """A LUN that queues without end, while nobody knows whether nodes are fenced."""
    configured = _queueing(examined)
    if configured("defaults"):
        yield Sighting("cluster", "cluster", "no-path-retry is `queue` for all LUNs")
    for wwid in examined.configuration.wwids:
        if configured(wwid):
            yield Sighting("lun", wwid, "no-path-retry is `queue` in the cluster's configuration")
    found: dict[str, list[str]] = {}
    for node, facts in examined.facts.items():
        for map_ in facts.maps or ():
            if map_.queues and not configured("defaults") and not configured(map_.wwid):
                found.setdefault(map_.wwid, []).append(node)
    for wwid, nodes in found.items():
        yield Sighting("lun", wwid, f"its map queues without end on {listed(nodes)}", tuple(nodes))


def _queueing(examined: Examined) -> Callable[[str], bool]:
    configuration = examined.configuration
    places = {"defaults": configuration.defaults, **configuration.wwids}
    return lambda place: places.get(place, {}).get("no-path-retry") == "queue"


RULES = (
    single_path,
    single_domain,
    size_differs,
    map_size_differs,
    two_luns_one_wwid,
    stale_map,
    map_not_allowed,
    lun_not_configured,
    unmanaged_map,
    friendly_names,
    alias_conflict,
    alias_differs,
    queues_for_ever,
)
