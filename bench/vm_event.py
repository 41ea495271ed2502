"""From the kernel's uevent of a failed path to the changed value in the store: real kernel, multipathd and agent.

In the virtual machine of the tests, which is emulated: hardware is about ten times faster.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bench.row import Row
from tests.vm import image, installation, machine
from tests.vm.conftest import install_commands
from tests.vm.machine import Machine

_SUITE = "bookworm"
_REPEATS = 20
_WHAT = "kernel's uevent to stored value, 3 maps, emulated"


def rows() -> Iterator[Row]:
    """Measure; the target is the median's and the worst's, both shown."""
    lacking = image.missing_tools() + machine.missing_tools()
    if lacking:
        yield Row(_WHAT, skipped=f"needs {', '.join(lacking)}")
        return
    with Machine(image.image(_SUITE)) as guest:
        install_commands(guest)
        guest.run("san target 3 64 && san login", deadline=180)
        guest.run("san healthy 60", deadline=90)
        installation.install_agent(guest)
        device = guest.run("san devices 0").stdout.split()[0].decode()
        printed = guest.run(f"sleep 15; latency {_REPEATS} {device}", deadline=400).stdout
    figures = [float(line) for line in printed.split()]
    yield Row(f"{_WHAT}, of {len(figures)}", min(figures), statistics.median(figures), "ms")
    yield Row("the worst of them", max(figures), unit="ms", at_most=300)
