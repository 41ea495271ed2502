from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core.configuration import (
    Configuration,
    add_wwid,
    combined_digest,
    digest,
    parse,
    remove_wwid,
    set_alias,
    set_defaults,
    set_wwid,
)
from pathfleet.core.property import BadValue
from pathfleet.core.sections import Problem
from pathfleet.errors import NotFound

GOLDEN = (Path(__file__).parent.parent / "data/config/multipath.cfg").read_text()
A = "36000000000000000000000000000000a"
B = "36000000000000000000000000000000b"
TEXT = f"""\
# ours
defaults: defaults
\tprio alua
\tof-a-newer-version 7

wwid: {A}
\talias data

future: thing
\tx y

wwid: {B}

"""


def test_what_a_configuration_says() -> None:
    assert parse(GOLDEN) == Configuration(
        {
            "path-grouping-policy": "group_by_prio",
            "polling-interval": "5",
            "prio": "alua",
            "no-path-retry": "12",
            "eh-deadline": "30",
            "rr-min-io-rq": "1",
        },
        {
            "3600a098038303053453f463045727a41": {
                "alias": "data",
                "no-path-retry": "queue",
                "path-grouping-policy": "group_by_tpg",
            },
            "eui.0025388b710116a1": {},
            "1ATA_disk\\x22_of_'27'": {"prio": "weightedpath", "prio-args": 'hbtl "1:.:.:." 2'},
        },
        has_defaults=True,
    )


def test_luns_are_in_the_order_of_the_file() -> None:
    assert list(parse(f"wwid: {B}\n\nwwid: {A}\n").wwids) == [B, A]


def test_nothing_configured_is_empty() -> None:
    assert parse("").empty
    assert parse("# nothing\n\nfuture: thing\n").empty
    assert not parse(f"wwid: {A}\n").empty
    assert not parse("defaults: defaults\n\tof-a-newer-version 7\n").empty


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("nonsense\n", 1, "outside"),
        ("future: thing\n\tx y\n", 1, "`future` are not known"),
        ("defaults: other\n", 1, "`defaults: defaults`"),
        ("wwid: defaults\n", 1, "not `defaults`"),
        ("wwid: a/b\n", 1, "wwid"),
        ("defaults: defaults\n\tof-a-newer-version 7\n", 2, "none of them"),
        ("defaults: defaults\n\tprio alua\n\tpolling-interval 0\n", 3, "a number from 1"),
        ("defaults: defaults\n\tpolling-interval\n", 2, "a number from 1"),
        ("defaults: defaults\n\tprio alua\n\tprio const\n", 3, "twice"),
        ("defaults: defaults\n\talias x\n", 2, "none of them"),
        (f"wwid: {A}\n\talias {B}\n", 2, "alias"),
        (f"wwid: {A}\n\nwwid: {A}\n", 1, "line 3"),
        (f"wwid: {A}\n\talias x\n\nwwid: {B}\n\talias x\n", 4, f"already that of {A}"),
    ],
)
def test_what_does_not_count_is_told_with_its_line(text: str, line: int, words: str) -> None:
    (problem,) = parse(text).problems
    assert problem.line == line
    assert words in problem.message


def test_problems_are_in_the_order_of_the_file() -> None:
    lines = [problem.line for problem in parse("wwid: x\n\ty 1\n\nfoo: x\n\nwwid: x\n\tz 1\n").problems]
    assert lines == sorted(lines) != []


def test_a_bad_value_costs_nothing_but_itself() -> None:
    found = parse(f"defaults: defaults\n\tpolling-interval 0\n\tprio alua\n\nwwid: {A}\n\tprio no\n\talias x\n")
    assert (found.defaults, found.wwids) == ({"prio": "alua"}, {A: {"alias": "x"}})


def test_of_luns_that_share_an_alias_the_first_has_it() -> None:
    assert parse(f"wwid: {A}\n\talias x\n\nwwid: {B}\n\talias x\n").wwids == {A: {"alias": "x"}, B: {}}


def test_a_section_of_another_kind_does_not_take_a_lun_s_place() -> None:
    assert parse(f"wwid: {A}\n\nfuture: {A}\n").wwids == {A: {}}


