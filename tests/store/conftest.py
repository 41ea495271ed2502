"""The engines that the conformance suite runs on, and stores opened on them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing
from ctypes import CDLL
from pathlib import Path

import pytest

from pathfleet.store import Store
from tests.store import etcd_servers
from tests.store.engines import Cluster, EtcdCluster, PmxcfsCluster, SQLiteCluster
from tests.store.etcd_servers import EtcdServers

Opener = Callable[[str | None], Awaitable[Store]]


@pytest.fixture(params=["sqlite", "pmxcfs", "etcd", "etcd-3"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    match request.param:
        case "sqlite":
            yield SQLiteCluster(tmp_path)
        case "pmxcfs":
            require_libqb()
            with closing(PmxcfsCluster(tmp_path)) as cluster:
                yield cluster
        case "etcd":
            yield EtcdCluster(request.getfixturevalue("etcd_1"), f"test-{secrets.token_hex(6)}")
        case "etcd-3":
            yield EtcdCluster(request.getfixturevalue("etcd_3"), f"test-{secrets.token_hex(6)}")


@pytest.fixture(scope="session")
def etcd_1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServers]:
    """One member for all the tests of a worker."""
    require_etcd()
    with closing(EtcdServers(tmp_path_factory.mktemp("etcd") / "1", 1)) as servers:
        yield servers


@pytest.fixture(scope="session")
def etcd_3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServers]:
    """Three members for all the tests of a worker."""
    require_etcd()
    with closing(EtcdServers(tmp_path_factory.mktemp("etcd") / "3", 3)) as servers:
        yield servers


def require_etcd() -> None:
    if etcd_servers.PROGRAM is None:
        pytest.skip("package etcd-server is not installed")


def require_libqb() -> None:
    try:
        CDLL("libqb.so.100")
    except OSError:
        pytest.skip("package libqb100 is not installed")


@pytest.fixture
async def opened(engine: Cluster) -> AsyncIterator[Opener]:
    """Opens stores that are closed when the test ends."""
    async with AsyncExitStack() as stack:

        async def open_one(node: str | None) -> Store:
            return await stack.enter_async_context(engine.store(node))

        yield open_one


@pytest.fixture
async def a(opened: Opener) -> Store:
    return await opened("a")


@pytest.fixture
async def b(opened: Opener, a: Store) -> Store:
    assert a.node == "a"
    return await opened("b")


@pytest.fixture
async def reader(opened: Opener, a: Store) -> Store:
    assert a.node == "a"  # there is something to read only after a node was there
    return await opened(None)


async def eventually(holds: Callable[[], Awaitable[bool]], within_seconds: float = 30.0) -> None:
    """Wait until `holds` says so, with a deadline."""
    async with asyncio.timeout(within_seconds):
        while not await holds():  # noqa: ASYNC110 - what is waited for is in the engine
            await asyncio.sleep(0.02)
