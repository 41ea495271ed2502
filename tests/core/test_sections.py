from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core.property import BadValue
from pathfleet.core.sections import Problem, Property, Sections, parse, settle, standing

TEXT = """\
# made by hand
defaults: defaults
\tpolling-interval 5
    # odd, but so it is
    prio   alua  \t

future: thing
\tneeds  care

wwid: 36001
\talias data

wwid: 36002

"""


def test_what_a_text_says() -> None:
    found = parse(TEXT)
    assert [(section.kind, section.id, section.line, section.end) for section in found.sections] == [
        ("defaults", "defaults", 2, 6),
        ("future", "thing", 7, 9),
        ("wwid", "36001", 10, 12),
        ("wwid", "36002", 13, 14),
    ]
    assert found.sections[0].properties == (Property("polling-interval", "5", 3), Property("prio", "alua", 5))
    assert found.problems == ()


PIECES = [
    "a: b",
    "wwid:36001",
    "\tkey value",
    "key",
    "\t",
    "  ",
    "",
    "0",
    "#x",
    "\t# y",
    " disable",
    "é: ö",
    "\r",
    "a\x85b",
]
ENDS = ["\n", "\r\n", "\n\n", "\r", ""]
TEXTS = st.text() | st.lists(
    st.builds("{}{}".format, st.sampled_from(PIECES) | st.text(max_size=8), st.sampled_from(ENDS)), max_size=20
).map("".join)


@given(TEXTS)
def test_any_text_is_read_and_comes_back_byte_for_byte(text: str) -> None:
    assert parse(text).render() == text


# Each row as Proxmox's own module reads it: (line, kind, id).
@pytest.mark.parametrize(
    ("line", "header"),
    [
        ("wwid: 36001", ("wwid", "36001")),
        ("lvm:a", ("lvm", "a")),
        ("lvm:    a   ", ("lvm", "a")),
        ("lvm: a\r", ("lvm", "a")),
        ("a:b:c", ("a:b", "c")),
        ("a:b: c:d", ("a:b", "c:d")),
        ("a::", ("a", ":")),
    ],
)
def test_a_header_is_a_kind_and_an_id(line: str, header: tuple[str, str]) -> None:
    (section,) = parse(line).sections
    assert (section.kind, section.id) == header


@pytest.mark.parametrize(
    "line", [" wwid: 36001", "wwid: 36001 more", "wwid 36001", "wwid:", ":x", ": x", "wwid", "  "]
)
def test_what_is_no_header_outside_of_a_section_is_ignored_and_told(line: str) -> None:
    found = parse(f"# first\n{line}\n")
    assert found.sections == ()
    assert [problem.line for problem in found.problems] == [2]


def properties(text: str) -> list[tuple[str, str | None]]:
    (section,) = parse("a: b\n" + text).sections
    return [(found.key, found.value) for found in section.properties]


def test_any_indentation_will_do_and_the_blanks_inside_of_a_value_stay() -> None:
    assert properties("  key \t one  two\t \n\tother x\r\n") == [("key", "one  two"), ("other", "x")]


def test_a_bare_word_has_no_value() -> None:
    assert properties("\tdisable\n\tother  \n") == [("disable", None), ("other", None)]


def test_only_ascii_blanks_are_blanks() -> None:
    assert properties("\tkey\u00a0x\n\tkey \u2003y\n") == [("key\u00a0x", None), ("key", "\u2003y")]


def test_a_comment_counts_nowhere() -> None:
    assert properties("# one\n\tkey x\n\t  # two\n\tother y\n") == [("key", "x"), ("other", "y")]


def test_blanks_alone_do_not_end_a_section() -> None:
    found = parse("a: b\n\tkey x\n \t\n\tother y\n")
    assert properties("\tkey x\n \t\n\tother y\n") == [("key", "x"), ("other", "y")]
    assert found.problems == (Problem(3, "blanks alone do not end a section: the line must be empty"),)


def test_a_header_without_an_empty_line_before_it_begins_nothing() -> None:
    found = parse("a: b\n\tkey x\nc: d\n\tkey y\n")
    assert [section.id for section in found.sections] == ["b"]
    assert found.problems == (Problem(3, "'c: d' begins no section: it needs an empty line before it"),)


def test_a_line_that_is_not_indented_is_no_property() -> None:
    found = parse("a: b\nkey x\n")
    assert found.sections[0].properties == ()
    assert [problem.line for problem in found.problems] == [2]


