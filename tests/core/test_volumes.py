from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core import volumes
from pathfleet.core.property import BadValue
from pathfleet.core.volumes import Disk, Group, LogicalVolume
from pathfleet.errors import CannotTell

WWID = "3600a098038314c6c6e3f4b6f4c6c5a30"
NAMES = st.from_regex(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,15}", fullmatch=True)


def test_a_map_is_found_by_its_wwid_and_a_volume_below_its_group() -> None:
    assert volumes.map_path(WWID) == f"/dev/disk/by-id/dm-uuid-mpath-{WWID}"
    assert volumes.wwid_in(volumes.map_path(WWID)) == WWID
    assert volumes.wwid_in("/dev/sdb") is None
    assert volumes.volume_path("vms", "vm-100-disk-0") == "/dev/vms/vm-100-disk-0"


@pytest.mark.parametrize("name", ["-a", ".", "..", "a b", "a/b", "", "x" * 101, "snapshot1", "a_rmeta_0", "vg\n"])
def test_a_name_that_lvm_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(BadValue):
        volumes.check_names("vg", name)


def test_names_that_together_are_too_long_for_device_mapper_are_refused() -> None:
    volumes.check_names("v" * 26, "a" * 100)
    with pytest.raises(BadValue, match="fits"):
        volumes.check_names("v-" * 26, "a" * 60)


@given(NAMES, NAMES)
def test_a_device_mapper_name_tells_group_and_volume(group: str, name: str) -> None:
    if group.endswith("-"):
        group += "g"
    dm = f"{group.replace('-', '--')}-{name.replace('-', '--')}"
    assert volumes.volume_of_dm(dm) == f"{group}/{name}"


@pytest.mark.parametrize(
    ("text", "size"), [("32G", 32 << 30), ("1", 1 << 20), ("1048577", 2 << 20), ("512K", 1 << 20), ("2T", 2 << 40)]
)
def test_a_size_is_in_powers_of_1024_and_whole_mebibytes(text: str, size: int) -> None:
    assert volumes.size_in(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5G", "1X", "G", "1G\n", "٣G", "9" * 30])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        volumes.size_in(text)


def test_a_guests_next_disk_has_the_first_number_that_is_free() -> None:
    assert volumes.free_name(100, frozenset()) == "vm-100-disk-0"
    assert volumes.free_name(100, frozenset(("vm-100-disk-0", "vm-100-disk-2"))) == "vm-100-disk-1"
    assert volumes.owner_in("vm-100-disk-1") == 100
    assert volumes.owner_in("data") is None


GROUPS = """
  {
      "report": [
          {
              "vg": [
                  {"vg_name":"vms", "vg_uuid":"527Djh-pXSr", "vg_size":"310378496", "vg_free":"4194304", "vg_extent_size":"4194304", "lv_count":"2", "vg_partial":""}
              ]
          }
      ]
  }
"""  # noqa: E501
DISKS = f"""
  {{
      "report": [
          {{
              "pv": [
                  {{"pv_name":"/dev/disk/by-id/dm-uuid-mpath-{WWID}", "vg_name":"vms", "pv_size":"310378496", "dev_size":"314572800", "pv_missing":""}},
                  {{"pv_name":"[unknown]", "vg_name":"vms", "pv_size":"310378496", "dev_size":"0", "pv_missing":"missing"}},
                  {{"pv_name":"/dev/disk/by-id/dm-uuid-mpath-3600b", "vg_name":"", "pv_size":"314572800", "dev_size":"314572800", "pv_missing":""}}
              ]
          }}
      ]
  }}
"""  # noqa: E501
VOLUMES = """
  {
      "report": [
          {
              "lv": [
                  {"lv_name":"vm-101-disk-0", "lv_size":"16777216", "lv_active":"", "lv_device_open":"", "lv_path":"/dev/vms/vm-101-disk-0", "lv_tags":""},
                  {"lv_name":"vm-100-disk-0", "lv_size":"16777216", "lv_active":"active", "lv_device_open":"open", "lv_path":"/dev/vms/vm-100-disk-0", "lv_tags":"a,pve-vm-100"}
              ]
          }
          ,
          {"log": []}
      ]
  }
"""  # noqa: E501


def test_lvms_reports_are_read() -> None:
    assert volumes.groups(GROUPS) == (Group("vms", "527Djh-pXSr", 310378496, 4194304, 4194304, 2, partial=False),)
    assert volumes.disks(DISKS) == (
        Disk(volumes.map_path(WWID), WWID, "vms", 310378496, 314572800),
        Disk("[unknown]", None, "vms", 310378496, 0, missing=True),
        Disk(volumes.map_path("3600b"), "3600b", None, 314572800, 314572800),
    )
    assert volumes.volumes(VOLUMES) == (
        LogicalVolume("vm-100-disk-0", 16777216, True, True, "/dev/vms/vm-100-disk-0", ("a", "pve-vm-100")),
        LogicalVolume("vm-101-disk-0", 16777216, False, False, "/dev/vms/vm-101-disk-0"),
    )


def test_that_nobody_knows_whether_a_volume_is_open_is_not_that_it_is_closed() -> None:
    (one, _) = volumes.volumes(VOLUMES.replace('"open"', '"unknown"'))
    assert one.open is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"report": 1}', '{"report":[{"vg":[{"vg_name":"a"}]}]}', GROUPS.replace("4194304", "4 MiB")],
)
def test_what_is_no_report_is_never_an_empty_one(text: str) -> None:
    with pytest.raises(CannotTell, match="LVM"):
        volumes.groups(text)
