from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core import configuration, takeover
from pathfleet.core.conf.lint import lint
from pathfleet.core.configuration import Configuration
from pathfleet.core.proposal import NodeFiles, Proposal, Source, propose

LUN = "3600a098038314c6c6e3f4b6f4c6c5a30"
OTHER = "3600a098038314c6c6e3f4b6f4c6c5a31"


def main(text: str) -> Source:
    return Source("/etc/multipath.conf", text)


def made(text: str = "", *, wwids: str | None = None, bindings: str | None = None, without: str = "") -> Proposal:
    files = NodeFiles(
        (main(text),),
        None if wwids is None else Source("wwids", wwids),
        None if bindings is None else Source("bindings", bindings),
    )
    return propose(files, without=(without,))


def test_defaults_become_properties() -> None:
    found = made('defaults {\n\tno_path_retry 12\n\tpath_selector "round-robin 0"\n\tchecker_timeout 60\n}\n')
    assert found.defaults == {"no-path-retry": "12", "path-selector": "round-robin 0", "checker-timeout": "60"}
    assert found.left == ()


def test_the_last_of_several_files_counts_as_for_multipathd() -> None:
    files = NodeFiles(
        (main("defaults {\n\tfailback manual\n}\n"), Source("z", "defaults {\n\tfailback immediate\n}\n"))
    )
    assert propose(files).defaults == {"failback": "immediate"}


def test_an_old_name_of_a_keyword_is_understood() -> None:
    assert made("defaults {\n\tchecker tur\n}\n").defaults == {"path-checker": "tur"}


def test_what_a_cluster_fixes_is_named_where_the_node_has_it_otherwise_and_not_where_it_agrees() -> None:
    found = made("defaults {\n\tuser_friendly_names no\n\tfind_multipaths yes\n}\n")
    assert found.defaults == {}
    (left,) = found.left
    assert (left.file, left.line, left.what) == ("/etc/multipath.conf", 3, "find_multipaths 'yes'")
    assert "`strict` only" in left.why


@pytest.mark.parametrize("line", ["polling_interval abc", "uid_attribute ID_X", "no_such thing"])
def test_what_cannot_be_taken_over_is_named_with_its_place_and_stays_on_that_node(line: str) -> None:
    found = made(f"# first\ndefaults {{\n\t{line}\n}}\n")
    (left,) = found.left
    assert (left.line, left.what.split()[0]) == (3, line.split(maxsplit=1)[0])
    assert left.why.endswith("where it stands it stays in force, on that node alone")


def test_sections_of_luns_become_luns() -> None:
    found = made(f"multipaths {{\n\tmultipath {{\n\t\twwid {LUN}\n\t\talias db\n\t\tno_path_retry queue\n\t}}\n}}\n")
    assert found.wwids == {LUN: {"alias": "db", "no-path-retry": "queue"}}


def test_a_section_of_no_lun_is_named() -> None:
    (left,) = made("multipaths {\n\tmultipath {\n\t\talias db\n\t}\n}\n").left
    assert (left.line, left.why) == (2, "it has no wwid")


def test_the_list_of_wwids_becomes_the_allow_list() -> None:
    found = made(wwids=f"# Multipath wwids, Version : 1.0\n# Valid WWIDs:\n/{LUN}/\n/{OTHER}/\nnonsense\n")
    assert found.wwids == {LUN: {}, OTHER: {}}
    assert [(left.file, left.line) for left in found.left] == [("wwids", 5)]


FRIENDLY = "defaults {\n\tuser_friendly_names yes\n}\n"


def test_friendly_names_become_aliases_so_that_live_maps_keep_them() -> None:
    found = made(FRIENDLY, wwids=f"/{LUN}/\n", bindings=f"# Multipath bindings\nmpatha {LUN}\n")
    assert found.wwids == {LUN: {"alias": "mpatha"}}


def test_bindings_name_nothing_where_friendly_names_are_off() -> None:
    found = made("", wwids=f"/{LUN}/\n", bindings=f"mpatha {LUN}\n")
    assert found.wwids == {LUN: {}}


def test_a_lun_with_names_of_its_own_choice_is_named_by_its_own_section() -> None:
    text = f"{FRIENDLY}multipaths {{\n\tmultipath {{\n\t\twwid {LUN}\n\t\tuser_friendly_names no\n\t}}\n}}\n"
    assert made(text, bindings=f"mpatha {LUN}\n").wwids == {LUN: {}}


def test_an_alias_in_the_configuration_counts_more_than_a_binding() -> None:
    text = f"{FRIENDLY}multipaths {{\n\tmultipath {{\n\t\twwid {LUN}\n\t\talias db\n\t}}\n}}\n"
    assert made(text, bindings=f"mpatha {LUN}\n").wwids == {LUN: {"alias": "db"}}


def test_a_binding_of_a_lun_that_is_nowhere_else_is_named() -> None:
    left = made(FRIENDLY, bindings=f"mpatha {LUN}\n").left[-1]
    assert (left.file, left.line) == ("bindings", 1)


def test_of_two_luns_with_one_alias_the_first_keeps_it() -> None:
    lun = "\tmultipath {{\n\t\twwid {}\n\t\talias db\n\t}}\n"
    found = made(f"multipaths {{\n{lun.format(LUN)}{lun.format(OTHER)}}}\n")
    assert found.wwids == {LUN: {"alias": "db"}, OTHER: {}}
    assert f"the alias 'db' of {OTHER}" in [left.what for left in found.left]


def test_a_lun_that_is_left_out_is_named_as_such() -> None:
    found = made(FRIENDLY, wwids=f"/{LUN}/\n", bindings=f"mpatha {LUN}\n", without=LUN)
    assert found.wwids == {}
    assert [left.why for left in found.left if LUN in left.what] == ["you left it out"]


