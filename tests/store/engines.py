"""What the conformance suite needs of a store engine under test; one class per engine."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Protocol

from pathfleet.store import Store
from pathfleet.store.etcd import EtcdStore
from pathfleet.store.etcd_url import Address
from pathfleet.store.pmxcfs import PREFIXES, PmxcfsStore
from pathfleet.store.sqlite import SQLiteStore
from tests.store.etcd_servers import EtcdServers
from tests.store.pmxcfs_cluster import Pmxcfs


class Cluster(Protocol):
    """One running engine, with stores of several nodes on it, and the ways to take it away."""

    #: A call ends within this many seconds, whatever happened to the engine.
    deadline_seconds: float
    #: After this many seconds without `alive` a node is offline.
    offline_seconds: float
    #: A lock whose holder died is free after this many seconds.
    lease_seconds: float
    #: Whether node values outlive a restart of the engine by themselves.
    keeps_values: bool
    #: Whether it can say who holds a lock.
    names_holders: bool
    #: Whether a file gets a new revision also when it is written with the content that it has.
    revises_equal_content: bool
    #: Whether it forgets nodes; else they are kept elsewhere.
    forgets: bool

    def store(self, node: str | None) -> Store:
        """Return a store, not yet opened."""

    def source(self, node: str) -> str:
        """Return Python code that defines `store`, not yet opened, in another process."""

    async def switch_off(self, node: str) -> None:
        """Do what it takes, beside silence, that a node is gone for the engine."""

    async def restart(self) -> None:
        """Stop the engine and start it again, with what it had on its disk, while stores are open."""

    async def lose(self) -> None:
        """Take the engine away from the open stores."""

    async def regain(self) -> None:
        """Give it back as it was."""


class SQLiteCluster:
    """A file in a directory: "restarted" is another file with the same content, "lost" is garbage in its place."""

    deadline_seconds = 2.0
    offline_seconds = 0.3
    lease_seconds = 1.0
    keeps_values = True
    names_holders = True
    revises_equal_content = True
    forgets = True

    def __init__(self, directory: Path) -> None:
        self.path = directory / "store" / "pathfleet.db"

    def store(self, node: str | None) -> SQLiteStore:
        return SQLiteStore(
            self.path,
            node=node,
            online_seconds=self.offline_seconds,
            lease_seconds=self.lease_seconds,
            deadline_seconds=self.deadline_seconds,
        )

    def source(self, node: str) -> str:
        return (
            "from pathlib import Path\n"
            "from pathfleet.store.sqlite import SQLiteStore\n"
            f"store = SQLiteStore(Path({str(self.path)!r}), node={node!r}, lease_seconds={self.lease_seconds})\n"
        )

    async def switch_off(self, node: str) -> None:
        pass

    async def restart(self) -> None:
        copy = self.path.with_name("copy")
        with closing(sqlite3.connect(self.path)) as old, closing(sqlite3.connect(copy)) as new:
            old.backup(new)
        copy.replace(self.path)

    async def lose(self) -> None:
        self.path.rename(self.path.with_name("aside"))
        self.path.write_bytes(b"this is no database at all\n" * 100)

    async def regain(self) -> None:
        self.path.with_name("aside").replace(self.path)


class EtcdCluster:
    """A prefix of its own in an etcd that other tests use too: "lost" is all its members killed."""

    deadline_seconds = 2.0
    #: The least that etcd grants: one and a half election timeouts, in whole seconds.
    offline_seconds = 1.0
    lease_seconds = 2.0
    keeps_values = True
    names_holders = True
    revises_equal_content = True
    forgets = True

    def __init__(self, servers: EtcdServers, prefix: str) -> None:
        self.servers = servers
        self.address = Address(tuple(servers.endpoints), prefix)

    def store(self, node: str | None) -> EtcdStore:
        return EtcdStore(
            self.address,
            node=node,
            online_seconds=self.offline_seconds,
            lease_seconds=self.lease_seconds,
            deadline_seconds=self.deadline_seconds,
        )

    def source(self, node: str) -> str:
        return (
            "from pathfleet.store.etcd import EtcdStore\n"
            "from pathfleet.store.etcd_url import Address\n"
            f"address = Address({self.address.endpoints!r}, {self.address.prefix!r})\n"
            f"store = EtcdStore(address, node={node!r}, lease_seconds={self.lease_seconds})\n"
        )

    async def switch_off(self, node: str) -> None:
        pass

    async def restart(self) -> None:
        await self.lose()
        await self.regain()

    async def lose(self) -> None:
        self.servers.kill()

    async def regain(self) -> None:
        self.servers.start()
        await asyncio.to_thread(self.servers.wait_ready)


class PmxcfsCluster:
    """A pmxcfs for each node that is asked for: "lost" is all of them killed and the mount gone.

    Stands in for the real one, which is with peers a few milliseconds later; here it is at once.
    """

    deadline_seconds = 1.0
    #: A node is there as long as its pmxcfs is, whatever its agent does.
    offline_seconds = 0.3
    lease_seconds = 1.0
    #: They are in its memory; their nodes write them again.
    keeps_values = False
    #: A lock is an empty directory.
    names_holders = False
    #: The revision is the digest, as in Proxmox VE.
    revises_equal_content = False
    #: Proxmox VE has a list of its own.
    forgets = False

    #: The suite has keys that are nobody's.
    prefixes = (*PREFIXES, "other", "absent")

    def __init__(self, directory: Path) -> None:
        self.pmxcfs = Pmxcfs(directory, expiry_seconds=self.lease_seconds)
        self._mount = self.pmxcfs.mount
        self._lost: dict[str, list[list[str]]] = {}

    def store(self, node: str | None) -> PmxcfsStore:
        on = node or "a"
        if not self._lost:
            self.pmxcfs.join(on)
        return PmxcfsStore(
            self._mount,
            node=node,
            service=self.pmxcfs.service(on),
            prefixes=self.prefixes,
            lease_seconds=self.lease_seconds / 2,
            poll_seconds=0.1,
            deadline_seconds=self.deadline_seconds,
        )

    def source(self, node: str) -> str:
        self.pmxcfs.join(node)
        return (
            "from pathlib import Path\n"
            "from pathfleet.store.pmxcfs import PmxcfsStore\n"
            f"store = PmxcfsStore(Path({str(self._mount)!r}), node={node!r}, service={self.pmxcfs.service(node)!r})\n"
        )

    async def switch_off(self, node: str) -> None:
        self.pmxcfs.stop(node)

    async def restart(self) -> None:
        nodes = list(self.pmxcfs.servers)
        self.pmxcfs.stop(*nodes)
        self.pmxcfs.start(*nodes)

    async def lose(self) -> None:
        for node, server in self.pmxcfs.servers.items():
            self._lost[node] = server.tell("dump")["values"]
            server.kill()
        self._mount.rename(self._mount.with_name("aside"))

    async def regain(self) -> None:
        self._mount.with_name("aside").rename(self._mount)
        self.pmxcfs.start(*self._lost)
        for node, values in self._lost.items():
            self.pmxcfs.servers[node].tell("load", values=values)
        self._lost = {}

    def close(self) -> None:
        self.pmxcfs.close()
