from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core.conf.ere import SIZE_LIMIT, why_refused
from pathfleet.core.conf.search import Searcher

_EXTENDED, _NO_MATCHES = 1, 8
#: More than glibc's regex_t takes anywhere.
_REGEX_SIZE = 512


def glibc(pattern: str, texts: list[str]) -> list[bool] | None:
    """What the C library that multipathd asks finds; None if it refuses the pattern."""
    libc = ctypes.CDLL(None)
    compiled = ctypes.create_string_buffer(_REGEX_SIZE)
    if libc.regcomp(compiled, pattern.encode(), _EXTENDED | _NO_MATCHES):
        return None
    found = [libc.regexec(compiled, text.encode(), 0, None, 0) == 0 for text in texts]
    libc.regfree(compiled)
    return found


PATTERNS = st.lists(
    st.sampled_from(
        [*"ab-c^$.*+?|()[]{}0123,\\:!wsS", "[:alpha:]", "[a-c]", "{1,2}", "(a|b)", "[^", "\\.", ".*", "{,2}"]
    ),
    max_size=10,
).map("".join)
TEXTS = st.lists(st.text("abc-01^$ .", max_size=8), max_size=4)


@given(PATTERNS, TEXTS)
def test_a_pattern_that_is_allowed_finds_what_glibc_finds(pattern: str, texts: list[str]) -> None:
    if why_refused(pattern) is not None:
        return
    expected = glibc(pattern, texts)
    assert expected is not None
    searcher = Searcher(pattern)
    if searcher.sure:
        assert [searcher.finds(text) for text in texts] == expected


@pytest.mark.parametrize(
    "pattern",
    [
        *("*", "+a", "a|*", "(*a)", "^*", "$+", "{1}", "a{", "a{x}", "a{2,1}", "a{40000}", "(?:a)"),
        *("(", "(a", "^(sd[a", "[a", "[[:alpha:]", "[[:foo:]]", "[z-a]", "[a-c-e]", "[[:alpha:]-z]", "\\"),
    ],
)
def test_what_glibc_refuses_is_refused(pattern: str) -> None:
    assert glibc(pattern, []) is None
    assert why_refused(pattern) is not None


@pytest.mark.parametrize("pattern", [")", "a)", "\\d", "\\n", "(a)\\1", "[[=a=]]", "(a{1,200}){1,200}", "é", "a\0b"])
def test_what_glibc_takes_otherwise_than_it_looks_is_refused_too(pattern: str) -> None:
    assert why_refused(pattern) is not None


@pytest.mark.parametrize(
    "pattern", ["", "()", "a|", "[]a]", "[^]-]", "a{,3}", "(^)*", "a**", "x^y", "\\.", "\\w+", "a}"]
)
def test_odd_but_right_patterns_are_allowed(pattern: str) -> None:
    assert why_refused(pattern) is None


@pytest.mark.parametrize(
    "pattern", ["(" * 5000 + ")" * 5000, "a" + "*" * 5000, "a{1999}" * 5, "[" * 5000, "a|" * 5000]
)
def test_a_pattern_that_would_cost_much_is_refused(pattern: str) -> None:
    assert why_refused(pattern) is not None


def test_a_pattern_that_makes_backtracking_take_for_ever_takes_no_time() -> None:
    searcher = Searcher("^(a|a)*(a*)*(a|b|ab)*c$")
    assert not searcher.finds("a" * 10_000)
    assert searcher.work < 10_000 * SIZE_LIMIT


def test_a_word_s_edge_is_allowed_but_not_searched_for() -> None:
    assert why_refused("\\bsd") is None
    assert not Searcher("\\bsd").sure
