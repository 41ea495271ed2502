"""One guest for all tests of this directory: started once, its SAN brought back to health after each test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import image, installation, machine
from tests.vm.machine import Guest, Machine

HERE = Path(__file__).parent
LUNS = 3
SIZE_MIB = 64
HEALTHY_SECONDS = 60
OLDEST_PYTHON = (3, 11)
SUITE = os.environ.get("PATHFLEET_VM_SUITE", "bookworm")
GUEST_HOME = "/opt/bench"
GUEST_COMMANDS = ("san", "ask")
LAUNCHER = """#!/usr/bin/python3
import sys

sys.path.insert(0, "{home}")

from guest.{command} import main

main()
"""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.vm)
            item.add_marker(pytest.mark.xdist_group("vm"))


@pytest.fixture(scope="session")
def suite() -> str:
    """The Debian suite that the guest runs."""
    return SUITE


@pytest.fixture(scope="session")
def guest(suite: str) -> Iterator[Machine]:
    """A running guest with a SAN of three LUNs, two paths each, all healthy."""
    lacking = image.missing_tools() + machine.missing_tools()
    if lacking:
        pytest.skip(f"no virtual machine without {', '.join(lacking)}: run tools/system_deps")
    with Machine(image.image(suite)) as started:
        install_commands(started)
        started.run(f"san target {LUNS} {SIZE_MIB} && san login", deadline=120)
        started.run(f"san healthy {HEALTHY_SECONDS}", deadline=HEALTHY_SECONDS + 10)
        yield started


def install_commands(guest: Guest) -> None:
    guest.put_tree(HERE / "guest", f"{GUEST_HOME}/guest")
    for command in GUEST_COMMANDS:
        path = f"/usr/local/sbin/{command}"
        guest.put(LAUNCHER.format(home=GUEST_HOME, command=command).encode(), path)
        guest.run(f"chmod 0755 {path}")


@pytest.fixture(name="machine")
def healthy_machine(guest: Machine) -> Iterator[Machine]:
    """The guest, whose SAN is healthy before the test and is made so again after it."""
    yield guest
    guest.run(f"san restore {HEALTHY_SECONDS}", deadline=HEALTHY_SECONDS * 2)


@pytest.fixture(scope="session")
def pathfleet(guest: Machine) -> str:
    """The name of the project's command, installed in the guest."""
    version = installation.python_version(guest)
    if version < OLDEST_PYTHON:
        pytest.skip(f"the guest's Python is {version[0]}.{version[1]}, too old for the project")
    installation.install(guest)
    return "pathfleet"
