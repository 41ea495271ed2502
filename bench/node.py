"""A node to measure on: the real agent as a process of its own, with a made-up SAN behind it.

multipathd is a small server process; sysfs is a directory tree that only the agent sees in place of `/sys/block` and
`/sys/class`, for which it takes root.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.san import San
from pathfleet.core.ports import Port

NAME = "bench"
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


class Node:
    """The node whose files are in `directory`; `pid` is the agent's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pid = 0
        self._reply = directory / "reply.json"

    @property
    def store_url(self) -> str:
        """Where its agent publishes."""
        return f"sqlite://{self.directory}/cluster.db"

    def say(self, reply: bytes) -> None:
        """Let multipathd reply with this from now on."""
        fresh = self._reply.with_suffix(".new")
        fresh.write_bytes(reply)
        fresh.replace(self._reply)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run multipathd and the agent."""
        daemon_socket = self.directory / "multipathd.socket"
        module = [sys.executable, "-m", "bench.fake_multipathd", str(daemon_socket), str(self._reply)]
        with _process(module, dict(os.environ)):
            _wait_for(daemon_socket)
            with _process(self._agent(), self._environment(daemon_socket)) as agent:
                self.pid = agent.pid
                yield

    def _environment(self, daemon_socket: Path) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
        return kept | {
            "PATHFLEET_NODE": NAME,
            "PATHFLEET_STORE": self.store_url,
            "PATHFLEET_STATE_DIRECTORY": str(self.directory),
            "PATHFLEET_MULTIPATHD_SOCKET": str(daemon_socket),
            "PATHFLEET_API_LISTEN": "127.0.0.1:0",
            "PATHFLEET_API_SOCKET": str(self.directory / "api.sock"),
            "PATHFLEET_LOG_LEVEL": "warning",
        }

    def _agent(self) -> list[str]:
        agent = [sys.executable, "-m", "pathfleet", "agent"]
        if not sees_sysfs():
            return agent
        mounts = 'mount --bind "$0/block" /sys/block && mount --bind "$0/class" /sys/class && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", mounts, str(self.directory / "sys"), *agent]


def sees_sysfs() -> bool:
    """Whether the agent gets to see the SAN's sysfs."""
    return os.geteuid() == 0


@contextmanager
def prepared(made: San) -> Iterator[Node]:
    """Make a node of the SAN, in a directory that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="pathfleet-bench-") as directory:
        node = Node(Path(directory))
        node.say(made.reply)
        _write_sysfs(made, node.directory / "sys")
        yield node


def _write_sysfs(made: San, root: Path) -> None:
    attributes = {f"block/{dm}/size": str(size // 512) for dm, size in made.sizes.items()}
    (root / "block").mkdir(parents=True)
    for device, port in made.ports.items():
        host, rport = _places(port)
        address = f"{host}/{rport}/target{(port.hctl or '').rpartition(':')[0]}/{port.hctl}"
        (root / "block" / device).symlink_to(f"../devices/pci0000:3a/0000:3b:00.0/{address}/block/{device}")
        attributes[f"class/fc_host/{host}/port_name"] = port.initiator or ""
        attributes[f"class/fc_remote_ports/{rport}/port_name"] = port.target or ""
    for name, text in attributes.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n", "ascii")


def _places(port: Port) -> tuple[str, str]:
    host, bus, target, _ = (port.hctl or "").split(":")
    return f"host{host}", f"rport-{host}:{bus}-{target}"


@contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, env=environment))
        stack.callback(_end, process)
        yield process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _wait_for(file: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while not file.exists():
        if time.monotonic() > give_up:
            raise TimeoutError(f"{file.name} did not appear within {_START_SECONDS:g} s")
        time.sleep(0.01)
