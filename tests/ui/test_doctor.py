from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Locator, Page, expect

from pathfleet.api import doctor
from pathfleet.api.server import OPERATIONS
from pathfleet.cluster import doctor as doctoring
from pathfleet.cluster.access import Role
from pathfleet.core.facts import NodeFacts, Unexamined
from pathfleet.core.mutes import Mute
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
    await mute(here, "single-path", EVIL, "a small array")
    await signed_in(page, here, "#/doctor", token=here.tokens[Role.OPERATOR])
    await expect(page.get_by_role("listitem").filter(has_text="single-path").first).to_be_visible()
    assert await page.evaluate("(each => each.scrollWidth - each.clientWidth)(document.querySelector('main'))") <= 0
    await picture(page, "phone-doctor-dark")
    await accessible(page)
    await page.get_by_text("1 muted finding").click()
    await muted(page).scroll_into_view_if_needed()
    assert await page.evaluate("(each => each.scrollWidth - each.clientWidth)(document.querySelector('main'))") <= 0
    await picture(page, "phone-doctor-muted-dark")
    await page.get_by_role("button", name="Mute…").first.click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await picture(page, "phone-doctor-mute-dark")
    await accessible(page)


DAY = 86400


def findings(page: Page) -> Locator:
    return page.get_by_role("list", name="Findings", exact=True).get_by_role("listitem")


def muted(page: Page) -> Locator:
    return page.get_by_role("list", name="Muted findings").get_by_role("listitem")


async def mute(here: Site, code: str, subject: str | None, reason: str, *, days: int = 3) -> None:
    now = int(time.time())
    await doctoring.mute(here.store, Mute(code, now + days * DAY, reason, subject), now)


async def test_a_muted_finding_says_until_when_where_and_why(page: Page, here: Site) -> None:
    await mute(here, "single-path", scene.wwid(0), f"one cable {EVIL}")
    await mute(here, "single-path", None, "a small array", days=1)
    await signed_in(page, here, "#/doctor")
    await page.get_by_text("2 muted findings").click()
    when = await page.evaluate(
        "seconds => new Date(seconds * 1000).toLocaleDateString(undefined, {dateStyle: 'medium'})",
        time.time() + 3 * DAY,
    )
    own = muted(page).filter(has_text="db-data")
    await expect(own).to_contain_text(f"Muted until {when}")
    await expect(own).to_contain_text(f"one cable {EVIL}")
    await expect(muted(page).filter(has_text="a small array")).to_contain_text("Muted wherever it is found until")
    await expect(page.get_by_role("button", name="Unmute")).to_have_count(0)
    await expect(page.get_by_role("button", name="Mute…")).to_have_count(0)
    assert await page.locator("img").count() == 0
    await own.scroll_into_view_if_needed()
    await picture(page, "doctor-muted")
    await accessible(page)


async def test_an_operator_mutes_a_finding_by_keyboard_and_lets_it_be_heard_again(page: Page, here: Site) -> None:
    await signed_in(page, here, "#/doctor", token=here.tokens[Role.OPERATOR])
    begin = page.get_by_role("button", name="Mute… single-path: db-data")
    await begin.focus()
    await accessible(page)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog", name="Mute single-path")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(begin).to_be_focused()
    await expect(page.locator("dialog")).to_have_count(0)  # the focus is back before it has gone
    await page.keyboard.press("Enter")
    await page.get_by_label("Days").fill("3")
    await page.get_by_label("Reason").fill("one cable until March")
    await picture(page, "doctor-mute")
    await accessible(page)
    await page.keyboard.press("Enter")
    await expect(begin).to_have_count(0)
    await expect(page.get_by_role("status").filter(has_text="findings;")).to_be_focused()
    (kept,) = await doctoring.muted(here.store)
    assert (kept.code, kept.subject, kept.reason) == ("single-path", scene.wwid(0), "one cable until March")
    assert abs(kept.until - time.time() - 3 * DAY) < 60
    await page.get_by_text("1 muted finding").click()
    await expect(muted(page)).to_contain_text("one cable until March")
    await page.get_by_role("button", name="Unmute single-path: db-data").press("Enter")
    await expect(begin).to_be_visible()
    assert await doctoring.muted(here.store) == ()


async def test_a_finding_is_muted_on_its_node_or_wherever_it_is_found(page: Page, here: Site) -> None:
    await signed_in(page, here, "#/doctor", token=here.tokens[Role.OPERATOR])
    await page.get_by_role("button", name="Mute… single-path: db-data").click()
    await page.get_by_label("Where").select_option("Whatever it is found on, on pve1 alone")
    await page.get_by_label("Reason").fill("a small array")
    await page.get_by_role("button", name="Mute", exact=True).click()
    await page.get_by_text("2 muted findings").click()
    await expect(muted(page).filter(has_text="Muted on pve1 until")).to_have_count(2)
    assert [each.subject for each in await doctoring.muted(here.store)] == ["pve1"]
    await page.get_by_role("button", name="Mute…").first.click()
    await page.get_by_label("Where").select_option("Wherever it is found in the cluster")
    await page.get_by_label("Reason").fill("all of them")
    await page.get_by_role("button", name="Mute", exact=True).click()
    await expect(muted(page).filter(has_text="Muted wherever it is found until").first).to_be_visible()


async def test_a_mute_that_is_refused_says_why_and_keeps_what_was_typed(page: Page, here: Site) -> None:
    await signed_in(page, here, "#/doctor", token=here.tokens[Role.OPERATOR])
    await page.get_by_role("button", name="Mute… single-path: db-data").click()
    dialog = page.get_by_role("dialog")
    await page.get_by_label("Reason").fill("   ")
    await page.get_by_role("button", name="Mute", exact=True).click()
    await expect(dialog.get_by_role("alert")).to_contain_text("why it may stay so")
    await page.route("**/doctor/mutes", lambda route: route.fulfill(status=503, body='{"message": "no quorum"}'))
    await page.get_by_label("Reason").fill("one cable")
    await page.get_by_role("button", name="Mute", exact=True).click()
    await expect(dialog.get_by_role("alert")).to_contain_text("no quorum")
    await expect(page.get_by_label("Reason")).to_have_value("one cable")


async def test_a_mute_that_somebody_ended_meanwhile_is_said(page: Page, here: Site) -> None:
    await mute(here, "single-path", scene.wwid(0), "one cable")
    await signed_in(page, here, "#/doctor", token=here.tokens[Role.OPERATOR])
    await page.get_by_text("1 muted finding").click()
    await doctoring.unmute(here.store, "single-path", scene.wwid(0))
    await page.get_by_role("button", name="Unmute").click()
    await expect(page.get_by_role("alert")).to_contain_text("is not muted")


async def test_what_is_shown_after_a_mute_says_that_it_is_older_until_all_are_asked(page: Page, here: Site) -> None:
    await signed_in(page, here, "#/doctor", token=here.tokens[Role.OPERATOR])
    await findings(page).first.wait_for()
    await page.route("**/multipath/doctor", lambda route: route.fulfill(status=503, body='{"message": "no quorum"}'))
    await page.get_by_role("button", name="Mute… single-path: db-data").click()
    await page.get_by_label("Reason").fill("one cable")
    await page.get_by_role("button", name="Mute", exact=True).click()
    await expect(page.get_by_text("That was before the last change")).to_be_visible()
    await page.unroute("**/multipath/doctor")
    await page.get_by_role("button", name="Examine again").click()
    await expect(page.get_by_text("1 muted finding")).to_be_visible()
    await expect(page.get_by_text("That was before the last change")).to_have_count(0)
