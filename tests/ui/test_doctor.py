from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, expect

from pathfleet.api import doctor
from pathfleet.api.server import OPERATIONS
from pathfleet.core.facts import NodeFacts, Unexamined
from pathfleet.core.node import Daemon
from tests.api.site import Site, site
from tests.core.examined import map_
from tests.ui import scene
from tests.ui.conftest import accessible, picture, signed_in

EVIL = '<img src=x onerror="document.title=1">'
ALL = OPERATIONS if doctor.of_cluster in OPERATIONS else (*OPERATIONS, *doctor.OPERATIONS)


@pytest.fixture
async def here() -> AsyncIterator[Site]:
    """A cluster in which something of each kind is wrong, with one node that can be examined."""
    facts = NodeFacts(
        "pve1",
        int(time.time()),
        Daemon.RUNNING,
        version="0.9.4",
        maps=(map_(scene.wwid(0), "db-data", paths_total=1), map_(EVIL, EVIL, paths_total=1)),
        unexamined=(Unexamined("LVM", f"vgs said {EVIL}"),),
    )

    async def examine() -> NodeFacts:
        return facts

    memory = await scene.cluster(scene.troubled())
    async with site(name="pve1", memory=memory, found=scene.found(), operations=ALL) as served:
        object.__setattr__(served.service, "examine", examine)
        yield served


async def test_each_finding_has_its_severity_meaning_and_remedy(page: Page, here: Site) -> None:
    await signed_in(page, here, "#/doctor")
    found = page.get_by_role("listitem").filter(has_text="single-path").filter(has_text="db-data")
    await expect(found).to_contain_text("warning")
    await expect(found).to_contain_text("Meaning")
    await expect(found).to_contain_text("Remedy")
    await expect(page.get_by_role("heading", name="Not examined")).to_be_visible()
    await expect(page.get_by_role("listitem").filter(has_text="pve4 what only the node itself knows")).to_be_visible()
    await picture(page, "doctor")
    await accessible(page)


async def test_findings_are_filtered_by_severity_node_and_text_in_the_address(page: Page, here: Site) -> None:
    await signed_in(page, here, "#/doctor")
    items = page.get_by_role("list", name="Findings").get_by_role("listitem")
    await items.first.wait_for()
    everything = await items.count()
    await page.get_by_role("combobox", name="Severity").select_option("error")
    await expect(items.filter(has_text="single-path")).to_have_count(0)
    assert "severity=error" in page.url
    await page.get_by_role("combobox", name="Severity").select_option("")
    await page.get_by_role("searchbox").fill("single-path")
    await expect(items).to_have_count(2)
    await page.get_by_role("searchbox").fill("")
    await page.get_by_role("combobox", name="Node").select_option("pve3")
    await expect(items.filter(has_text="single-path")).to_have_count(0)
    assert 0 < await items.count() < everything


async def test_a_nodes_page_leads_to_its_findings_and_back(page: Page, here: Site) -> None:
    await signed_in(page, here, "#/nodes/pve1")
    await page.get_by_role("main").get_by_role("link", name="Doctor").click()
    await expect(page.get_by_role("heading", name="Doctor: pve1")).to_be_visible()
    await expect(page.get_by_role("listitem").filter(has_text="single-path").first).to_be_visible()
    await page.get_by_role("link", name="Maps of pve1").click()
    await expect(page.get_by_role("heading", name="Maps of pve1")).to_be_visible()


async def test_what_nodes_write_stays_text(page: Page, here: Site) -> None:
    await signed_in(page, here, "#/doctor")
    await expect(page.get_by_text(f"LVM: vgs said {EVIL}")).to_be_visible()
    assert await page.locator("img").count() == 0
    assert "Doctor" in await page.title()


async def test_what_could_not_be_examined_is_an_error_and_not_an_empty_list(page: Page) -> None:
    async with site(name="pve1", memory=await scene.cluster(), operations=ALL) as here:
        await page.route(
            "**/multipath/doctor", lambda route: route.fulfill(status=503, body='{"message": "no quorum"}')
        )
        await signed_in(page, here, "#/doctor")
        await expect(page.get_by_role("alert")).to_contain_text("no quorum")
        await expect(page.get_by_role("list", name="Findings")).to_have_count(0)


async def test_it_is_usable_on_a_phone_and_in_the_dark(page: Page, here: Site) -> None:
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size({"width": 390, "height": 800})
    await signed_in(page, here, "#/doctor")
    await expect(page.get_by_role("listitem").filter(has_text="single-path").first).to_be_visible()
    assert await page.evaluate("(each => each.scrollWidth - each.clientWidth)(document.querySelector('main'))") <= 0
    await picture(page, "phone-doctor-dark")
    await accessible(page)
