from __future__ import annotations

import re
from dataclasses import replace

import pytest
from playwright.async_api import Locator, Page, Route, expect

from pathfleet.cluster.access import Role
from pathfleet.core.detail import MapDetail
from tests.api.site import Site, site
from tests.ui import scene
from tests.ui.conftest import accessible, picture, signed_in


def cell(page: Page, lun: str, node: str) -> Locator:
    """Return the cell of a LUN, by its name, on a node."""
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=lun))
    return row.get_by_role("gridcell").and_(page.locator(f'[data-column="{scene.NODES.index(node)}"]'))


async def names(page: Page) -> list[str]:
    """Return the names of the LUNs as they stand below each other."""
    return await page.locator("tbody .name").all_inner_texts()


async def test_the_worst_lun_comes_first(cluster_page: Page) -> None:
    await expect(cluster_page.locator("tbody .name").first).to_have_text("backup-01")
    assert (await names(cluster_page))[:3] == ["backup-01", "vm-prod-01", "db-data"]
    await picture(cluster_page, "cluster")


@pytest.mark.parametrize(
    ("lun", "node", "told", "sign"),
    [
        ("db-logs", "pve1", "optimal 4/4", "✓"),
        ("db-data", "pve1", "degraded 2/4, marginal", "▲"),
        ("backup-01", "pve1", "failed 0/4", "✕"),
        ("vm-prod-01", "pve2", "missing \N{EN DASH}", "⊘"),
        ("db-logs", "pve4", "unknown 4/4", "?"),
    ],
)
async def test_a_cell_has_a_number_a_sign_and_a_word(
    cluster_page: Page, lun: str, node: str, told: str, sign: str
) -> None:
    found = cell(cluster_page, lun, node)
    await expect(found).to_have_accessible_name(told)
    await expect(found).to_contain_text(sign)


async def test_a_flag_of_an_optimal_lun_is_seen_and_told_with_what_it_means(page: Page) -> None:
    suspended = scene.Speech(details={scene.wwid(2): MapDetail(("suspended",))})
    async with site(name="pve1", memory=await scene.cluster({"pve1": scene.Speech(), "pve2": suspended})) as here:
        await signed_in(page, here)
        flagged = cell(page, "mail", "pve2")
        await expect(flagged).to_have_text("✓\N{EN SPACE}4/4*")
        await expect(flagged).to_have_accessible_name("optimal 4/4, suspended")
        await expect(cell(page, "mail", "pve1")).to_have_text("✓\N{EN SPACE}4/4")
        await expect(page.get_by_role("rowheader", name="mail")).to_have_accessible_name(
            re.compile("flagged on 1 node")
        )
        await flagged.hover()
        for told in ("suspended", "I/O waits in the kernel"):
            await expect(page.get_by_role("tooltip")).to_contain_text(told)
        await cell(page, "mail", "pve1").click()
        panel = page.get_by_role("complementary")
        await expect(panel.get_by_role("listitem").filter(has_text="pve2")).to_contain_text("suspended")
        await panel.get_by_role("link", name="pve2").click()
        await expect(panel).to_contain_text("I/O waits in the kernel")
        await picture(page, "flagged")
        await accessible(page)


async def test_states_look_different_from_each_other(cluster_page: Page) -> None:
    places = [
        ("db-logs", "pve1"),
        ("db-data", "pve1"),
        ("backup-01", "pve1"),
        ("vm-prod-01", "pve2"),
        ("mail", "pve4"),
    ]
    await cell(cluster_page, *places[0]).wait_for()
    colours = [await cell(cluster_page, *place).evaluate("each => getComputedStyle(each).color") for place in places]
    assert len({*colours}) == len(places)


