from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core.conf.keywords import KEYWORDS
from pathfleet.core.property import BadValue, Property
from pathfleet.core.schema import BY_NAME, PROPERTIES, check, check_together, check_wwid, settable, unknown_to

WWID = "3600a098038303053453f463045727a41"

# What the specification's section 5 names.
NAMED = """
alias path-selector path-grouping-policy prio failback no-path-retry polling-interval max-polling-interval path-checker
rr-weight rr-min-io-rq fast-io-fail-tmo dev-loss-tmo eh-deadline user-friendly-names find-multipaths flush-on-last-del
marginal-path-err-sample-time marginal-path-err-rate-threshold marginal-path-err-recheck-gap-time
marginal-path-double-failed-time san-path-err-threshold san-path-err-forget-rate san-path-err-recovery-time
detect-checker detect-prio reservation-key skip-kpartx max-sectors-kb queue-without-daemon uxsock-timeout
checker-timeout
"""

# The keywords that multipath.conf allows in a `multipath` section and that a cluster has a use for.
FOR_A_LUN = """
alias path_grouping_policy path_selector prio prio_args failback rr_weight rr_min_io rr_min_io_rq no_path_retry
flush_on_last_del features mode uid gid reservation_key deferred_remove delay_watch_checks delay_wait_checks
san_path_err_threshold san_path_err_forget_rate san_path_err_recovery_time marginal_path_err_sample_time
marginal_path_err_rate_threshold marginal_path_err_recheck_gap_time marginal_path_double_failed_time skip_kpartx
purge_disconnected max_sectors_kb ghost_delay
"""


def test_the_properties_of_the_specification_are_there() -> None:
    assert set(NAMED.split()) <= set(BY_NAME)


def test_a_lun_has_the_properties_that_multipath_conf_allows_for_one() -> None:
    assert {row.keyword for row in PROPERTIES if row.in_wwid} == set(FOR_A_LUN.split())


def test_a_name_stands_for_one_property() -> None:
    assert len(BY_NAME) == len(PROPERTIES)


@pytest.mark.parametrize("row", PROPERTIES, ids=lambda row: row.name)
def test_a_row_is_whole(row: Property) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", row.name)
    assert re.fullmatch(r"[A-Z].*\.", row.help)
    assert row.allowed
    assert row.in_defaults or row.in_wwid
    assert set(row.newer_words) <= set(row.words)
    assert (row.minimum is None) == (row.maximum is None) == (row.kind != "number")
    assert (row.pattern is None) == (row.kind != "text")
    assert row.pattern is None or row.form
    assert all(len(word) < 100 for word in row.words)
    for value in (row.default, row.fixed, *row.words):
        if value is not None and row.fixed in (None, value):
            assert row.read(value) == value


@pytest.mark.parametrize("row", PROPERTIES, ids=lambda row: row.name)
def test_a_row_says_nothing_that_the_table_of_multipath_conf_s_keywords_denies(row: Property) -> None:
    places = [("defaults",)] * row.in_defaults + [("multipaths", "multipath")] * row.in_wwid
    values = [*row.words, *(str(bound) for bound in (row.minimum, row.maximum) if bound is not None)]
    for place in places:
        keyword = KEYWORDS[place][row.keyword]
        assert (keyword.since, keyword.ignored) == (row.since, row.until)
        for value in [row.fixed] if row.fixed is not None else values:
            assert keyword.kind.why_not(value) is None
            assert keyword.newer_words.get(value) == row.newer_words.get(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("polling-interval", "5"),
        ("polling-interval", "60"),
        ("no-path-retry", "queue"),
        ("no-path-retry", "0"),
        ("no-path-retry", "12"),
        ("failback", "followover"),
        ("failback", "30"),
        ("path-selector", "round-robin 0"),
        ("prio", "path_latency"),
        ("prio-args", "io_num=20 base_num=10"),
        ("features", "0"),
        ("features", "1 queue_if_no_path"),
        ("features", "5 queue_if_no_path pg_init_retries 50 queue_mode bio"),
        ("fast-io-fail-tmo", "off"),
        ("dev-loss-tmo", "infinity"),
        ("marginal-path-err-sample-time", "120"),
        ("marginal-path-err-sample-time", "no"),
        ("reservation-key", "file"),
        ("reservation-key", "0x123abc"),
        ("reservation-key", "0x123abc:aptpl"),
        ("mode", "0660"),
        ("uid", "0"),
        ("max-fds", "max"),
        ("user-friendly-names", "no"),
        ("find-multipaths", "strict"),
        ("flush-on-last-del", "yes"),
    ],
)
def test_a_value_that_multipathd_reads_as_it_stands_is_taken_as_it_is(name: str, value: str) -> None:
    assert check(name, value) == value


