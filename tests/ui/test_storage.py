from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, Route, expect

from pathfleet.agent.executor import Counter
from pathfleet.cluster import config
from pathfleet.cluster import storage as storages
from pathfleet.cluster.access import Role
from pathfleet.core import work
from pathfleet.core.work import Holder, MapUse, Task
from pathfleet.errors import CannotTell
from pathfleet.store import File
from pathfleet.system import executor as client
from tests.api.site import Site, site
from tests.api.test_work import Node
from tests.cluster.hosts import GIB, WWID, Host, San, goes_down
from tests.ui import scene
from tests.ui.conftest import accessible, picture, signed_in

STORAGES = (
    "multipath: san\n\tcontent none\n\n"
    f"lvm: vms\n\tvgname vms\n\tbase san:{WWID}\n\tshared 1\n\tcontent images\n\n"
    f"lvm: safe\n\tvgname vms\n\tbase san:{WWID}\n\tshared 1\n\tcontent images\n\tsaferemove 1\n\n"
    "multipath: elsewhere\n\tnodes pve9\n\n"
    "dir: local\n\tpath /var/lib/vz\n\n"
)
ALLOWED = "".join(f"wwid: {each}\n\n" for each in (WWID, scene.wwid(2), scene.wwid(0)))


@asynccontextmanager
async def served(
    directory: Path, san: San, *nodes: str, down: tuple[str, ...] = (), text: str = STORAGES
) -> AsyncIterator[Site]:
    """Serve a cluster of these nodes, of which pve1 has an executor and those in `down` are offline."""
    memory = await scene.cluster({name: scene.Speech() for name in nodes}, text)
    for name in down:
        goes_down(memory, name)
    memory.files["multipath.cfg"] = File(ALLOWED.encode(), "m1")
    async with (
        Counter(Node(san, "pve1"), ()).open(directory / "x.sock"),
        site(name="pve1", memory=memory, found=scene.found()) as here,
    ):
        object.__setattr__(here.service, "executor", client.Executor(directory / "x.sock"))
        yield here


@pytest.fixture
def san() -> San:
    """What the array has: a LUN with two volumes, one of them active."""
    volumes = {"vm-100-disk-0": GIB // 4, "scratch": GIB // 2}
    return San({"pve1": Host(active={"vm-100-disk-0"})}, volumes=volumes)


@pytest.fixture
async def here(tmp_path: Path, san: San) -> AsyncIterator[Site]:
    """A cluster of one node."""
    async with served(tmp_path, san, "pve1") as there:
        yield there


async def as_admin(page: Page, here: Site, storage: str = "") -> None:
    await signed_in(page, here, f"#/storage/{storage}", token=here.tokens[Role.ADMIN])


def row(page: Page, name: str) -> Locator:
    """Return the row of a storage, or of a volume."""
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name, exact=True))


async def test_storages_have_their_room_on_the_node(page: Page, here: Site) -> None:
    await as_admin(page, here, "vms")
    await expect(row(page, "vms")).to_contain_text("active")
    await expect(row(page, "vms")).to_contain_text("1 GiB")
    await expect(row(page, "elsewhere")).to_contain_text("not for this node")
    await expect(row(page, "local")).to_contain_text("another type")
    await expect(row(page, "vm-100-disk-0")).to_contain_text("256 MiB")
    await expect(row(page, "vm-100-disk-0")).to_contain_text("100")
    await expect(page.get_by_role("button", name="Grow the LUN…")).to_be_enabled()
    await picture(page, "storage-lvm")
    await accessible(page)


async def test_the_volumes_of_a_multipath_storage_have_health_and_consumers(page: Page, here: Site) -> None:
    await as_admin(page, here, "san")
    await expect(row(page, "db-data")).to_contain_text("degraded")
    await expect(row(page, "mail")).to_contain_text("none")
    await expect(row(page, "mail")).to_contain_text("not known")
    await expect(page.get_by_role("button", name="Retire the LUN mail")).to_be_enabled()
    await picture(page, "storage-multipath")
    await accessible(page)