async def test_a_node_says_at_its_head_how_it_is(cluster_page: Page) -> None:
    head = cluster_page.get_by_role("columnheader", name="pve3")
    await expect(head).to_contain_text("config")
    await head.hover()
    await expect(cluster_page.get_by_role("tooltip")).to_contain_text("multipathd refused line 12")
    await expect(cluster_page.get_by_role("columnheader", name="pve1")).to_contain_text(scene.DIGEST[:7])


async def test_pointing_at_a_cell_tells_why_it_is_so(cluster_page: Page) -> None:
    await cell(cluster_page, "db-data", "pve1").hover()
    tip = cluster_page.get_by_role("tooltip")
    await expect(tip).to_contain_text("2 of 4 paths usable; down: sdc (target 0x50000000000000c2)")
    await expect(tip).to_contain_text("marginal")
    await expect(tip).to_contain_text("ago")


async def test_arrow_keys_move_from_cell_to_cell_and_enter_opens(cluster_page: Page) -> None:
    await cell(cluster_page, "backup-01", "pve1").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        await cluster_page.keyboard.press(key)
    await expect(cell(cluster_page, "db-data", "pve2")).to_be_focused()
    await expect(cluster_page.get_by_role("tooltip")).to_contain_text("3 of 4 paths usable")
    await cluster_page.keyboard.press("Enter")
    await expect(cluster_page.get_by_role("complementary")).to_contain_text("db-data")
    assert f"lun={scene.wwid(0)}&node=pve2" in cluster_page.url
    await cluster_page.keyboard.press("Escape")
    await expect(cluster_page.get_by_role("complementary")).to_have_count(0)


async def test_one_cell_alone_is_in_the_order_of_the_tab_key(cluster_page: Page) -> None:
    await cell(cluster_page, "db-data", "pve3").click()
    assert await cluster_page.locator('td[tabindex="0"]').count() == 1
    await expect(cell(cluster_page, "db-data", "pve3")).to_have_attribute("tabindex", "0")


async def test_an_address_leads_to_a_cell_with_its_paths_as_they_are_now(here: Site, page: Page) -> None:
    await signed_in(page, here, f"#/cluster?lun={scene.wwid(0)}&node=pve1")
    panel = page.get_by_role("complementary")
    await expect(panel).to_contain_text(scene.wwid(0))
    await expect(panel.get_by_role("row", name="sdc")).to_contain_text("down")
    await expect(panel).to_contain_text("check cable, switch port, target port and LUN mapping")
    await picture(page, "cell")
    await accessible(page)


async def test_filters_are_in_the_address_and_narrow_the_rows(cluster_page: Page) -> None:
    await cluster_page.get_by_role("searchbox").fill("vm-prod")
    await expect(cluster_page.locator("tbody .name")).to_have_count(3)
    assert "text=vm-prod" in cluster_page.url
    await cluster_page.get_by_role("searchbox").fill("")
    await cluster_page.get_by_role("button", name="missing").click()
    await expect(cluster_page.locator("tbody .name")).to_have_text(["vm-prod-01"])
    await cluster_page.get_by_role("button", name="missing").click()
    await cluster_page.get_by_role("combobox", name="Storage").select_option("vg-db")
    await expect(cluster_page.locator("tbody .name")).to_have_text(["db-data"])
    await cluster_page.reload()
    await expect(cluster_page.locator("tbody .name")).to_have_text(["db-data"])


async def test_rows_are_grouped_by_the_storage_that_consumes_them(cluster_page: Page) -> None:
    await cluster_page.get_by_role("combobox", name="Order").select_option("storage")
    await expect(cluster_page.locator("tbody .title th")).to_have_text(["no storage10", "vg-prod1", "vg-db1"])


async def test_the_luns_of_one_array_are_shown_alone_or_below_its_name(cluster_page: Page) -> None:
    await cluster_page.get_by_role("combobox", name="Array").select_option("PURE FlashArray")
    await expect(cluster_page.locator("tbody .name")).to_have_text(["archive", "scratch"])
    await cluster_page.get_by_role("combobox", name="Array").select_option("Any array")
    await cluster_page.get_by_role("combobox", name="Order").select_option("array")
    await expect(cluster_page.locator("tbody .title th")).to_have_text(["NETAPP LUN C-Mode10", "PURE FlashArray2"])


