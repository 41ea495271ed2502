"""A guest's plug: its emulator is told, in QEMU's machine protocol, to cut the power or give it back.

The disk is kept as it is, what the guest had in memory is lost.
"""

import json
import socket
from collections.abc import Iterator

from tests.vm.machine import Guest, MachineError

_SECONDS = 30


def off(guest: Guest) -> None:
    """Cut the power. Raises MachineError."""
    # Otherwise a reset ends the emulator, and with it the disk.
    _order(guest, {"execute": "stop"}, _SURVIVES_RESET, {"execute": "system_reset"})
    guest.disconnect()


def on(guest: Guest) -> None:
    """Give the power back, and wait until the guest has started. Raises MachineError."""
    _order(guest, {"execute": "cont"})
    guest.connect()


_SURVIVES_RESET: dict[str, object] = {"execute": "set-action", "arguments": {"reboot": "reset"}}


def _order(guest: Guest, *orders: dict[str, object]) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SECONDS)
        connection.connect(str(guest.directory / "orders"))
        lines = iter(connection.makefile("rb"))
        next(lines)  # its greeting
        for order in ({"execute": "qmp_capabilities"}, *orders):
            connection.sendall(json.dumps(order).encode() + b"\n")
            answer = _answer(lines)
            if "error" in answer:
                raise MachineError(f"the emulator refuses {order}: {answer['error']}")


def _answer(lines: Iterator[bytes]) -> dict[str, object]:
    """Return the next line that is no event."""
    for line in lines:
        said: dict[str, object] = json.loads(line)
        if "event" not in said:
            return said
    raise MachineError("the emulator hung up")
