"""Tell systemd how the service is: sd_notify(3), without its library.

Telling is a courtesy: without a supervisor, or with one that does not listen, nothing happens and nothing fails.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Self

_STATUS_LIMIT = 512


class Notifier:
    """The supervisor's socket at `address` (a path, or `@name` in the abstract namespace); None: nobody listens.

    `watchdog_seconds` is how long the supervisor waits for `watchdog()` before it restarts the service; call it
    at least twice as often. None: it does not watch.
    """

    def __init__(self, address: str | None, *, watchdog_seconds: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self.watchdog_seconds = watchdog_seconds

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return the notifier that NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID describe."""
        return cls(environment.get("NOTIFY_SOCKET"), watchdog_seconds=_watchdog_seconds(environment))

    def ready(self) -> None:
        """Say that the service is up."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Say that the service is going down."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Show one line to the operator (`systemctl status`)."""
        self._send(f"STATUS={' '.join(text.split())[:_STATUS_LIMIT]}")

    def watchdog(self) -> None:
        """Say that the service is alive."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # ValueError: an address that no socket can have.
        with (
            contextlib.suppress(OSError, ValueError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.sendto(message.encode(errors="replace"), self._address)


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    # sd_watchdog_enabled(3): a WATCHDOG_PID of another process means that the variable was inherited.
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 else None