async def test_problems_only_leaves_out_what_is_well(page: Page) -> None:
    speeches = {name: scene.Speech() for name in scene.NODES[:2]}
    speeches["pve2"] = replace(
        speeches["pve2"],
        maps=scene.lost(scene.HEALTHY, 2, 1),
        details={scene.wwid(1): MapDetail(("suspended",)), scene.wwid(4): MapDetail((), "another-name")},
    )
    async with site(name="pve1", memory=await scene.cluster(speeches)) as here:
        await signed_in(page, here, "#/cluster?problems=1")
        await expect(page.locator("tbody .name")).to_have_text(
            ["mail", re.compile("another-name|backup-02"), "db-logs"]
        )
        await expect(page.get_by_text("3 of 12 LUNs, 2 nodes")).to_be_visible()
        await scene.say(here.memory, "pve2", scene.Speech(details={scene.wwid(1): MapDetail(("suspended",))}))
        await expect(page.locator("tbody .name")).to_have_text(["db-logs"])


async def test_where_filters_leave_nothing_the_page_says_so(cluster_page: Page) -> None:
    await cluster_page.get_by_role("searchbox").fill("no such LUN")
    await expect(cluster_page.get_by_text("No LUN matches the filters.")).to_be_visible()
    await picture(cluster_page, "nothing-left")
    await accessible(cluster_page)
    await cluster_page.get_by_role("searchbox").fill("")
    await expect(cluster_page.get_by_text("No LUN matches the filters.")).to_have_count(0)


async def test_what_the_search_takes_is_not_cut(cluster_page: Page) -> None:
    search = cluster_page.get_by_role("searchbox")
    await search.fill(await search.get_attribute("placeholder") or "")
    assert await search.evaluate("each => each.scrollWidth <= each.clientWidth")


async def test_every_column_of_facts_has_a_heading(cluster_page: Page) -> None:
    for name in ("Size", "Transport", "Storage"):
        head = cluster_page.get_by_role("columnheader", name=name, exact=True)
        await expect(head).to_have_text(name, use_inner_text=True)
        assert await head.evaluate("each => !each.firstElementChild && each.scrollWidth <= each.clientWidth")


async def test_an_event_changes_its_cell_in_place_and_moves_the_row_up(cluster_page: Page, here: Site) -> None:
    before = cell(cluster_page, "vm-test-01", "pve3")
    await expect(before).to_have_accessible_name("optimal 4/4")
    await before.evaluate("each => (each.kept = true)")
    speech = replace(scene.troubled()["pve3"], maps=scene.lost(scene.HEALTHY, 9, 0))
    await scene.say(here.memory, "pve3", speech)
    await expect(before).to_have_accessible_name("failed 0/4")
    assert await before.evaluate("each => each.kept"), "the cell is the same element as before"
    await expect(cluster_page.locator("tbody .name").nth(1)).to_have_text("vm-test-01")


async def test_a_row_does_not_move_while_somebody_points_at_the_table(cluster_page: Page, here: Site) -> None:
    await cell(cluster_page, "vm-test-01", "pve3").hover()
    speech = replace(scene.troubled()["pve3"], maps=scene.lost(scene.HEALTHY, 9, 0))
    await scene.say(here.memory, "pve3", speech)
    await expect(cell(cluster_page, "vm-test-01", "pve3")).to_have_accessible_name("failed 0/4")
    assert (await names(cluster_page))[-1] == "vm-test-01"
    await cluster_page.mouse.move(5, 5)
    await expect(cluster_page.locator("tbody .name").nth(1)).to_have_text("vm-test-01")


