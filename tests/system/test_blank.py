from __future__ import annotations

import re
from pathlib import Path

import pytest

from pathfleet.errors import CannotTell
from pathfleet.system import blank
from pathfleet.system.program import Ended, NotDone
from tests.system.lvm_tools import NOTHING, Tools


@pytest.fixture
def device(tmp_path: Path) -> Path:
    file = tmp_path / "dm-3"
    file.write_bytes(bytes(4096))
    return file


async def test_a_device_of_zeros_is_empty(device: Path) -> None:
    assert await blank.data_on(device, run=Tools({"blkid": Ended(2, "", "")})) is None


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
    found = await blank.data_on(device, run=Tools({**ends}))
    assert found is not None
    assert re.search(what, found)


async def test_data_without_a_signature_is_data(device: Path) -> None:
    device.write_bytes(bytes(4095) + b"x")
    found = await blank.data_on(device, run=Tools({"blkid": Ended(2, "", "")}))
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
        await blank.data_on(device, run=Tools({**ends}))


async def test_a_device_that_cannot_be_read_is_never_empty(tmp_path: Path) -> None:
    with pytest.raises(CannotTell, match="cannot be read"):
        await blank.data_on(tmp_path / "dm-4", run=Tools({"blkid": Ended(2, "", ""), "wipefs": NOTHING}))