async def test_a_volume_is_made_after_it_was_said_what_will_happen(page: Page, here: Site, san: San) -> None:
    await as_admin(page, here, "vms")
    await page.get_by_role("button", name="New volume").click()
    await page.get_by_label("Size", exact=True).fill("2T")
    await expect(page.get_by_text("Only 1 GiB are free.")).to_be_visible()
    await page.get_by_label("Size", exact=True).fill("128M")
    await page.get_by_label("Guest", exact=True).fill("101")
    steps = page.get_by_role("dialog").get_by_role("listitem")
    await expect(steps.first).to_contain_text("Node pve1 makes vm-101-disk-N (128 MiB) in the group vms")
    await picture(page, "storage-allocate")
    await accessible(page)
    await page.get_by_role("button", name="Make the volume").click()
    await expect(row(page, "vm-101-disk-0")).to_be_visible()
    assert san.volumes["vm-101-disk-0"] == 128 << 20


async def test_a_volume_grows_and_never_shrinks(page: Page, here: Site, san: San) -> None:
    await as_admin(page, here, "vms")
    await page.get_by_role("button", name="Grow scratch").click()
    await page.get_by_label("New size").fill("128M")
    await expect(page.get_by_role("button", name="Grow", exact=True)).to_be_disabled()
    await page.get_by_label("New size").fill("768M")
    await expect(page.get_by_text("vms:scratch grows from 512 MiB to 768 MiB.")).to_be_visible()
    await page.get_by_role("button", name="Grow", exact=True).click()
    await expect(row(page, "scratch")).to_contain_text("768 MiB")
    assert san.volumes["scratch"] == 768 << 20


async def test_a_volume_is_freed_only_when_its_name_was_typed(page: Page, here: Site, san: San) -> None:
    await as_admin(page, here, "vms")
    await page.get_by_role("button", name="Free scratch").click()
    button = page.get_by_role("button", name="Free it, with its data")
    await expect(page.get_by_text("Its data is lost.")).to_be_visible()
    await expect(button).to_be_disabled()
    await page.get_by_label("Type vms:scratch to go on").fill("vms:scratc")
    await expect(button).to_be_disabled()
    await page.get_by_label("Type vms:scratch to go on").fill("vms:scratch")
    await picture(page, "storage-free")
    await accessible(page)
    await button.click()
    await expect(row(page, "scratch")).to_have_count(0)
    assert "scratch" not in san.volumes


async def test_what_is_refused_says_why_and_changes_nothing(page: Page, tmp_path: Path, san: San) -> None:
    async with served(tmp_path, san, "pve1", "pve2") as here:
        await as_admin(page, here, "vms")
        await page.get_by_role("button", name="Free scratch").click()
        await page.get_by_label("Type vms:scratch to go on").fill("vms:scratch")
        await page.get_by_role("button", name="Free it, with its data").click()
        await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("pve2")
        assert "scratch" in san.volumes


async def test_a_node_that_is_really_down_is_left_out_after_it_did_not_answer(
    page: Page, tmp_path: Path, san: San
) -> None:
    async with served(tmp_path, san, "pve1", "pve2", down=("pve2",)) as here:
        await as_admin(page, here, "vms")
        await page.get_by_role("button", name="Grow scratch").click()
        await page.get_by_label("New size").fill("768M")
        await page.get_by_role("button", name="Grow", exact=True).click()
        await page.get_by_label("Leave out pve2: it is really down").check()
        await expect(page.get_by_label("Leave out pve2")).to_have_accessible_description(re.compile("pve2"))
        await picture(page, "storage-left-out")
        await accessible(page)
        await page.get_by_role("button", name="Grow", exact=True).click()
        await expect(row(page, "scratch")).to_contain_text("768 MiB")
        await page.get_by_role("button", name="Free scratch").click()
        await page.get_by_label("Type vms:scratch to go on").fill("vms:scratch")
        await page.get_by_role("button", name="Free it, with its data").click()
        await page.get_by_label("Leave out pve2: it is really down").check()
        await page.get_by_role("button", name="Free it, with its data").click()
        await expect(row(page, "scratch")).to_have_count(0)
        assert "scratch" not in san.volumes


