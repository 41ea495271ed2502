"""What the conformance suite needs of a store engine under test; one class per engine."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Protocol

from pathfleet.store import Store
from pathfleet.store.sqlite import SQLiteStore


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

    def store(self, node: str | None) -> Store:
        """Return a store, not yet opened."""

    def source(self, node: str) -> str:
        """Return Python code that defines `store`, not yet opened, in another process."""

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
