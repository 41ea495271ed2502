from __future__ import annotations

import gzip
import time
from typing import Any

import msgspec
import pytest

from pathfleet import __version__
from pathfleet.core import detail, wire
from pathfleet.core.detail import MapDetail
from pathfleet.errors import StoreUnavailable
from pathfleet.store import File
from tests.api.site import LUN1, LUN2, Site, Speech, site, until
from tests.fakes import Memory, MemoryStore

A = Speech({LUN1: ("optimal", 4, 4), LUN2: ("failed", 0, 4)})
B = Speech({LUN1: ("degraded", 3, 4)})


async def test_the_version_is_for_everybody() -> None:
    async with site() as here:
        del here.client.headers["authorization"]
        assert await here.data("/version") == {"version": __version__, "release": __version__.rpartition(".")[0]}


async def test_all_but_the_version_needs_a_token() -> None:
    async with site() as here:
        del here.client.headers["authorization"]
        for path in ("/cluster/status", "/cluster/multipath", "/cluster/multipath/status", "/nodes", "/metrics"):
            assert (await here.get(path)).status_code == 401


async def test_the_cluster_and_its_nodes_have_the_shape_of_proxmox() -> None:
    async with site({"a": A, "b": B}) as here:
        here.memory.seen["b"] -= 60
        assert await here.data("/cluster/status") == [
            {"type": "cluster", "id": "cluster", "name": "pathfleet", "nodes": 2, "quorate": True},
            {"type": "node", "id": "node/a", "name": "a", "local": True, "online": True},
            {"type": "node", "id": "node/b", "name": "b", "local": False, "online": False},
        ]


async def test_the_status_has_the_worst_lun_first_and_names_the_event_that_it_contains() -> None:
    async with site({"a": A, "b": B}) as here:
        status: Any = await here.data("/cluster/multipath/status")
        assert [(lun["wwid"], lun["cluster-state"]) for lun in status["luns"]] == [
            (LUN2, "failed"),
            (LUN1, "degraded"),
        ]
        assert [node["node"] for node in status["nodes"]] == ["a", "b"]
        assert status["event"] == here.live.journal.latest


async def test_the_status_is_not_sent_again_while_nothing_changed() -> None:
    async with site({"a": A, "b": B}) as here:
        first = await here.get("/cluster/multipath/status")
        etag = first.headers["etag"]
        assert etag == f'W/"{first.json()["data"]["event"]}"'
        assert (await here.get("/cluster/multipath/status", if_none_match=etag)).status_code == 304
        before = here.live.journal.latest
        await Speech({LUN1: ("optimal", 4, 4)}).say(here.memory, "b")
        await until(lambda: here.live.journal.latest != before)
        again = await here.get("/cluster/multipath/status", if_none_match=etag)
        assert again.status_code == 200
        assert again.json()["data"]["luns"][1]["cluster-state"] == "optimal"


async def test_the_status_is_compressed_for_who_takes_it_and_is_the_same() -> None:
    async with site({"a": A, "b": B}) as here:
        plain = await here.get("/cluster/multipath/status", accept_encoding="identity")
        assert "content-encoding" not in plain.headers
        async with here.client.stream(
            "GET", "/cluster/multipath/status", headers={"accept-encoding": "gzip"}
        ) as packed:
            assert packed.headers["content-encoding"] == "gzip"
            assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
            content = b"".join([piece async for piece in packed.aiter_raw()])
        assert _ageless(gzip.decompress(content)) == _ageless(plain.content)


def _ageless(content: bytes) -> object:
    document = msgspec.json.decode(content)["data"]
    for row in [*document["nodes"], *(cell for lun in document["luns"] for cell in lun["nodes"].values())]:
        del row["age"]
    return document


async def test_the_status_is_made_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site({"a": A}) as here:
        monkeypatch.setattr("time.time", lambda: 1_800_000_000.5)
        first = await here.get("/cluster/multipath/status")
        here.live.document = None  # type: ignore[method-assign, assignment] # whoever makes it anew fails
        assert (await here.get("/cluster/multipath/status")).content == first.content


@pytest.mark.parametrize(
    ("query", "luns", "nodes"),
    [
        ("?problems=1", {LUN1: ["a", "b"], LUN2: ["a"]}, ["a", "b"]),
        ("?node=a", {LUN1: ["a"], LUN2: ["a"]}, ["a"]),
        ("?node=a&problems=1", {LUN2: ["a"]}, ["a"]),
        ("?node=nobody", {}, []),
    ],
)
async def test_the_status_can_be_narrowed(query: str, luns: dict[str, list[str]], nodes: list[str]) -> None:
    async with site({"a": A, "b": B}) as here:
        status: Any = await here.data(f"/cluster/multipath/status{query}")
        assert {lun["wwid"]: sorted(lun["nodes"]) for lun in status["luns"]} == luns
        assert [node["node"] for node in status["nodes"]] == nodes