async def test_a_lun_that_is_gone_leaves_and_a_new_node_comes(cluster_page: Page, here: Site) -> None:
    await expect(cluster_page.get_by_role("rowheader", name="scratch")).to_be_visible()
    without = {key: map_ for key, map_ in scene.HEALTHY.items() if key != scene.wwid(11)}
    for name in scene.NODES:
        await scene.say(here.memory, name, scene.Speech(without))
    await expect(cluster_page.get_by_role("rowheader", name="scratch")).to_have_count(0)
    await scene.say(here.memory, "pve5", scene.Speech(without))
    await expect(cluster_page.get_by_role("columnheader", name="pve5")).to_be_visible()


async def test_after_a_reset_the_whole_is_read_again(cluster_page: Page, here: Site) -> None:
    await expect(cell(cluster_page, "mail", "pve1")).to_be_visible()
    async with cluster_page.expect_response(re.compile("multipath/status$")):
        here.live.journal.forget()
    speech = replace(scene.troubled()["pve2"], maps=scene.lost(scene.HEALTHY, 2, 1))
    await scene.say(here.memory, "pve2", speech)
    await expect(cell(cluster_page, "mail", "pve2")).to_have_accessible_name("degraded 1/4")


async def test_what_becomes_wrong_with_the_whole_is_told(cluster_page: Page, here: Site) -> None:
    await expect(cell(cluster_page, "mail", "pve1")).to_be_visible()
    written = await here.store.read("storage.cfg")
    assert written is not None
    await here.store.swap("storage.cfg", written.content + b"nonsense\n", written.revision)
    await expect(cluster_page.get_by_text(re.compile("storage.cfg, line"))).to_be_visible()


async def test_a_refused_stream_is_asked_for_again(here: Site, page: Page) -> None:
    refusals = iter((503, 503))

    async def refuse(route: Route) -> None:
        status = next(refusals, None)
        await (route.fulfill(status=status, body="{}") if status else route.continue_())

    await page.route(re.compile("multipath/events"), refuse)
    await signed_in(page, here)
    await scene.say(here.memory, "pve2", replace(scene.troubled()["pve2"], maps=scene.lost(scene.HEALTHY, 2, 1)))
    await expect(cell(page, "mail", "pve2")).to_have_accessible_name("degraded 1/4", timeout=10_000)


async def test_without_connection_the_page_says_since_when(page: Page) -> None:
    async with site(name="pve1", memory=await scene.cluster(scene.troubled())) as here:
        await signed_in(page, here)
        await expect(cell(page, "mail", "pve1")).to_be_visible()
    await expect(page.get_by_text(re.compile("^Not connected since"))).to_be_visible()
    await expect(page.get_by_role("alert")).to_contain_text("What is shown is as of")
    await expect(cell(page, "mail", "pve1")).to_be_visible()
    await picture(page, "lost")


async def test_after_silence_what_is_shown_is_as_of_the_last_sign_of_life(here: Site, page: Page) -> None:
    await page.clock.install(time="2026-01-01T12:00:00")
    await signed_in(page, here)
    await expect(cell(page, "mail", "pve1")).to_be_visible()
    unanswered: list[Route] = []

    async def hold(route: Route) -> None:
        unanswered.append(route)

    await page.route(re.compile("multipath/events"), hold)
    await page.clock.fast_forward("10:00")
    await page.clock.run_for(5000)
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("as of 12:00:")
    await expect(alert).to_contain_text("nothing was heard from the agent for 20 s")
    await expect(page.get_by_text(re.compile("^Not connected since 12:00:"))).to_be_visible()
    assert unanswered
    await page.unroute_all(behavior="ignoreErrors")


async def test_while_nothing_was_read_no_time_is_named(here: Site, page: Page) -> None:
    await page.route(re.compile("multipath/status"), lambda route: route.fulfill(status=503, body="{}"))
    await page.goto(here.url)
    await page.get_by_label("Token").fill(here.tokens[Role.AUDITOR])
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("Not connected", exact=True)).to_be_visible()
    await expect(page.get_by_role("alert")).to_contain_text("Nothing was read yet")


