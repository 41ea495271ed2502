from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from playwright.async_api import Page, expect

from pathfleet.cluster import config
from pathfleet.cluster.access import Role
from pathfleet.core import configuration
from pathfleet.core.detail import MapDetail
from pathfleet.core.drift import Effective
from pathfleet.core.facts import Disk
from pathfleet.store import File
from tests.api.site import Site, site
from tests.ui import scene
from tests.ui.conftest import accessible, picture, signed_in

ALLOWED = range(8)
CFG = "defaults: defaults\n\tno-path-retry 12\n\tpolling-interval 5\n\n" + "".join(
    f"wwid: {scene.wwid(place)}\n\talias {scene.NAMES[place]}\n\n" for place in ALLOWED
)
OVERRIDES = "overrides {\n\tfast_io_fail_tmo 5\n}\n"
IN_FORCE = configuration.combined_digest(CFG.encode(), OVERRIDES.encode())
EFFECTIVE = Effective(
    "defaults {\n\tno_path_retry 24\n\tpolling_interval 5\n\tuser_friendly_names no\n\tfind_multipaths strict\n}\n"
    "overrides {\n}\n",
    "0.9.4",
)
NEW = "3600a098038314c6c6e3f4b6f4c6c5aff"
BOOT = "3600508b1001c5a0000000000000000aa"
DISKS = (
    Disk("sdy", NEW, size=2 << 40, vendor="NETAPP", product="LUN C-Mode"),
    Disk("sdz", NEW, size=2 << 40, vendor="NETAPP", product="LUN C-Mode"),
    Disk("sda", BOOT, size=240 << 30, vendor="HP", product="LOGICAL <b>", partitions=("sda1",), mounts=("/boot",)),
)
REFUSAL = "multipathd refused line 12 of zz-pathfleet-20-overrides.conf: invalid keyword, and <b>so on</b>"


@pytest.fixture
async def here() -> AsyncIterator[Site]:
    """A cluster with a configuration: two nodes have it, one failed, one is silent."""
    speeches = {
        name: replace(speech, digest="f00dfeedbeef" if name == "pve3" else IN_FORCE, error=None)
        for name, speech in scene.troubled().items()
    }
    speeches["pve3"] = replace(speeches["pve3"], error=REFUSAL)
    memory = await scene.cluster(speeches)
    memory.files[configuration.FILE] = File(CFG.encode(), "c1")
    memory.files[configuration.OVERRIDES_FILE] = File(OVERRIDES.encode(), "o1")
    async with site(name="pve1", memory=memory, found=scene.found(), in_force=EFFECTIVE, disks=DISKS) as served:
        yield served


async def as_admin(page: Page, here: Site, part: str) -> None:
    await signed_in(page, here, f"#/configuration/{part}", token=here.tokens[Role.ADMIN])


async def elsewhere(here: Site, **values: str) -> None:
    """Let somebody else change the defaults."""
    names = {name.replace("_", "-"): value for name, value in values.items()}
    await config.write(
        here.store, await config.plan(here.store, lambda text: configuration.set_defaults(text, names, ()))
    )


async def stored(here: Site) -> configuration.Configuration:
    return (await config.read(here.store)).configuration


async def write_out(page: Page) -> None:
    await page.get_by_role("button", name="Write and roll out").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_how_far_the_configuration_is_and_a_failure_in_full(here: Site, page: Page) -> None:
    await as_admin(page, here, "defaults")
    roll = page.get_by_role("region", name="In force")
    await expect(roll.get_by_role("status")).to_have_text("on 2 of 4 nodes")
    await expect(roll.get_by_role("listitem").filter(has_text="pve3")).to_contain_text(f"failed f00dfee {REFUSAL}")
    await expect(roll.get_by_role("listitem").filter(has_text="pve4")).to_contain_text("unknown")
    await picture(page, "configuration-defaults")
    await accessible(page)


async def test_drift_is_shown_by_node_and_keyword_and_who_cannot_be_asked_with_the_reason(
    here: Site, page: Page
) -> None:
    await as_admin(page, here, "drift")
    rows = page.get_by_role("region", name="Drift by node and keyword").get_by_role("row")
    drifted = rows.filter(has=page.get_by_role("rowheader", name="pve1"))
    await expect(drifted).to_contain_text("drifted")
    await expect(drifted.get_by_role("cell").filter(has_text="no_path_retry")).to_be_visible()
    await expect(drifted).to_contain_text("24")
    await expect(rows.filter(has_text="fast_io_fail_tmo")).to_contain_text("not shown by multipathd")
    await expect(rows.filter(has_text="pve2")).to_contain_text("has published no address of an API")
    await expect(rows.filter(has_text="pve3")).to_contain_text(REFUSAL)
    await picture(page, "configuration-drift")
    await accessible(page)


