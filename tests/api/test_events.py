from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx2
import pytest

from pathfleet.api import events
from pathfleet.api.events import follow
from pathfleet.cluster.access import Principal, Role
from pathfleet.cluster.journal import Journal
from pathfleet.core.change import CellChange
from pathfleet.core.matrix import Cell, State
from tests.api.site import BASE, LUN1, Site, Speech, site, until

EVENTS = "/cluster/multipath/events"
GOOD, BAD = Speech({LUN1: ("optimal", 2, 2)}), Speech({LUN1: ("degraded", 1, 2)})


class Message(NamedTuple):
    """One event as a browser has it."""

    id: str
    kind: str
    data: Any


class Listener:
    """Reads events from an answer as the HTML standard has it."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> Message:
        """Wait for the next event; comments and fields without one are skipped."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(30):
            async for line in self._lines:
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif "data" in fields:
                    return Message(fields["id"], fields["event"], json.loads(fields["data"]))
                else:
                    fields = {}
        raise EOFError


@asynccontextmanager
async def listening(here: Site, query: str = "", **headers: str) -> AsyncIterator[Listener]:
    async with here.client.stream(
        "GET", EVENTS + query, headers={k.replace("_", "-"): v for k, v in headers.items()}, timeout=10
    ) as response:
        yield Listener(response)


async def test_who_comes_without_an_event_is_told_to_read_the_status_and_then_what_changes() -> None:
    async with site({"a": GOOD}) as here, listening(here) as listener:
        first = await listener.next()
        assert first == (here.live.journal.latest, "reset", {"event": here.live.journal.latest})
        await BAD.say(here.memory, "a")
        found = {message.kind: message.data for message in [await listener.next(), await listener.next()]}
        assert found["cell"]["cell"]["state"] == "degraded"
        assert found["cell"]["before"] == "optimal"
        assert found["lun"]["lun"]["cluster-state"] == "degraded"


async def test_who_has_read_the_status_misses_nothing_after_it() -> None:
    async with site({"a": GOOD}) as here:
        status: Any = await here.data("/cluster/multipath/status")
        await BAD.say(here.memory, "a")
        await until(lambda: here.live.journal.latest != status["event"])
        async with listening(here, f"?after={status['event']}") as listener:
            assert {(await listener.next()).kind, (await listener.next()).kind} == {"cell", "lun"}


async def test_a_browser_that_comes_back_goes_on_from_its_last_event_not_from_its_first() -> None:
    async with site({"a": GOOD}) as here:
        first = here.live.journal.latest
        await BAD.say(here.memory, "a")
        await until(lambda: here.live.journal.latest != first)
        last = here.live.journal.latest
        async with listening(here, f"?after={first}", last_event_id=last) as listener:
            await GOOD.say(here.memory, "a")
            number = int((await listener.next()).id.partition("-")[2])
            assert number == int(last.partition("-")[2]) + 1


@pytest.mark.parametrize("unknown", ["0badcafe-1", "nonsense", "0badcafe-" + "9" * 30])
async def test_an_event_of_another_life_is_a_reset(unknown: str) -> None:
    async with site({"a": GOOD}) as here, listening(here, f"?after={unknown}") as listener:
        assert (await listener.next()).kind == "reset"


async def test_the_stream_tells_proxies_to_keep_out_of_it() -> None:
    async with site() as here, listening(here, accept_encoding="gzip") as listener:
        headers = listener.response.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in headers


async def test_listeners_beyond_the_limit_are_refused_until_one_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LISTENERS_LIMIT", 1)
    async with site() as here:
        async with listening(here) as listener:
            await listener.next()
            assert (await here.client.head(EVENTS)).status_code == 503
            refused = await here.client.get(EVENTS)
            assert refused.status_code == 503
            assert "another node" in refused.json()["message"]
        async with asyncio.timeout(30):
            while (await here.client.head(EVENTS)).status_code == 503:
                pass


async def test_a_token_that_is_removed_ends_its_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathfleet.cluster.access.FRESH_SECONDS", 0.0)
    async with site() as here:
        stream = follow(
            here.live.journal, here.live.journal.latest, _of(here), check_seconds=0, heartbeat_seconds=0.01
        )
        assert await anext(stream) == b"retry: 1000\n\n"
        assert await anext(stream) == b":\n\n"
        await here.service.access.remove("auditor-a")
        assert [piece async for piece in stream] == []


def _of(here: Site) -> Any:
    from starlette.requests import Request

    from pathfleet.api.operation import Call

    scope = {
        "type": "http",
        "headers": [(b"authorization", f"Bearer {here.tokens[Role.AUDITOR]}".encode())],
        "client": ("::1", 1),
    }
    call = Call(here.service, Principal("auditor-a", Role.AUDITOR), Request(scope))
    return lambda: events._may_still(call)


async def test_streams_end_when_the_server_does() -> None:
    async with asyncio.timeout(30):
        async with site() as here:
            reader, writer = await _connected(here)
        await reader.read()
        writer.close()


async def _connected(here: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection that has read the first reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", here.endpoint.port, limit=1024)
    writer.write(
        f"GET {BASE}{EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {here.tokens[Role.AUDITOR]}\r\n\r\n".encode()
    )
    await reader.readuntil(b"event: reset\n")
    return reader, writer


def _change(number: int) -> CellChange:
    cell = Cell(State.DEGRADED, number, 4, "x" * 100)
    return CellChange(LUN1, "a", cell, State.OPTIMAL, State.DEGRADED)


async def _yes() -> bool:
    return True


async def test_what_is_quiet_beats_its_heart() -> None:
    stream = follow(Journal(), None, _yes, heartbeat_seconds=0.01)
    pieces = [await anext(stream) for _ in range(4)]
    assert pieces[1].startswith(b"id: ")
    assert pieces[2:] == [b":\n\n", b":\n\n"]


async def test_a_listener_that_falls_behind_is_reset_and_goes_on() -> None:
    journal = Journal(limit=10)
    stream = follow(journal, journal.latest, _yes)
    await anext(stream)
    journal.append([_change(number) for number in range(5)])
    assert (await anext(stream)).count(b"event: cell\n") == 5
    for number in range(50):
        journal.append([_change(number)])
    assert b"event: reset\n" in await anext(stream)
    journal.append([_change(1)])
    assert (await anext(stream)).count(b"event: cell\n") == 1


async def test_many_events_are_written_in_pieces_each_whole_and_none_twice() -> None:
    journal = Journal()
    stream = follow(journal, journal.latest, _yes)
    await anext(stream)
    journal.append([_change(number) for number in range(3000)])
    seen: list[int] = []
    while len(seen) < 3000:
        piece = await anext(stream)
        assert len(piece) < 70_000
        assert piece.endswith(b"\n\n")
        seen += [
            json.loads(line[6:])["cell"]["paths-active"] for line in piece.splitlines() if line.startswith(b"data: ")
        ]
    assert seen == list(range(3000))


async def test_a_slow_listener_costs_no_memory_and_is_reset_when_it_reads_again() -> None:
    async with site({"a": GOOD}) as here:
        reader, writer = await _connected(here)
        for number in range(25):
            here.live.journal.append([_change(number) for _ in range(2000)])
            await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await _until_reset(reader)
        writer.close()
        await writer.wait_closed()


async def _until_reset(reader: asyncio.StreamReader) -> None:
    read = b""
    while b"event: reset\n" not in read:
        piece = await reader.read(65536)
        assert piece
        read = read[-100:] + piece
