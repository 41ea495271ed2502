"""The members of an etcd cluster, asked and changed through its gateway; nothing of this node.

https://etcd.io/docs/v3.4/dev-guide/api_reference_v3/ (Cluster), https://etcd.io/docs/v3.4/learning/design-learner/
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from msgspec import Struct, field

from pathfleet.errors import StoreError, StoreUnavailable
from pathfleet.store.etcd_gateway import EtcdRefused, Gateway
from pathfleet.store.etcd_url import Address

T = TypeVar("T")

_DEADLINE_SECONDS: Final = 8.0
#: etcd changes members only when all have been connected for 5 s (its HealthInterval); until then it refuses.
_CHANGE_SECONDS: Final = 20.0
#: One member is asked about itself for so long.
_MEMBER_SECONDS: Final = 3.0
_NAME: Final = re.compile(r"[A-Za-z0-9._-]*")
_IDENT: Final = re.compile(r"[0-9]{1,20}")
_URL: Final = re.compile(r"https://[A-Za-z0-9.:\[\]-]+:[0-9]{1,5}/?")
_UNKNOWN: Final = "member not found"


class Member(Struct, frozen=True):
    """A member; without a name it has not started yet. A learner has no vote yet."""

    ident: str = field(name="ID")
    name: str = ""
    peers: tuple[str, ...] = field(name="peerURLs", default=())
    clients: tuple[str, ...] = field(name="clientURLs", default=())
    learner: bool = field(name="isLearner", default=False)

    @property
    def endpoint(self) -> str | None:
        """Where its gateway is, as HOST:PORT; None: it has not said so yet."""
        return next((url.removeprefix("https://").rstrip("/") for url in self.clients), None)

    @property
    def label(self) -> str:
        """What to call it: one that has not started has no name."""
        return self.name or " ".join(self.peers) or self.ident


class Condition(Struct, frozen=True):
    """How a member is. `healthy` None: it has not started; `leader` None: it does not answer."""

    healthy: bool | None
    leader: bool | None = None


class _Members(Struct):
    members: tuple[Member, ...] = ()


class _Added(Struct):
    member: Member


class _Header(Struct):
    member_id: str = ""


class _Status(Struct):
    header: _Header = field(default_factory=_Header)
    leader: str = "0"
    errors: tuple[str, ...] = ()


class _Nothing(Struct):
    pass


class Cluster:
    """The cluster whose gateways are at `address`."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def members(self) -> tuple[Member, ...]:
        """Return the members as the first endpoint that answers knows them.

        Raises StoreUnavailable, also for names and URLs that could be more than that: they go into files.
        """
        return tuple(_plain(member) for member in (await self._ask("cluster/member/list", {}, _Members)).members)

    async def check_quorum(self) -> None:
        """Raise StoreError unless most members agree right now."""
        try:
            await self._ask("kv/range", _READ, _Nothing)
        except StoreUnavailable as error:
            raise StoreError(
                f"the cluster has no quorum now, so its members cannot change: bring back a majority first ({error})"
            ) from error

    async def add(self, peer_url: str) -> Member:
        """Add a learner, which has no vote: until it has caught up, the others do not wait for it."""
        body = {"peerURLs": [peer_url], "isLearner": True}
        try:
            added = await self._ask("cluster/member/add", body, _Added, _CHANGE_SECONDS)
        except EtcdRefused as error:
            if _UNKNOWN not in str(error):
                raise
            # etcd makes the id of the URL and the second: added and removed in this one, it is one that was removed.
            await asyncio.sleep(1)
            added = await self._ask("cluster/member/add", body, _Added, _CHANGE_SECONDS)
        return added.member

    async def promote(self, ident: str) -> None:
        """Give a learner its vote. Raises EtcdRefused as long as it has not caught up."""
        await self._ask("cluster/member/promote", {"ID": ident}, _Nothing)

    async def remove(self, ident: str) -> None:
        """Remove a member; that it is no member any more is fine."""
        try:
            await self._ask("cluster/member/remove", {"ID": ident}, _Nothing, _CHANGE_SECONDS)
        except EtcdRefused as error:
            if _UNKNOWN not in str(error):
                raise

    async def conditions(self, members: tuple[Member, ...]) -> dict[str, Condition]:
        """Return how each member is, by its id, asked at the same time. Never raises for what they do."""
        found = await asyncio.gather(*(self._condition(member) for member in members))
        return {member.ident: condition for member, condition in zip(members, found, strict=True)}

    async def _condition(self, member: Member) -> Condition:
        if member.endpoint is None or not member.name:
            return Condition(None)
        alone = Cluster(at(self._address, (member.endpoint,)))
        try:
            status = await alone._ask("maintenance/status", {}, _Status, _MEMBER_SECONDS)
            leader = status.leader == status.header.member_id
            if member.learner:  # it answers no reads
                return Condition(status.leader != "0" and not status.errors, leader)
            await alone._ask("kv/range", _READ, _Nothing, _MEMBER_SECONDS)
        except StoreUnavailable:
            return Condition(healthy=False)
        return Condition(not status.errors, leader)

    async def _ask(self, path: str, body: dict[str, Any], kind: type[T], seconds: float = _DEADLINE_SECONDS) -> T:
        async with _open(self._address, seconds) as gateway:
            return (await gateway.ask(path, body, kind)).found


_READ: Final = {"key": "AA==", "keys_only": True}


def _plain(member: Member) -> Member:
    for text, form in (
        (member.name, _NAME),
        (member.ident, _IDENT),
        *((url, _URL) for url in member.peers + member.clients),
    ):
        if not form.fullmatch(text):
            raise StoreUnavailable(
                f"etcd has a member with {text[:80]!r}, which pathfleet would not make:"
                " change or remove it with etcdctl"
            )
    return member


def at(address: Address, endpoints: tuple[str, ...]) -> Address:
    """Return `address` with other endpoints."""
    return Address(tuple(dict.fromkeys(endpoints)), tls=True, ca=address.ca, cert=address.cert, key=address.key)


@asynccontextmanager
async def _open(address: Address, seconds: float) -> AsyncIterator[Gateway]:
    gateway = Gateway(address, deadline_seconds=seconds)
    gateway.open()
    try:
        yield gateway
    finally:
        await gateway.close()
