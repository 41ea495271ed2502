"""A simulated host's sysfs as files, for programs that read one: `system.sysfs.Sysfs(root)` finds the same facts.

It is a picture of one moment; a host that changed is written again, elsewhere or after the old tree is gone.
"""

from __future__ import annotations

import os
from pathlib import Path

from pathfleet.errors import SettingsError
from pathfleet.lab import devices
from pathfleet.lab.kernel import Kernel

_SECTOR_BYTES = 512


def write_sysfs(kernel: Kernel, root: Path) -> None:
    """Write the tree into a directory, which is made if it is not there. Raises SettingsError."""
    try:
        (root / "block").mkdir(parents=True, exist_ok=True)
        for path in kernel.paths.values():
            _write_path(root, path)
        for map_ in kernel.maps.values():
            _write_map(root, map_)
    except OSError as error:
        raise SettingsError(f"{error.filename or root} cannot be written: {error.strerror}") from error


def _write_path(root: Path, path: devices.Path) -> None:
    nexus = path.nexus
    host, hctl = nexus.instance, path.hctl
    target = f"target{host}:0:{nexus.target_id}"
    address, _, port = nexus.target.address.rpartition(":")
    if nexus.transport == "nvme-tcp":
        _write_nvme(root, path, address, port)
        return
    if nexus.transport == "fc":
        remote = f"rport-{host}:0-{nexus.target_id}"
        device = f"devices/pci0000:00/0000:3b:00.{host}/host{host}/{remote}/{target}/{hctl}/block/{path.name}"
        _text(root, f"class/fc_host/host{host}/port_name", nexus.initiator.address)
        _text(root, f"class/fc_remote_ports/{remote}/port_name", nexus.target.address)
    else:
        device = f"devices/platform/host{host}/session{host}/{target}/{hctl}/block/{path.name}"
        _text(root, f"class/iscsi_host/host{host}/ipaddress", nexus.initiator.address)
        _text(root, f"class/iscsi_session/session{host}/targetname", nexus.array.node)
        _text(root, f"class/iscsi_connection/connection{host}:0/persistent_address", address)
        _text(root, f"class/iscsi_connection/connection{host}:0/persistent_port", port)
    _block(root, device, path)
    _text(root, f"{device}/device/wwid", _designator(path.lun.wwid))
    _text(root, f"{device}/device/vendor", nexus.array.vendor)
    _text(root, f"{device}/device/model", nexus.array.product)


def _designator(wwid: str) -> str:
    """Return what the kernel calls a SCSI disk that udev gives this WWID: udev puts the type before the digits."""
    kind = {"3": "naa", "2": "eui"}.get(wwid[:1], "t10")
    return f"{kind}.{wwid[1:]}"


def _write_nvme(root: Path, path: devices.Path, address: str, port: str) -> None:
    nexus = path.nexus
    controller = f"devices/virtual/nvme-fabrics/ctl/nvme{nexus.instance}"
    _text(root, f"{controller}/transport", "tcp")
    told = f"traddr={address},trsvcid={port},host_traddr={nexus.initiator.address}"
    _text(root, f"{controller}/address", told)
    _block(root, f"{controller}/{path.name}", path)
    _text(root, f"{controller}/{path.name}/wwid", path.lun.wwid)
    _text(root, f"{controller}/model", nexus.array.product)
    _link(root / controller / path.name / "device", f"../../nvme{nexus.instance}")


def _block(root: Path, device: str, path: devices.Path) -> None:
    _text(root, f"{device}/size", str(path.size // _SECTOR_BYTES))
    _link(root / "block" / path.name, f"../{device}")


def _write_map(root: Path, map_: devices.Map) -> None:
    device = f"devices/virtual/block/dm-{map_.minor}"
    _text(root, f"{device}/size", str(map_.size // _SECTOR_BYTES))
    _text(root, f"{device}/dm/uuid", f"mpath-{map_.wwid}")
    _text(root, f"{device}/dm/name", map_.name)
    (root / device / "slaves").mkdir(exist_ok=True)
    for path in map_.paths:
        _link(root / device / "slaves" / path.name, f"../../../../../block/{path.name}")
    _link(root / "block" / f"dm-{map_.minor}", f"../{device}")


def _text(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n", "utf-8")


def _link(link: Path, target: str) -> None:
    if not link.is_symlink():
        os.symlink(target, link)  # noqa: PTH211 - the target is a text here, not a place
