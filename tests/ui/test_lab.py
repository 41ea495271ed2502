"""A real demo in a process of its own, broken and mended from the page while the matrix is in view."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, Route, expect

from pathfleet.cluster.access import Role
from tests.api.site import Site
from tests.ui.conftest import accessible, picture, signed_in

#: A demo's hosts have reported, or what a fault leads to is seen, within this.
SOON_SECONDS = 60
SOON_MS = SOON_SECONDS * 1000


@dataclass(frozen=True)
class Running:
    """Where the demo's first host is, and the secret of its token."""

    url: str
    secret: str


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Running]:
    """The demo, as its command starts it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pathfleet", "demo", "--directory", str(tmp_path / "lab"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SOON_SECONDS):
            said = (await process.stdout.readuntil(b"curl")).decode()
        found = re.search(r"Open (?P<url>\S+) in a browser.*?\n +(?P<secret>\S+)\n", said)
        assert found is not None, said
        yield Running(found["url"], found["secret"])
    finally:
        process.terminate()
        async with asyncio.timeout(SOON_SECONDS):
            await process.communicate()


async def opened(page: Page, demo: Running) -> Locator:
    """Sign in to the demo, wait until all is well, open the panel, and return it."""
    await page.goto(demo.url)
    await page.get_by_label("Token").fill(demo.secret)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("link", name="Lab").click()
    await all_are(page, "optimal")
    return page.get_by_role("complementary", name="Lab")


async def all_are(page: Page, state: str) -> None:
    """Wait until every LUN on every host is in this state."""
    cells = page.get_by_role("grid").get_by_role("gridcell")
    await expect(cells.filter(visible=True)).not_to_have_count(0, timeout=SOON_MS)
    await expect(page.get_by_role("gridcell", name=re.compile(rf"^{state} \d")).first).to_be_visible(timeout=SOON_MS)
    await expect(
        page.get_by_role("gridcell", name=re.compile(r"^\w+ \d")).and_(
            page.get_by_role("gridcell", name=re.compile(rf"^(?!{state})"))
        )
    ).to_have_count(0, timeout=SOON_MS)


async def test_what_is_broken_in_the_panel_is_seen_beside_it_until_it_is_mended(page: Page, demo: Running) -> None:
    panel = await opened(page, demo)
    await panel.get_by_role("button", name="Break switch-a").click()
    wrong = panel.get_by_role("list", name="Broken now").get_by_role("listitem")
    await expect(wrong).to_contain_text("switch-a break")
    await all_are(page, "degraded")
    await picture(page, "lab")
    await accessible(page)
    await wrong.get_by_role("button", name="Mend switch-a").click()
    await expect(panel).to_contain_text("Nothing is broken.")
    await all_are(page, "optimal")


async def test_other_faults_and_their_values_are_asked_for(page: Page, demo: Running) -> None:
    panel = await opened(page, demo)
    await expect(panel.get_by_role("button", name="Break pve1", exact=True)).to_be_disabled()
    await panel.get_by_role("combobox", name="Other faults of pve2").select_option("dead")
    await expect(panel.get_by_text("multipathd does not run")).to_be_visible()
    await panel.get_by_role("button", name="dead", exact=True).click()
    wrong = panel.get_by_role("list", name="Broken now").get_by_role("listitem")
    await expect(wrong).to_contain_text("pve2 dead")
    await expect(page.get_by_role("columnheader", name="pve2")).to_contain_text("not running", timeout=SOON_MS)
    await panel.get_by_text("LUNs", exact=False).click()
    await expect(panel.get_by_role("listitem").filter(has_text="vm1 vm-prod")).to_be_visible()
    await panel.get_by_role("combobox", name="Other faults of vm1").select_option("resize")
    await panel.get_by_label("resize: size").fill("much")
    await panel.get_by_role("button", name="resize", exact=True).click()
    await expect(panel.get_by_role("alert")).to_contain_text("much")
    await panel.get_by_role("button", name="Mend all").click()
    await expect(panel.get_by_role("alert")).to_have_count(0)
    await expect(panel).to_contain_text("Nothing is broken.")
    await all_are(page, "optimal")


async def test_on_a_phone_in_the_dark_the_matrix_stays_in_view(page: Page, demo: Running) -> None:
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size({"width": 390, "height": 800})
    panel = await opened(page, demo)
    await panel.get_by_role("button", name="Break switch-a").click()
    await all_are(page, "degraded")
    await expect(page.get_by_role("gridcell").first).to_be_in_viewport()
    await picture(page, "phone-lab-dark")
    await accessible(page)


async def test_a_cluster_that_is_no_demo_has_no_lab(page: Page, here: Site) -> None:
    async with page.expect_response(re.compile("/lab$")) as asked:
        await signed_in(page, here, "#/cluster?lab=open", token=here.tokens[Role.ADMIN])
    assert (await asked.value).status == 404
    await expect(page.get_by_role("link", name="Lab")).to_have_count(0)
    await expect(page.get_by_role("complementary", name="Lab")).to_have_count(0)


async def asked_for_a_lab(page: Page, here: Site, status: int) -> list[str]:
    """Sign in as an admin where asking for a lab is answered so; return what was asked, for more to come."""
    asked: list[str] = []

    async def refuse(route: Route) -> None:
        asked.append(route.request.url)
        await route.fulfill(status=status, body="{}")

    await page.clock.install()
    await page.route(re.compile("/lab$"), refuse)
    await page.goto(here.url)
    await page.get_by_label("Token").fill(here.tokens[Role.ADMIN])
    async with page.expect_response(re.compile("/lab$")):
        await page.get_by_role("button", name="Sign in").click()
    return asked


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_whoever_is_refused_the_lab_does_not_ask_again(page: Page, here: Site, status: int) -> None:
    asked = await asked_for_a_lab(page, here, status)
    await expect(page.get_by_role("button", name="Sign in" if status == 401 else "Sign out")).to_be_visible()
    await page.clock.run_for(10_000)
    # what was asked before this has been seen by now
    await page.evaluate("fetch('api2/json/version').then((answer) => answer.text())")
    assert len(asked) == 1


async def test_while_nobody_can_say_whether_there_is_a_lab_it_is_asked_again(page: Page, here: Site) -> None:
    asked = await asked_for_a_lab(page, here, 503)
    async with page.expect_response(re.compile("/lab$")):
        await page.clock.run_for(10_000)
    assert len(asked) > 1


async def test_whoever_signs_out_does_not_ask_for_a_lab_again(page: Page, here: Site) -> None:
    asked = await asked_for_a_lab(page, here, 503)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Token")).to_be_visible()
    before = len(asked)
    await page.clock.run_for(10_000)
    await page.evaluate("fetch('api2/json/version').then((answer) => answer.text())")
    assert len(asked) == before
