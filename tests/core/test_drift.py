from __future__ import annotations

from pathfleet.core.configuration import Configuration
from pathfleet.core.drift import Difference, differences, not_taken
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


def test_what_is_meant_for_all_devices_of_a_kind_is_named_whole() -> None:
    text = "blacklist_exceptions {\n\tdevice {\n\t\tvendor ACME\n\t\tproduct Disk\n\t}\n}\n"
    assert differences(drop_ins(text), EFFECTIVE) == [
        Difference("blacklist_exceptions", "device", "vendor=ACME product=Disk", None)
    ]


def test_words_that_mean_the_same_are_no_difference() -> None:
    text = 'defaults {\n\tno_path_retry "fail"\n\tflush_on_last_del "always"\n\tpolling_interval "5"\n}\n'
    written = DropIns("defaults {\n\tno_path_retry 0\n\tflush_on_last_del yes\n\tpolling_interval 5\n}\n")
    assert differences(written, text) == []


def test_only_what_is_shown_as_something_else_or_lacks_in_a_list_is_proven() -> None:
    found = [
        Difference("defaults", "no_path_retry", "7", "3"),
        Difference("defaults", "brand_new", "7", None),
        Difference("blacklist", "wwid", "x", None),
    ]
    assert [str(each) for each in found if each.proven] == [
        "defaults no_path_retry is 3 instead of 7",
        "blacklist wwid is absent instead of x",
    ]


def test_what_some_releases_print_wrong_is_not_compared() -> None:
    assert differences(DropIns("defaults {\n\tforce_sync yes\n}\n"), "defaults {\n\tforce_sync no\n}\n") == []


OWN = f"""overrides {{
	no_path_retry queue
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
		failback manual
	}}
}}
devices {{
	device {{
		vendor "ACME"
		product "Disk"
		no_path_retry 7
	}}
}}
"""


def test_a_nodes_own_sections_that_outrank_the_clusters_defaults_make_differences_and_devices_do_not() -> None:
    wanted = drop_ins(no_path_retry="12", failback="immediate", dev_loss_tmo="30", fast_io_fail_tmo="5")
    effective = f"{wanted.baseline}{OWN}"
    assert differences(wanted, effective) == [
        Difference("overrides", "no_path_retry", "12", "queue"),
        Difference("protocol scsi:fcp", "dev_loss_tmo", "30", "60"),
        Difference(f"multipath {LUN}", "failback", "immediate", "manual"),
    ]


def test_what_outranks_the_defaults_is_no_proof_that_the_drop_ins_were_not_taken() -> None:
    wanted = drop_ins(no_path_retry="12", failback="immediate", dev_loss_tmo="30")
    assert not_taken(wanted, f"{wanted.baseline}{OWN}") == []


def test_the_clusters_own_overrides_and_luns_outrank_its_defaults_without_a_difference() -> None:
    wanted = drop_ins("overrides {\n\tno_path_retry fail\n}\n", no_path_retry="12")
    assert differences(wanted, f"{wanted.baseline}{wanted.overrides}") == []
