from __future__ import annotations

import asyncio
import json

import pytest

from pathfleet.cluster.access import FILE, FRESH_SECONDS, GRACE_SECONDS, Access, Principal, Role
from pathfleet.errors import BadRequest, Busy, NotFound, StoreError, StoreUnavailable
from tests.fakes import Memory, MemoryStore


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def access(store: MemoryStore, clock: Clock | None = None) -> Access:
    clock = clock or Clock()
    return Access(store, clock=clock, wall_clock=clock)


@pytest.mark.parametrize("role", [*Role])
@pytest.mark.parametrize("needed", [*Role])
def test_a_role_may_what_it_and_those_before_it_may(role: Role, needed: Role) -> None:
    order = ["auditor", "operator", "admin"]
    assert role.includes(needed) is (order.index(role) >= order.index(needed))


async def test_a_secret_is_known_by_its_token_and_no_other_is() -> None:
    async with MemoryStore() as store:
        tokens = access(store)
        secret = await tokens.add("page", Role.AUDITOR)
        other = await tokens.add("robot", Role.ADMIN)
        assert await access(store).verify(secret) == Principal("page", Role.AUDITOR)
        assert await access(store).verify(other) == Principal("robot", Role.ADMIN)
        assert await access(store).verify(secret[:-1]) is None
        assert await access(store).verify("") is None


async def test_the_store_has_no_secret_and_256_bits_make_one() -> None:
    async with MemoryStore() as store:
        secret = await access(store).add("page", Role.AUDITOR, comment="of the wall")
        file = await store.read(FILE)
    assert file is not None
    assert secret.encode() not in file.content
    assert len(secret) == 43
    token = json.loads(file.content)["tokens"]["page"]
    assert (token["role"], token["created"], token["expires"], token["comment"]) == (
        "auditor", 1000, None, "of the wall",
    )  # fmt: skip


async def test_an_expired_token_is_nobody_s() -> None:
    clock = Clock()
    async with MemoryStore() as store:
        tokens = access(store, clock)
        secret = await tokens.add("page", Role.AUDITOR, expires=1010)
        assert await tokens.verify(secret) is not None
        clock.now = 1010.0
        assert await tokens.verify(secret) is None


async def test_a_role_of_a_later_version_is_nobody_here_and_spoils_no_other() -> None:
    async with MemoryStore() as store:
        tokens = access(store)
        strange, plain = await tokens.add("strange", Role.ADMIN), await tokens.add("plain", Role.AUDITOR)
        file = await store.read(FILE)
        assert file is not None
        await store.swap(FILE, file.content.replace(b'"admin"', b'"emperor"'), file.revision)
        assert await tokens.verify(strange) is None
        assert await tokens.verify(plain) is not None


async def test_a_name_is_taken_once_and_can_be_typed() -> None:
    async with MemoryStore() as store:
        tokens = access(store)
        await tokens.add("page", Role.AUDITOR)
        with pytest.raises(Busy, match="already"):
            await tokens.add("page", Role.ADMIN)
        for name in ("", "a b", "x!y", "-x", "a" * 65, "a\n"):
            with pytest.raises(BadRequest, match="letters"):
                await tokens.add(name, Role.ADMIN)


@pytest.mark.parametrize("name", ["node-a", "uid-0"])
async def test_no_token_is_taken_for_a_node_or_a_user(name: str) -> None:
    async with MemoryStore() as store:
        with pytest.raises(BadRequest, match="not of tokens"):
            await access(store).add(name, Role.ADMIN)


async def test_removing_what_is_not_there_says_so() -> None:
    async with MemoryStore() as store:
        with pytest.raises(NotFound, match="'page'"):
            await access(store).remove("page")


async def test_nodes_that_add_at_once_lose_nothing() -> None:
    memory = Memory()
    async with MemoryStore("a", memory) as one, MemoryStore("b", memory) as other:
        await asyncio.gather(
            *(access(one).add(f"a{i}", Role.AUDITOR) for i in range(4)),
            *(access(other).add(f"b{i}", Role.AUDITOR) for i in range(4)),
        )
        assert len(await access(one).tokens()) == 8


async def test_a_change_counts_within_a_second_and_the_store_is_read_no_oftener() -> None:
    clock, memory = Clock(), Memory()
    async with MemoryStore("a", memory) as here, MemoryStore("b", memory) as elsewhere:
        tokens = access(here, clock)
        secret = await tokens.add("page", Role.AUDITOR)
        assert await tokens.verify(secret) is not None
        await access(elsewhere, clock).remove("page")
        clock.now += FRESH_SECONDS / 2
        assert await tokens.verify(secret) is not None
        clock.now += FRESH_SECONDS / 2
        assert await tokens.verify(secret) is None


async def test_while_the_store_is_away_what_was_read_last_counts_for_a_while() -> None:
    clock = Clock()
    async with MemoryStore() as store:
        tokens = access(store, clock)
        secret = await tokens.add("page", Role.AUDITOR)
        assert await tokens.verify(secret) is not None
        store.memory.lost = True
        clock.now += GRACE_SECONDS
        assert await tokens.verify(secret) is not None
        clock.now += 2
        with pytest.raises(StoreUnavailable, match="taken away"):
            await tokens.verify(secret)
        store.memory.regain()
        clock.now += FRESH_SECONDS
        assert await tokens.verify(secret) is not None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"tokens":{"x":{}}}', b"\xff", b"[" * 100_000])
async def test_a_file_that_cannot_be_read_lets_nobody_in_and_is_not_written_over(content: bytes) -> None:
    async with MemoryStore() as store:
        await store.swap(FILE, content, None)
        with pytest.raises(StoreUnavailable, match="tokens cannot be checked"):
            await access(store).verify("x")
        with pytest.raises(StoreError, match="not a list of tokens"):
            await access(store).add("page", Role.AUDITOR)