def test_a_line_with_a_zero_ends_a_section() -> None:
    assert [section.id for section in parse("a: b\n0\nc: d\n").sections] == ["b", "d"]


def test_the_empty_lines_of_windows_do_not_end_a_section() -> None:
    found = parse("a: b\r\n\tkey x\r\n\r\nc: d\r\n")
    assert [section.id for section in found.sections] == ["b"]
    assert [problem.line for problem in found.problems] == [3, 4]


def test_kinds_are_lower_cased_where_that_is_the_file_s_rule() -> None:
    assert [parse("LVM: a", fold=fold).sections[0].kind for fold in (True, False)] == ["lvm", "LVM"]


def test_of_sections_with_one_id_the_last_counts_whatever_its_kind() -> None:
    counting, problems = standing(parse("a: x\n\nb: y\n\nc: x\n").sections)
    assert [(section.kind, section.id) for section in counting] == [("b", "y"), ("c", "x")]
    assert problems == [Problem(1, "section `x` comes again in line 5, which counts")]


def number(key: str, value: str | None) -> str:
    if value is None or not value.isdigit():
        raise BadValue(key, value or "", "a number")
    return value


def test_of_one_key_the_first_good_value_counts() -> None:
    (section,) = parse("a: b\n\tn\n\tn x\n\tn 5\n\tn 6\n").sections
    values, problems = settle(section, number)
    assert values == {"n": "5"}
    assert [(problem.line, "twice" in problem.message) for problem in problems] == [(2, False), (3, False), (5, True)]


def diff(text: str, changed: Sections) -> tuple[list[str], list[str]]:
    before, after = text.splitlines(keepends=True), changed.render().splitlines(keepends=True)
    return [line for line in before if line not in after], [line for line in after if line not in before]


def test_a_changed_value_changes_its_line_and_no_blank_of_it() -> None:
    assert diff(TEXT, parse(TEXT).set("defaults", "defaults", "prio", "const")) == (
        ["    prio   alua  \t\n"],
        ["    prio   const  \t\n"],
    )


def test_the_same_value_again_changes_nothing() -> None:
    assert parse(TEXT).set("defaults", "defaults", "prio", "alua").render() == TEXT


def test_a_new_property_is_one_line_in_its_place() -> None:
    changed = parse(TEXT).set("defaults", "defaults", "path-checker", "tur")
    assert changed.render() == TEXT.replace("defaults: defaults\n", "defaults: defaults\n\tpath-checker tur\n")


def test_a_bare_word_can_get_a_value() -> None:
    assert parse("a: b\n  shared\n").set("a", "b", "shared", "0").render() == "a: b\n  shared 0\n"


def test_of_duplicates_the_one_that_counts_is_changed() -> None:
    assert parse("a: b\n\tx 1\n\tx 2\n").set("a", "b", "x", "3").render() == "a: b\n\tx 3\n\tx 2\n"
    assert parse("a: b\n\tx 1\n\na: b\n\tx 1\n").set("a", "b", "x", "3").render() == "a: b\n\tx 1\n\na: b\n\tx 3\n"


def test_a_property_goes_with_its_duplicates() -> None:
    assert parse("a: b\n\tx 1\n\t# x\n\ty 1\n\tx 2\n").unset("a", "b", "x").render() == "a: b\n\t# x\n\ty 1\n"


@pytest.mark.parametrize("text", ["a: b\n\tx 1", "a: b"])
def test_a_last_line_without_an_end_gets_one_when_something_follows(text: str) -> None:
    assert parse(text).set("a", "b", "y", "2").render() == text + "\n\ty 2\n"


def test_a_line_that_joins_lines_of_windows_ends_like_them() -> None:
    assert parse("a: b\r\n\tx 1\r\n").set("a", "b", "y", "2").render() == "a: b\r\n\tx 1\r\n\ty 2\r\n"


def test_a_new_section_is_written_as_proxmox_writes_it() -> None:
    properties = {"nodes": "pve1", "vgname": "vg", "base": "san:36001", "disable": "1", "comment": "ours"}
    assert parse("").add("lvm", "x", properties, required=("vgname",)).render() == (
        "lvm: x\n\tcomment ours\n\tdisable\n\tvgname vg\n\tbase san:36001\n\tnodes pve1\n\n"
    )