@pytest.mark.parametrize(("value", "meant"), [("1", "yes"), ("0", "no"), ("yes", "yes"), ("no", "no")])
def test_yes_and_no_may_be_digits(value: str, meant: str) -> None:
    assert check("detect-prio", value) == meant


# multipathd divides by the first, spins on the second, caps or misreads the others, or fails its whole file.
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("polling-interval", "0"),
        ("polling-interval", "abc"),
        ("polling-interval", "-1"),
        ("polling-interval", "+5"),
        ("polling-interval", "05"),
        ("polling-interval", "61"),
        ("polling-interval", "5s"),
        ("polling-interval", " 5"),
        ("polling-interval", "5\n"),
        ("polling-interval", "\u0665"),
        ("polling-interval", ""),
        ("polling-interval", "4294967301"),
        ("polling-interval", "9" * 5000),
        ("max-polling-interval", "0"),
        ("checker-timeout", "0"),
        ("uxsock-timeout", "1000"),
        ("max-retries", "6"),
        ("no-path-retry", "-1"),
        ("no-path-retry", "Queue"),
        ("detect-prio", "true"),
        ("detect-prio", "on"),
        ("marginal-pathgroups", "on"),
        ("flush-on-last-del", "always"),
        ("path-grouping-policy", "group_by_prio_or_so"),
        ("path-selector", "service-time"),
        ("path-selector", "service-time 1"),
        ("prio", "alua "),
        ("prio-args", ""),
        ("prio-args", "a\nb"),
        ("prio-args", " a"),
        ("prio-args", "é"),
        ("prio-args", "a" * 256),
        ("features", "1"),
        ("features", "2 queue_if_no_path"),
        ("features", "1 no_such_feature"),
        ("features", ""),
        ("marginal-path-err-sample-time", "119"),
        ("marginal-path-err-sample-time", "0"),
        ("marginal-path-err-rate-threshold", "1001"),
        ("reservation-key", "123abc"),
        ("reservation-key", "0x0"),
        ("reservation-key", "0x00:aptpl"),
        ("reservation-key", "0x11112222333344445"),
        ("mode", "660"),
        ("mode", "0999"),
        ("uid", "root"),
        ("user-friendly-names", "yes"),
        ("find-multipaths", "greedy"),
    ],
)
def test_a_value_that_any_multipathd_would_not_read_as_it_stands_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadValue) as refused:
        check(name, value)
    assert (refused.value.property, refused.value.value) == (name, value)
    assert refused.value.allowed == BY_NAME[name].allowed


def test_a_refusal_says_the_property_the_value_and_what_is_allowed() -> None:
    with pytest.raises(BadValue) as refused:
        check("no-path-retry", "often")
    assert str(refused.value) == (
        "no-path-retry: 'often' is refused; allowed: `fail`, `queue`, a number from 0 to 100000 checks"
    )
    assert list(refused.value.errors) == ["no-path-retry"]
    assert (refused.value.code, refused.value.status) == ("bad-value", 400)


def test_a_refusal_of_a_long_value_is_short() -> None:
    with pytest.raises(BadValue, match="…") as refused:
        check("prio", "x" * 10000)
    assert len(str(refused.value)) < 400


def test_a_name_that_is_no_property_is_refused_with_the_one_that_is_like_it() -> None:
    with pytest.raises(BadValue, match="did you mean `polling-interval`"):
        check("poling-interval", "5")


@pytest.mark.parametrize(
    ("name", "wwid"), [("alias", None), ("polling-interval", WWID), ("user-friendly-names", WWID)]
)
def test_a_property_is_refused_where_it_does_not_belong(name: str, wwid: str | None) -> None:
    with pytest.raises(BadValue, match="none of them"):
        check(name, "no", wwid=wwid)
    with pytest.raises(BadValue, match="none of them"):
        settable(name, per_lun=wwid is not None)


