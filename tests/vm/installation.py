"""The project installed in a guest, for the guest's own Python: the locked dependencies and a fresh wheel."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.vm.image import cache_directory, lock
from tests.vm.machine import Guest

REPOSITORY = Path(__file__).parents[2]
HOME = "/opt/pathfleet"
STEP_SECONDS = 600
# The oldest C library among the suites that a supported Python comes from is Debian 12's 2.36.
PLATFORM = "x86_64-manylinux_2_28"
LAUNCHER = f"""#!/usr/bin/python3
import sys

sys.path.insert(0, "{HOME}")

from pathfleet.cli import main

sys.exit(main())
"""


class InstallationError(Exception):
    """A step on the host failed; the message holds what it wrote."""


def install(machine: Guest) -> None:
    """Put the project into a guest, with `pathfleet` on its search path. Raises InstallationError."""
    python = ".".join(map(str, python_version(machine)))
    machine.put_tree(_dependencies(python), HOME)
    with tempfile.TemporaryDirectory(prefix="pathfleet-wheel-") as directory:
        machine.put_tree(_project(python, Path(directory)), HOME)
    machine.put(LAUNCHER.encode(), "/usr/local/bin/pathfleet")
    machine.run("chmod 0755 /usr/local/bin/pathfleet")


def install_agent(machine: Guest) -> None:
    """Start the agent as an operator would: its user, its unit; with the programs that look at what it publishes."""
    install(machine)
    _put_programs(machine, "values", "latency")
    _put_unit(machine, "pathfleet-agent")
    machine.put(REPOSITORY / "packaging/pathfleet.sysusers", "/usr/lib/sysusers.d/pathfleet.conf")
    machine.run("systemd-sysusers && systemctl daemon-reload && systemctl start pathfleet-agent", deadline=120)


def install_apply(machine: Guest) -> None:
    """Put the unit that applies beside the agent, which is installed already; with the programs that try it."""
    _put_programs(machine, "interrupted", "unchecked")
    _put_unit(machine, "pathfleet-apply")
    # root's first run keeps what it compiles: the service has no right to, and would compile it at every start
    machine.run("systemctl daemon-reload && pathfleet config apply --help", deadline=120)


def _put_programs(machine: Guest, *names: str) -> None:
    for name in names:
        machine.put(REPOSITORY / f"tests/vm/guest/{name}.py", f"{HOME}/{name}.py")
        launcher = f'#!/bin/sh\nexec python3 {HOME}/{name}.py "$@"\n'
        machine.put(launcher.encode(), f"/usr/local/sbin/{name}")
        machine.run(f"chmod 0755 /usr/local/sbin/{name}")


def _put_unit(machine: Guest, name: str) -> None:
    machine.put(REPOSITORY / f"packaging/{name}.service", f"/etc/systemd/system/{name}.service")


def python_version(machine: Guest) -> tuple[int, int]:
    """Return the major and minor version of the guest's own Python."""
    printed = machine.run("python3 -c 'import sys; print(*sys.version_info[:2])'").stdout
    major, minor = printed.split()
    return int(major), int(minor)


def _dependencies(python: str) -> Path:
    locked = hashlib.sha256((REPOSITORY / "uv.lock").read_bytes()).hexdigest()[:12]
    directory = cache_directory() / f"python{python}-{locked}"
    with lock(directory):
        if not directory.exists():
            with tempfile.TemporaryDirectory(dir=directory.parent) as work:
                requirements = Path(work) / "requirements.txt"
                _uv("export", "--frozen", "--no-dev", "--no-emit-project", "--output-file", requirements)
                _pip_install(python, Path(work) / "tree", "--requirement", requirements)
                (Path(work) / "tree").rename(directory)
    return directory


def _project(python: str, directory: Path) -> Path:
    _uv("build", "--wheel", "--out-dir", directory)
    (wheel,) = directory.glob("*.whl")
    _pip_install(python, directory / "tree", "--no-deps", wheel)
    return directory / "tree"


def _pip_install(python: str, target: Path, *what: str | Path) -> None:
    options = ("--python-version", python, "--python-platform", PLATFORM, "--only-binary", ":all:")
    _uv("pip", "install", "--python", sys.executable, "--target", target, *options, *what)


def _uv(*arguments: str | Path) -> None:
    program = shutil.which("uv") or REPOSITORY / ".uv/bin/uv"
    done = subprocess.run(
        [program, "--quiet", *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_SECONDS,
        check=False,
    )
    if done.returncode:
        raise InstallationError(f"uv {' '.join(map(str, arguments))}\n{done.stdout}")
