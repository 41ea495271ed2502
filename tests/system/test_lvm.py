from __future__ import annotations

import asyncio

import pytest

from pathfleet.errors import Busy, CannotTell, NotFound, Refused
from pathfleet.system import budget, lvm
from pathfleet.system.lvm import LVM
from pathfleet.system.program import Ended, NotDone, StillRunning
from tests.system.lvm_tools import Tools, disk, group, report, volume

WWID = "3600a"


@pytest.fixture
def tools() -> Tools:
    return Tools(
        {
            "pvs": report("pv", disk(WWID)),
            "vgs": report("vg", group()),
            "lvs": report("lv", volume("vm-100-disk-0")),
        }
    )


async def test_every_command_sees_maps_only_and_never_a_path(tools: Tools) -> None:
    await LVM(tools, tools).activate("vms", "vm-100-disk-0")
    assert len(tools.configs) == len(tools.told)
    for config in tools.configs:
        for filter_ in ("filter=", " global_filter="):
            assert f'{filter_}[ "a|^/dev/disk/by-id/dm-uuid-mpath-|", "r|.*|" ]' in config
        assert "use_devicesfile=0" in config


async def test_a_disk_that_another_node_made_is_seen(tools: Tools) -> None:
    tools.ends["vgs"] = [report("vg"), report("vg", group())]
    await LVM(tools, tools).create_group("vms", WWID)
    assert len(tools.configs) == len(tools.told)
    # vgcreate reads none, and lets the node forget those that it has
    hinted = [told[1] for told, config in zip(tools.told, tools.configs, strict=True) if 'hints="none"' not in config]
    assert hinted == ["vgcreate"]


def test_a_map_that_would_hang_is_not_looked_at() -> None:
    assert '[ "r|^/dev/disk/by-id/dm-uuid-mpath-3600b$|", "a|' in lvm.config(["3600b"])
    assert "r|^/dev/disk/by-id/dm-uuid-mpath-eui[.]0025$|" in lvm.config(["eui.0025"])
    # what would mean something else in a regular expression is left out
    assert "r|^" not in lvm.config(["36.*|", 'a"b'])


async def test_a_group_is_told_with_its_disks(tools: Tools) -> None:
    found = await LVM(tools, tools).group("vms")
    assert (found.free, [each.wwid for each in found.disks]) == (1 << 29, [WWID])


async def test_a_group_that_is_not_there_is_not_an_empty_one(tools: Tools) -> None:
    tools.ends["vgs"] = tools.ends["lvs"] = Ended(5, '{"report":[{"vg":[]}]}', '  Volume group "vms" not found')
    for asked in (LVM(tools, tools).group("vms"), LVM(tools).volumes("vms")):
        with pytest.raises(NotFound, match="vms on the maps of this node"):
            await asked


@pytest.mark.parametrize(
    "end", [Ended(5, "", "Can't get lock"), Ended(0, "no json", ""), NotDone("`lvm` was not done within 15 s")]
)
async def test_an_lvm_that_fails_cannot_tell(tools: Tools, end: Ended | NotDone) -> None:
    tools.ends["lvs"] = end
    with pytest.raises(CannotTell):
        await LVM(tools, tools).volumes("vms")


async def test_a_group_is_made_as_proxmox_does_without_autoactivation(tools: Tools) -> None:
    tools.ends["vgs"] = [report("vg"), report("vg", group())]
    await LVM(tools, tools).create_group("vms", WWID)
    assert tools.changes == [
        f"vgcreate --metadatasize 250k --setautoactivation n vms /dev/disk/by-id/dm-uuid-mpath-{WWID}"
    ]


async def test_the_name_of_a_group_on_another_disk_is_taken(tools: Tools) -> None:
    with pytest.raises(Busy, match="choose another name"):
        await LVM(tools, tools).create_group("vms", WWID)
    # that look is at all disks, so it goes without the filter
    assert [config for config in tools.configs if "filter" not in config] == tools.configs
    assert tools.changes == []


@pytest.mark.parametrize(
    "end", [Ended(5, "", "Can't open devices"), Ended(5, '{"report":[{"vg":[]}]}', "no"), Ended(0, "no json", "")]
)
async def test_a_look_at_all_groups_that_fails_does_not_make_a_name_free(tools: Tools, end: Ended) -> None:
    tools.ends["vgs"] = end
    with pytest.raises(CannotTell, match="whether the name vms is free"):
        await LVM(tools, tools).create_group("vms", WWID)
    assert tools.changes == []


async def test_a_group_that_is_not_whole_hides_no_other(tools: Tools) -> None:
    tools.ends["vgs"] = Ended(5, report("vg", group("others"), group()).out, "VG others is missing PV")
    with pytest.raises(Busy, match="choose another name"):
        await LVM(tools, tools).create_group("vms", WWID)


