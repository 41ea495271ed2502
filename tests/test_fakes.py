"""The store in memory keeps the contract of `pathfleet.store`, so tests against it prove something."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.fakes import Memory, MemoryStore
from tests.store import test_conformance as conformance
from tests.store.conftest import a, b, opened, reader
from tests.store.engines import Cluster

__all__ = ["a", "b", "opened", "reader"]


class MemoryCluster:
    deadline_seconds = 1.0
    offline_seconds = 0.3
    lease_seconds = 0.5
    keeps_values = True
    names_holders = True
    revises_equal_content = True
    forgets = True

    def __init__(self) -> None:
        self.memory = Memory(self.offline_seconds, self.lease_seconds)

    def store(self, node: str | None) -> MemoryStore:
        return MemoryStore(node, self.memory)

    def source(self, node: str) -> str:
        raise NotImplementedError(node)

    async def switch_off(self, node: str) -> None:
        """Nothing to do: silence is enough."""

    async def restart(self) -> None:
        """Nothing to do: what it keeps, it keeps here."""

    async def lose(self) -> None:
        self.memory.lost = True

    async def regain(self) -> None:
        self.memory.regain()


@pytest.fixture
def engine() -> Cluster:
    return MemoryCluster()


class TestNodeValues(conformance.TestNodeValues):
    pass


class TestMembers(conformance.TestMembers):
    pass


class TestForgetting(conformance.TestForgetting):
    pass


class TestFiles(conformance.TestFiles):
    pass


class TestLock(conformance.TestLock):
    # No other process shares this memory.
    test_of_a_holder_that_was_killed_is_free_when_its_lease_ends: ClassVar[None] = None  # type: ignore[assignment]


class TestChanges(conformance.TestChanges):
    pass


class TestTrouble(conformance.TestTrouble):
    pass
