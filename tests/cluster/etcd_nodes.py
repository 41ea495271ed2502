"""Nodes on loopback, each with a machine of its own and a real etcd, started as `systemctl` would from its file."""

from __future__ import annotations

import os
import pwd
import shlex
import socket
import subprocess
import time
from pathlib import Path

from pathfleet.cluster.machine import Machine
from pathfleet.errors import StoreError
from pathfleet.system.etcd_service import EtcdService

_START_SECONDS = 30.0


class Node:
    """Node `name` below `directory`, at the `number`th loopback address of this test process."""

    def __init__(self, directory: Path, name: str, number: int) -> None:
        self.name = name
        self.directory = directory / name
        self.address = f"127.{1 + os.getpid() % 250}.{1 + os.getpid() // 250 % 250}.{number}"
        self.environment = self.directory / "default/etcd"
        self.asked: list[str] = []
        self.breaks = False
        (self.directory / "data").mkdir(parents=True)
        me = pwd.getpwuid(os.geteuid()).pw_name
        self.machine = Machine(
            directory=self.directory / "etc/pathfleet/etcd",
            service=EtcdService(self.environment, self.directory / "data", self.run),
            pve=self.directory / "pve",
            etcd_user=me,
            agent_user="nobody" if os.geteuid() == 0 else me,
        )
        self._process: subprocess.Popen[bytes] | None = None

    async def run(self, program: str, *arguments: str) -> None:
        """Do what systemd would do with the unit."""
        self.asked.append(" ".join((program, *arguments)))
        if arguments[0] == "restart":
            self.end()
            if self.breaks:
                raise StoreError("`systemctl restart etcd` ended with 1, saying: broken for the test")
            self.start()
        elif arguments[0] == "disable":
            self.end()

    def start(self) -> None:
        """Start etcd, and wait until it listens."""
        lines = [line for line in self.environment.read_text().splitlines() if not line.startswith("#")]
        variables = dict(shlex.split(line)[0].split("=", 1) for line in lines)
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(["etcd"], env={**os.environ, **variables}, stdout=log, stderr=log)
        end = time.monotonic() + _START_SECONDS
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > end:
                self.end()
                raise StoreError((self.directory / "log").read_text()[-2000:])
            time.sleep(0.05)

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.address, 2379)) == 0
