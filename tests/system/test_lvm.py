from __future__ import annotations

import re
from pathlib import Path

import pytest

from pathfleet.errors import Busy, CannotTell, NotFound, Refused
from pathfleet.system import lvm
from pathfleet.system.lvm import LVM
from pathfleet.system.program import Ended, NotDone
from tests.system.lvm_tools import NOTHING, Tools, disk, group, report, volume

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
    await LVM(tools).activate("vms", "vm-100-disk-0")
    assert len(tools.configs) == len(tools.told)
    for config in tools.configs:
        for filter_ in ("filter=", " global_filter="):
            assert f'{filter_}[ "a|^/dev/disk/by-id/dm-uuid-mpath-|", "r|.*|" ]' in config
        assert "use_devicesfile=0" in config


async def test_a_disk_that_another_node_made_is_seen(tools: Tools) -> None:
    tools.ends["vgs"] = [report("vg"), report("vg", group())]
    await LVM(tools).create_group("vms", WWID)
    assert len(tools.configs) == len(tools.told)
    # vgcreate reads none, and lets the node forget those that it has
    hinted = [told[1] for told, config in zip(tools.told, tools.configs, strict=True) if 'hints="none"' not in config]
    assert hinted == ["vgcreate"]


def test_a_map_that_would_hang_is_not_looked_at() -> None:
    assert '[ "r|^/dev/disk/by-id/dm-uuid-mpath-3600b$|", "a|' in lvm.config(["3600b"])
    # what would mean something else in a regular expression is left out
    assert "r|^" not in lvm.config(["36.*|", 'a"b'])


async def test_a_group_is_told_with_its_disks(tools: Tools) -> None:
    found = await LVM(tools).group("vms")
    assert (found.free, [each.wwid for each in found.disks]) == (1 << 29, [WWID])


async def test_a_group_that_is_not_there_is_not_an_empty_one(tools: Tools) -> None:
    tools.ends["vgs"] = tools.ends["lvs"] = Ended(5, '{"report":[{"vg":[]}]}', '  Volume group "vms" not found')
    for asked in (LVM(tools).group("vms"), LVM(tools).volumes("vms")):
        with pytest.raises(NotFound, match="vms on the maps of this node"):
            await asked


@pytest.mark.parametrize(
    "end", [Ended(5, "", "Can't get lock"), Ended(0, "no json", ""), NotDone("`lvm` was not done within 15 s")]
)
async def test_an_lvm_that_fails_cannot_tell(tools: Tools, end: Ended | NotDone) -> None:
    tools.ends["lvs"] = end
    with pytest.raises(CannotTell):
        await LVM(tools).volumes("vms")


async def test_a_group_is_made_as_proxmox_does_without_autoactivation(tools: Tools) -> None:
    tools.ends["vgs"] = [report("vg"), report("vg", group())]
    await LVM(tools).create_group("vms", WWID)
    assert tools.changes == [
        f"vgcreate --metadatasize 250k --setautoactivation n vms /dev/disk/by-id/dm-uuid-mpath-{WWID}"
    ]


async def test_the_name_of_a_group_on_another_disk_is_taken(tools: Tools) -> None:
    with pytest.raises(Busy, match="choose another name"):
        await LVM(tools).create_group("vms", WWID)
    # that look is at all disks, so it goes without the filter
    assert [config for config in tools.configs if "filter" not in config] == tools.configs
    assert tools.changes == []


async def test_a_volume_is_made_wiped_and_left_inactive(tools: Tools) -> None:
    tools.ends["lvs"] = [report("lv"), report("lv", volume("vm-100-disk-0"))]
    made = await LVM(tools).create_volume("vms", "vm-100-disk-0", 16 << 20, ("pve-vm-100",))
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
        await LVM(tools).create_volume("vms", "vm-100-disk-0", 1 << 20)
    assert tools.changes == []


async def test_a_volume_grows_and_never_shrinks(tools: Tools) -> None:
    here = LVM(tools)
    with pytest.raises(Refused, match="not shrink"):
        await here.resize_volume("vms", "vm-100-disk-0", 1 << 20)
    await here.resize_volume("vms", "vm-100-disk-0", 16 << 20)
    assert tools.changes == []
    await here.resize_volume("vms", "vm-100-disk-0", (16 << 20) + 512)
    assert tools.changes == ["lvextend --size 16777728b vms/vm-100-disk-0"]


async def test_an_activated_volume_is_as_large_as_another_node_made_it(tools: Tools) -> None:
    await LVM(tools).activate("vms", "vm-100-disk-0")
    assert tools.changes == ["lvchange -aey vms/vm-100-disk-0", "lvchange --refresh vms/vm-100-disk-0"]


async def test_what_lvm_refuses_is_told_in_its_words(tools: Tools) -> None:
    tools.ends["lvremove"] = Ended(5, "", "  Logical volume vms/vm-100-disk-0 in use.\n")
    with pytest.raises(Refused, match="ended with 5, saying: Logical volume vms/vm-100-disk-0 in use"):
        await LVM(tools).remove_volume("vms", "vm-100-disk-0")
    with pytest.raises(NotFound):
        await LVM(tools).remove_volume("vms", "vm-101-disk-0")


@pytest.fixture
def device(tmp_path: Path) -> Path:
    file = tmp_path / "dm-3"
    file.write_bytes(bytes(4096))
    return file


async def test_a_device_of_zeros_is_empty(device: Path) -> None:
    assert await lvm.data_on(device, run=Tools({"blkid": Ended(2, "", "")})) is None


@pytest.mark.parametrize(
    ("ends", "what"),
    [
        ({"blkid": Ended(0, "DEVNAME=/dev/dm-3\nTYPE=ext4\n", "")}, "ext4"),
        ({"blkid": Ended(0, "PTTYPE=gpt\n", "")}, r"a partition table \(gpt\)"),
        ({"blkid": Ended(8, "", "")}, "more than one kind"),
        ({"blkid": Ended(2, "", ""), "wipefs": Ended(0, "LVM2_member\n", "")}, "LVM2_member"),
    ],
)
async def test_any_signature_is_data(device: Path, ends: dict[str, Ended], what: str) -> None:
    found = await lvm.data_on(device, run=Tools({**ends}))
    assert found is not None
    assert re.search(what, found)


async def test_data_without_a_signature_is_data(device: Path) -> None:
    device.write_bytes(bytes(4095) + b"x")
    found = await lvm.data_on(device, run=Tools({"blkid": Ended(2, "", "")}))
    assert found == "data without a signature in its first MiB"


@pytest.mark.parametrize(
    "ends",
    [
        {"blkid": Ended(4, "", "usage")},
        {"blkid": NotDone("hangs")},
        {"blkid": Ended(2, "", ""), "wipefs": Ended(1, "", "cannot open")},
    ],
)
async def test_a_device_that_cannot_be_looked_at_is_never_empty(
    device: Path, ends: dict[str, Ended | NotDone]
) -> None:
    with pytest.raises(CannotTell):
        await lvm.data_on(device, run=Tools({**ends}))


async def test_a_device_that_cannot_be_read_is_never_empty(tmp_path: Path) -> None:
    with pytest.raises(CannotTell, match="cannot be read"):
        await lvm.data_on(tmp_path / "dm-4", run=Tools({"blkid": Ended(2, "", ""), "wipefs": NOTHING}))