def test_a_default_changes_one_line() -> None:
    assert set_defaults(TEXT, {"prio": "const"}) == TEXT.replace("prio alua", "prio const")


def test_a_new_default_takes_its_place_among_the_others() -> None:
    text = "defaults: defaults\n\tfailback 5\n\t# the array's own\n\tprio alua\n\n"
    assert set_defaults(text, {"path-checker": "tur", "verbosity": "3"}) == (
        "defaults: defaults\n\tfailback 5\n\tpath-checker tur\n\t# the array's own\n\tprio alua\n\tverbosity 3\n\n"
    )


def test_the_first_default_makes_the_section() -> None:
    text = f"wwid: {A}\n\n"
    assert set_defaults(text, {"prio": "alua"}) == text + "defaults: defaults\n\tprio alua\n\n"


def test_yes_and_no_are_written_as_words() -> None:
    assert set_defaults("", {"detect-prio": "0"}) == "defaults: defaults\n\tdetect-prio no\n\n"


def test_defaults_that_lose_their_last_property_go_away() -> None:
    text = f"# ours\ndefaults: defaults\n\tprio alua\n\nwwid: {A}\n\n"
    assert set_defaults(text, {}, ["prio"]) == f"# ours\nwwid: {A}\n\n"


def test_defaults_of_a_newer_version_keep_the_section() -> None:
    assert set_defaults(TEXT, {}, ["prio"]) == TEXT.replace("\tprio alua\n", "")


@pytest.mark.parametrize("text", ["", TEXT])
def test_what_is_not_set_can_be_deleted(text: str) -> None:
    assert set_defaults(text, {}, ["failback"]) == text


@pytest.mark.parametrize("name", ["of-a-newer-version", "alias", "digest", ""])
def test_what_cannot_be_set_cannot_be_deleted(name: str) -> None:
    with pytest.raises(BadValue, match="none of them"):
        set_defaults(TEXT, {}, [name])


def test_a_property_cannot_be_set_and_deleted_at_once() -> None:
    with pytest.raises(BadValue, match="not both"):
        set_defaults(TEXT, {"prio": "alua"}, ["prio"])


def test_a_bad_default_is_refused() -> None:
    with pytest.raises(BadValue, match="polling-interval: '0' is refused"):
        set_defaults(TEXT, {"polling-interval": "0"})


def test_a_default_that_contradicts_another_is_refused() -> None:
    text = "defaults: defaults\n\tmax-polling-interval 10\n\n"
    with pytest.raises(BadValue, match="at least polling-interval"):
        set_defaults(text, {"polling-interval": "20"})
    assert "polling-interval 20" in set_defaults(text, {"polling-interval": "20"}, ["max-polling-interval"])


def test_a_contradiction_that_is_there_does_not_stand_in_the_way_of_other_changes() -> None:
    text = "defaults: defaults\n\tmax-polling-interval 10\n\tpolling-interval 20\n\n"
    assert set_defaults(text, {"prio": "alua"}) == text[:-1] + "\tprio alua\n\n"


def test_a_new_lun_comes_last() -> None:
    assert add_wwid(TEXT, "eui.1", {"alias": "more", "prio": "ana"}) == (
        TEXT + "wwid: eui.1\n\talias more\n\tprio ana\n\n"
    )
    assert add_wwid("", A) == f"wwid: {A}\n\n"


@pytest.mark.parametrize(
    ("wwid", "properties"),
    [(A, {}), ("defaults", {}), ("a b", {}), ("eui.1", {"alias": "data"}), ("eui.1", {"polling-interval": "5"})],
)
def test_a_lun_that_cannot_be_is_not_added(wwid: str, properties: dict[str, str]) -> None:
    with pytest.raises(BadValue):
        add_wwid(TEXT, wwid, properties)


def test_a_lun_changes_alone() -> None:
    assert set_wwid(TEXT, A, {"prio": "alua"}, ["alias"]) == TEXT.replace("\talias data\n", "\tprio alua\n")


def test_a_lun_without_properties_stays_allowed() -> None:
    assert parse(set_wwid(TEXT, A, {}, ["alias"])).wwids == {A: {}, B: {}}


