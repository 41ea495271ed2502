from __future__ import annotations

import pytest

from pathfleet.core import schema
from pathfleet.core.conf.keywords import ALIASES, IDENTITY, KEYWORDS, PLACES, RENAMED, Place, canonical, places_of
from tests.core.conf.texts import right_values

EVERY = [(place, keyword) for place, keywords in KEYWORDS.items() for keyword in keywords.values()]


def test_every_keyword_takes_something_and_refuses_nonsense() -> None:
    for place, keyword in EVERY:
        assert right_values(keyword), f"{place} {keyword.name}"
        assert keyword.kind.why_not("gr\xf6\xdfe\n") is not None, f"{place} {keyword.name}"
        assert keyword.kind.allowed


def test_another_spelling_means_a_value_that_is_taken_too() -> None:
    for _, keyword in EVERY:
        for spelling, meant in keyword.kind.spellings.items():
            assert keyword.kind.why_not(spelling) is None, keyword.name
            assert keyword.kind.why_not(meant) is None, keyword.name
            assert keyword.kind.canonical(meant) == meant


def test_every_place_is_known_and_what_identifies_a_section_may_stand_in_it() -> None:
    assert set(KEYWORDS) == set(PLACES.values())
    for place, identity in IDENTITY.items():
        assert set(identity) <= set(KEYWORDS[place])


def test_an_old_name_leads_to_one_that_there_is() -> None:
    sections = {place[0] for place in KEYWORDS}
    for old, new in {**RENAMED, **ALIASES}.items():
        assert places_of(new) or new in sections, old


@pytest.mark.parametrize("row", schema.PROPERTIES, ids=lambda row: row.name)
def test_the_cluster_s_properties_are_keywords_with_the_same_values_and_age(row: schema.Property) -> None:
    places = [
        place
        for place, there in ((("defaults",), row.in_defaults), (("multipaths", "multipath"), row.in_wwid))
        if there
    ]
    for place in places:
        keyword = KEYWORDS[place][row.keyword]
        # 0 is not set for some of them
        numbers = [str(number or 1) for number in (row.minimum, row.maximum) if number is not None]
        for value in (*row.words, *numbers):
            assert keyword.kind.why_not(value) is None, value
        assert keyword.since == row.since
        newer = {word: keyword.newer_words[word] for word in keyword.newer_words if word in row.words}
        assert newer == row.newer_words


@pytest.mark.parametrize(
    ("keyword", "value", "printed"),
    [
        ("no_path_retry", "0", "fail"),
        ("no_path_retry", "1", "1"),
        ("find_multipaths", "yes", "on"),
        ("find_multipaths", "no", "off"),
        ("flush_on_last_del", "yes", "always"),
        ("flush_on_last_del", "no", "unused"),
        ("path_selector", "round-robin  0", "round-robin 0"),
        ("skip_kpartx", "1", "yes"),
        ("dev_loss_tmo", "4294967295", "infinity"),
        ("reservation_key", "0x00AB", "0xab"),
        ("fast_io_fail_tmo", "0", "0"),
        ("failback", "0", "0"),
        ("uid", "1000", "01750"),
        ("uid", "01750", "01750"),
        ("gid", "0", "00"),
        ("gid", "root", "00"),
        ("nosuch", "1", "1"),
    ],
)
def test_values_that_mean_the_same_have_one_spelling(keyword: str, value: str, printed: str) -> None:
    assert canonical(("defaults",), keyword, value) == printed


@pytest.mark.parametrize("row", schema.PROPERTIES, ids=lambda row: row.name)
def test_no_two_words_of_a_property_mean_the_same(row: schema.Property) -> None:
    place: Place = ("defaults",) if row.in_defaults else ("multipaths", "multipath")
    assert len({canonical(place, row.keyword, word) for word in row.words}) == len(row.words)


@pytest.mark.parametrize(
    ("place", "keyword", "bad"),
    [
        (("defaults",), "polling_interval", "0"),
        (("defaults",), "polling_interval", "abc"),
        (("defaults",), "polling_interval", "61"),
        (("defaults",), "user_friendly_names", "on"),
        (("overrides",), "path_selector", "round-robin"),
        (("overrides",), "path_selector", "round-robin 1"),
        (("overrides",), "path_selector", "roundrobin 0"),
        (("overrides",), "path_selector", ""),
        (("overrides",), "features", "1 a b"),
        (("overrides",), "features", "x"),
        (("overrides",), "no_path_retry", "-3"),
        (("overrides",), "no_path_retry", "2147483648"),
        (("overrides",), "no_path_retry", "5 "),
        (("overrides",), "no_path_retry", "\u0665"),
        (("overrides",), "path_grouping_policy", "failoverx"),
        (("overrides",), "marginal_path_err_sample_time", "60"),
        (("multipaths", "multipath"), "alias", ""),
        (("multipaths", "multipath"), "alias", "a/b"),
        (("multipaths", "multipath"), "alias", "a" * 128),
        (("multipaths", "multipath"), "mode", "0999"),
        (("multipaths", "multipath"), "reservation_key", "0"),
        (("multipaths", "multipath"), "reservation_key", "12345678901234567"),
        (("blacklist",), "wwid", "*"),
        (("devices", "device"), "vendor", "!ACME"),
        (("overrides", "protocol"), "type", "scsi"),
    ],
)
def test_a_value_that_some_release_reads_otherwise_is_refused(place: Place, keyword: str, bad: str) -> None:
    assert KEYWORDS[place][keyword].kind.why_not(bad) is not None
