from __future__ import annotations

import pytest

from pathfleet.core import schema
from pathfleet.core.configuration import Configuration
from pathfleet.core.drift import Difference, differences, same
from pathfleet.core.property import Property
from pathfleet.core.render import DropIns, render

LUN = "3600a098038314c6c6e3f4b6f4c6c5a30"


def drop_ins(overrides: str = "", **defaults: str) -> DropIns:
    values = {name.replace("_", "-"): value for name, value in defaults.items()}
    return render(
        Configuration(values, {LUN: {"alias": "db"}}, (), has_defaults=True), overrides, "d", version="0.11.1"
    )


EFFECTIVE = f"""defaults {{
	polling_interval 5
	no_path_retry 12
	user_friendly_names "no"
	find_multipaths "strict"
}}
blacklist {{
	devnode "!^(sd[a-z])"
	device {{
		vendor "V"
		product "P"
	}}
}}
overrides {{
	fast_io_fail_tmo 5
	protocol {{
		type "scsi:fcp"
		dev_loss_tmo 60
	}}
}}
multipaths {{
	multipath {{
		wwid "{LUN}"
		alias "db"
	}}
}}
"""


def test_what_is_as_it_is_meant_makes_no_difference() -> None:
    assert differences(drop_ins(no_path_retry="12"), EFFECTIVE) == []


def test_a_default_with_another_value_is_a_difference() -> None:
    assert differences(drop_ins(no_path_retry="queue"), EFFECTIVE) == [
        Difference("defaults", "no_path_retry", "queue", "12")
    ]


def test_a_lun_with_another_name_is_a_difference() -> None:
    assert differences(drop_ins(), EFFECTIVE.replace('"db"', '"mpatha"')) == [
        Difference(f"multipath {LUN}", "alias", "db", "mpatha")
    ]


def test_a_lun_without_a_map_here_cannot_differ() -> None:
    assert differences(drop_ins(), EFFECTIVE.replace(LUN, "another")) == []


def test_a_lun_with_a_map_whose_section_is_empty_differs() -> None:
    assert differences(drop_ins(), EFFECTIVE.replace('\t\talias "db"\n', "")) == [
        Difference(f"multipath {LUN}", "alias", "db", None)
    ]


def test_overrides_are_compared_protocol_by_protocol() -> None:
    text = "overrides {\n\tfast_io_fail_tmo 5\n\tprotocol {\n\t\ttype scsi:fcp\n\t\tdev_loss_tmo 30\n\t}\n}\n"
    assert differences(drop_ins(text), EFFECTIVE) == [Difference("protocol scsi:fcp", "dev_loss_tmo", "30", "60")]


def test_what_a_blacklist_lacks_is_a_difference_and_what_it_has_besides_is_not() -> None:
    text = 'blacklist {\n\tdevnode "^sda$"\n\tdevice {\n\t\tproduct "P"\n\t\tvendor "V"\n\t}\n}\n'
    (found,) = differences(drop_ins(text), EFFECTIVE)
    assert found == Difference("blacklist", "devnode", "^sda$", None)
    assert found.listed


@pytest.mark.parametrize(
    ("keyword", "one", "other"),
    [
        ("no_path_retry", "fail", "0"),
        ("flush_on_last_del", "yes", "always"),
        ("flush_on_last_del", "no", "unused"),
        ("path_selector", "round-robin 0", "round-robin  0"),
        ("skip_kpartx", "1", "yes"),
        ("dev_loss_tmo", "infinity", "4294967295"),
        ("reservation_key", "0x00AB", "0xab"),
        ("fast_io_fail_tmo", "off", "0"),
    ],
)
def test_words_that_mean_the_same_are_no_difference(keyword: str, one: str, other: str) -> None:
    assert same(keyword, one, other)
    assert same(keyword, other, one)


@pytest.mark.parametrize(
    ("keyword", "one", "other"), [("no_path_retry", "1", "yes"), ("failback", "0", "no"), ("prio", "alua", None)]
)
def test_words_that_do_not_are_one(keyword: str, one: str, other: str | None) -> None:
    assert not same(keyword, one, other)


@pytest.mark.parametrize("row", schema.PROPERTIES, ids=lambda row: row.name)
def test_no_two_words_of_a_property_are_taken_for_the_same(row: Property) -> None:
    for word in row.words:
        assert [other for other in row.words if same(row.keyword, word, other)] == [word]
