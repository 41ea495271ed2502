"""Real etcd processes on loopback: a cluster whose members can be killed, frozen and started again."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("etcd")

_START_SECONDS = 20.0


class EtcdServers:
    """A cluster of `count` members below `directory`, running until `close`. `options`: further flags of etcd."""

    def __init__(self, directory: Path, count: int, *, options: Sequence[str] = (), tls: bool = False) -> None:
        self.directory = directory
        self.endpoints, self._peers = self._addresses(count)
        self._options = list(options)
        self._scheme = "https" if tls else "http"
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        directory.mkdir(parents=True)
        self.start(*range(count))
        if not tls:
            self.wait_ready()

    @property
    def running(self) -> list[int]:
        """The members that have a process, frozen or not."""
        return list(self._processes)

    def start(self, *members: int) -> None:
        for member in members or range(len(self.endpoints)):
            with (self.directory / f"{member}.log").open("ab") as log:
                self._processes[member] = subprocess.Popen(self._command(member), stdout=log, stderr=log)

    def kill(self, *members: int) -> None:
        """Kill as a power failure does."""
        for member in members or tuple(self._processes):
            process = self._processes.pop(member)
            process.kill()
            process.wait()

    def freeze(self, *members: int) -> None:
        for member in members:
            self._processes[member].send_signal(signal.SIGSTOP)

    def thaw(self, *members: int) -> None:
        for member in members:
            self._processes[member].send_signal(signal.SIGCONT)

    def wait_ready(self, members: Iterable[int] | None = None) -> None:
        """Wait until each of `members` answers a question that needs the majority."""
        for member in self._processes if members is None else members:
            end = time.monotonic() + _START_SECONDS
            while self.ask(member, "kv/range", {"key": "YQ=="}) is None:
                if time.monotonic() > end:
                    raise TimeoutError((self.directory / f"{member}.log").read_text()[-3000:])
                time.sleep(0.05)

    def leader(self) -> int:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            for member in self._processes:
                status = self.ask(member, "maintenance/status", {})
                if status and status.get("leader") == status["header"]["member_id"]:
                    return member
            time.sleep(0.05)
        raise TimeoutError

    def ask(self, member: int, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Return what a member answers by itself, outside the code under test; None: nothing of use."""
        url = f"http://{self.endpoints[member]}/v3/{path}"
        try:
            with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=1) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
        self.kill(*self._processes)

    def _addresses(self, count: int) -> tuple[list[str], list[str]]:
        """Return where each member is reached by clients, and the URL by which the others reach it."""
        ports = free_ports(2 * count)
        return (
            [f"127.0.0.1:{port}" for port in ports[:count]],
            [f"http://127.0.0.1:{port}" for port in ports[count:]],
        )

    def _command(self, member: int) -> list[str]:
        assert PROGRAM is not None
        client, peer = f"{self._scheme}://{self.endpoints[member]}", self._peers[member]
        cluster = ",".join(f"m{number}={url}" for number, url in enumerate(self._peers))
        return [
            PROGRAM,
            *("--name", f"m{member}"),
            *("--data-dir", str(self.directory / f"{member}.etcd")),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", cluster, "--initial-cluster-token", self._peers[0]),
            *("--heartbeat-interval", "50", "--election-timeout", "500"),
            *self._options,
        ]


def free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