async def test_the_look_at_all_groups_leaves_out_maps_that_would_hang(tools: Tools) -> None:
    with pytest.raises(Busy):
        await LVM(tools, tools).avoiding(["3600b"]).create_group("vms", WWID)
    # a pattern that accepts the rest would accept the map by another of its names, lvm.conf(5)
    assert 'filter=[ "r|^/dev/disk/by-id/dm-uuid-mpath-3600b$|" ]' in tools.configs[0]


@pytest.mark.parametrize("end", [Ended(5, "", "in use"), NotDone("it was not done within 30 s")])
async def test_a_volume_that_was_made_and_not_left_inactive_is_named(tools: Tools, end: Ended | NotDone) -> None:
    tools.ends |= {"lvs": report("lv"), "lvchange": end}
    with pytest.raises(CannotTell, match=r"volume vms/a is made, .* `pathfleet storage free` removes it"):
        await LVM(tools, tools).create_volume("vms", "a", 1 << 20)


async def test_a_volume_that_may_be_made_still_is_named(tools: Tools) -> None:
    end = asyncio.get_running_loop().create_future()
    tools.ends |= {"lvs": report("lv"), "lvcreate": StillRunning("it goes on", end)}
    with pytest.raises(
        StillRunning, match=r"`lvm lvcreate` still runs, .*; volume vms/a may have been made"
    ) as caught:
        await LVM(tools, tools).create_volume("vms", "a", 1 << 20)
    assert caught.value.end is end


async def test_what_changes_something_is_run_by_who_does_not_kill_it(tools: Tools) -> None:
    changing = Tools()
    await LVM(tools, changing).remove_volume("vms", "vm-100-disk-0")
    assert changing.changes == ["lvremove --yes vms/vm-100-disk-0"]
    assert tools.changes == []


async def test_all_programs_of_a_task_share_its_time(tools: Tools) -> None:
    with budget.within(5):
        await LVM(tools, tools).remove_volume("vms", "vm-100-disk-0")
    assert max(tools.deadlines) <= 5
    tools.told.clear()
    with (
        budget.within(0.5),
        pytest.raises(CannotTell, match="did not begin, since the time of the whole task is over"),
    ):
        await LVM(tools, tools).remove_volume("vms", "vm-100-disk-0")
    assert tools.told == []


async def test_a_volume_is_made_wiped_and_left_inactive(tools: Tools) -> None:
    tools.ends["lvs"] = [report("lv"), report("lv", volume("vm-100-disk-0"))]
    made = await LVM(tools, tools).create_volume("vms", "vm-100-disk-0", 16 << 20, ("pve-vm-100",))
    assert not made.active
    assert tools.changes == [
        (
            "lvcreate --yes -aey -Wy -Zy --setautoactivation n --addtag pve-vm-100 --size 16777216b"
            " --name vm-100-disk-0 vms"
        ),
        "lvchange -an vms/vm-100-disk-0",
    ]


async def test_a_name_that_is_taken_is_refused(tools: Tools) -> None:
    with pytest.raises(Busy, match="already"):
        await LVM(tools, tools).create_volume("vms", "vm-100-disk-0", 1 << 20)
    assert tools.changes == []


async def test_a_volume_grows_and_never_shrinks(tools: Tools) -> None:
    here = LVM(tools, tools)
    with pytest.raises(Refused, match="not shrink"):
        await here.resize_volume("vms", "vm-100-disk-0", 1 << 20)
    await here.resize_volume("vms", "vm-100-disk-0", 16 << 20)
    assert tools.changes == []
    await here.resize_volume("vms", "vm-100-disk-0", (16 << 20) + 512)
    assert tools.changes == ["lvextend --size 16777728b vms/vm-100-disk-0"]


async def test_an_activated_volume_is_as_large_as_another_node_made_it(tools: Tools) -> None:
    await LVM(tools, tools).activate("vms", "vm-100-disk-0")
    assert tools.changes == ["lvchange -aey vms/vm-100-disk-0", "lvchange --refresh vms/vm-100-disk-0"]


async def test_what_lvm_refuses_is_told_in_its_words(tools: Tools) -> None:
    tools.ends["lvremove"] = Ended(5, "", "  Logical volume vms/vm-100-disk-0 in use.\n")
    with pytest.raises(Refused, match="ended with 5, saying: Logical volume vms/vm-100-disk-0 in use"):
        await LVM(tools, tools).remove_volume("vms", "vm-100-disk-0")
    with pytest.raises(NotFound):
        await LVM(tools, tools).remove_volume("vms", "vm-101-disk-0")
