"""The socket of a simulated multipathd: frames, limits and misbehaviour, seen by the real reader and by raw bytes."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pathfleet.errors import CannotTell, NotRunning
from pathfleet.lab.faults import inflict, relieve
from pathfleet.lab.san import San
from pathfleet.lab.server import Manner
from pathfleet.system.multipathd import Multipathd

LENGTH = struct.Struct("@N")


def daemon_of(san: San) -> Multipathd:
    return Multipathd(san.node("pve1").multipathd_socket)


@asynccontextmanager
async def connected(san: San) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(san.node("pve1").multipathd_socket)
    try:
        yield reader, writer
    finally:
        writer.close()


def framed(command: bytes) -> bytes:
    return LENGTH.pack(len(command) + 1) + command + b"\0"


async def reply(reader: asyncio.StreamReader) -> bytes:
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    return await reader.readexactly(length)


async def test_the_real_reader_reads_it(san: San) -> None:
    multipathd = daemon_of(san)
    assert [len(map_.path_groups) for map_ in await multipathd.maps()] == [2, 2, 2]
    assert await multipathd.version() == "0.9.4"


async def test_a_reply_is_framed_with_its_closing_nul(san: San) -> None:
    async with connected(san) as (reader, writer):
        writer.write(framed(b"show daemon"))
        assert await reply(reader) == b"pid 1000 idle\n\0"


async def test_several_commands_go_over_one_connection_also_at_once(san: San) -> None:
    async with connected(san) as (reader, writer):
        writer.write(framed(b"show daemon") * 3)
        assert [await reply(reader) for _ in range(3)] == [b"pid 1000 idle\n\0"] * 3


@pytest.mark.parametrize("length", [0, 513, 2_000_000])
async def test_a_command_of_impossible_length_closes_the_connection(san: San, length: int) -> None:
    async with connected(san) as (reader, writer):
        writer.write(LENGTH.pack(length))
        assert await reader.read() == b""


async def test_a_command_of_512_bytes_with_its_nul_is_taken(san: San) -> None:
    async with connected(san) as (reader, writer):
        writer.write(framed(b"show daemon".ljust(511)))
        assert await reply(reader) == b"pid 1000 idle\n\0"


async def test_an_abstract_socket_serves_as_well(san: San) -> None:
    node = san.node("pve2")
    node.server._close()
    node.server.address = f"@pathfleet-lab-test-{os.getpid()}"
    node.server.follow()
    assert len(await Multipathd(node.multipathd_socket).maps()) == 3


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("busy", "answered `timeout`"),
        ("cuts", "closed the connection after"),
        ("closes", "closed the connection without an answer|Connection reset"),
    ],
)
async def test_a_daemon_that_misbehaves_cannot_tell_until_it_is_mended(san: San, fault: str, told: str) -> None:
    inflict(san, fault, "pve1")
    with pytest.raises(CannotTell, match=told):
        await daemon_of(san).maps(deadline_seconds=2)
    relieve(san, fault, "pve1")
    assert len(await daemon_of(san).maps()) == 3


async def test_a_hung_daemon_takes_the_question_and_does_not_answer(san: San) -> None:
    inflict(san, "hung", "pve1")
    with pytest.raises(CannotTell, match="took the question and did not answer"):
        await daemon_of(san).maps(deadline_seconds=0.2)
    relieve(san, "hung", "pve1")
    assert len(await daemon_of(san).maps()) == 3


async def test_a_deaf_daemon_lets_its_queue_fill_up(san: San) -> None:
    inflict(san, "deaf", "pve1")
    await asyncio.sleep(0)  # let it stop to accept
    async with asyncio.TaskGroup() as clients:
        asked = [clients.create_task(_told(daemon_of(san))) for _ in range(14)]
    told = [task.result() for task in asked]
    assert any("queue of waiting clients is full" in each for each in told)


async def _told(multipathd: Multipathd) -> str:
    with pytest.raises(CannotTell) as caught:
        await multipathd.maps(deadline_seconds=0.3)
    return str(caught.value)


async def test_a_slow_daemon_answers_late(san: San) -> None:
    inflict(san, "slow", "pve1")
    san.node("pve1").server.slow_seconds = 0.2
    began = asyncio.get_running_loop().time()
    assert len(await daemon_of(san).maps()) == 3
    assert asyncio.get_running_loop().time() - began >= 0.2


async def test_a_dead_daemon_refuses_connections_until_it_is_started(san: San) -> None:
    inflict(san, "dead", "pve1")
    with pytest.raises(NotRunning):
        await daemon_of(san).maps()
    relieve(san, "dead", "pve1")
    assert len(await daemon_of(san).maps()) == 3


async def test_shutdown_by_command_ends_it(san: San) -> None:
    assert await daemon_of(san).ask("shutdown") == b"ok\n"
    await asyncio.sleep(0)
    with pytest.raises(NotRunning):
        await daemon_of(san).maps()


async def test_reconfigure_answers_before_it_is_done_and_listing_waits(san: San) -> None:
    multipathd = daemon_of(san)
    assert await multipathd.ask("reconfigure") == b"ok\n"
    assert b"configure" in await multipathd.ask("show daemon")
    assert len(await multipathd.maps()) == 3
    assert b"idle" in await multipathd.ask("show daemon")


async def test_a_bad_drop_in_kills_the_daemon_after_it_said_ok(san: San) -> None:
    node = san.node("pve1")
    assert node.directory is not None
    (node.directory / "multipath.conf").write_text('blacklist {\n devnode "^(sd[a"\n}\n')
    ended, follow = asyncio.Event(), node.daemon.on_life_change

    def follow_and_tell() -> None:
        follow()
        ended.set()

    node.daemon.on_life_change = follow_and_tell
    assert await daemon_of(san).ask("reconfigure") == b"ok\n"
    async with asyncio.timeout(30):
        await ended.wait()
    with pytest.raises(NotRunning):
        await daemon_of(san).maps()


def test_the_manners_are_faults() -> None:
    from pathfleet.lab.faults import FAULTS

    assert {manner.value for manner in Manner} - {"answers", "hangs"} <= set(FAULTS)
