from __future__ import annotations

from pathlib import Path

import pytest

from pathfleet.core.work import Holder, PathSeen
from pathfleet.errors import Busy, CannotTell
from tests.system.san import Node

NAA = "600a098038314c6c6e3f4b6f4c6c5a30"
WWID = f"3{NAA}"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    here = Node(tmp_path)
    here.disk("sda", hctl="0:0:0:1", naa=NAA)
    here.disk("sdb", hctl="1:0:0:1", naa=NAA)
    here.map(WWID)
    return here


def test_a_map_is_found_by_its_wwid_with_its_paths(node: Node) -> None:
    found = node.lun.find(WWID)
    assert found is not None
    assert (found.device, found.size) == ("dm-3", 1 << 30)
    assert found.paths == (PathSeen("sda", "0:0:0:1", 1 << 30), PathSeen("sdb", "1:0:0:1", 1 << 30))
    assert node.lun.link(WWID, "dm-3")
    assert node.lun.find("3600b") is None


def test_a_sysfs_that_cannot_be_read_is_not_one_without_maps(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.sysfs.rename(tmp_path / "elsewhere")
    with pytest.raises(CannotTell):
        node.lun.find(WWID)


def test_nobody_uses_a_map_that_is_only_there(node: Node) -> None:
    assert node.lun.users("dm-3") == ()


def test_whatever_is_built_on_a_map_is_told_with_who_uses_that(node: Node) -> None:
    node.dm("dm-4", "LVM-abc", "vms-vm--100--disk--0", "dm-3")
    node.dm("dm-5", f"part1-mpath-{WWID}", f"{WWID}-part1", "dm-3")
    number = (node.sysfs / "block/dm-5/dev").read_text().strip()
    (node.proc / "self/mountinfo").write_text(
        f"36 35 {number} / /srv/with\\040blank rw - ext4 /dev/mapper/x rw\n"
        "37 35 0:50 / /data rw - btrfs /dev/dm-4 rw\n38 35 0:51 / /proc rw - proc proc rw\n"
    )
    (node.proc / "swaps").write_text("Filename Type\n/dev/dm-3 partition\n/swapfile file\n")
    node.process(4711, "qemu-system-x86", "dm-4")
    assert set(node.lun.users("dm-3")) == {
        Holder("volume", "vms/vm-100-disk-0", "dm-3"),
        Holder("partition", f"{WWID}-part1", "dm-3"),
        Holder("mount", "/srv/with blank", f"{WWID}-part1"),
        Holder("mount", "/data", "vms/vm-100-disk-0"),
        Holder("swap", "/dev/dm-3", "dm-3"),
        Holder("process", "qemu-system-x86 (4711)", "vms/vm-100-disk-0"),
    }


def test_mounts_that_cannot_be_read_are_not_none(node: Node) -> None:
    (node.proc / "self/mountinfo").unlink()
    with pytest.raises(CannotTell, match="nobody knows who uses it"):
        node.lun.users("dm-3")


def test_a_path_is_rescanned_and_deleted_by_its_own_switch(node: Node) -> None:
    node.remove("dm-3")
    node.lun.rescan("sda")
    assert node.lun.delete(PathSeen("sdb", "1:0:0:1", None), WWID) is None
    switches = node.sysfs / "devices"
    assert (switches / "0:0:0:1/rescan").read_text() == "1"
    assert (switches / "1:0:0:1/delete").read_text() == "1"
    assert (switches / "0:0:0:1/delete").read_text() == ""


def test_a_path_that_a_map_holds_is_not_deleted(node: Node) -> None:
    with pytest.raises(Busy, match=WWID):
        node.lun.delete(PathSeen("sda", "0:0:0:1", None), WWID)


@pytest.mark.parametrize(
    ("path", "wwid"), [(PathSeen("sda", "9:0:0:1", None), WWID), (PathSeen("sda", "0:0:0:1", None), "3600b")]
)
def test_a_name_that_belongs_to_another_device_by_now_is_not_deleted(node: Node, path: PathSeen, wwid: str) -> None:
    node.remove("dm-3")
    remark = node.lun.delete(path, wwid)
    assert remark is not None
    assert "not the same device" in remark
    assert (node.sysfs / "devices/0:0:0:1/delete").read_text() == ""


def test_a_path_that_is_gone_already_is_deleted(node: Node) -> None:
    assert node.lun.delete(PathSeen("sdz", "0:0:0:9", None), WWID) is None


def test_a_path_that_does_not_let_itself_be_rescanned_is_named(node: Node) -> None:
    (node.sysfs / "devices/0:0:0:1/rescan").unlink()
    with pytest.raises(CannotTell, match="path sda cannot be rescanned"):
        node.lun.rescan("sda")


def test_the_disks_of_a_lun_are_known_without_a_map(node: Node) -> None:
    node.remove("dm-3")
    assert [path.device for path in node.lun.paths_of(WWID)] == ["sda", "sdb"]
