"""A real browser: Debian's chromium, led by Playwright. Whatever a page complains of fails its test."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: `uv sync`")
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from pathfleet import web
from pathfleet.cluster.access import Role
from tests.api.site import Site, site
from tests.ui import scene

CHROMIUM = shutil.which("chromium")
#: What a page shows comes at once; a machine that does much else needs a while.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)
#: Where tests leave pictures for people to look at; not in git.
PICTURES = Path(__file__).parent / "pictures"
#: What Chromium writes of its own accord when an answer is an error; tests ask for such answers.
_OF_THE_NETWORK = re.compile(r"Failed to load resource")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """One loop for all of these tests, as they share one browser."""
    return "asyncio"


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The browser; a test without it, or without the built page, is skipped."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    if "index.html" not in web.files():
        pytest.skip("the page was not built: `uv sync` builds it")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield launched
        await launched.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page of a browser that knows nothing yet. No error and no breach of the policy may have come of it."""
    context = await browser.new_context(viewport={"width": 1280, "height": 720}, locale="en-GB", color_scheme="light")
    opened = await context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
    opened.on("console", lambda message: complaints.extend(_complaint(message)))
    yield opened
    await context.close()
    assert complaints == []


def _complaint(message: ConsoleMessage) -> list[str]:
    if message.type in ("error", "warning") and not _OF_THE_NETWORK.search(message.text):
        return [f"{message.type}: {message.text}"]
    return []


@pytest.fixture
async def here() -> AsyncIterator[Site]:
    """A cluster with some of everything, and the API of its first node."""
    async with site(name="pve1", memory=await scene.cluster(scene.troubled()), found=scene.found()) as served:
        yield served


@pytest.fixture
async def cluster_page(here: Site, page: Page) -> Page:
    """The cluster's page, signed in to as an auditor."""
    await signed_in(page, here)
    return page


async def signed_in(page: Page, here: Site, at: str = "", *, token: str | None = None) -> None:
    """Open the page at an address after the hash, signed in as the auditor unless a token is given."""
    await page.goto(f"{here.url}/{at}")
    await page.get_by_label("Token").fill(token or here.tokens[Role.AUDITOR])
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_text("Live", exact=True).wait_for()


async def accessible(page: Page) -> None:
    """Fail with what axe finds wrong with the page as it is shown now, colours included."""
    found = await Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


async def picture(page: Page, name: str) -> None:
    """Leave a picture of what is seen."""
    PICTURES.mkdir(exist_ok=True)
    await page.mouse.move(0, 0)
    await page.screenshot(path=PICTURES / f"{name}.png")
