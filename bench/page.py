"""The page in a real Chromium, shown 64 nodes x 1,000 LUNs by a real agent on loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
from playwright.async_api import Page, async_playwright

from bench import cluster_values
from bench.row import Row
from pathfleet.cluster.access import Access, Role
from pathfleet.core.report import MapReport
from pathfleet.store import open_store

NODES = 64
LUNS = 1_000
EVENTS = 10
_LOADS = 5
_MS = 1_000
_START_SECONDS = 60

#: When the first cell was drawn, in milliseconds since the page was asked for.
_FIRST_CELL = """
window.firstCell = new Promise((resolve) => addEventListener("DOMContentLoaded", () => {
  const observer = new MutationObserver(() => {
    if (!document.querySelector("td.cell")) return;
    observer.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now())));
  });
  observer.observe(document.body, { childList: true, subtree: true });
}));
"""
#: Scroll so many pixels in each frame, and return how long each frame took.
_SCROLL = """
async ([x, y]) => {
  const box = document.querySelector(".box");
  const frames = [];
  let last = await new Promise(requestAnimationFrame);
  for (let step = 0; step < 180; step++) {
    box.scrollBy(x, y);
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - last);
    last = now;
  }
  return frames;
}
"""
#: Resolve with the time, in milliseconds since the epoch, at which a cell of the first line was drawn anew.
_SHOWN = """
() => new Promise((resolve) => {
  const observer = new MutationObserver(() => {
    observer.disconnect();
    requestAnimationFrame(() => resolve(Date.now()));
  });
  const all = { childList: true, subtree: true, attributes: true, characterData: true };
  observer.observe(document.querySelector("tbody"), all);
})
"""


@dataclass(frozen=True)
class _Served:
    url: str
    store: str
    token: str


def rows() -> Iterator[Row]:
    """Measure on a real agent, with a real browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        yield Row("the page", skipped="chromium is not installed: tools/system_deps installs it")
        return
    yield from asyncio.run(_measured(chromium))


async def _measured(chromium: str) -> list[Row]:
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with _agent() as served, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = await browser.new_page(viewport={"width": 1600, "height": 900})
        await page.add_init_script(_FIRST_CELL)
        await page.goto(served.url)
        await page.get_by_label("Token").fill(served.token)
        await page.get_by_role("button", name="Sign in").click()
        await page.locator("td.cell").first.wait_for(timeout=30_000)
        found = [await _first_cell(page), *await _scrolled(page), *await _events(page, served)]
        await browser.close()
        return found


