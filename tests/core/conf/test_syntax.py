from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from pathfleet.core.conf.syntax import Assignment, Section, Tree, parse, quoted, render
from pathfleet.lab import configuration
from tests.core.conf.texts import flat, hostile, trees, without_places

DATA = Path(__file__).parents[2] / "data" / "conf"


def read(name: str) -> str:
    return (DATA / name).read_text("utf-8")


def codes(text: str) -> list[tuple[str, int, int]]:
    return [(problem.code, problem.line, problem.column) for problem in parse(text).problems]


def test_every_section_and_keyword_has_its_place() -> None:
    tree = parse("devices {\n\tdevice {\n\t\tprio alua # why\n\t}\n}\n")
    prio = Assignment("prio", "alua", 3, 3)
    assert tree == Tree((Section("devices", (Section("device", (prio,), 2, 2),), 1, 1),))


@pytest.mark.parametrize("name", ["overrides.conf", "local.conf"])
def test_what_multipathd_reads_as_it_stands_has_no_problems(name: str) -> None:
    assert parse(read(name)).problems == ()


@pytest.mark.parametrize(
    ("value", "read_as"),
    [
        ('"service-time 0"', "service-time 0"),
        ('"DISK ""A"""', 'DISK "A"'),
        ('""', ""),
        ('"!^sd # {x}"', "!^sd # {x}"),
        ('"größe"', "größe"),
        ("alua#comment", "alua"),
        ("alua\r", "alua"),
        ('"a\\b"', "a\\b"),
    ],
)
def test_a_value_is_one_word_or_stands_in_double_quotes(value: str, read_as: str) -> None:
    tree = parse(f"overrides {{\nprio {value}\n}}")
    assert flat(tree) == [(("overrides",), "prio", read_as)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("overrides\n{\n}", ("brace-on-next-line", 2, 1)),
        ("overrides\n\n # not yet\n{\n}", ("brace-on-next-line", 4, 1)),
        ("{\n}", ("stray-brace", 1, 1)),
        ("overrides {\n}\n}", ("stray-brace", 3, 1)),
        ("overrides {", ("unclosed-section", 1, 1)),
        ("overrides {\nprio alua }", ("brace-after-value", 2, 11)),
        ("overrides { prio alua\n}", ("text-after-brace", 1, 13)),
        ("overrides {}", ("text-after-brace", 1, 12)),
        ("overrides extra {\n}", ("brace-after-value", 1, 17)),
        ("overrides {\npath_selector round-robin 0\n}", ("extra-words", 2, 27)),
        ('overrides {\nprio "alua" x\n}', ("extra-words", 2, 13)),
        ('overrides {\nprio "alua\n}', ("missing-quote", 2, 6)),
        ('overrides {\nprio "alua""\n}', ("missing-quote", 2, 6)),
        ("overrides {\nprio\n}", ("missing-value", 2, 1)),
        ("blacklist {\n  devnode !^sd\n}", ("missing-value", 2, 3)),
        ("overrides {\nalias_prefix a#b\n}", ("comment-in-word", 2, 15)),
        ('overrides {\n"prio" alua\n}', ("quoted-keyword", 2, 1)),
        ("prio alua", ("outside-section", 1, 1)),
        ("overrides {\nalias_prefix größe\n}", ("not-ascii", 2, 16)),
        ("overrides {\nprio a\rb\n}", ("control-character", 2, 7)),
        ("overrides {\n# a\0b\n}", ("control-character", 2, 4)),
        ("# " + "é" * 511, ("line-too-long", 1, 1)),
        ("a {\nb {\nc {\nd {\ne {\n}\n}\n}\n}\n}", ("too-deep", 5, 1)),
    ],
)
def test_what_multipathd_reads_otherwise_is_told_with_its_place(text: str, problem: tuple[str, int, int]) -> None:
    assert problem in codes(text)


@pytest.mark.parametrize(
    "text",
    [
        "overrides\n{\nprio alua\n}",
        "overrides { prio alua }",
        'overrides {\n"prio" alua\n}',
        'overrides {\nprio "alua\n}',
        "overrides {\nprio alua",
        "}\noverrides extra {\nprio alua\n}",
    ],
)
def test_the_tree_says_what_was_meant(text: str) -> None:
    assert flat(parse(text)) == [(("overrides",), "prio", "alua")]


def test_a_line_of_1023_bytes_is_read_at_once() -> None:
    assert codes("#" + "x" * 1022) == []
    assert codes("#" + "x" * 1023) == [("line-too-long", 1, 1)]


def test_the_end_of_an_unclosed_section_does_not_hide_what_follows_it() -> None:
    tree = parse("devices {\ndevice {\nprio alua\n}\noverrides {\nprio const\n}\n")
    assert [problem.code for problem in tree.problems] == ["unclosed-section"]
    assert (("devices", "overrides"), "prio", "const") in flat(tree)


@given(trees())
def test_what_is_rendered_reads_the_same(tree: Tree) -> None:
    text = render(tree)
    assert parse(text).problems == ()
    assert flat(parse(text)) == flat(tree)
    assert render(parse(text)) == text


@given(hostile())
def test_nothing_makes_the_parser_raise_and_its_places_are_in_the_text(text: str) -> None:
    lines = text.split("\n")
    for problem in parse(text).problems:
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= max(len(lines[problem.line - 1]), 1)


@given(hostile())
def test_a_text_without_problems_stays_the_same_when_rendered(text: str) -> None:
    tree = parse(text)
    if not tree.problems:
        assert without_places(parse(render(tree))) == without_places(tree)


@given(trees())
def test_the_simulated_daemon_reads_a_text_without_problems_alike(tree: Tree) -> None:
    statements = configuration._sections(render(tree))
    assert [(around, keyword, value) for around, keyword, value in statements if keyword] == flat(tree)


@pytest.mark.parametrize(
    "piece", ["{", "}", '"', '""', "a ", "a {\n", "}\n", "\n", "#", "x", "a b c ", "{}", "\r", "é"]
)
def test_a_megabyte_of_anything_is_read_in_one_go(piece: str) -> None:
    assert isinstance(parse(piece * (1_000_000 // len(piece))), Tree)


def test_a_double_quote_is_doubled_within_quotes() -> None:
    assert quoted('a"b') == '"a""b"'