def test_the_rest_becomes_the_overrides_each_section_once() -> None:
    text = 'blacklist {\n\tdevnode "^sda$"\n}\n'
    files = NodeFiles(
        (main(text), Source("z", text + 'overrides {\n\tno_path_retry fail\n}\nblacklist {\n\twwid ".x"\n}\n'))
    )
    found = propose(files)
    assert found.overrides == 'blacklist {\n\tdevnode "^sda$"\n\twwid ".x"\n}\noverrides {\n\tno_path_retry fail\n}\n'
    assert found.left == ()


def test_a_bad_line_within_a_device_costs_that_line_alone() -> None:
    device = '\tdevice {\n\t\tvendor "A"\n\t\tproduct "B"\n\t\tfrobnicate 3\n\t\tprio alua\n\t}\n'
    found = made(f"devices {{\n{device}}}\n")
    assert found.overrides == "devices {\n" + device.replace("\t\tfrobnicate 3\n", "") + "}\n"
    assert [(left.line, left.what) for left in found.left] == [(5, "frobnicate '3'")]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('blacklist {\n\tdevnode "^(sd[a"\n}\n', 2),
        ('devices {\n\tdevice {\n\t\tvendor "A"\n\t}\n}\n', 2),
        ("blacklist {\n\tnonsense x\n}\n", 2),
    ],
)
def test_what_multipathd_could_not_take_is_not_taken_over(text: str, line: int) -> None:
    found = made(text)
    assert found.overrides == ""
    assert [left.line for left in found.left] == [line]


def test_a_line_that_multipathd_reads_otherwise_is_named() -> None:
    assert 1 in [left.line for left in made("defaults {\n\tfailback manual\n").left]


LINES = """defaults {|blacklist {|devices {|device {|multipaths {|multipath {|overrides {|protocol {|}|{|#|"|
wwid x|wwid y|alias x|alias y|devnode "("|no_path_retry 12|vendor a|product b|type scsi:fcp|fast_io_fail_tmo 3|
dev_loss_tmo 3|user_friendly_names yes|polling_interval 30|max_polling_interval 20""".replace("\n", "").split("|")


@given(st.lists(st.sampled_from(LINES), max_size=30))
def test_whatever_the_files_say_the_proposal_can_be_written(lines: list[str]) -> None:
    found = made("\n".join(lines), wwids="/x/\n", bindings="m x\n")
    for there in ("", "wwid: y\n\talias x\n\n", "defaults: defaults\n\tmax-polling-interval 10\n\n"):
        merged = takeover.merge(found, configuration.parse(there), "")
        assert configuration.parse(takeover.text(merged, there)).problems == ()
    assert [each for each in lint(found.overrides) if each.severity == "error"] == []


THERE = Configuration({"failback": "manual"}, {LUN: {"alias": "db"}}, (), has_defaults=True)


def test_what_the_cluster_has_stays_and_is_named() -> None:
    proposal = Proposal(
        {"failback": "immediate", "no-path-retry": "12"}, {LUN: {"alias": "mpatha", "prio": "alua"}}, ""
    )
    merged = takeover.merge(proposal, THERE, "")
    assert merged.defaults == {"no-path-retry": "12"}
    assert merged.wwids == {LUN: {"prio": "alua"}}
    assert [left.what for left in merged.left] == ["failback 'immediate'", f"alias 'mpatha' of LUN {LUN}"]


def test_defaults_that_multipathd_would_not_follow_together_are_not_taken_over() -> None:
    merged = takeover.merge(Proposal({"max-polling-interval": "20", "polling-interval": "30"}, {}, ""), THERE, "")
    assert merged.defaults == {"polling-interval": "30"}
    assert "at least polling-interval, which is 30 seconds" in merged.left[0].why


def test_an_alias_that_another_lun_of_the_cluster_has_is_not_taken_over() -> None:
    merged = takeover.merge(Proposal({}, {OTHER: {"alias": "db"}}, ""), THERE, "")
    assert merged.wwids == {OTHER: {}}
    assert [left.why for left in merged.left] == [f"it has this name for LUN {LUN} already, which stays"]


def test_overrides_of_the_clusters_own_stay() -> None:
    merged = takeover.merge(Proposal({}, {}, "a"), Configuration(), "b")
    assert merged.overrides == "b"
    assert len(merged.left) == 1
    assert takeover.merge(Proposal({}, {}, "a"), Configuration(), "a").left == ()


def test_taking_the_same_over_twice_changes_nothing_the_second_time() -> None:
    proposal = Proposal({"failback": "manual"}, {LUN: {"alias": "db"}, OTHER: {}}, "")
    once = takeover.text(proposal, "")
    assert takeover.text(takeover.merge(proposal, configuration.parse(once), ""), once) == once


def test_many_luns_are_written_as_if_each_were_added_by_itself() -> None:
    luns: dict[str, dict[str, str]] = {f"{LUN}{number}": {"alias": f"db{number}"} for number in range(3)}
    one_by_one = there = "wwid: x\n\tprio alua\n"
    for wwid, properties in luns.items():
        one_by_one = configuration.add_wwid(one_by_one, wwid, properties)
    assert takeover.text(Proposal({}, luns, ""), there) == one_by_one


def test_maps_that_would_get_another_name_are_told() -> None:
    proposal = Proposal({}, {LUN: {"alias": "mpatha"}, OTHER: {}}, "")
    assert takeover.renames(proposal, {LUN: "mpatha", OTHER: OTHER}) == {}
    assert takeover.renames(proposal, {LUN: "mpathb", OTHER: "old"}) == {
        LUN: ("mpathb", "mpatha"),
        OTHER: ("old", OTHER),
    }
