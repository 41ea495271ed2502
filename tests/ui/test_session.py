from __future__ import annotations

from playwright.async_api import Page, Route, expect

from pathfleet.cluster.access import Role
from tests.api.site import Site
from tests.ui.conftest import accessible, picture, signed_in


async def test_a_wrong_token_is_refused_with_a_reason(here: Site, page: Page) -> None:
    await page.goto(here.url)
    await page.get_by_label("Token").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("the token is not known")).to_be_visible()
    await page.get_by_label("Token").fill("two words")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("That is no token")).to_be_visible()
    await accessible(page)
    await picture(page, "sign-in")


async def test_a_session_outlives_a_reload_and_leaves_nothing_for_scripts(here: Site, page: Page) -> None:
    await signed_in(page, here)
    await page.reload()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    kept = await page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]")
    assert kept == [0, 0, ""]


async def test_who_signs_out_is_out(here: Site, page: Page) -> None:
    await signed_in(page, here)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Token")).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("Token")).to_be_visible()


async def test_when_the_token_is_removed_the_page_asks_for_another(here: Site, page: Page) -> None:
    await signed_in(page, here)
    await here.service.access.remove("auditor-pve1")
    await expect(page.get_by_label("Token")).to_be_visible(timeout=15_000)


async def test_the_page_says_who_is_signed_in(here: Site, page: Page) -> None:
    await signed_in(page, here, token=here.tokens[Role.ADMIN])
    await expect(page.get_by_text("admin-pve1, admin")).to_be_visible()


async def test_the_page_works_below_any_path(here: Site, page: Page) -> None:
    async def without_prefix(route: Route) -> None:
        await route.continue_(url=route.request.url.replace("/below/here/", "/"))

    await page.route("**/below/here/**", without_prefix)
    await page.goto(f"{here.url}/below/here/#/nodes")
    await page.get_by_label("Token").fill(here.tokens[Role.AUDITOR])
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await expect(page.get_by_role("heading", name="Maps of pve1")).to_be_visible()
    assert page.url == f"{here.url}/below/here/#/nodes"
