"""The SAN of a guest and its faults: `san COMMAND`, each command one function.

The guest is both the array (see `target`) and the host: the initiator logs in over loopback, and the guest's
multipathd makes maps of what it finds. Standard library only, Python 3.9 or later: the guest's own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import target
from .ask import ask
from .steps import STEP_SECONDS, run, settle, wait, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCSI_DEBUG = Path("/sys/module/scsi_debug/parameters")
SCSI_DEBUG_HOSTS = Path("/sys/bus/pseudo/drivers/scsi_debug/add_host")
DEBUG_RULES = Path("/run/udev/rules.d/65-debug-disk.rules")
# A debug disk has no registered identifier, so its WWID would be made of the inquiry strings, and multipathd
# 0.9.4 removes a map whose name holds an escape. Real arrays of any strings have a registered one.
DEBUG_RULE = r'ENV{ID_SERIAL}=="*\\x*", ENV{ID_SERIAL}="$env{ID_WWN}"' + "\n"
DROP_INS = Path("/etc/multipath/conf.d")


def login(portal: int | None = None) -> None:
    """Log in to one portal or to all, wait for the devices."""
    run("systemctl", "start", "iscsid")
    addresses = [target.PORTALS[portal]] if portal else list(target.PORTALS.values())
    present = _session_addresses()
    for address in addresses:
        if address not in present:
            _node("-p", address, "-o", "new")
            _node("-p", address, "--login")
    settle()


def logout(portal: int) -> None:
    """End the session to a portal: its paths vanish."""
    _node("-p", target.PORTALS[portal], "--logout")
    settle()


def offline(device: str) -> None:
    """Let the kernel refuse all I/O to one path device."""
    _write_state(device, "offline")


def online(device: str) -> None:
    """Let the kernel use one path device again."""
    _write_state(device, "running")


def delete(device: str) -> None:
    """Remove one path device from the kernel; `restore` finds it again."""
    write(Path(f"/sys/block/{device}/device/delete"), 1)
    settle()


def devices(lun: int) -> list[str]:
    """Return the path devices of a LUN, such as sda, the one by portal 1 first where both are there."""
    found = []
    for disk in Path("/sys/block").glob("sd*"):
        try:
            if (disk / "device/wwid").read_text().strip() == f"naa.{target.wwid(lun)[1:]}":
                group = _port_group(disk)
                found.append((group, disk.name))
        except OSError:
            continue  # went away while being looked at
    return [name for _, name in sorted(found)]


def _port_group(disk: Path) -> str:
    session = next(part for part in disk.resolve().parts if part.startswith("session"))
    return (Path("/sys/class/iscsi_session") / session / "tpgt").read_text().strip()


def resize(lun: int, size_mib: int) -> None:
    """Change the size of a LUN and let the path devices see it; `restore` leaves it so."""
    target.resize(lun, size_mib)
    for device in devices(lun):
        write(Path(f"/sys/block/{device}/device/rescan"), 1)


def debug_disk(vendor: str, product: str, revision: str) -> None:
    """Attach a disk whose inquiry strings are whatever is wanted, such as ones that break JSON."""
    DEBUG_RULES.parent.mkdir(parents=True, exist_ok=True)
    DEBUG_RULES.write_text(DEBUG_RULE)
    run("udevadm", "control", "--reload")
    run("modprobe", "scsi_debug", "add_host=0", "dev_size_mb=8")
    # Set here and not on the module's command line, whose parser takes quotation marks away.
    for parameter, value in {"inq_vendor": vendor, "inq_product": product, "inq_rev": revision}.items():
        write(SCSI_DEBUG / parameter, value)
    write(SCSI_DEBUG_HOSTS, 1)
    wait("no debug disk", STEP_SECONDS, lambda: any(_debug_disks()), _debug_disks)
    settle()


def no_debug_disk() -> None:
    """Detach every such disk."""
    if SCSI_DEBUG_HOSTS.exists():
        for _ in range(int(SCSI_DEBUG_HOSTS.read_text())):
            write(SCSI_DEBUG_HOSTS, -1)
        settle()


def _debug_disks() -> list[str]:
    return [disk.name for disk in Path("/sys/block").glob("sd*") if "/adapter" in str(disk.resolve())]


def healthy(seconds: int) -> None:
    """Wait until every LUN is a map with two usable paths and there is no other map."""
    expected = {target.wwid(lun): len(target.PORTALS) for lun in target.luns()}
    wait("the SAN is not healthy", seconds, lambda: _usable_paths() == expected and _idle(), _usable_paths)


def restore(seconds: int) -> None:
    """Undo every fault that this module, or a person at the daemon, can have set; wait until all is healthy.

    Drop-in configuration files are removed. Sizes stay as they are.
    """
    no_debug_disk()
    for lun in target.luns():
        target.map_lun(lun)
        for portal, state in target.HEALTHY_ALUA.items():
            target.alua(lun, portal, state)
    for portal in target.PORTALS:
        target.portal_state(portal, "up")
    for disk in Path("/sys/block").glob("sd*"):
        if (disk / "device/state").read_text().strip() == "offline":
            online(disk.name)
    _restore_daemon()  # before any wait for udev, which may be reading a map that queues
    login()
    if any(len(devices(lun)) < len(target.PORTALS) for lun in target.luns()):
        run("iscsiadm", "-m", "session", "--rescan")
    healthy(seconds)


def _restore_daemon() -> None:
    drop_ins = list(DROP_INS.iterdir())
    for drop_in in drop_ins:
        drop_in.unlink()
    if subprocess.run(["systemctl", "is-active", "-q", "multipathd"], check=False).returncode:
        run("systemctl", "reset-failed", "multipathd.service", "multipathd.socket")
        run("systemctl", "start", "multipathd")
    elif drop_ins:
        ask("reconfigure")
    # A path failed by hand is no longer checked, so it does not come back by itself.
    for path in _paths():
        if path["dm_st"] == "failed" and path["dev_st"] == "running":
            ask(f"reinstate path {path['dev']}")


def _maps() -> list[dict[str, Any]]:
    """Return what multipathd shows; nothing while it cannot be asked or understood."""
    try:
        maps: list[dict[str, Any]] = json.loads(ask("show maps json"))["maps"]
    except (OSError, ValueError):
        return []
    return maps


def _idle() -> bool:
    """Whether multipathd has finished what it was told; `reconfigure` answers before it begins."""
    state = ask("show daemon")
    return b"pending" not in state and (b" idle" in state or b" running" in state)


def _paths() -> Iterator[dict[str, Any]]:
    for shown in _maps():
        for group in shown["path_groups"]:
            yield from group["paths"]


def _usable_paths() -> dict[str, int]:
    return {
        shown["uuid"]: sum(
            path["dm_st"] == "active" and path["dev_st"] == "running" and path["chk_st"] == "ready"
            for group in shown["path_groups"]
            for path in group["paths"]
        )
        for shown in _maps()
    }


def _session_addresses() -> set[str]:
    connections = Path("/sys/class/iscsi_connection").glob("*/persistent_address")
    return {address.read_text().strip() for address in connections}


def _node(*arguments: str) -> None:
    run("iscsiadm", "-m", "node", "-T", target.IQN, *arguments)


def _write_state(device: str, state: str) -> None:
    # The kernel takes this word only with a line end.
    write(Path(f"/sys/block/{device}/device/state"), f"{state}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="san", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Callable[..., object]) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=(function.__doc__ or "").splitlines()[0])
        added.set_defaults(function=function)
        return added

    def of_lun(name: str, function: Callable[..., object]) -> argparse.ArgumentParser:
        added = command(name, function)
        added.add_argument("lun", type=int)
        return added

    array = command("target", target.serve)
    array.add_argument("count", type=int)
    array.add_argument("size_mib", type=int)
    command("login", login).add_argument("portal", type=int, nargs="?", choices=target.PORTALS)
    command("logout", logout).add_argument("portal", type=int, choices=target.PORTALS)
    switch = command("portal", target.portal_state)
    switch.add_argument("portal", type=int, choices=target.PORTALS)
    switch.add_argument("state", choices=("up", "down"))
    access = of_lun("alua", target.alua)
    access.add_argument("portal", type=int, choices=target.PORTALS)
    access.add_argument("state", choices=target.ALUA_STATES)
    for of_device in (offline, online, delete):
        command(of_device.__name__, of_device).add_argument("device")
    of_lun("map", target.map_lun)
    of_lun("unmap", target.unmap_lun)
    of_lun("devices", devices)
    of_lun("resize", resize).add_argument("size_mib", type=int)
    disk = command("debug-disk", debug_disk)
    for name in ("vendor", "product", "revision"):
        disk.add_argument(name)
    command("no-debug-disk", no_debug_disk)
    for waits in (healthy, restore):
        command(waits.__name__, waits).add_argument("seconds", type=int)
    return parser.parse_args()


def main() -> None:
    """Run the command that the arguments name; print what it returns, a line each."""
    given = vars(_arguments())
    outcome = given.pop("function")(**given)
    if outcome:
        print(*outcome, sep="\n")