async def _first_cell(page: Page) -> Row:
    times = []
    for _ in range(_LOADS):
        await page.reload()
        times.append(await page.evaluate("window.firstCell"))
    times.sort()
    what = f"{NODES} nodes x {LUNS} LUNs: from the address to the first cells drawn"
    return Row(what, times[0], times[len(times) // 2], "ms", at_most=1_000)


async def _scrolled(page: Page) -> list[Row]:
    """Measure frames, and the main thread's own time for each, which other work on the machine does not delay."""
    found = []
    chromium = await page.context.new_cdp_session(page)
    await chromium.send("Performance.enable", {"timeDomain": "threadTicks"})

    async def busy() -> float:
        metrics = (await chromium.send("Performance.getMetrics"))["metrics"]
        return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")

    for what, step in (("down, 2 rows a frame", [0, 52]), ("down, 5 rows a frame", [0, 130]), ("sideways", [20, 0])):
        await page.evaluate("document.querySelector('.box').scrollTo(0, 0)")
        began = await busy()
        frames = sorted(await page.evaluate(_SCROLL, step))
        own = (await busy() - began) / len(frames) * _MS
        found.append(Row(f"scrolling {what}: the page's own time for a frame", own, unit="ms", at_most=16.7))
        found.append(Row("and from frame to frame", frames[0], frames[len(frames) // 2], "ms"))
    return found


async def _events(page: Page, served: _Served) -> list[Row]:
    """Compare when an event was shown with when a listener beside the page had it, and with when it was written."""
    await page.evaluate("document.querySelector('.box').scrollTo(0, 0)")
    reported = cluster_values.maps(LUNS)
    place = next(at for at, wwid in enumerate(reported) if wwid == min(reported))
    after_arrival, after_write = [], []
    headers = {"authorization": f"Bearer {served.token}"}
    async with httpx2.AsyncClient(base_url=served.url, headers=headers, timeout=30, trust_env=False) as client:
        for count in range(EVENTS):
            latest = (await client.get("api2/json/cluster/multipath/status")).json()["data"]["event"]
            shown = asyncio.create_task(page.evaluate(_SHOWN))
            arrived = asyncio.create_task(_arrival(client, latest))
            await asyncio.sleep(1.2)  # past the redrawing of ages, which the observer does not see in the body
            began = time.time()
            changed = cluster_values.with_one_degraded(reported, place) if count % 2 == 0 else reported
            await _publish(served.store, "node01", changed)
            when = (await shown) / _MS
            after_write.append((when - began) * _MS)
            after_arrival.append((when - await arrived) * _MS)
    after_arrival.sort()
    after_write.sort()
    middle = EVENTS // 2
    return [
        Row("from an event's arrival to its being drawn", after_arrival[0], after_arrival[middle], "ms", at_most=250),
        Row("the slowest of them", after_arrival[-1], unit="ms", at_most=250),
        Row("from the write of a report to its being drawn", after_write[0], after_write[middle], "ms"),
    ]


async def _arrival(client: httpx2.AsyncClient, latest: str) -> float:
    async with client.stream("GET", "api2/json/cluster/multipath/events", params={"after": latest}) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data:") and '"cell"' in line:
                return time.time()
    raise ConnectionError("the agent ended a stream")


@asynccontextmanager
async def _agent() -> AsyncIterator[_Served]:
    with tempfile.TemporaryDirectory() as directory:
        store = f"sqlite://{directory}/cluster.db"
        reported = cluster_values.maps(LUNS)
        for number in range(NODES):
            await _publish(store, f"node{number:02}", reported)
        async with open_store(store, node="node00") as opened:
            token = await Access(opened).add("bench", Role.AUDITOR)
        environment = os.environ | {
            "PATHFLEET_NODE": "node00",
            "PATHFLEET_STORE": store,
            "PATHFLEET_STATE_DIRECTORY": directory,
            "PATHFLEET_MULTIPATHD_SOCKET": f"{directory}/nobody",
            "PATHFLEET_API_LISTEN": "127.0.0.1:18440",
            "PATHFLEET_API_SOCKET": f"{directory}/api.sock",
            "PATHFLEET_LOG_LEVEL": "error",
        }
        with subprocess.Popen([sys.executable, "-m", "pathfleet", "agent"], env=environment) as agent:  # noqa: ASYNC220
            alive = asyncio.create_task(_stay_alive(store))
            try:
                served = _Served("http://127.0.0.1:18440/", store, token)
                await _ready(served)
                yield served
            finally:
                alive.cancel()
                agent.send_signal(signal.SIGTERM)


async def _stay_alive(url: str) -> None:
    while True:
        for number in range(1, NODES):
            async with open_store(url, node=f"node{number:02}") as store:
                await store.alive()
        await asyncio.sleep(4)


async def _ready(served: _Served) -> None:
    deadline = time.monotonic() + _START_SECONDS
    headers = {"authorization": f"Bearer {served.token}"}
    async with httpx2.AsyncClient(base_url=served.url, headers=headers, timeout=30, trust_env=False) as client:
        while time.monotonic() < deadline:
            try:
                if (await client.get("api2/json/cluster/multipath/status")).status_code == httpx2.codes.OK:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.2)
    raise TimeoutError(f"the agent did not know the cluster within {_START_SECONDS} s")


async def _publish(url: str, name: str, reported: dict[str, MapReport]) -> None:
    async with open_store(url, node=name) as store:
        await store.alive()
        for key, value in cluster_values.values(reported, int(time.time())).items():
            await store.put(key, value)