async def test_the_form_has_what_is_set_with_its_unit_default_and_range(here: Site, page: Page) -> None:
    await as_admin(page, here, "defaults")
    field = page.get_by_label("polling-interval", exact=True)
    await expect(field).to_have_value("5")
    await expect(field).to_have_accessible_description(
        "How long after a check a path is checked again; it grows up to max-polling-interval while all is well."
        " Allowed: a number from 1 to 60 seconds. Default: 5."
    )
    await expect(page.get_by_label("verbosity", exact=True)).to_have_count(0)
    await field.fill("90")
    await expect(field).to_have_accessible_description("This will be refused. Allowed: a number from 1 to 60 seconds")


async def test_a_change_is_shown_before_it_is_written_and_followed_after_it(here: Site, page: Page) -> None:
    await as_admin(page, here, "defaults")
    await page.get_by_label("no-path-retry", exact=True).fill("24")
    await page.get_by_role("searchbox", name="Property").fill("verbosity")
    await page.get_by_role("button", name="Set verbosity").click()
    await expect(page.get_by_label("verbosity", exact=True)).to_be_focused()
    await page.get_by_role("button", name="Review").click()
    difference = page.get_by_role("region", name="What changes in the nodes' files")
    await expect(difference).to_contain_text('+\tno_path_retry "24"')
    await expect(difference).to_contain_text('-\tno_path_retry "12"')
    assert (await stored(here)).defaults["no-path-retry"] == "12"
    await picture(page, "configuration-review")
    await accessible(page)
    await write_out(page)
    assert (await stored(here)).defaults["no-path-retry"] == "24"
    assert (await stored(here)).defaults["verbosity"] == "2"
    progress = page.get_by_role("region", name="In force").get_by_role("status")
    await expect(progress).to_have_text("on 0 of 4 nodes")
    digest = (await config.read(here.store)).combined_digest
    await scene.say(here.memory, "pve2", replace(scene.troubled()["pve2"], digest=digest))
    await expect(progress).to_have_text("on 1 of 4 nodes")


async def test_a_property_is_unset_and_the_change_can_be_undone(here: Site, page: Page) -> None:
    await as_admin(page, here, "defaults")
    await page.get_by_role("button", name="Unset no-path-retry").click()
    await expect(page.get_by_text("Changed; it was 12.")).to_be_visible()
    await page.get_by_role("button", name="Undo the change of no-path-retry").click()
    await expect(page.get_by_label("no-path-retry", exact=True)).to_have_value("12")
    await page.get_by_role("button", name="Unset no-path-retry").click()
    await page.get_by_role("button", name="Review").click()
    await write_out(page)
    assert "no-path-retry" not in (await stored(here)).defaults


async def test_a_refused_value_is_told_at_its_property(here: Site, page: Page) -> None:
    await as_admin(page, here, f"luns/{scene.wwid(0)}")
    await page.get_by_label("alias", exact=True).fill("db-logs")
    await page.get_by_role("button", name="Review").click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("db-logs")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_label("alias", exact=True)).to_have_value("db-logs")
    await expect(page.get_by_label("alias", exact=True)).to_have_attribute("aria-invalid", "true")


async def test_a_conflict_is_a_choice_and_nothing_typed_is_lost(here: Site, page: Page) -> None:
    await as_admin(page, here, "defaults")
    await page.get_by_label("no-path-retry", exact=True).fill("24")
    await page.get_by_label("polling-interval", exact=True).fill("7")
    await elsewhere(here, no_path_retry="36", polling_interval="9", verbosity="3")
    await page.get_by_role("button", name="Review").click()
    await expect(page.get_by_text("Somebody else was faster.")).to_be_visible()
    await expect(page.get_by_label("no-path-retry", exact=True)).to_have_value("24")
    await picture(page, "configuration-conflict")
    await accessible(page)
    await page.get_by_role("radio", name="Yours for no-path-retry: 24").check()
    await page.get_by_role("radio", name="Theirs for polling-interval: 9").check()
    await page.get_by_role("button", name="Go on with these").click()
    await page.get_by_role("button", name="Review").click()
    await write_out(page)
    assert (await stored(here)).defaults == {"no-path-retry": "24", "polling-interval": "9", "verbosity": "3"}


