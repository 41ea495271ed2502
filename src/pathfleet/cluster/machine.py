"""This node as a member of an etcd cluster: its files, and the record that makes it one."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct

from pathfleet.errors import StoreError
from pathfleet.store.etcd_url import PREFIX, Address, parse
from pathfleet.system import certificates
from pathfleet.system.certificates import Authority, Pair
from pathfleet.system.etcd_service import EtcdService, Files, set_aside


class Record(Struct, frozen=True):
    """What a member remembers of itself; `endpoints` of all members it knew of, its own first."""

    node: str
    address: str
    ident: str
    endpoints: tuple[str, ...]
    data: str


class Machine(Struct, frozen=True):
    """Where things are on this node. The users must be able to read a key each: etcd's, and the agent's."""

    directory: Path = Path("/etc/pathfleet/etcd")
    service: EtcdService = EtcdService()
    pve: Path = Path("/etc/pve")
    etcd_user: str = "etcd"
    agent_user: str = "pathfleet"

    @property
    def authority(self) -> Authority:
        """The cluster's authority; its key is only where nodes are let in from."""
        return Authority(self.directory / "ca.crt", self.directory / "ca.key")

    @property
    def address(self) -> Address:
        """How to be let in; the endpoint stands for none yet."""
        pair = self.directory / "node.crt", self.directory / "store.key"
        return Address((), tls=True, ca=self.authority.certificate, cert=pair[0], key=pair[1])

    def prepare(self) -> None:
        """Make the directory; what is secret in it has a mode of its own."""
        for directory in (self.directory.parent, self.directory):
            if not directory.exists():
                directory.mkdir(parents=True)
                # Whatever the umask: etcd and the agent are not root.
                directory.chmod(0o755)

    def record(self) -> Record | None:
        """Return the record of this member, None if it is none. Raises StoreError when it cannot be read."""
        try:
            return msgspec.json.decode((self.directory / "node.json").read_bytes(), type=Record)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise StoreError(f"{self.directory / 'node.json'} cannot be read: {error}; run as root") from error

    def remember(self, record: Record) -> None:
        """Write the record, which makes this node a member."""
        certificates.write(self.directory / "node.json", msgspec.json.encode(record).decode() + "\n")

    def install(self, authority: str, pair: Pair) -> None:
        """Put this node's certificates where etcd and the agent find them."""
        ours = self.authority.certificate
        if ours.exists() and ours.read_text("ascii") != authority:
            # Of an attempt to found a cluster that came to nothing; it would sign what nobody here accepts.
            set_aside(self.authority.key)
        certificates.write(ours, authority)
        certificates.write(self.directory / "node.crt", pair.certificate)
        for file, user in (("node.key", self.etcd_user), ("store.key", self.agent_user)):
            certificates.write(self.directory / file, pair.key, mode=0o600)
            # Without such a user nobody but root runs it.
            with suppress(KeyError):
                os.chown(self.directory / file, pwd.getpwnam(user).pw_uid, -1)

    def files(self) -> Files:
        """Return what etcd is told of its certificates."""
        return Files(self.authority.certificate, self.directory / "node.crt", self.directory / "node.key")

    def store_url(self, endpoints: tuple[str, ...]) -> str:
        """Return the URL of the store in this cluster, as this node reaches it. Raises SettingsError."""
        files = {"ca": self.address.ca, "cert": self.address.cert, "key": self.address.key}
        query = "&".join(f"{name}={quote(str(file))}" for name, file in files.items())
        found = f"etcd://{','.join(endpoints)}/{PREFIX}?{query}"
        parse(found)
        return found


@contextmanager
def files_in_words() -> Iterator[None]:
    """Raise StoreError with the file's name for what goes wrong with it."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise StoreError(f"{error.filename}: {error.strerror}; this needs root") from error
