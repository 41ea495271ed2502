"""The formats that people write and hosts print, thrown at with garbage; PATHFLEET_FUZZ_EXAMPLES says how much."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from pathfleet.core import configuration, sections
from pathfleet.core.conf.effective import settings as settings_of
from pathfleet.core.conf.ere import why_refused
from pathfleet.core.conf.lint import lint
from pathfleet.core.conf.search import Searcher
from pathfleet.core.conf.syntax import parse, render
from pathfleet.lab import configuration as daemon
from tests.core.conf.texts import flat, hostile, nearly_right, without_places

fuzz = settings(max_examples=int(os.environ.get("PATHFLEET_FUZZ_EXAMPLES", "50")), deadline=None)

_SECTION_CONFIG = st.lists(
    st.one_of(
        st.sampled_from(["defaults", "wwid", ": ", "\n", "\n\n", "\t", " ", "#", "prio alua", "alias x", "3600", ":"]),
        st.text(max_size=5),
    ),
    max_size=60,
).map("".join)


@fuzz
@given(st.one_of(hostile(), nearly_right(), st.text()))
def test_multipath_conf_is_parsed_linted_and_flattened_whatever_it_says(text: str) -> None:
    tree = parse(text)
    settings_of(tree)
    lint(text, versions=[text], allow_listed=[text], aliases={"3600": text}, arrays={text: text})
    if not tree.problems:
        assert without_places(parse(render(tree))) == without_places(tree)


@fuzz
@given(nearly_right())
def test_what_passes_the_linter_means_the_same_to_the_simulated_daemon(text: str) -> None:
    if any(each.severity == "error" for each in lint(text) if each.code not in ("defaults-not-here", "fixed-value")):
        return
    read = [(around, keyword, value) for around, keyword, value in daemon._sections(text) if keyword]
    assert read == flat(parse(text))


@fuzz
@given(st.text("ab^$.*+?|()[]{}0123,\\:!wsSdb-", max_size=40), st.text("ab0 ", max_size=20))
def test_every_pattern_is_refused_or_searched_for(pattern: str, text: str) -> None:
    if why_refused(pattern) is None:
        assert Searcher(pattern).finds(text) in (True, False)


@fuzz
@given(st.one_of(_SECTION_CONFIG, st.text()))
def test_section_config_is_read_whatever_it_says_and_written_back_byte_for_byte(text: str) -> None:
    assert sections.parse(text).render() == text
    configuration.parse(text)