@pytest.mark.parametrize(
    ("detail_of_b", "query", "shown"),
    [
        (MapDetail((), "db"), "?problems=1", False),
        (MapDetail(("suspended",), "db"), "?problems=1", True),
        (MapDetail(("suspended",), "db"), "?problems=1&node=b", True),
        (MapDetail(("suspended",), "db"), "?problems=1&node=a", False),
        (MapDetail((), "another name"), "?problems=1", True),
    ],
    ids=["calm", "flag", "flag on the node", "flag on another node", "warning"],
)
async def test_an_optimal_lun_with_flags_or_warnings_is_a_problem(
    detail_of_b: MapDetail, query: str, shown: bool
) -> None:
    async with site(
        {"a": OPTIMAL, "b": OPTIMAL}, memory=await _detailed(a=MapDetail((), "db"), b=detail_of_b)
    ) as here:
        status: Any = await here.data("/cluster/multipath/status")
        assert [lun["cluster-state"] for lun in status["luns"]] == ["optimal"]
        narrowed: Any = await here.data(f"/cluster/multipath/status{query}")
        assert bool(narrowed["luns"]) is shown


async def test_a_lun_that_is_expected_on_no_node_that_there_is_is_a_problem() -> None:
    async with site({"a": OPTIMAL}, memory=Memory(files={"storage.cfg": File(STORAGE.encode(), "1")})) as here:
        status: Any = await here.data("/cluster/multipath/status?problems=1")
        assert [(lun["wwid"], lun["cluster-state"]) for lun in status["luns"]] == [(LUN2, "unknown")]


OPTIMAL = Speech({LUN1: ("optimal", 4, 4)})
STORAGE = f"""\
multipath: san
\tcontent none

lvm: db
\tvgname db
\tbase san:{LUN2}
\tnodes nobody
\tcontent images
"""


async def _detailed(**details: MapDetail) -> Memory:
    """Return what is stored of nodes that say this of the first LUN."""
    memory = Memory()
    for name, said in details.items():
        async with MemoryStore(name, memory) as store:
            await store.put(detail.KEY, wire.stamp({"maps": {LUN1: said}}, int(time.time())))
    return memory


async def test_before_the_store_was_read_there_is_no_status() -> None:
    async with site() as here:
        here.live.ready = False
        for path in ("/cluster/multipath/status", "/cluster/multipath/events", "/nodes"):
            refused = await here.get(path)
            assert refused.status_code == 503
            assert "still being read" in refused.json()["message"]


async def test_while_the_store_is_away_the_old_status_says_so_and_is_another_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pathfleet.cluster.live._MEMBERS_SECONDS", 0.01)
    async with site({"a": A}) as here:
        before = (await here.get("/cluster/multipath/status")).headers["etag"]
        here.memory.lost = True
        await until(lambda: here.live.trouble)
        answer = await here.get("/cluster/multipath/status", if_none_match=before)
        assert answer.status_code == 200
        assert "the store is in trouble since" in answer.json()["data"]["warnings"][0]
        troubled = answer.headers["etag"]
        assert (await here.get("/cluster/multipath/status", if_none_match=troubled)).status_code == 304
        here.memory.regain()
        await until(lambda: not here.live.trouble)
        answer = await here.get("/cluster/multipath/status", if_none_match=troubled)
        assert answer.json()["data"]["warnings"] == []


async def test_a_store_that_is_down_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here:

        async def fails() -> None:
            raise StoreUnavailable("it is away")

        monkeypatch.setattr(here.service.store, "members", fails)
        refused = await here.get("/cluster/status")
        assert (refused.status_code, refused.json()["message"]) == (503, "it is away")


CONFIGURATION = f"""defaults: defaults
\tfind-multipaths strict
\tpolling-interval 10

wwid: {LUN1}
\talias db
"""


async def _configured(here: Site) -> None:
    here.memory.files["multipath.cfg"] = File(CONFIGURATION.encode(), "1")
    here.memory.files["multipath-overrides.conf"] = File(b"devices {\n}\n", "2")


async def test_the_configuration_is_shown_whole_with_its_digests() -> None:
    async with site() as here:
        await _configured(here)
        whole: Any = await here.data("/cluster/multipath")
        assert whole["defaults"] == {"find-multipaths": "strict", "polling-interval": "10"}
        assert whole["wwids"] == {LUN1: {"alias": "db"}}
        assert {"name": "status"} in whole["subdirs"]
        assert len({whole["digest"], whole["overrides-digest"], whole["combined-digest"]}) == 3


async def test_each_part_of_the_configuration_has_the_digest_that_a_change_must_name() -> None:
    async with site() as here:
        await _configured(here)
        whole: Any = await here.data("/cluster/multipath")
        lun = {"wwid": LUN1, "alias": "db", "digest": whole["digest"]}
        assert await here.data("/cluster/multipath/defaults") == {**whole["defaults"], "digest": whole["digest"]}
        assert await here.data("/cluster/multipath/wwid") == [lun]
        assert await here.data(f"/cluster/multipath/wwid/{LUN1}") == lun
        assert await here.data("/cluster/multipath/overrides") == {
            "content": "devices {\n}\n",
            "digest": whole["overrides-digest"],
        }


async def test_where_nothing_is_configured_the_digest_is_that_of_an_empty_file() -> None:
    async with site(memory=Memory()) as here:
        assert await here.data("/cluster/multipath/defaults") == {"digest": "da39a3ee5e6b4b0d3255bfef95601890afd80709"}


async def test_a_lun_that_is_not_configured_is_not_found() -> None:
    async with site() as here:
        assert (await here.get(f"/cluster/multipath/wwid/{LUN2}")).status_code == 404