def test_an_alias_can_be_set_and_changed() -> None:
    assert parse(set_alias(TEXT, B, "more")).wwids[B] == {"alias": "more"}
    assert set_alias(TEXT, A, "data") == TEXT
    assert set_alias(TEXT, A, "other") == TEXT.replace("alias data", "alias other")


def test_an_alias_that_another_lun_has_is_refused_and_the_other_named() -> None:
    with pytest.raises(BadValue, match=f"that of {A}"):
        set_alias(TEXT, B, "data")
    with pytest.raises(BadValue, match="that of eui"):
        set_alias(add_wwid(TEXT, "eui"), B, "eui")


def test_a_removed_lun_takes_nothing_with_it() -> None:
    assert remove_wwid(TEXT, A) == TEXT.replace(f"wwid: {A}\n\talias data\n\n", "")


def test_a_lun_that_is_there_twice_is_gone_when_removed() -> None:
    assert remove_wwid(f"wwid: {A}\n\nwwid: {A}\n", A) == ""


@pytest.mark.parametrize(
    "change",
    [
        lambda text: set_wwid(text, "eui.1", {}),
        lambda text: set_alias(text, "eui.1", "x"),
        lambda text: remove_wwid(text, "eui.1"),
        lambda text: remove_wwid(text, "defaults"),
    ],
)
def test_a_lun_that_is_not_configured_is_not_found(change: Callable[[str], str]) -> None:
    with pytest.raises(NotFound, match="not in the cluster's configuration"):
        change(TEXT)


def test_the_digest_is_proxmox_s() -> None:
    assert digest(b"") == "da39a3ee5e6b4b0d3255bfef95601890afd80709"
    assert digest(b"abc") == "a9993e364706816aba3e25717850c26c9cd0d89d"


def test_without_overrides_the_digest_of_both_is_that_of_one() -> None:
    assert combined_digest(b"abc", b"") == digest(b"abc")
    assert combined_digest(b"abc", b"x") == digest(b"abc\0x")


LINES = st.sampled_from(
    [
        *(
            "defaults: defaults",
            "wwid: a",
            "wwid: b",
            "wwid: defaults",
            "future: a",
            "\talias x",
            "\talias y",
            "\tprio alua",
        ),
        *(
            "\tprio",
            "\tpolling-interval 0",
            "\tpolling-interval 5",
            "\tnew 1",
            "# c",
            "",
            "",
            "\t",
            "junk",
            "\talias x\r",
        ),
    ]
)
TEXTS = st.lists(LINES | st.text(max_size=10), max_size=25).map("\n".join)


@given(TEXTS)
def test_any_text_is_read(text: str) -> None:
    found = parse(text)
    assert [type(problem) for problem in found.problems] == [Problem] * len(found.problems)
    aliases = [properties["alias"] for properties in found.wwids.values() if "alias" in properties]
    assert len(aliases) == len(set(aliases))


@given(TEXTS, st.sampled_from(["alias", "prio", "failback"]), st.sampled_from(["x", "alua", "manual"]))
def test_a_change_in_any_text_is_the_change_that_was_meant(text: str, name: str, value: str) -> None:
    before = parse(text)
    for wwid in before.wwids:
        try:
            changed = parse(set_wwid(text, wwid, {name: value}))
        except BadValue:
            continue
        assert changed.wwids[wwid] == {**before.wwids[wwid], name: value}
        if name != "alias":
            assert {**changed.wwids, wwid: {}} == {**before.wwids, wwid: {}}
            assert changed.defaults == before.defaults


@given(TEXTS)
def test_defaults_set_in_any_text_are_read_back(text: str) -> None:
    before = parse(text)
    changed = parse(set_defaults(text, {"failback": "30"}))
    assert changed.defaults == {**before.defaults, "failback": "30"}
    assert changed.wwids == before.wwids
    assert "failback" not in parse(set_defaults(text, {}, ["failback"])).defaults


@given(TEXTS, st.sampled_from(["a", "b", "c"]))
def test_a_lun_added_to_or_removed_from_any_text_is_there_or_not(text: str, wwid: str) -> None:
    before = parse(text)
    if wwid in before.wwids:
        without = parse(remove_wwid(text, wwid))
        assert list(without.wwids) == [other for other in before.wwids if other != wwid]
    else:
        assert list(parse(add_wwid(text, wwid)).wwids) == [*before.wwids, wwid]