async def test_a_node_that_is_online_is_not_offered_to_be_left_out_but_to_be_mended(
    page: Page, tmp_path: Path, san: San
) -> None:
    async with served(tmp_path, san, "pve1", "pve2", "pve3", down=("pve3",)) as here:
        await as_admin(page, here, "vms")
        await page.get_by_role("button", name="Grow scratch").click()
        dialog = page.get_by_role("dialog")
        await page.get_by_label("New size").fill("768M")
        await page.get_by_role("button", name="Grow", exact=True).click()
        await expect(dialog.get_by_label("Leave out pve3")).to_be_visible()
        await expect(dialog.get_by_text("Node pve2 is online and cannot be left out")).to_be_visible()
        await expect(dialog.get_by_label("Leave out pve2")).to_have_count(0)
        await picture(page, "storage-silent-online")
        await accessible(page)
        await dialog.get_by_role("button", name="Cancel").click()
        await page.get_by_role("button", name="Grow the LUN…").click()
        await expect(dialog.get_by_label("Leave out pve3")).to_be_visible()
        await expect(dialog.get_by_text("Node pve2 is online and cannot be left out")).to_be_visible()
        await expect(dialog.get_by_label("Leave out pve2")).to_have_count(0)


async def test_a_node_that_came_back_is_not_left_out_any_more(page: Page, tmp_path: Path, san: San) -> None:
    async with served(tmp_path, san, "pve1", "pve2", down=("pve2",)) as here:
        await as_admin(page, here, "vms")
        await page.get_by_role("button", name="Grow the LUN…").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Leave out pve2").check()
        await expect(dialog.get_by_role("button", name="Grow it on every node")).to_be_enabled()
        await scene.say(here.memory, "pve2", scene.Speech())
        await expect(dialog.get_by_text("Node pve2 is online and cannot be left out")).to_be_visible()
        await expect(dialog.get_by_role("button", name="Grow it on every node")).to_be_disabled()


async def test_what_nobody_heard_the_end_of_is_not_called_undone_and_is_read_again(
    page: Page, here: Site, san: San
) -> None:
    async def done_unheard(route: Route) -> None:
        await route.fetch()
        await route.abort()

    await as_admin(page, here, "vms")
    await page.route("**/content/scratch", done_unheard)
    await page.get_by_role("button", name="Grow scratch").click()
    await page.get_by_label("New size").fill("768M")
    await page.get_by_role("button", name="Grow", exact=True).click()
    alert = page.get_by_role("dialog").get_by_role("alert")
    await expect(alert).to_contain_text("It is not known how it ended; look again before you repeat it:")
    await expect(alert).not_to_contain_text("Not done")
    assert san.volumes["scratch"] == 768 << 20
    await page.get_by_role("button", name="Cancel").click()
    await expect(row(page, "scratch")).to_contain_text("768 MiB")


@pytest.mark.parametrize("base", ["\tbase portal:0.0.1.scsi-3600140512345\n", ""])
async def test_a_base_that_names_no_lun_stays_text_and_the_command_lets_it_grow(
    page: Page, tmp_path: Path, san: San, base: str
) -> None:
    text = f"iscsi: portal\n\tportal 192.0.2.1\n\ttarget iqn.x\n\nlvm: vms\n\tvgname vms\n{base}\tshared 1\n\n"
    async with served(tmp_path, san, "pve1", text=text) as here:
        await as_admin(page, here, "vms")
        region = page.get_by_role("region", name="vms", exact=True)
        await expect(region.get_by_text("pathfleet storage grow vms")).to_be_visible()
        await expect(region.get_by_role("link")).to_have_count(0)
        await expect(region.get_by_text("portal:0.0.1.scsi-3600140512345")).to_have_count(1 if base else 0)
        await expect(region.get_by_role("button", name="Grow the LUN…")).to_have_count(0)
        await picture(page, "storage-no-lun")
        await accessible(page)


