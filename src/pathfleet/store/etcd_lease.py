"""Leases of etcd, and locks that are bound to one: who dies without releasing loses the lock when it runs out."""

from __future__ import annotations

import asyncio
import math
import os
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec
from msgspec import Struct

from pathfleet.errors import LockBusy, StoreError
from pathfleet.store import within_lease
from pathfleet.store.etcd_gateway import EXISTS, EtcdRefused, Gateway
from pathfleet.store.etcd_wire import Done, KeyValue, Lease, Nothing, Range, at, last_written, putting, reading

#: How often a waiting `lock` asks again: at random between these, so that waiters do not march in step.
LOCK_POLL_SECONDS: Final = (0.05, 0.2)


class _Holder(Struct, frozen=True):
    node: str = "?"
    pid: int = 0


def new_lease() -> int:
    """Return a number at random: who chooses it itself can ask for a lease again after a lost answer, and drop it."""
    return secrets.randbelow(2**63 - 1) + 1


async def grant(gateway: Gateway, lease: int, seconds: float, until: float) -> None:
    """Have `lease` run for `seconds`, in whole ones, from now on. Raises StoreUnavailable."""
    try:
        await gateway.ask("lease/grant", {"ID": str(lease), "TTL": str(math.ceil(seconds))}, Lease, until=until)
    except EtcdRefused as error:
        if error.grpc_code != EXISTS:  # else it was granted by an earlier attempt
            raise


class Locks:
    """The locks whose keys begin with `prefix`."""

    def __init__(self, gateway: Gateway, prefix: str, *, lease_seconds: float, deadline_seconds: float) -> None:
        self._gateway = gateway
        self._prefix = prefix
        self._lease_seconds = lease_seconds
        self._deadline_seconds = deadline_seconds
        self._releases: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def hold(self, name: str, node: str, wait_seconds: float) -> AsyncIterator[None]:
        """Hold the lock `name` for the body; a body that would outlive the lease is ended by a StoreError."""
        leases: list[int] = []
        try:
            ends = await self._acquire(name, node, leases, wait_seconds)
            async with within_lease(name, asyncio.timeout_at(ends)):  # over before anybody else can have the lock
                yield
        finally:  # also when waiting was cancelled: etcd may have given the lock nevertheless
            for lease in leases:
                await self._release(lease)

    async def close(self) -> None:
        """Wait for the releases that are under way; each has a deadline."""
        if self._releases:
            await asyncio.wait(self._releases)

    async def _acquire(self, name: str, node: str, leases: list[int], wait_seconds: float) -> float:
        """Return the loop time at which the body must end; one of `leases`, to be released, then has the lock.

        Each attempt has a lease of its own: one that is left of a lost race runs out sooner than the body would think.
        """
        now = asyncio.get_running_loop().time
        key, give_up = self._prefix + name, now() + wait_seconds
        while True:
            found = await self._gateway.ask("kv/range", at(key), Range, until=self._until())
            holder = next(iter(found.found.kvs), None)
            if holder is None:
                started = now()
                leases.append(new_lease())
                holder = await self._take(key, node, leases[-1])
                if holder is None:
                    return started + self._lease_seconds * 0.9
            pause = random.uniform(*LOCK_POLL_SECONDS)  # noqa: S311 - no secret
            if now() + pause > give_up:
                raise LockBusy(f"lock {name!r}: still held by {_named(holder)} after {wait_seconds:g} s; try again")
            await asyncio.sleep(pause)

    async def _take(self, key: str, node: str, lease: int) -> KeyValue | None:
        """Bind the lock to `lease` and return None, or return who was faster."""
        until = self._until()
        await grant(self._gateway, lease, self._lease_seconds, until)
        question = {
            "compare": [last_written(key, "EQUAL", 0)],
            "success": [putting(key, msgspec.json.encode(_Holder(node, os.getpid())), lease=lease)],
            "failure": [reading(at(key))],
        }
        done = (await self._gateway.ask("kv/txn", question, Done, until=until)).found
        holder = next(iter(done.found(0)), None)
        return None if done.succeeded or (holder and holder.lease == lease) else holder or KeyValue(key.encode())

    async def _release(self, lease: int) -> None:
        if not self._gateway.is_open:
            return
        # A task of its own, so that no cancellation can keep it from being done.
        release = asyncio.create_task(self._revoke(lease))
        self._releases.add(release)
        release.add_done_callback(self._releases.discard)
        await asyncio.shield(release)

    async def _revoke(self, lease: int) -> None:
        with suppress(StoreError):  # then it runs out; the body's outcome is what counts
            await self._gateway.ask("lease/revoke", {"ID": str(lease)}, Nothing, until=self._until())

    def _until(self) -> float:
        return asyncio.get_running_loop().time() + self._deadline_seconds


def _named(holder: KeyValue) -> str:
    try:
        who = msgspec.json.decode(holder.value, type=_Holder)
    except ValueError:
        who = _Holder()
    return f"node {who.node!r} (process {who.pid})"