async def test_what_vendors_and_peers_write_stays_text(page: Page) -> None:
    evil = '<img src=x onerror="document.title=1">'
    speech = scene.Speech(
        details={scene.wwid(0): MapDetail((evil,), evil)},
        daemon="not-running",
        reason=evil,
        error=evil,
        digest=evil[:40],
    )
    async with site(name="pve1", memory=await scene.cluster({"pve1": scene.Speech(), "pve2": speech})) as here:
        await signed_in(page, here, f"#/cluster?lun={scene.wwid(0)}&node=pve2")
        await expect(page.get_by_role("complementary").get_by_role("heading", name=evil)).to_be_visible()
        await page.get_by_role("columnheader", name="pve2").hover()
        await expect(page.get_by_role("tooltip")).to_contain_text(evil)
        assert await page.locator("img:not([role])").count() == 0
        assert "pathfleet" in await page.title()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_bars_people_who_use_it_otherwise(cluster_page: Page, scheme: str) -> None:
    await cluster_page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await cell(cluster_page, "db-data", "pve1").focus()
    await picture(cluster_page, f"cluster-{scheme}")
    await accessible(cluster_page)


async def test_the_choice_of_colours_outlives_a_reload(cluster_page: Page) -> None:
    button = cluster_page.get_by_role("button", name="Colours")
    await button.click()
    await button.click()
    await expect(button).to_have_accessible_name("Colours: dark")
    await cluster_page.reload()
    await expect(cluster_page.get_by_role("button", name="Colours: dark")).to_be_visible()


async def test_a_phone_shows_it_without_scrolling_the_page_sideways(cluster_page: Page) -> None:
    await cluster_page.set_viewport_size({"width": 390, "height": 800})
    await cell(cluster_page, "db-data", "pve1").click()
    await expect(cluster_page.get_by_role("complementary")).to_be_visible()
    await picture(cluster_page, "phone")
    assert await cluster_page.evaluate("document.documentElement.scrollWidth") == 390
    await accessible(cluster_page)


async def test_of_a_thousand_luns_only_what_can_be_seen_is_in_the_document(page: Page) -> None:
    maps = {f"36{place:031x}": scene.optimal(place) for place in range(1000)}
    speeches = {f"node{number:02}": scene.Speech(maps) for number in range(24)}
    async with site(name="node00", memory=await scene.cluster(speeches, "")) as here:
        await signed_in(page, here)
        await page.locator("tbody .name").first.wait_for()
        assert await page.locator("td.cell").count() < 1000
        await expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "1001")
        await page.locator("td.cell").first.focus()
        await page.keyboard.press("Control+End")
        last = page.locator('[data-line="999"] > [data-column="23"]')
        await expect(last).to_be_focused()
        await expect(last).to_be_in_viewport()


async def test_the_keyboard_s_place_outlives_scrolling_away(page: Page) -> None:
    maps = {f"36{place:031x}": scene.optimal(place) for place in range(300)}
    async with site(
        name="a", memory=await scene.cluster({"a": scene.Speech(maps), "b": scene.Speech(maps)}, "")
    ) as here:
        await signed_in(page, here)
        await page.locator('[data-line="2"] > [data-column="0"]').focus()
        await page.locator(".box").evaluate("box => box.scrollTo(0, 5000)")
        await expect(page.locator('[data-line="2"]')).to_have_count(0)
        await page.keyboard.press("ArrowDown")
        await expect(page.locator('[data-line="3"] > [data-column="0"]')).to_be_focused()


async def test_a_cluster_without_luns_says_so(page: Page) -> None:
    async with site(name="pve1", memory=await scene.cluster({"pve1": scene.Speech({})}, "")) as here:
        await signed_in(page, here)
        await expect(page.get_by_text("No node reports a LUN")).to_be_visible()
