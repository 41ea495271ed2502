from __future__ import annotations

from pathlib import Path

import pytest

from pathfleet.system import luns

NAA = "naa.600a098038314c6c6e3f4b6f4c6c5a30"


def disk(sysfs: Path, name: str, wwid: str | None) -> None:
    file = sysfs / "block" / name / ("wwid" if name.startswith("nvme") else "device/wwid")
    file.parent.mkdir(parents=True)
    if wwid is not None:
        file.write_text(f"{wwid}\n")


def test_the_paths_of_a_lun_are_its_disks(tmp_path: Path) -> None:
    disk(tmp_path, "sdb", NAA)
    disk(tmp_path, "sdc", NAA)
    assert luns.by_wwid(tmp_path) == {"3600a098038314c6c6e3f4b6f4c6c5a30": ("sdb", "sdc")}


@pytest.mark.parametrize(
    ("name", "wwid", "known"),
    [
        ("sda", "naa.5000C500A1B2C3D4", "35000c500a1b2c3d4"),
        ("sda", "eui.0025385b71b0c1d2", "20025385b71b0c1d2"),
        ("nvme0n1", "eui.0025385b71b0c1d2", "eui.0025385b71b0c1d2"),
        ("nvme0n1", "uuid.2c0b5fb4-7e5c-4a3b-9a3c-0d2f6a0b6f0e", "uuid.2c0b5fb4-7e5c-4a3b-9a3c-0d2f6a0b6f0e"),
    ],
)
def test_a_wwid_is_written_as_multipath_writes_it(tmp_path: Path, name: str, wwid: str, known: str) -> None:
    disk(tmp_path, name, wwid)
    assert luns.by_wwid(tmp_path) == {known: (name,)}


@pytest.mark.parametrize(
    ("name", "wwid"),
    [("sda", "t10.ATA     x"), ("sda", "naa.zz"), ("sda", None), ("dm-0", NAA), ("sr0", NAA), ("nvme0n1", "\x1b[2J")],
)
def test_what_sysfs_does_not_tell_is_left_out(tmp_path: Path, name: str, wwid: str | None) -> None:
    disk(tmp_path, name, wwid)
    assert luns.by_wwid(tmp_path) == {}


def test_without_sysfs_nobody_can_tell(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="block"):
        luns.by_wwid(tmp_path)
