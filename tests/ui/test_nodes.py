from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.api.site import Site, answer
from tests.replies import group, map_, path
from tests.ui import scene
from tests.ui.conftest import accessible, picture, signed_in


async def test_a_node_shows_its_maps_as_a_tree_with_what_is_wrong_open(here: Site, page: Page) -> None:
    await signed_in(page, here, "#/nodes/pve1")
    await expect(page.get_by_role("heading", name="Maps of pve1")).to_be_visible()
    row = page.get_by_role("row", name=re.compile("^sdd"))
    await expect(row).to_contain_text("i/o timeout")
    await expect(page.get_by_text("check the fabric for congestion and the array's load")).to_be_visible()
    await expect(page.get_by_text("standby: usable after a failover").first).to_be_hidden()
    await page.get_by_text("Open all").click()
    await expect(page.get_by_text("standby: usable after a failover").first).to_be_visible()
    await picture(page, "node")


async def test_the_maps_are_read_again_when_the_matrix_says_that_they_changed(here: Site, page: Page) -> None:
    await signed_in(page, here, "#/nodes/pve1")
    await expect(page.get_by_role("row", name=re.compile("^sdd"))).to_be_visible()
    here.found = answer(map_(scene.wwid(0), group(path("sdx"), path("sdy"))))
    await scene.say(here.memory, "pve1", scene.Speech())
    await expect(page.get_by_text("1 map, as of")).to_be_visible()


async def test_a_node_that_cannot_be_asked_is_no_node_without_maps(here: Site, page: Page) -> None:
    await signed_in(page, here, "#/nodes/pve2")
    await expect(page.get_by_role("alert")).to_contain_text("The maps of this node are not known")
    await expect(page.get_by_text("has no maps")).to_have_count(0)


async def test_the_head_of_a_node_leads_to_its_maps(cluster_page: Page) -> None:
    await cluster_page.get_by_role("link", name="pve1").click()
    await expect(cluster_page.get_by_role("heading", name="Maps of pve1")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_bars_people_who_use_it_otherwise(here: Site, page: Page, scheme: str) -> None:
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await signed_in(page, here, "#/nodes/pve1")
    await page.get_by_text("Open all").click()
    await expect(page.get_by_role("row", name=re.compile("^sdd"))).to_be_visible()
    await accessible(page)


async def test_a_phone_shows_it_without_scrolling_the_page_sideways(here: Site, page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 800})
    await signed_in(page, here, "#/nodes/pve1")
    await expect(page.get_by_role("row", name=re.compile("^sdd"))).to_be_visible()
    await picture(page, "phone-node")
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
