"""A network that is cut between members of etcd: each is a host of its own, in a network namespace made here."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pathfleet.errors import StoreError, StoreUnavailable
from pathfleet.store.etcd import EtcdStore
from pathfleet.store.etcd_url import Address
from tests.store import etcd_servers
from tests.store.etcd_servers import EtcdServers

#: Seconds in which a cluster finds a new leader, with the election timeout of the tests.
ELECTION_SECONDS = 30

pytestmark = [
    pytest.mark.xdist_group("etcd-network"),
    pytest.mark.skipif(etcd_servers.PROGRAM is None, reason="package etcd-server is not installed"),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and iproute2 for network namespaces"
    ),
]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


class Networked(EtcdServers):
    """Three members, each in a namespace with two cables: one to the tests, one to a switch that joins the members.

    The addresses are those for tests of networks (RFC 2544); they exist only in what is made here.
    """

    def __init__(self, directory: Path) -> None:
        self._hosts: list[str] = []
        self._switch = f"pf{os.getpid()}sw"
        try:
            super().__init__(directory, 3)
        except BaseException:
            self.close()
            raise

    def _addresses(self, count: int) -> tuple[list[str], list[str]]:
        self._hosts = [f"pf{os.getpid()}m{member}" for member in range(count)]
        ip("netns", "add", self._switch)
        ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", self._switch, "link", "set", "bridge", "up")
        for member, host in enumerate(self._hosts):
            self._plug(member, host)
        return (
            [f"198.18.{member}.2:2379" for member in range(count)],
            [f"http://198.19.0.{member + 1}:2380" for member in range(count)],
        )

    def _plug(self, member: int, host: str) -> None:
        ip("netns", "add", host)
        ip("-n", host, "link", "set", "lo", "up")
        ip("link", "add", host, "type", "veth", "peer", "name", "tests", "netns", host)
        ip("address", "add", f"198.18.{member}.1/24", "dev", host)
        ip("link", "set", host, "up")
        ip("-n", host, "address", "add", f"198.18.{member}.2/24", "dev", "tests")
        ip("-n", host, "link", "set", "tests", "up")
        ip("-n", host, "link", "add", "peers", "type", "veth", "peer", "name", f"port{member}", "netns", self._switch)
        ip("-n", host, "address", "add", f"198.19.0.{member + 1}/24", "dev", "peers")
        ip("-n", host, "link", "set", "peers", "up")
        ip("-n", self._switch, "link", "set", f"port{member}", "master", "bridge", "up")

    def _command(self, member: int) -> list[str]:
        return ["ip", "netns", "exec", self._hosts[member], *super()._command(member)]

    def cut(self, member: int) -> None:
        """Pull the cable between a member and the switch; clients still reach it."""
        ip("-n", self._switch, "link", "set", f"port{member}", "down")

    def mend(self, member: int) -> None:
        """Plug it in again."""
        ip("-n", self._switch, "link", "set", f"port{member}", "up")

    def close(self) -> None:
        super().close()
        for host in self._hosts:  # a namespace ends when its last connection does: not its cable, until then
            subprocess.run(["ip", "link", "delete", host], check=False, capture_output=True, timeout=20)
        for namespace in (*self._hosts, self._switch):
            subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True, timeout=20)


@pytest.fixture
def networked(tmp_path: Path) -> Iterator[Networked]:
    with closing(Networked(tmp_path / "etcd")) as servers:
        yield servers


def store(servers: Networked, node: str, *members: int) -> EtcdStore:
    endpoints = tuple(servers.endpoints[member] for member in members)
    return EtcdStore(Address(endpoints), node=node, deadline_seconds=2)


async def in_time(succeeds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(ELECTION_SECONDS):
        while not await succeeds():  # noqa: ASYNC110 - what is waited for is in etcd
            await asyncio.sleep(0.1)


async def test_a_leader_cut_off_loses_nothing_acknowledged_and_knows_that_it_knows_nothing(
    networked: Networked,
) -> None:
    leader = networked.leader()
    others = [member for member in range(3) if member != leader]
    async with store(networked, "a", leader, *others) as a, store(networked, "b", leader) as lonely:
        await a.alive()
        await a.put("multipath", b"before")
        networked.cut(leader)
        acknowledged = b"before"

        async def written(value: bytes) -> bool:
            nonlocal acknowledged
            try:
                await a.put("multipath", value)
            except StoreError:
                return False
            acknowledged = value
            return True

        await in_time(lambda: written(b"after"))

        async def refused() -> bool:
            try:
                await lonely.put("multipath", b"never")
            except StoreUnavailable:
                return True
            return False

        await in_time(refused)
        members = await lonely.members()
        assert (members.quorate, members.nodes["a"].online) == (False, None)
        networked.mend(leader)

        async def caught_up() -> bool:
            try:
                return (await lonely.values("a")).get("multipath") == acknowledged
            except StoreError:
                return False

        await in_time(caught_up)
        assert (await a.values("a"))["multipath"] == acknowledged == b"after"