async def test_settings_say_a_lun_is_expected_only_where_it_is(page: Page, tmp_path: Path, san: San) -> None:
    text = (
        f"multipath: san\n\tnodes pve1,pve2\n\nmultipath: off\n\tdisable 1\n\nlvm: bare\n\tvgname bare\n\n"
        f"lvm: vms\n\tvgname vms\n\tbase san:{WWID}\n\nlvm: dead\n\tvgname dead\n\tbase off:{WWID}\n\n"
    )
    async with served(tmp_path, san, "pve1", text=text) as here:
        await as_admin(page, here, "vms")
        dialog = page.get_by_role("dialog")
        expected = dialog.get_by_role("listitem").filter(has_text="expected on")
        for name in ("san", "off", "bare", "dead", "vms"):
            await page.get_by_role("link", name=name, exact=True).click()
            await page.get_by_role("region", name=name, exact=True).get_by_role("button", name="Settings").click()
            await expect(dialog.get_by_text(f"storage.cfg says so of {name}")).to_be_visible()
            await expect(expected).to_have_count(1 if name == "vms" else 0)
            if name != "vms":
                await dialog.get_by_role("button", name="Cancel").click()
        await expect(expected).to_contain_text("Its LUN is expected on pve1, pve2;")
        await dialog.get_by_label("Nodes", exact=True).fill("pve2, pve3")
        await expect(expected).to_contain_text("Its LUN is expected on pve2;")
        await dialog.get_by_label("Disabled").check()
        await expect(expected).to_have_count(0)


class Bare(San):
    """A LUN of which a node has a path and no map."""

    def answer(self, node: str, task: Task[Any]) -> Any:
        if isinstance(task, work.Holders):
            seen = self.hosts[node].seen[:1]
            return MapUse(None, paths=seen, holders=(Holder("mount", "/srv/bare", "sda"),))
        return super().answer(node, task)


async def test_who_uses_a_bare_path_is_shown_and_no_empty_heading(page: Page, tmp_path: Path) -> None:
    async with served(tmp_path, Bare({"pve1": Host()}), "pve1") as here:
        await as_admin(page, here, "vms")
        await page.get_by_role("button", name="Grow the LUN…").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog.get_by_role("row").filter(has_text="pve1")).to_contain_text("mount /srv/bare")
        await expect(dialog.get_by_role("heading", name="What will happen")).to_have_count(0)
        await picture(page, "storage-lun-bare")
        await accessible(page)


async def test_names_of_nodes_are_not_broken_in_two(page: Page, tmp_path: Path, san: San) -> None:
    long = "pve-rack-07-production"
    async with served(tmp_path, san, "pve1", long, down=(long,)) as here:
        await page.set_viewport_size({"width": 390, "height": 800})
        await as_admin(page, here, "vms")
        await page.get_by_role("button", name="Grow the LUN…").click()
        headers = page.get_by_role("dialog").locator("th")
        await expect(headers.filter(has_text=long)).to_be_visible()
        lines = (
            "all => all.map(th => { const range = document.createRange(); range.selectNodeContents(th);"
            " return new Set([...range.getClientRects()].map(each => each.top)).size; })"
        )
        assert set(await headers.evaluate_all(lines)) == {1}
        await picture(page, "phone-storage-lun-silent")


async def test_what_is_overwritten_first_is_freed_by_the_command(page: Page, here: Site) -> None:
    await as_admin(page, here, "safe")
    await page.get_by_role("button", name="Free scratch").click()
    await expect(page.get_by_text("pathfleet storage free safe:scratch")).to_be_visible()


async def test_a_storage_is_made_on_a_lun_that_is_allowed_and_free(page: Page, here: Site, san: San) -> None:
    san.hosts["pve1"].active.clear()  # the fakes know one LUN, by whatever name they are asked for it
    await as_admin(page, here)
    await page.get_by_role("button", name="New storage").click()
    await page.get_by_label("Name", exact=True).fill("fresh")
    options = page.get_by_label("LUN", exact=True).get_by_role("option")
    await expect(options.filter(has_text="san:")).to_have_count(2)
    await page.get_by_label("LUN", exact=True).select_option(f"san:{scene.wwid(2)}")
    await expect(page.get_by_text("Otherwise node pve1 makes the volume group fresh on it")).to_be_visible()
    await picture(page, "storage-new")
    await accessible(page)
    await page.get_by_role("button", name="Make the storage").click()
    await expect(row(page, "fresh")).to_be_visible()
    made = (await storages.read(here.store)).storages.storages["fresh"]
    assert (made.vgname, made.base) == ("fresh", f"san:{scene.wwid(2)}")
    assert san.steps("CreateGroup") == [("pve1", "CreateGroup")]