async def test_a_change_elsewhere_is_taken_in_and_shown_before_writing(here: Site, page: Page) -> None:
    await as_admin(page, here, "defaults")
    await page.get_by_label("no-path-retry", exact=True).fill("24")
    await elsewhere(here, verbosity="3")
    await page.get_by_role("button", name="Review").click()
    await expect(page.get_by_text("Somebody else changed the configuration meanwhile, elsewhere.")).to_be_visible()
    await write_out(page)
    assert (await stored(here)).defaults["no-path-retry"] == "24"
    assert (await stored(here)).defaults["verbosity"] == "3"


async def test_what_is_typed_stays_while_another_part_is_looked_at(here: Site, page: Page) -> None:
    await as_admin(page, here, "defaults")
    await page.get_by_label("no-path-retry", exact=True).fill("24")
    parts = page.get_by_role("navigation", name="Parts of the configuration")
    await parts.get_by_role("link", name="LUNs").click()
    await parts.get_by_role("link", name="Defaults").click()
    await expect(page.get_by_label("no-path-retry", exact=True)).to_have_value("24")


async def test_luns_that_are_seen_and_not_allowed_are_found_and_allowed(here: Site, page: Page) -> None:
    await as_admin(page, here, "luns")
    seen = page.get_by_role("listitem").filter(has_text="vm-prod-03")
    await expect(seen).to_contain_text("on all nodes")
    await picture(page, "configuration-luns")
    await accessible(page)
    await page.get_by_role("button", name="Allow vm-prod-03").click()
    await expect(page.get_by_label("WWID", exact=True)).to_have_value(scene.wwid(8))
    await page.get_by_label("Alias", exact=True).fill("db-data")
    await page.get_by_role("button", name="Review").click()
    await expect(page.get_by_label("Alias", exact=True)).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Alias", exact=True).fill("vm-prod-03")
    await page.get_by_role("button", name="Review").click()
    await expect(page.get_by_role("region", name="What changes in the nodes' files")).to_contain_text(
        f"+/{scene.wwid(8)}/"
    )
    await write_out(page)
    assert (await stored(here)).wwids[scene.wwid(8)] == {"alias": "vm-prod-03"}
    await expect(page.get_by_role("row").filter(has_text="vm-prod-03")).to_be_visible()


async def test_a_lun_without_a_map_is_found_by_its_disks_before_those_in_use(here: Site, page: Page) -> None:
    await as_admin(page, here, "luns")
    new = page.get_by_role("listitem").filter(has_text=NEW)
    for text in ("no map", "2 TiB", "NETAPP LUN C-Mode", "on pve1"):
        await expect(new).to_contain_text(text)
    rows = page.get_by_role("main").get_by_role("list").last.get_by_role("listitem")
    await expect(rows.first).to_contain_text(NEW)
    await expect(rows.nth(1)).to_contain_text("HP LOGICAL <b>")
    await expect(rows.nth(1)).to_contain_text("holds sda1, /boot on pve1")
    await expect(rows.last).not_to_contain_text("no map")
    await expect(page.get_by_role("status").filter(has_text="The disks of pve2 are not known")).to_be_visible()
    await new.get_by_role("button", name=f"Allow {NEW}").click()
    await expect(page.get_by_label("WWID", exact=True)).to_have_value(NEW)
    await page.get_by_role("button", name="Review").click()
    await write_out(page)
    assert NEW in (await stored(here)).wwids
    await expect(new).to_have_count(0)


async def nodes_say(page: Page, **said: object) -> None:
    """Let the nodes have been asked for their LUNs, and have said this."""
    data = {"nodes": [*scene.NODES], "luns": [], "silent": {}, "unreported": []} | said
    await page.route("**/cluster/multipath/luns", lambda route: route.fulfill(json={"data": data}))


def seen_lun(wwid: str, **there: object) -> dict[str, object]:
    """Return what is said of a LUN of which pve1 has a disk."""
    of = dict.fromkeys(("alias", "size", "vendor", "product"))
    node = {"map": False, "disks": ["sda"], "holds": []} | there
    return {"wwid": wwid, "allowed": False, "storages": [], "nodes": {"pve1": node}} | of


def allow_all(here: Site) -> None:
    text = "".join(f"wwid: {scene.wwid(place)}\n\n" for place in range(len(scene.NAMES)))
    here.memory.files[configuration.FILE] = File(text.encode(), "c2")


EVERY = "Every LUN of which a node has a map or a disk is allowed."


