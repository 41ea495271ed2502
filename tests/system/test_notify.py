from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pathfleet.system.notify import Notifier


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(2)
        yield bound


def test_each_message_is_a_datagram_of_its_own(supervisor: socket.socket) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": supervisor.getsockname()})
    notifier.ready()
    notifier.watchdog()
    notifier.status("3 maps, 1 degraded")
    notifier.stopping()
    assert [supervisor.recv(4096) for _ in range(4)] == [
        b"READY=1",
        b"WATCHDOG=1",
        b"STATUS=3 maps, 1 degraded",
        b"STOPPING=1",
    ]


def test_an_at_sign_names_an_abstract_socket() -> None:
    name = f"pathfleet-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(f"\0{name}")
        bound.settimeout(2)
        Notifier(f"@{name}").ready()
        assert bound.recv(4096) == b"READY=1"


def test_a_status_cannot_smuggle_in_a_second_assignment(supervisor: socket.socket) -> None:
    Notifier(supervisor.getsockname()).status("lost\nMAINPID=1\r\n \udcff")
    assert supervisor.recv(4096) == b"STATUS=lost MAINPID=1 ?"


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all", "@", "/" + "x" * 200, "/nul\0byte"])
def test_nobody_listening_is_no_error(address: str | None) -> None:
    Notifier(address).ready()


def test_a_supervisor_that_does_not_read_does_not_block_us(supervisor: socket.socket) -> None:
    notifier = Notifier(supervisor.getsockname())
    for _ in range(5000):
        notifier.watchdog()
    assert supervisor.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_counts_only_when_it_is_meant_for_us(environment: dict[str, str], seconds: float | None) -> None:
    assert Notifier.from_environment(environment).watchdog_seconds == seconds
