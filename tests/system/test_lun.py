from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
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


def test_a_path_that_is_gone_already_is_told_as_such(node: Node) -> None:
    assert node.lun.delete(PathSeen("sdz", "0:0:0:9", None), WWID) == "sdz was gone already"


def test_a_path_that_does_not_say_which_lun_it_is_goes_only_if_it_was_seen_in_its_map(node: Node) -> None:
    node.disk("sdc", hctl="2:0:0:1")
    path = PathSeen("sdc", "2:0:0:1", None)
    remark = node.lun.delete(path, WWID)
    assert remark is not None
    assert "does not say which LUN it is" in remark
    assert (node.sysfs / "devices/2:0:0:1/delete").read_text() == ""
    assert node.lun.delete(path, WWID, seen=True) is None
    assert (node.sysfs / "devices/2:0:0:1/delete").read_text() == "1"


def test_what_kpartx_made_on_a_bare_path_uses_it(node: Node) -> None:
    node.remove("dm-3")
    node.dm("dm-5", "part1-sda", "sda1", "sda")
    assert node.lun.holding("sda") == (Holder("device", "sda1", "sda"),)
    with pytest.raises(Busy, match="device sda1"):
        node.lun.delete(PathSeen("sda", "0:0:0:1", None), WWID)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Path]:
    """A loop device."""
    (tmp_path / "image").write_bytes(bytes(1 << 20))
    made = subprocess.run(
        ("losetup", "--find", "--show", tmp_path / "image"), capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"no loop device can be had: {made.stderr.strip()}")
    yield Path(made.stdout.strip())
    subprocess.run(("losetup", "--detach", made.stdout.strip()), check=True)


def test_a_path_that_the_kernel_holds_without_a_word_in_sysfs_is_not_deleted(node: Node, loop: Path) -> None:
    node.remove("dm-3")
    (node.dev / "sda").unlink()
    (node.dev / "sda").symlink_to(loop)
    holder = os.open(loop, os.O_RDONLY | os.O_EXCL)
    try:
        with pytest.raises(Busy, match="sda is held by something in the kernel"):
            node.lun.delete(PathSeen("sda", "0:0:0:1", None), WWID)
        assert (node.sysfs / "devices/0:0:0:1/delete").read_text() == ""
    finally:
        os.close(holder)
    assert node.lun.delete(PathSeen("sda", "0:0:0:1", None), WWID) is None


def test_a_path_of_which_nobody_can_tell_whether_it_is_held_is_not_deleted(node: Node) -> None:
    node.remove("dm-3")
    (node.dev / "sda").unlink()
    with pytest.raises(CannotTell, match="nobody can tell whether something holds sda"):
        node.lun.delete(PathSeen("sda", "0:0:0:1", None), WWID)


def test_a_path_that_does_not_let_itself_be_rescanned_is_named(node: Node) -> None:
    (node.sysfs / "devices/0:0:0:1/rescan").unlink()
    with pytest.raises(CannotTell, match="path sda cannot be rescanned"):
        node.lun.rescan("sda")


def test_the_disks_of_a_lun_are_known_without_a_map(node: Node) -> None:
    node.remove("dm-3")
    assert [path.device for path in node.lun.paths_of(WWID)] == ["sda", "sdb"]
