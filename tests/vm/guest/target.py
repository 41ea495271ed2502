"""The array: LUNs served over iSCSI by the guest's own kernel, set up through configfs alone.

The portals' addresses are put on the loopback interface where no card of the guest has them.

Two portals, each a target port group of its own, lead to every LUN, so a LUN has two paths: by portal 1 (optimized)
and by portal 2 (not optimized).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .steps import STEP_SECONDS, run, write

IQN = "iqn.2025-01.test.pathfleet:san"
PORTALS = {1: "10.77.0.1", 2: "10.78.0.1"}
ALUA_STATES = {"optimized": 0, "non-optimized": 1, "standby": 2, "unavailable": 3}
HEALTHY_ALUA = {1: "optimized", 2: "non-optimized"}

TARGET = Path("/sys/kernel/config/target")
BACKSTORES = TARGET / "core/fileio_0"
BACKING_FILES = Path("/var/lib/san")


def serial(lun: int) -> str:
    """Return the unit serial number of a LUN: the 25 hexadecimal digits that end its WWID."""
    return f"5a{lun:023x}"


def wwid(lun: int) -> str:
    """Return the WWID of a LUN: the kernel target's vendor-specific NAA identifier, as multipathd names it."""
    return f"36001405{serial(lun)}"


def luns() -> list[int]:
    """Return the LUNs that are served, hidden ones included."""
    return sorted(int(store.name[3:]) for store in BACKSTORES.glob("lun*"))


def serve(count: int, size_mib: int) -> None:
    """Serve LUNs 0 to `count` - 1 over both portals."""
    for module in ("target_core_mod", "target_core_file", "iscsi_target_mod"):
        run("modprobe", module)
    if not TARGET.exists():
        run("mount", "-t", "configfs", "configfs", "/sys/kernel/config")
    run("ip", "link", "set", "lo", "up")
    for portal, address in PORTALS.items():
        if not _has_address(address):
            run("ip", "address", "add", f"{address}/24", "dev", "lo")
        _make_portal(portal, address)
    for lun in range(count):
        _make_backstore(lun, size_mib)
        map_lun(lun)
    for portal in PORTALS:
        portal_state(portal, "up")


def _has_address(address: str) -> bool:
    shown = subprocess.run(["ip", "-brief", "address"], stdout=subprocess.PIPE, timeout=STEP_SECONDS, check=True)
    return f" {address}/".encode() in shown.stdout


def _make_portal(portal: int, address: str) -> None:
    group = _portal_group(portal)
    (group / f"np/{address}:3260").mkdir(parents=True)
    for attribute, value in {
        "authentication": 0,
        "generate_node_acls": 1,
        "cache_dynamic_acls": 1,
        "demo_mode_write_protect": 0,
    }.items():
        write(group / "attrib" / attribute, value)


def _make_backstore(lun: int, size_mib: int) -> None:
    BACKING_FILES.mkdir(exist_ok=True)
    backing = BACKING_FILES / f"lun{lun}"
    with backing.open("wb") as file:
        file.truncate(size_mib << 20)
    store = BACKSTORES / f"lun{lun}"
    store.mkdir(parents=True)
    write(store / "control", f"fd_dev_name={backing},fd_dev_size={size_mib << 20},fd_buffered_io=1")
    write(store / "wwn/vpd_unit_serial", serial(lun))
    write(store / "enable", 1)
    for portal in PORTALS:
        group = store / f"alua/portal{portal}"
        group.mkdir()
        write(group / "tg_pt_gp_id", portal)
        write(group / "alua_access_state", ALUA_STATES[HEALTHY_ALUA[portal]])


def map_lun(lun: int) -> None:
    """Show a LUN at both portals."""
    for portal in PORTALS:
        port = _port(portal, lun)
        if not port.exists():
            port.mkdir(parents=True)
            (port / "backstore").symlink_to(BACKSTORES / f"lun{lun}")
            write(port / "alua_tg_pt_gp", f"portal{portal}")


def unmap_lun(lun: int) -> None:
    """Hide a LUN from both portals, as an array's administrator would; the initiator keeps its devices."""
    for portal in PORTALS:
        port = _port(portal, lun)
        if port.exists():
            (port / "backstore").unlink()
            port.rmdir()


def portal_state(portal: int, state: str) -> None:
    """Take a portal down, sessions included, or bring it back; the initiator logs in again by itself."""
    switch = _portal_group(portal) / "enable"
    wanted = {"up": "1", "down": "0"}[state]
    if switch.read_text().strip() != wanted:
        write(switch, wanted)


def alua(lun: int, portal: int, state: str) -> None:
    """Set the access state that a LUN reports at a portal's port group."""
    attribute = BACKSTORES / f"lun{lun}/alua/portal{portal}/alua_access_state"
    if int(attribute.read_text()) != ALUA_STATES[state]:
        write(attribute, ALUA_STATES[state])


def resize(lun: int, size_mib: int) -> None:
    """Change the size of a LUN; the initiator learns of it when it asks again."""
    os.truncate(BACKING_FILES / f"lun{lun}", size_mib << 20)
    write(BACKSTORES / f"lun{lun}/control", f"fd_dev_size={size_mib << 20}")  # a file's own size is not looked at


def _portal_group(portal: int) -> Path:
    return TARGET / f"iscsi/{IQN}/tpgt_{portal}"


def _port(portal: int, lun: int) -> Path:
    return _portal_group(portal) / f"lun/lun_{lun}"
