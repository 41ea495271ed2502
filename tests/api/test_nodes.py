from __future__ import annotations

from typing import Any

import pytest

from pathfleet.core.answer import Answer
from tests.api.site import GOOD, LUN1, LUN2, Speech, answer, site
from tests.replies import group, map_, path


async def test_the_nodes_are_listed_with_what_runs_on_them() -> None:
    async with site({"a": Speech({LUN1: ("optimal", 2, 2)}), "b": Speech()}) as here:
        nodes: Any = await here.data("/nodes")
        assert [(node["node"], node["local"]) for node in nodes] == [("a", True), ("b", False)]
        assert nodes[0]["status"] == "online"
        assert nodes[0]["daemon"] == "running"
        assert nodes[0]["versions"] == {"pathfleet": "1.0", "multipath-tools": "0.9.4"}
        assert nodes[1]["daemon"] == "no-maps"


async def test_a_node_shows_its_own_maps_with_all_their_paths() -> None:
    async with site() as here:
        maps: Any = await here.data("/nodes/a/disks/multipath")
        assert [(each["wwid"], each["alias"], each["health"]) for each in maps] == [(LUN1, "db", "optimal")]
        assert [each["path"] for each in maps[0]["path-groups"][0]["paths"]] == ["sda", "sdb"]


@pytest.mark.parametrize("name", [LUN1, "db"])
async def test_one_map_is_found_by_its_wwid_and_by_its_alias(name: str) -> None:
    async with site() as here:
        found: Any = await here.data(f"/nodes/a/disks/multipath/{name}")
        assert found["wwid"] == LUN1


async def test_an_alias_that_is_another_luns_wwid_hides_nothing() -> None:
    two = answer(map_(LUN2, group(path("sdc")), name=LUN1), map_(LUN1, group(path("sda")), name="z"))
    async with site(found=two) as here:
        found: Any = await here.data(f"/nodes/a/disks/multipath/{LUN1}")
        assert found["wwid"] == LUN1


async def test_a_map_that_is_not_there_is_not_found() -> None:
    async with site() as here:
        missing = await here.get(f"/nodes/a/disks/multipath/{LUN2}")
        assert missing.status_code == 404
        assert LUN2 in missing.json()["message"]


async def test_no_maps_are_an_empty_list() -> None:
    async with site(found=Answer("no-maps", "multipathd has no maps", [])) as here:
        assert await here.data("/nodes/a/disks/multipath") == []


@pytest.mark.parametrize("word", ["not-running", "cannot-tell", "not-installed", "a later word"])
async def test_maps_that_nobody_can_tell_are_no_empty_list(word: str) -> None:
    async with site(found=Answer(word, "it hangs", [])) as here:
        for below in ("", f"/{LUN1}"):
            refused = await here.get(f"/nodes/a/disks/multipath{below}")
            assert refused.status_code == 503
            assert word in refused.json()["message"]
            assert refused.json()["errors"] == {"multipathd": "it hangs"}


async def test_a_node_that_nobody_knows_is_not_found() -> None:
    async with site({"b": Speech()}, found=GOOD) as here:
        assert (await here.get("/nodes/nobody/disks/multipath")).status_code == 404
