from __future__ import annotations

import time

from pathfleet.core import applied, configuration, wire
from pathfleet.core.drift import Effective
from pathfleet.store import File
from tests.api.site import Site, Speech, info, site
from tests.fakes import Memory, MemoryStore

CFG = b"defaults: defaults\n\tno-path-retry 12\n\n"
EFFECTIVE = 'defaults {\n\tno_path_retry %s\n\tuser_friendly_names "no"\n\tfind_multipaths "strict"\n%s}\n'


def in_force(retry: str, more: str = "") -> Effective:
    return Effective(EFFECTIVE % (retry, more), "0.9.4")


async def apply(memory: Memory, name: str) -> None:
    async with MemoryStore(name, memory) as store:
        await store.alive()
        digest = configuration.digest(CFG)
        await store.put(applied.KEY, wire.stamp(applied.content(digest, None), int(time.time())))


async def drift(here: Site) -> list[dict[str, object]]:
    said = await here.data("/cluster/multipath/drift")
    assert isinstance(said, dict)
    rows: list[dict[str, object]] = said["nodes"]
    return rows


async def test_every_node_is_compared_by_keyword() -> None:
    memory = Memory(files={configuration.FILE: File(CFG, "c1")})
    async with site(name="b", memory=memory, in_force=in_force("3"), secret="b's") as b:
        await Speech({}, info(api=f"http://{b.endpoint}", secret="b's")).say(memory, "b")
        async with site(name="a", memory=memory, in_force=in_force("12"), secret="a's") as a:
            await Speech({}, info(secret="a's")).say(memory, "a")
            for name in ("a", "b"):
                await apply(memory, name)
            rows = await drift(a)
    assert [(row["node"], row["state"]) for row in rows] == [("a", "in-force"), ("b", "drifted")], rows
    assert rows[1]["differences"] == [
        {"section": "defaults", "keyword": "no_path_retry", "wanted": "12", "effective": "3"}
    ]


async def test_a_node_that_cannot_be_asked_has_no_differences_and_a_reason() -> None:
    memory = Memory(files={configuration.FILE: File(CFG, "c1")})
    await apply(memory, "a")
    async with site(name="a", memory=memory) as a:
        (row,) = await drift(a)
        assert (row["differences"], row["reason"]) == (None, "nobody listens")
        assert (await a.get("/nodes/a/multipath/effective")).status_code == 503


async def test_reservation_keys_are_hidden() -> None:
    async with site(name="a", in_force=in_force("12", "\treservation_key 0xabc\n")) as a:
        said = await a.data("/nodes/a/multipath/effective")
    assert isinstance(said, dict)
    assert "0xabc" not in said["text"]
    assert "reservation_key hidden" in said["text"]
