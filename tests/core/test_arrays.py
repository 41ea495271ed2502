from __future__ import annotations

import pytest

from pathfleet.core import maps
from pathfleet.core.arrays import array_of, arrays
from tests.replies import Fields, group, map_, path, reply

NETAPP = "3600a098038314c6c6e3f4b6f4c6c5a3"
PURE = "3624a9370abcdef0123456789000110"


def lun(wwid: str, vendor: str, product: str) -> Fields:
    return map_(wwid, group(path("sda")), vend=vendor, prod=product)


def told(*luns: Fields) -> dict[str, str]:
    return arrays(maps.decode(reply(*luns)))


def test_the_beginning_of_a_wwid_tells_vendor_and_product() -> None:
    found = told(
        lun(f"{NETAPP}0", "NETAPP", "LUN C-Mode"),
        lun(f"{NETAPP}1", "NETAPP  ", "LUN C-Mode"),
        lun(f"{PURE}0", "PURE", "FlashArray"),
    )
    assert found == {"3600a098": "NETAPP LUN C-Mode", "3624a937": "PURE FlashArray"}
    assert array_of(f"{NETAPP}1", found) == "NETAPP LUN C-Mode"
    assert array_of("36001405", found) is None


@pytest.mark.parametrize(
    ("second", "name"),
    [(("LIO-ORG", "disk2"), "LIO-ORG"), (("IBM", "disk1"), None), (("LIO-ORG", "disk1"), "LIO-ORG disk1")],
    ids=["products differ", "vendors differ", "the same"],
)
def test_what_differs_is_left_out(second: tuple[str, str], name: str | None) -> None:
    found = told(lun("3600140500", "LIO-ORG", "disk1"), lun("3600140501", *second))
    assert found.get("36001405") == name


def test_a_lun_without_an_inquiry_tells_nothing() -> None:
    assert told(lun(NETAPP, " ", "x"), lun(PURE, "##", "##"), lun("", "V", "P")) == {}


def test_what_a_device_says_of_itself_has_an_end() -> None:
    found = told(*(lun(f"3{number:07}", "V" * 999, "P" * 999) for number in range(99)))
    assert len(found) == 32
    assert {len(name) for name in found.values()} == {40}