@pytest.mark.parametrize("alias", ["data", "san1-lun_7", "a" * 127, "A.b+c:d=e@f#g", WWID])
def test_a_name_that_dm_keeps_as_it_is_may_be_an_alias(alias: str) -> None:
    assert check("alias", alias, wwid=WWID) == alias


@pytest.mark.parametrize(
    "alias",
    [
        *("", "a/b", "a b", "a\tb", "a\n", "a\x00", 'a"b', "a'b", "a\\b", "ä", "a" * 128, "-a", ".", "..", "a(b)"),
        *("3600a098038303053453f463045727a42", "3600A098038303053453F463045727A4F", "eui.0025388b710116a1"),
        *("uuid.12345678-1234-1234-1234-123456789abc", "36001405abcdef012", "nvme.1234-5678"),
    ],
)
def test_a_name_that_dm_would_change_or_that_looks_like_another_lun_is_no_alias(alias: str) -> None:
    with pytest.raises(BadValue, match="alias"):
        check("alias", alias, wwid=WWID)


@pytest.mark.parametrize("wwid", [WWID, "eui.0025388b710116a1", "1ATA_disk_(x)'#!:", "a\\x22b", "x" * 127])
def test_what_a_map_can_carry_is_a_wwid(wwid: str) -> None:
    assert check_wwid(wwid) == wwid


@pytest.mark.parametrize("wwid", ["", "a b", "a/b", 'a"b', "a\n", "a\x7f", "é", "x" * 128, "defaults"])
def test_what_a_map_or_a_file_cannot_carry_is_no_wwid(wwid: str) -> None:
    with pytest.raises(BadValue, match="wwid"):
        check_wwid(wwid)


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ({"polling-interval": "10", "max-polling-interval": "10"}, None),
        ({"polling-interval": "10", "max-polling-interval": "9"}, "max-polling-interval"),
        ({"max-polling-interval": "4"}, "max-polling-interval"),
        ({"polling-interval": "60"}, None),
        ({"fast-io-fail-tmo": "10", "dev-loss-tmo": "11"}, None),
        ({"fast-io-fail-tmo": "10", "dev-loss-tmo": "10"}, "dev-loss-tmo"),
        ({"fast-io-fail-tmo": "off", "dev-loss-tmo": "1"}, None),
        ({"fast-io-fail-tmo": "10", "dev-loss-tmo": "infinity"}, None),
        ({"dev-loss-tmo": "5"}, "dev-loss-tmo"),
    ],
)
def test_defaults_that_contradict_each_other_are_refused(values: dict[str, str], refused: str | None) -> None:
    check_together(values, ())
    if refused is None:
        check_together(values, values)
        return
    with pytest.raises(BadValue) as error:
        check_together(values, values)
    assert error.value.property == refused


@pytest.mark.parametrize(
    ("version", "name", "value", "known"),
    [
        (None, "prio", "alua", True),
        (None, "eh-deadline", "10", False),
        ("0.8.5", "eh-deadline", "10", False),
        ("0.8.6", "eh-deadline", "10", True),
        ("0.9.4-3+deb12u2", "eh-deadline", "10", True),
        ("0.9.4", "max-retries", "1", False),
        ("0.10.0", "max-retries", "1", True),
        ("0.9.4", "path-grouping-policy", "group_by_tpg", False),
        ("0.9.4", "path-grouping-policy", "group_by_prio", True),
        ("v0.11.1", "path-grouping-policy", "group_by_tpg", True),
        ("0.14.3", "rr-weight", "uniform", True),
        ("0.15.0", "rr-weight", "uniform", False),
        ("no version", "eh-deadline", "10", False),
    ],
)
def test_what_a_release_knows(version: str | None, name: str, value: str, known: bool) -> None:
    assert (unknown_to(version, BY_NAME[name], value) is None) == known


@given(st.sampled_from([*BY_NAME]) | st.text(), st.text() | st.integers().map(str), st.none() | st.just(WWID))
def test_any_value_is_either_taken_or_refused(name: str, value: str, wwid: str | None) -> None:
    try:
        taken = check(name, value, wwid=wwid)
    except BadValue:
        return
    assert check(name, taken, wwid=wwid) == taken
    assert taken.isascii()
    assert taken.isprintable()
    assert taken.strip() == taken != ""