@pytest.mark.parametrize(
    ("text", "between"),
    [("a: b\n\n", ""), ("a: b\n", "\n"), ("a: b", "\n\n"), ("a: b\r\n\r\n", "\n"), ("# only\n", "\n"), ("\n", "")],
)
def test_a_new_section_comes_after_an_empty_line(text: str, between: str) -> None:
    changed = parse(text).add("c", "d", {})
    assert changed.render() == f"{text}{between}c: d\n\n"
    assert changed.find("c", "d") is not None


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("x", "# top\n\nb: y\n\tk v\n\n\n\nc: z\n\n"),
        ("y", "# top\n\na: x\n# inside\n\n\n\nc: z\n\n"),
        ("z", "# top\n\na: x\n# inside\n\nb: y\n\tk v\n\n\n\n"),
    ],
)
def test_a_section_goes_with_the_one_empty_line_after_it(name: str, left: str) -> None:
    text = "# top\n\na: x\n# inside\n\nb: y\n\tk v\n\n\n\nc: z\n\n"
    kind = {"x": "a", "y": "b", "z": "c"}[name]
    assert parse(text).remove(kind, name).render() == left


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_what_stands_before_a_removed_last_section_stays(end: str) -> None:
    assert parse("a: x\n\nb: y\n\tk v" + end).remove("b", "y").render() == "a: x\n\n"


def test_a_section_goes_with_its_duplicates() -> None:
    assert parse("a: x\n\tk 1\n\nb: y\n\na: x\n\tk 2\n").remove("a", "x").render() == "b: y\n\n"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("k", ""),
        ("k", "a\nb"),
        ("k", "a\rb"),
        ("k", " a"),
        ("k", "a\t"),
        ("", "a"),
        ("k k", "a"),
        ("#k", "a"),
        ("k\n", "a"),
    ],
)
def test_what_the_format_cannot_carry_is_refused(key: str, value: str) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        parse("a: b\n").set("a", "b", key, value)


@pytest.mark.parametrize(
    ("kind", "name"), [("", "x"), ("a", ""), ("a b", "x"), ("a", "x y"), ("#a", "x"), ("a", "x\n")]
)
def test_a_header_that_would_read_otherwise_is_refused(kind: str, name: str) -> None:
    with pytest.raises(ValueError, match="header"):
        parse("").add(kind, name, {})


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.set("wwid", "36003", "alias", "x"),
        lambda found: found.unset("wwid", "36003", "alias"),
        lambda found: found.remove("defaults", "36001"),
    ],
)
def test_there_is_nothing_to_change_in_a_section_that_is_not_there(change: Callable[[Sections], Sections]) -> None:
    with pytest.raises(KeyError):
        change(parse(TEXT))


KEYS = st.sampled_from(["alias", "prio", "comment", "disable", "x"])
VALUES = st.sampled_from(["1", "0", "two words", "é", "a: b", "#"])


@given(TEXTS, KEYS, VALUES, st.integers(0, 10))
def test_one_change_in_any_text_leaves_every_other_line(text: str, key: str, value: str, which: int) -> None:
    found = parse(text)
    if not found.sections:
        return
    section = found.sections[which % len(found.sections)]
    counting = found.find(section.kind, section.id)
    assert counting is not None
    changed = found.set(section.kind, section.id, key, value)
    after = changed.find(section.kind, section.id)
    assert after is not None
    now = after.first(key)
    assert now is not None
    assert now.value == value or (key, value, now.value) == ("disable", "1", None)
    lines = list(changed.lines)
    if counting.first(key) is not None:
        assert lines[: now.line - 1] + lines[now.line :] == [*found.lines[: now.line - 1], *found.lines[now.line :]]
    else:
        del lines[now.line - 1]
        assert lines == [*found.lines, *([""] if len(lines) > len(found.lines) else [])]


@given(TEXTS, KEYS, VALUES)
def test_what_is_added_can_be_removed_without_a_trace_but_an_empty_line(text: str, key: str, value: str) -> None:
    added = parse(text).add("new-kind", "new", {key: value})
    assert added.render().startswith(text)
    assert added.remove("new-kind", "new").render() in (text, text + "\n", text + "\n\n")


def test_a_long_line_of_anything_costs_no_more_than_its_length() -> None:
    for line in ("\t" * 10**6, "\tkey" + " " * 10**6, ":" * 10**6, "a: " + ": " * 10**6, "#" * 10**6):
        text = f"a: b\n{line}\n\n{line}\n"
        assert hashlib.sha1(parse(text).render().encode()).digest() == hashlib.sha1(text.encode()).digest()