async def asks_to_retire(page: Page, here: Site) -> Locator:
    """Open the dialog that retires the LUN; return it, when the nodes have told."""
    # the fakes' executors know one LUN, by whatever name they are asked for it
    await as_admin(page, here, "san")
    await page.get_by_role("button", name="Retire the LUN mail").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("row").filter(has_text="dm-3")).to_be_visible()
    return dialog


async def test_a_lun_grows_after_it_was_said_what_will_happen_on_which_node(page: Page, here: Site, san: San) -> None:
    san.size = 2 * GIB
    await as_admin(page, here, "vms")
    await page.get_by_role("button", name="Grow the LUN…").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("row").filter(has_text="volume vms/vm-100-disk-0")).to_contain_text("2/2")
    await expect(dialog.get_by_text("Storages on it: vms, safe.")).to_be_visible()
    await expect(dialog.get_by_role("listitem").nth(1)).to_contain_text("pve1: lets the map dm-3 grow")
    assert {task for _, task in san.told} <= {"Holders", "Volumes", "GroupStatus"}
    await picture(page, "storage-lun-grow")
    await accessible(page)
    await dialog.get_by_role("button", name="Grow it on every node").click()
    await expect(dialog.get_by_text("The LUN has 2 GiB on pve1.")).to_be_visible()
    await expect(dialog.get_by_text(f"pve1: the map grew to {2 * GIB} bytes")).to_be_visible()
    await picture(page, "storage-lun-grown")
    await accessible(page)
    assert san.disk == 2 * GIB


async def test_a_lun_goes_only_when_its_wwid_was_typed(page: Page, here: Site, san: San) -> None:
    san.hosts["pve1"].active.clear()
    dialog = await asks_to_retire(page, here)
    button = dialog.get_by_role("button", name="Retire it on every node")
    await expect(button).to_be_disabled()
    wwid = scene.wwid(2)
    await dialog.get_by_label(f"Type {wwid} to go on").fill(wwid)
    await picture(page, "storage-lun-retire")
    await accessible(page)
    await button.click()
    await expect(dialog.get_by_text("The LUN is gone from pve1: unmap it on the array now.")).to_be_visible()
    await expect(dialog.get_by_text("Cluster: off the allow-list")).to_be_visible()
    assert san.hosts["pve1"].map is None
    assert wwid not in (await config.read(here.store)).configuration.wwids


async def test_a_lun_in_use_says_by_whom_and_cannot_be_retired(page: Page, here: Site, san: San) -> None:
    san.hosts["pve1"].holders = (Holder("mount", "/srv/<b>x</b>", "dm-3"),)
    dialog = await asks_to_retire(page, here)
    await dialog.get_by_label("Type").fill(scene.wwid(2))
    await expect(dialog.get_by_text("is in use, nothing was changed: node pve1: mount /srv/<b>x</b>")).to_be_visible()
    await expect(dialog.get_by_role("button", name="Retire it on every node")).to_be_disabled()


async def test_a_group_on_the_lun_must_be_accepted_first(page: Page, here: Site, san: San) -> None:
    san.hosts["pve1"].active.clear()
    san.hosts["pve1"].holders = (Holder("group", "old (2 volumes)", "dm-3"),)
    dialog = await asks_to_retire(page, here)
    await dialog.get_by_label("Type").fill(scene.wwid(2))
    button = dialog.get_by_role("button", name="Retire it on every node")
    await expect(button).to_be_disabled()
    await dialog.get_by_label("Also although a volume group is on it").check()
    await expect(button).to_be_enabled()


