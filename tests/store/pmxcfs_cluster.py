"""A cluster of nodes with a pmxcfs each: starts the processes, tells them who is there, takes them apart."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.store.pmxcfs_server import socket_of

ROOT = Path(__file__).parents[2]


class Server:
    """The pmxcfs of one node."""

    def __init__(self, node: str, service: str, directory: Path, expiry_seconds: float) -> None:
        self.node = node
        self.service = service
        settings = {
            "node": node,
            "service": service,
            "directory": str(directory),
            "expiry_seconds": expiry_seconds,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-E", "-m", "tests.store.pmxcfs_server", json.dumps(settings)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def tell(self, do: str, **what: Any) -> Any:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as control:
            control.settimeout(5)
            control.bind("")
            control.sendto(json.dumps({"do": do, **what}).encode(), socket_of(self.service))
            return json.loads(control.recv(1 << 20))

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
        for left in Path("/dev/shm").glob(f"qb-{self.process.pid}-*"):
            shutil.rmtree(left, ignore_errors=True)

    def stop(self) -> None:
        """End it in order."""
        with suppress(subprocess.TimeoutExpired):
            self.process.communicate(timeout=5)
        self.kill()


class Pmxcfs:
    """The nodes of one cluster and the mount that they share. Nodes join when they are first asked for."""

    def __init__(self, directory: Path, *, expiry_seconds: float = 1.0) -> None:
        self.mount = directory / "pve"
        self.expiry_seconds = expiry_seconds
        self.servers: dict[str, Server] = {}
        self.nodes: dict[str, int] = {}
        self.parts: list[set[str]] = []
        self._tag = f"pathfleet-test-{os.getpid()}-{secrets.token_hex(4)}"
        (self.mount / "priv" / "lock").mkdir(parents=True)
        (self.mount / "local").symlink_to("nodes/local")

    def service(self, node: str) -> str:
        return f"{self._tag}-{node}"

    def join(self, node: str) -> Server:
        """Return the node's server; a new node is added to the cluster, in the part that has the most."""
        if node not in self.nodes:
            self.nodes[node] = len(self.nodes) + 1
            self.start(node)
        return self.servers[node]

    def start(self, *nodes: str) -> None:
        for node in nodes:
            self.servers[node] = Server(node, self.service(node), self.mount, self.expiry_seconds)
        self.tell_view()

    def stop(self, *nodes: str) -> None:
        for node in nodes:
            self.servers.pop(node).stop()
        self.tell_view()

    def split(self, *parts: Iterable[str]) -> None:
        """Cut the network between the parts."""
        self.parts = [set(part) for part in parts]
        self.tell_view()

    def heal(self) -> None:
        self.split()

    def tell_view(self) -> None:
        """Tell every node whom it can reach; then all send again what they have."""
        for node, server in self.servers.items():
            part = next((part for part in self.parts if node in part), set(self.nodes))
            group = [other for other in self.servers if other in part]
            nodelist = {
                other: {"id": number, "online": int(other in group), "ip": "127.0.0.1"}
                for other, number in self.nodes.items()
            }
            cluster = {
                "name": "test",
                "version": len(self.nodes),
                "nodes": len(self.nodes),
                "quorate": int(len(group) * 2 > len(self.nodes)),
            }
            members = {"nodename": node, "version": 1, "cluster": cluster, "nodelist": nodelist}
            server.tell("view", members=members, peers=[self.service(other) for other in group if other != node])
        for server in self.servers.values():
            server.tell("sync")

    def close(self) -> None:
        for server in self.servers.values():
            server.thaw()
            server.kill()