async def test_every_lun_is_called_allowed_only_if_every_node_was_asked(here: Site, page: Page) -> None:
    allow_all(here)
    await nodes_say(page)
    await as_admin(page, here, "luns")
    await expect(page.get_by_text(EVERY)).to_be_visible()
    await page.unroute("**/cluster/multipath/luns")
    for unknown in ({"silent": {"pve2": "it hangs"}}, {"unreported": ["pve2"]}):
        await nodes_say(page, **unknown)
        await page.get_by_role("button", name="Look again").click()
        await expect(page.get_by_role("status").filter(has_text="of pve2 are not known")).to_be_visible()
        await expect(page.get_by_text(EVERY)).to_have_count(0)


async def test_a_search_that_finds_nothing_says_so_and_changes_no_count(here: Site, page: Page) -> None:
    await as_admin(page, here, "luns")
    await page.get_by_role("searchbox", name="Name or WWID").fill("nowhere")
    await expect(page.get_by_text("No LUN matches the search.")).to_have_count(2)
    await expect(page.get_by_role("heading", name="8 LUNs are allowed")).to_be_visible()
    for wrong in (EVERY, "No LUN is allowed."):
        await expect(page.get_by_text(wrong)).to_have_count(0)


async def test_nodes_that_could_not_be_asked_at_first_are_not_said_to_be_asked(here: Site, page: Page) -> None:
    allow_all(here)
    await page.route(
        "**/cluster/multipath/luns", lambda route: route.fulfill(status=503, body='{"message": "no quorum"}')
    )
    await as_admin(page, here, "luns")
    await expect(page.get_by_role("alert").filter(has_text="could not be read")).to_contain_text("no quorum")
    for wrong in (EVERY, "Asking the nodes…"):
        await expect(page.get_by_text(wrong)).to_have_count(0)


async def test_a_lun_of_which_nobody_can_tell_whether_it_has_a_map_is_not_shown_without(
    here: Site, page: Page
) -> None:
    await nodes_say(page, luns=[seen_lun(NEW, map=None)])
    await as_admin(page, here, "luns")
    row = page.get_by_role("listitem").filter(has_text=NEW)
    await expect(row).to_contain_text("map not known")
    await expect(row).not_to_contain_text("no map")


async def test_of_many_luns_the_first_are_drawn_and_the_search_finds_the_others(here: Site, page: Page) -> None:
    wwids = [f"3600a0980383{place:021d}" for place in range(1000)]
    await nodes_say(page, luns=[seen_lun(wwid) for wwid in wwids])
    await as_admin(page, here, "luns")
    # four have a map
    await expect(page.get_by_text("804 more are not shown")).to_be_visible()
    await expect(page.get_by_role("main").get_by_role("list").last.get_by_role("listitem")).to_have_count(200)
    await page.get_by_role("searchbox", name="Name or WWID").fill(wwids[-1])
    await expect(page.get_by_role("button", name=f"Allow {wwids[-1]}")).to_be_visible()


async def test_a_lun_that_a_storage_uses_is_only_taken_out_by_force(here: Site, page: Page) -> None:
    await as_admin(page, here, f"luns/{scene.wwid(0)}")
    await page.get_by_role("button", name="Allow no longer").click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("is used by storage vg-db")
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_label("although vg-db uses it").check()
    await page.get_by_role("button", name="Allow no longer").click()
    await write_out(page)
    assert scene.wwid(0) not in (await stored(here)).wwids


async def test_the_linter_speaks_at_its_lines_while_one_types(here: Site, page: Page) -> None:
    await as_admin(page, here, "overrides")
    editor = page.get_by_role("textbox", name="Overrides")
    await editor.fill("overrides {\n\tfast_io_fail_tmo 5\n\tno_path_retry sometimes\n}\n")
    finding = page.get_by_role("list", name="Findings in the text").get_by_role("button")
    await expect(finding).to_contain_text("line 3:")
    await expect(finding).to_contain_text("Error")
    await finding.click()
    await expect(editor).to_be_focused()
    await picture(page, "configuration-overrides")
    await accessible(page)
    await page.get_by_role("button", name="Review").click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("line 3")
    await page.get_by_role("button", name="Cancel").click()
    await editor.fill("overrides {\n\tfast_io_fail_tmo 10\n}\n")
    await expect(page.get_by_text("Nothing is wrong in the text.")).to_be_visible()
    await page.get_by_role("button", name="Review").click()
    await write_out(page)
    assert (await config.read(here.store)).overrides == "overrides {\n\tfast_io_fail_tmo 10\n}\n"
    await expect(page.get_by_text("As it is stored")).to_be_visible()


