"""Rules about LVM, and about whatever else sits on a path where it should sit on the map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pathfleet.core.facts import Disk, Lvm, LvmDevice, NodeFacts
from pathfleet.core.findings import Examined, Sighting, listed, rule
from pathfleet.core.reason import shortened


def _components(examined: Examined, facts: NodeFacts) -> dict[str, tuple[str, Disk]]:
    """Return, by the names of devices and partitions, each disk that is a path of a map, or should be, and its LUN."""
    disks = facts.disks or ()
    how_often = Counter(disk.wwid for disk in disks)
    luns = {*examined.configuration.wwids, *(map_.wwid for map_ in facts.maps or ())}
    found: dict[str, tuple[str, Disk]] = {}
    for disk in disks:
        wwid = disk.map or disk.wwid
        if wwid and (disk.map or how_often[disk.wwid] > 1 or wwid in luns):
            found |= dict.fromkeys((disk.device, *disk.partitions), (wwid, disk))
    return found


@rule(
    "lvm-on-component-device",
    "error",
    "LVM uses a single path of a LUN instead of its map: when this path fails, so does all I/O, and with the map in "
    "use as well, data is at risk.",
    "On NODE, when nothing uses the group: `vgchange -an GROUP`, reject path devices in lvm.conf (finding "
    "`lvm-filter-missing`), `multipathd add map WWID`, then `vgchange -ay GROUP`.",
)
def lvm_on_component_device(examined: Examined) -> Iterator[Sighting]:
    """A physical volume or logical volumes on a path device."""
    for node, facts in examined.facts.items():
        components = _components(examined, facts)
        of_lvm = {device.device: device for device in facts.lvm.devices if device.pv} if facts.lvm else {}
        for device, (wwid, disk) in components.items():
            found = of_lvm.get(device)
            volumes = [
                holder.name or holder.device
                for holder in (disk.holders if device == disk.device else ())
                if (holder.uuid or "").startswith("LVM-")
            ]
            if volumes or (found and not found.duplicate):
                yield _on_path(node, wwid, device, found, volumes)


def _on_path(node: str, wwid: str, device: str, found: LvmDevice | None, volumes: list[str]) -> Sighting:
    group = found.group if found and found.group else None
    parts = [f"{shortened(device, 40)} on {shortened(node, 100)} is a path"]
    if found:
        parts.append(f"the physical volume of group {shortened(group, 128)!r}" if group else "a physical volume")
    if volumes:
        parts.append(f"in use by {listed(volumes)}")
    return Sighting("lun", wwid, ", ".join(parts), (node,), {"GROUP": group or "", "DEV": device})


@rule(
    "component-device-in-use",
    "error",
    "Something sits on a single path of a LUN instead of its map: a file system that is mounted, or another block "
    "device. Its loss takes it away, and multipathd cannot take the path.",
    "On NODE: `lsblk /dev/DEV` shows what it is; end it, then use /dev/disk/by-id/dm-uuid-mpath-WWID instead.",
)
def component_device_in_use(examined: Examined) -> Iterator[Sighting]:
    """A mount, or a holder that is neither a multipath map nor LVM, on a path device."""
    for node, facts in examined.facts.items():
        for device, (wwid, disk) in _components(examined, facts).items():
            others = [
                holder.name or holder.device
                for holder in disk.holders
                if not (holder.uuid or "").startswith(("mpath-", "LVM-"))
            ]
            uses = [*(f"mounted at {mount}" for mount in disk.mounts), *(f"held by {other}" for other in others)]
            if uses and device == disk.device:
                seen = f"{shortened(device, 40)} on {shortened(node, 100)}: {listed(uses)}"
                yield Sighting("lun", wwid, seen, (node,), {"DEV": device})


@rule(
    "lvm-filter-missing",
    "warning",
    "LVM looks at single paths of LUNs: at the next start it may take one of them before its map is there.",
    "In /etc/lvm/lvm.conf on NODE, section devices: `multipath_component_detection = 1`, and a `global_filter` that "
    "takes maps and rejects the path devices; then `update-initramfs -u` (or `dracut -f`).",
)
def lvm_filter_missing(examined: Examined) -> Iterator[Sighting]:
    """Path devices that LVM does not leave out, or nothing set that would make it."""
    for node, facts in examined.facts.items():
        if facts.lvm is None:
            continue
        components = _components(examined, facts)
        looked_at = sorted(device.device for device in facts.lvm.devices if device.device in components)
        if looked_at:
            luns = {wwid for device in looked_at for wwid in (components[device][0],)}
            yield Sighting("node", node, f"LVM looks at {listed(looked_at)}, paths of {listed(sorted(luns))}", (node,))
        elif facts.maps and _unprotected(facts.lvm):
            seen = "multipath_component_detection is off and no filter is set"
            yield Sighting("node", node, seen, (node,))


def _unprotected(lvm: Lvm) -> bool:
    return lvm.component_detection is False and not any("r" in pattern[:1] for pattern in lvm.filters)


@rule(
    "duplicate-pv",
    "error",
    "LVM finds one physical volume on several devices and uses one of them: a path beside its map, or a LUN and a "
    "copy of it (a snapshot that was mapped to the node).",
    "On NODE: `pvs -a -o pv_name,pv_uuid,pv_duplicate`. Reject path devices (finding `lvm-filter-missing`); a copy "
    "gets an identity of its own with `vgimportclone`.",
)
def duplicate_pv(examined: Examined) -> Iterator[Sighting]:
    """A physical volume that LVM sees more than once."""
    for node, facts in examined.facts.items():
        devices: dict[str, list[LvmDevice]] = {}
        for device in facts.lvm.devices if facts.lvm else ():
            if device.pv:
                devices.setdefault(device.pv, []).append(device)
        for copies in devices.values():
            if len(copies) > 1 or copies[0].duplicate:
                group = copies[0].group
                of = f" of group {shortened(group, 128)!r}" if group else ""
                names = listed(sorted(copy.device for copy in copies))
                yield Sighting("node", node, f"a physical volume{of} is on {names}", (node,))


@rule(
    "lvm-autoactivation",
    "warning",
    "LVM activates volumes of a shared group by itself on every node that sees it: two nodes may then write to one "
    "volume, and a volume that is active elsewhere cannot be grown or removed safely.",
    "`vgchange --setautoactivation n GROUP` on one node (lvm2 2.03.12 or newer); before that, leave the group out of "
    "`auto_activation_volume_list` in lvm.conf on every node.",
)
def lvm_autoactivation(examined: Examined) -> Iterator[Sighting]:
    """A shared group that a node activates by itself."""
    shared = {
        storage.vgname: storage.id
        for storage in examined.storages.storages.values()
        if storage.kind == "lvm" and storage.vgname and (storage.base or storage.properties.get("shared") == "1")
    }
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for node, facts in examined.facts.items():
        for group in facts.lvm.groups if facts.lvm else ():
            if group.name in shared and group.autoactivation is not False and group.volumes:
                found.setdefault(group.name, {})[node] = group.volumes
    for name, volumes in found.items():
        each = next(iter(volumes.values()))
        seen = f"group {shortened(name, 128)!r}: {listed(each)} on {listed(sorted(volumes))}"
        yield Sighting("storage", shared[name], seen, tuple(sorted(volumes)), {"GROUP": name})


RULES = (
    lvm_on_component_device,
    component_device_in_use,
    lvm_filter_missing,
    duplicate_pv,
    lvm_autoactivation,
)
