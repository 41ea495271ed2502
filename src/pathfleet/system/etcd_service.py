"""The etcd of this node as Debian's package runs it: its environment file, its data, its systemd unit.

Knows nothing of certificates' content nor of other members.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from pathfleet.errors import StoreError
from pathfleet.system import program
from pathfleet.system.certificates import write

CLIENT_PORT: Final = 2379
PEER_PORT: Final = 2380

#: systemd itself gives up on a start after 90 s (systemd-system.conf(5), DefaultTimeoutStartSec=).
_DEADLINE_SECONDS: Final = 120.0
_HEAD: Final = "# Written by `pathfleet cluster`; `pathfleet cluster leave` brings back what was here before.\n"

#: Runs a program with arguments to its end; raises StoreError when it cannot or the program fails.
Runner = Callable[..., Awaitable[None]]


class Files(Struct, frozen=True):
    """The certificates by which a member is known, and its key, which its user must be able to read."""

    authority: Path
    certificate: Path
    key: Path


async def run(name: str, *arguments: str) -> None:
    """Run a program. Raises StoreError with what it said, and where there is more."""
    try:
        await program.run(name, *arguments, deadline_seconds=_DEADLINE_SECONDS)
    except StoreError as error:
        raise StoreError(f"{error}; see: journalctl -u etcd") from error


class EtcdService(Struct, frozen=True):
    """Where etcd has its settings and data, and `run`, which talks to systemd."""

    environment: Path = Path("/etc/default/etcd")
    data_root: Path = Path("/var/lib/etcd")
    run: Runner = run

    def check(self) -> None:
        """Raise StoreError when etcd is not installed, or set up by somebody else for something else."""
        if shutil.which("etcd") is None:
            raise StoreError("there is no program `etcd`: apt install etcd-server")
        if self._is_foreign():
            raise StoreError(
                f"{self.environment} sets up an etcd that pathfleet did not make; to use that cluster, set"
                f" store = etcd://… to it, else move {self.environment} and its data away and try again"
            )

    def configure(self, name: str, address: str, data: Path, files: Files, *, cluster: str, state: str) -> None:
        """Write what etcd starts with; `cluster` as NAME=URL,…, `state` "new" or "existing". What was there is kept.

        https://etcd.io/docs/v3.4/op-guide/configuration/ explains the variables.
        """
        client, peer = url(address, CLIENT_PORT), url(address, PEER_PORT)
        variables = {
            "NAME": name,
            "DATA_DIR": str(data),
            "LISTEN_CLIENT_URLS": client,
            "ADVERTISE_CLIENT_URLS": client,
            "LISTEN_PEER_URLS": peer,
            "INITIAL_ADVERTISE_PEER_URLS": peer,
            "INITIAL_CLUSTER": cluster,
            "INITIAL_CLUSTER_STATE": state,
            "INITIAL_CLUSTER_TOKEN": data.name,
            # The history of every key would fill the database.
            "AUTO_COMPACTION_MODE": "periodic",
            "AUTO_COMPACTION_RETENTION": "1h",
        }
        for side in ("", "PEER_"):
            variables |= {
                f"{side}CERT_FILE": str(files.certificate),
                f"{side}KEY_FILE": str(files.key),
                f"{side}TRUSTED_CA_FILE": str(files.authority),
                f"{side}CLIENT_CERT_AUTH": "true",
            }
        if self.environment.exists() and not self._is_ours():
            shutil.copy2(self.environment, self._backup)
        lines = [f'ETCD_{variable}="{value}"\n' for variable, value in variables.items()]
        self.environment.parent.mkdir(parents=True, exist_ok=True)
        write(self.environment, _HEAD + "".join(lines))

    async def start(self) -> None:
        """Start etcd with what is configured now, and at every boot. Raises StoreError."""
        await self.run("systemctl", "enable", "etcd")
        await self.run("systemctl", "restart", "etcd")

    async def stop(self) -> None:
        """Stop etcd, and do not start it at boot. Raises StoreError."""
        await self.run("systemctl", "disable", "--now", "etcd")

    def unconfigure(self) -> None:
        """Bring back the environment file that was there before."""
        if self._backup.exists():
            self._backup.replace(self.environment)
        elif self._is_ours():
            self.environment.unlink()

    @property
    def _backup(self) -> Path:
        return self.environment.with_name(f"{self.environment.name}.before-pathfleet")

    def _is_ours(self) -> bool:
        return self.environment.exists() and self.environment.read_text(errors="replace").startswith(_HEAD)

    def _is_foreign(self) -> bool:
        """Whether somebody set something there; Debian's own file has comments only."""
        if not self.environment.exists() or self._is_ours():
            return False
        lines = self.environment.read_text(errors="replace").splitlines()
        return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def set_aside(path: Path) -> Path | None:
    """Rename a file or directory to `….left-TIME`, so that nothing is lost; None: there is none."""
    if not path.exists():
        return None
    aside = path.with_name(f"{path.name}.left-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}")
    path.rename(aside)
    return aside


def url(address: str, port: int) -> str:
    """Return the URL of an IP address and port."""
    return f"https://{endpoint(address, port)}"


def endpoint(address: str, port: int = CLIENT_PORT) -> str:
    """Return HOST:PORT of an IP address, in brackets when it is one of version 6."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