async def test_the_editor_is_typed_in_key_by_key_under_the_pages_policy(page: Page, here: Site) -> None:
    await as_admin(page, here, "overrides")
    editor = page.get_by_role("textbox", name="Overrides")
    await editor.click()
    await editor.press("Control+Home")
    await page.keyboard.type("# mine")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Control+End")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("ArrowUp")
    for key in ("End", "Shift+ArrowLeft"):
        await page.keyboard.press(key)
    await page.keyboard.type("15")
    await page.keyboard.press("Backspace")
    await page.get_by_role("button", name="Review").click()
    await write_out(page)
    assert (await config.read(here.store)).overrides == "# mine\noverrides {\n\tfast_io_fail_tmo 1\n}\n"


async def test_overrides_that_somebody_else_stored_are_shown_beside_mine(here: Site, page: Page) -> None:
    await as_admin(page, here, "overrides")
    editor = page.get_by_role("textbox", name="Overrides")
    mine = "overrides {\n\tfast_io_fail_tmo 10\n}\n"
    theirs = "overrides {\n\tfast_io_fail_tmo 5\n\tdev_loss_tmo 600\n}\n"
    await editor.fill(mine)
    await config.write(here.store, await config.plan_overrides(here.store, theirs))
    await page.get_by_role("button", name="Review").click()
    await expect(page.get_by_role("region", name="What they changed")).to_contain_text("+\tdev_loss_tmo 600")
    await expect(page.get_by_role("region", name="From their text to yours")).to_contain_text("+\tfast_io_fail_tmo 10")
    await expect(editor).to_contain_text("fast_io_fail_tmo 10")
    await picture(page, "configuration-overrides-conflict")
    await accessible(page)
    await page.get_by_role("button", name="Take theirs").click()
    await expect(editor).to_contain_text("dev_loss_tmo 600")
    await editor.press("Control+z")
    await expect(editor).to_contain_text("fast_io_fail_tmo 10")
    await page.get_by_role("button", name="Review").click()
    await write_out(page)
    assert (await config.read(here.store)).overrides == mine


async def test_an_auditor_reads_and_is_told_why_not_more(here: Site, page: Page) -> None:
    await signed_in(page, here, "#/configuration/defaults")
    await expect(page.get_by_label("no-path-retry", exact=True)).to_be_disabled()
    await expect(page.get_by_text("Only an admin may change this.")).to_be_visible()
    parts = page.get_by_role("navigation", name="Parts of the configuration")
    await parts.get_by_role("link", name="Overrides").click()
    editor = page.get_by_role("textbox", name="Overrides")
    await expect(editor).to_have_attribute("aria-readonly", "true")
    await expect(page.get_by_role("button", name="Review")).to_be_disabled()


async def test_what_nodes_and_administrators_write_stays_text(page: Page, here: Site) -> None:
    evil = '<img src=x onerror="document.title=1">'
    details = {scene.wwid(8): MapDetail((), evil)}
    await scene.say(here.memory, "pve1", scene.Speech(details=details, digest=evil, error=evil))
    await config.write(here.store, await config.plan_overrides(here.store, f"# {evil}\n"))
    await as_admin(page, here, "luns")
    await expect(page.get_by_role("listitem").filter(has_text="pve1").filter(has_text="failed")).to_contain_text(evil)
    await page.goto(f"{here.url}/#/configuration/overrides")
    await expect(page.get_by_role("textbox", name="Overrides")).to_contain_text(evil)
    assert await page.locator("img").count() == 0
    assert "Configuration" in await page.title()


async def test_it_is_usable_on_a_phone_and_in_the_dark(here: Site, page: Page) -> None:
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size({"width": 390, "height": 800})
    await as_admin(page, here, "luns")
    for part in ("luns", "defaults", "overrides", f"luns/{scene.wwid(0)}"):
        await page.goto(f"{here.url}/#/configuration/{part}")
        await expect(page.get_by_role("heading", name="Configuration")).to_be_visible()
        if part == "overrides":
            await page.get_by_role("textbox", name="Overrides").wait_for()
        wide = await page.evaluate(
            "document.querySelector('main').scrollWidth - document.querySelector('main').clientWidth"
        )
        assert wide <= 0, part
        await picture(page, f"phone-configuration-{'lun' if scene.wwid(0) in part else part}-dark")
        await accessible(page)
