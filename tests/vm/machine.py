"""A guest under emulation: started from an image's snapshot, spoken to over ssh on a loopback port.

The guest cannot reach out: its network cards lead to a forwarded port, to LANs of other guests and nowhere else.
Nothing it does outlives it.
"""

import io
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.vm.image import Image

TOOLS = ("qemu-system-x86_64", "ssh", "setpriv")
BOOT_SECONDS = 360
# Some guests' ssh server leaves the administrator's directories out.
_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class MachineError(Exception):
    """The guest did not start, or a command in it failed or took too long; the message tells all there is to see."""


@dataclass(frozen=True)
class Result:
    """What a command in the guest wrote and the exit status it ended with."""

    stdout: bytes
    stderr: bytes
    code: int


def missing_tools() -> list[str]:
    """Return the programs that a guest needs and this machine lacks."""
    return [tool for tool in TOOLS if not shutil.which(tool)]


@dataclass(frozen=True)
class Lan:
    """A network card on a LAN of guests: `group` is the multicast HOST:PORT that carries it, on loopback only."""

    group: str
    mac: str


class Guest:
    """A running guest, spoken to over ssh; whoever started it ends it."""

    def __init__(self, image: Image, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self._image = image
        self._control = directory / f"ssh-{os.getpid()}"
        self._ssh: subprocess.Popen[bytes] | None = None

    def run(
        self,
        command: str,
        *,
        deadline: float = 60,
        check: bool = True,
        stdin: bytes | None = None,
    ) -> Result:
        """Run a shell command as root and return what it wrote.

        Raises MachineError when it takes longer than `deadline` seconds, and unless `check` is
        false when it ends with another status than 0.
        """
        line = [*self._ssh_command(), "guest", f"export PATH={_SEARCH_PATH}; {command}"]
        try:
            done = subprocess.run(line, input=stdin or b"", capture_output=True, timeout=deadline, check=False)
        except subprocess.TimeoutExpired as late:
            written = (late.stdout or b"") + (late.stderr or b"")
            raise MachineError(f"no end after {deadline} s: {command}\n{_text(written)}{self._tail()}") from None
        if check and done.returncode:
            raise MachineError(f"status {done.returncode}: {command}\n{_text(done.stdout)}{_text(done.stderr)}")
        return Result(done.stdout, done.stderr, done.returncode)

    def put(self, local: Path | bytes, remote: str) -> None:
        """Write a file in the guest, from a file or from bytes; its directory must be there."""
        content = local if isinstance(local, bytes) else local.read_bytes()
        self.run(f"cat > '{remote}'", stdin=content)

    def put_tree(self, local: Path, remote: str) -> None:
        """Copy a directory's contents into a directory of the guest, made when absent; root owns the copies."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(local, arcname=".", filter=_without_caches)
        unpack = f"mkdir -p '{remote}' && tar -x --no-same-owner -C '{remote}' -f -"
        self.run(unpack, stdin=packed.getvalue(), deadline=120)

    def get(self, remote: str) -> bytes:
        """Return the bytes of a file in the guest."""
        return self.run(f"cat '{remote}'").stdout

    def console(self) -> str:
        """Return what the guest has written to its serial console so far."""
        console = self.directory / "console"
        return console.read_text(errors="replace") if console.exists() else ""

    def connect(self) -> None:
        """Wait until the guest has started, then log in. Raises MachineError."""
        deadline = time.monotonic() + BOOT_SECONDS
        while not self._answers():
            self._check_running()
            if time.monotonic() > deadline:
                raise MachineError(f"no ssh within {BOOT_SECONDS} s{self._tail()}")
            time.sleep(0.1)
        while not self._has_logged_in(deadline):
            if time.monotonic() > deadline:
                log = (self.directory / "ssh.log").read_text(errors="replace")
                raise MachineError(f"ssh cannot log in: {log}{self._tail()}")

    def _has_logged_in(self, deadline: float) -> bool:
        """Open the one connection that carries every command: each saves the second that cryptography takes."""
        self.disconnect()
        with (self.directory / "ssh.log").open("wb") as log:
            master = [*self._ssh_command(), "-M", "-N", "guest"]
            self._ssh = subprocess.Popen(master, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while not self._control.exists():
            # A guest that is still busy with its start may hang up.
            if self._ssh.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def disconnect(self) -> None:
        """Log out. Safe to call again."""
        if self._ssh is not None:
            _end(self._ssh)
            self._ssh = None
        self._control.unlink(missing_ok=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _ssh_command(self) -> list[str]:
        options = (
            f"ControlPath={self._control}",
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "HostName=127.0.0.1",
            f"Port={self.port}",
            "User=root",
        )
        flags = [flag for option in options for flag in ("-o", option)]
        return ["ssh", "-F", "none", "-i", str(self._image.key), *flags]

    def _tail(self) -> str:
        lines = self.console().splitlines()[-30:]
        return "\n".join(["", "the console ends:", *lines])

    def _check_running(self) -> None:
        """Raise MachineError once it is known that the guest will not start."""


class Machine(Guest):
    """A guest and its emulator; use as a context manager, or call `close`."""

    def __init__(
        self,
        image: Image,
        *,
        memory_mib: int = 512,
        cpus: int = 2,
        name: str = "guest",
        lans: Sequence[Lan] = (),
        connected: bool = True,
    ) -> None:
        """Start a guest; without `connected`, do not wait for it: `connect` does.

        Its emulator listens for orders at the unix socket `orders` in its directory, in QEMU's machine protocol.
        """
        super().__init__(image, Path(tempfile.mkdtemp(prefix="pathfleet-vm-")), _free_port())
        self._qemu = self._start(memory_mib, cpus, name, lans)
        try:
            if connected:
                self.connect()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The emulator's process id on this machine."""
        return self._qemu.pid

    def close(self) -> None:
        """End the guest at once, as if unplugged. Safe to call again."""
        self.disconnect()
        _end(self._qemu)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self, memory_mib: int, cpus: int, name: str, lans: Sequence[Lan]) -> subprocess.Popen[bytes]:
        boot = "root=/dev/nvme0n1 rw console=ttyS0 net.ifnames=0 mitigations=off quiet panic=-1"
        forward = f"user,id=lan,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22"
        # setpriv: the guest goes when the tests go, however they go. tb-size bounds the emulator's own memory.
        command = [
            *("setpriv", "--pdeathsig", "TERM"),
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-name", name),
            *("-display", "none", "-accel", "tcg,thread=multi,tb-size=128"),
            *("-m", str(memory_mib), "-smp", str(cpus)),
            *("-kernel", str(self._image.kernel), "-append", f"{boot} systemd.hostname={name}"),
            *("-drive", f"file={self._image.disk},format=raw,if=none,id=root,snapshot=on"),
            *("-device", "nvme,drive=root,serial=root"),
            *("-netdev", forward, "-device", "virtio-net-pci,netdev=lan,romfile="),
            *(word for number, lan in enumerate(lans) for word in _card(number, lan)),
            *("-device", "virtio-rng-pci"),
            *("-serial", f"file:{self.directory / 'console'}"),
            *("-qmp", f"unix:{self.directory / 'orders'},server=on,wait=off"),
        ]
        with (self.directory / "qemu.log").open("wb") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _check_running(self) -> None:
        if self._qemu.poll() is not None:
            log = (self.directory / "qemu.log").read_text(errors="replace")
            raise MachineError(f"the emulator ended: {log}{self._tail()}")


def _card(number: int, lan: Lan) -> tuple[str, ...]:
    network = f"socket,id=lan{number},mcast={lan.group},localaddr=127.0.0.1"
    return ("-netdev", network, "-device", f"virtio-net-pci,netdev=lan{number},mac={lan.mac},romfile=")


def _without_caches(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(member.name).name == "__pycache__" else member


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def _text(output: bytes) -> str:
    return output.decode(errors="replace")