async def test_work_that_stops_tells_what_was_done_and_why_and_goes_on(page: Page, here: Site, san: San) -> None:
    san.size = 2 * GIB
    san.fails["pve1", "ResizeMap"] = CannotTell("multipathd hangs")
    await as_admin(page, here, "vms")
    await page.get_by_role("button", name="Grow the LUN…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Grow it on every node").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("resizing the map failed: node pve1: multipathd hangs")
    await expect(dialog.get_by_role("listitem").last).to_contain_text("failed pve1: resizing the map")
    await picture(page, "storage-lun-halted")
    await accessible(page)
    await dialog.get_by_role("button", name="Look again").click()
    await expect(dialog.get_by_role("listitem").nth(1)).to_contain_text("pve1: lets the map dm-3 grow")
    await dialog.get_by_role("button", name="Grow it on every node").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("multipathd hangs")
    san.fails.clear()
    await dialog.get_by_role("button", name="Go on from there").click()
    await expect(dialog.get_by_text("The LUN has 2 GiB on pve1.")).to_be_visible()


async def test_a_node_that_does_not_tell_is_left_out_by_a_tick(page: Page, tmp_path: Path, san: San) -> None:
    async with served(tmp_path, san, "pve1", "pve2", down=("pve2",)) as here:
        await as_admin(page, here, "vms")
        await page.get_by_role("button", name="Grow the LUN…").click()
        dialog = page.get_by_role("dialog")
        button = dialog.get_by_role("button", name="Grow it on every node")
        await expect(dialog.get_by_text("node pve2 does not tell")).to_be_visible()
        await expect(button).to_be_disabled()
        await dialog.get_by_label("Leave out pve2: it is really down").check()
        await expect(button).to_be_enabled()


async def test_settings_are_stored_and_a_storage_is_removed_unless_it_is_a_base(page: Page, here: Site) -> None:
    await as_admin(page, here, "vms")
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_role("dialog").get_by_label("Nodes", exact=True).fill("pve1, pve2")
    await page.get_by_role("button", name="Store", exact=True).click()
    await expect(row(page, "vms")).to_contain_text("pve1,pve2")
    await page.get_by_role("link", name="san", exact=True).click()
    await page.get_by_role("region", name="san", exact=True).get_by_role("button", name="Remove").click()
    await page.get_by_role("button", name="Remove from the configuration").click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("is the base of vms, safe")
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("link", name="vms", exact=True).click()
    await page.get_by_role("region", name="vms", exact=True).get_by_role("button", name="Remove").click()
    await page.get_by_role("button", name="Remove from the configuration").click()
    await expect(row(page, "vms")).to_have_count(0)


async def test_an_auditor_sees_it_and_is_told_why_not_more(page: Page, here: Site) -> None:
    await signed_in(page, here, "#/storage/vms")
    await expect(row(page, "scratch")).to_be_visible()
    for name in ("New volume", "Grow scratch", "Free scratch", "Grow the LUN", "Remove", "New storage"):
        await expect(page.get_by_role("button", name=name)).to_be_disabled()
    await expect(page.get_by_text("Only an admin may change this.")).to_be_visible()


async def test_an_operator_lets_things_grow_and_takes_nothing_away(page: Page, here: Site) -> None:
    await signed_in(page, here, "#/storage/vms", token=here.tokens[Role.OPERATOR])
    await expect(row(page, "scratch")).to_be_visible()
    for name in ("New volume", "Grow scratch", "Grow the LUN"):
        await expect(page.get_by_role("button", name=name)).to_be_enabled()
    for name in ("Free scratch", "Remove", "New storage"):
        await expect(page.get_by_role("button", name=name)).to_be_disabled()
    await expect(page.get_by_text("An operator lets things grow")).to_be_visible()


async def test_what_a_volume_is_called_stays_text_and_enters_no_command(page: Page, here: Site, san: San) -> None:
    evil = "<img src=x onerror=document.title=1>`id`"
    san.volumes[evil] = GIB
    await as_admin(page, here, "safe")
    await expect(row(page, evil)).to_be_visible()
    await page.get_by_role("button", name="Free <img").click()
    await expect(page.get_by_text("pathfleet storage free STORAGE:NAME")).to_be_visible()
    assert await page.locator("img").count() == 0


async def test_it_is_usable_on_a_phone_and_in_the_dark(page: Page, here: Site) -> None:
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size({"width": 390, "height": 800})
    await as_admin(page, here, "vms")
    await expect(row(page, "scratch")).to_be_visible()
    assert await page.evaluate("(each => each.scrollWidth - each.clientWidth)(document.querySelector('main'))") <= 0
    await picture(page, "phone-storage-dark")
    await accessible(page)
