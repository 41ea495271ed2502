from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.cli import render
from pathfleet.cli.overview import Choice, fitted, overview
from pathfleet.core.matrix import Document, NodeRow
from tests.cli.documents import applied, cell, document, lun, node

SOME = document(
    lun("1", "good", a=cell(), b=cell()),
    lun("2", "half", a=cell("degraded", 2), b=cell()),
    lun("3", "dead", a=cell("failed", 0), b=cell("unknown", 4, 4, "the node is offline")),
    lun("4", "gone", b=cell("missing", None, None, "expected by storage s, the node reports no such LUN")),
)


def page(found: Document, choice: Choice = Choice(), width: int | None = 120) -> list[str]:  # noqa: B008 - frozen
    return ["".join(text for text, _ in line).rstrip() for line in overview(found, choice, width)]


def row(lines: list[str], name: str) -> list[str]:
    return next(line.split() for line in lines if line.startswith(f"{name} "))


@pytest.fixture(autouse=True)
def unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))


class TestACell:
    @pytest.mark.parametrize(
        ("name", "drawn"),
        [
            ("good", ["optimal", "4/4", "4/4"]),
            ("half", ["degraded", "!2/4", "4/4"]),
            ("dead", ["failed", "✗0/4", "?"]),
            ("gone", ["missing", "·", "—missing"]),
        ],
    )
    def test_has_a_sign_besides_its_colour(self, name: str, drawn: list[str]) -> None:
        assert row(page(SOME), name)[1:4] == drawn

    def test_is_drawn_in_ascii_where_the_terminal_has_nothing_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
        lines = page(SOME)
        assert all(line.isascii() for line in lines)
        assert row(lines, "dead")[2:4] == ["x0/4", "?"]
        assert row(lines, "gone")[2:4] == [".", "-missing"]

    def test_with_flags_has_a_star_that_is_explained(self) -> None:
        lines = page(document(lun("1", "x", a=cell("optimal", 4, 4, "", "single-domain"))))
        assert row(lines, "x")[2] == "4/4*"
        assert any("* flagged, see below" in line for line in lines)
        assert any(line.split()[:1] == ["single-domain"] and "x on a:" in line for line in lines)


class TestRows:
    def test_are_the_worst_first_and_counted_in_the_headline(self) -> None:
        lines = page(SOME)
        assert lines[0] == "4 LUNs: 1 failed, 1 missing, 1 degraded, 1 optimal; 2 nodes online"
        names = [line.split()[0] for line in lines[3:7]]
        assert names == ["dead", "gone", "half", "good"]

    def test_that_are_well_are_counted_where_there_are_many(self) -> None:
        many = document(*[lun(f"w{place}", a=cell()) for place in range(40)], lun("x", "bad", a=cell("degraded", 1)))
        lines = page(many)
        assert row(lines, "bad")[1] == "degraded"
        assert not any(line.startswith("w") and not line.startswith("what") for line in lines)
        assert "40 more LUNs: 40 optimal; `pathfleet status --all` shows them" in lines

    def test_are_all_there_with_all(self) -> None:
        many = document(*[lun(f"w{place}", a=cell()) for place in range(40)])
        assert sum(line.startswith("w") for line in page(many, Choice(everything=True))) == 40

    def test_are_only_those_to_look_at_with_problems(self) -> None:
        lines = page(SOME, Choice(problems=True))
        assert not any(line.startswith("good ") for line in lines)
        assert row(lines, "half")

    def test_with_problems_are_a_page_where_there_are_very_many_and_the_rest_is_counted(self) -> None:
        many = document(*[lun(f"w{place:03}", a=cell("degraded", 2)) for place in range(400)])
        lines = page(many)
        assert len(lines) < 50
        assert any(line.startswith("370 more LUNs: 370 degraded; `pathfleet status --problems`") for line in lines)
        assert sum(line.startswith("w0") for line in page(many, Choice(problems=True))) == 100

    def test_of_one_alias_are_told_apart_by_wwid(self) -> None:
        lines = page(document(lun("111", "same", a=cell()), lun("222", "same", a=cell())))
        assert {line.split()[1] for line in lines if line.startswith("same ")} == {"(111)", "(222)"}


class TestNodes:
    def test_with_nothing_wrong_leave_the_table_first_and_are_counted(self) -> None:
        names = [f"node{place:02}" for place in range(40)]
        cells = {name: cell() for name in names}
        lines = page(document(lun("1", "x", **{**cells, "node07": cell("failed", 0)})), width=80)
        assert next(line for line in lines if line.startswith("LUN")).split()[:3] == ["LUN", "STATE", "node07"]
        assert any(line.startswith("39 more nodes, with nothing wrong here") for line in lines)
        assert max(map(len, lines[2:5])) <= 80

    def test_are_put_in_words_where_even_those_with_problems_are_too_many(self) -> None:
        cells = {f"node{place:02}": cell("degraded", 2) for place in range(40)}
        lines = page(document(lun("1", "x", **{**cells, "node07": cell("failed", 0)})), width=80)
        assert row(lines, "x")[1:] == ["failed", "node07", "failed;", "39", "nodes", "degraded"]

    def test_are_all_columns_where_lines_may_be_any_long(self) -> None:
        cells = {f"node{place:02}": cell() for place in range(64)}
        lines = page(document(lun("1", "x", **cells)), width=None)
        assert row(lines, "x")[2:66] == ["4/4"] * 64

    def test_are_listed_with_state_age_configuration_and_versions(self) -> None:
        lines = page(document(lun("1", a=cell()), nodes=[node("a", apply=applied("abcdef0123456789"))]))
        assert row(lines, "a") == ["a", "online", "running", "3", "s", "abcdef01", "0.9.4", "0.1.0"]

    @pytest.mark.parametrize(
        ("row_", "words"),
        [
            (node("a", online=False, reason="the node is offline"), ["offline", "was", "running"]),
            (node("a", online=None, reason="no quorum"), ["unknown", "was", "running"]),
            (node("a", reason="the report is stale"), ["online", "was", "running"]),
            (node("a", daemon="not-running", reason="stopped"), ["online", "not-running"]),
            (node("a", online=False, daemon="unknown"), ["offline", "unknown"]),
        ],
    )
    def test_that_are_doubtful_do_not_look_as_if_their_daemon_ran(self, row_: NodeRow, words: list[str]) -> None:
        assert row(page(document(nodes=[row_])), "a")[1:][: len(words)] == words

    def test_that_nobody_heard_of_are_none(self) -> None:
        assert page(document()) == ["no node has reported yet; `pathfleet agent` on each node does"]

    def test_with_nothing_to_say_are_counted_where_there_are_many(self) -> None:
        nodes = [node(f"n{place:02}") for place in range(64)] + [node("z", online=False, reason="the node is offline")]
        lines = page(document(lun("1", n00=cell()), nodes=nodes))
        assert row(lines, "z")[1] == "offline"
        assert "64 more nodes: online, with nothing to say" in lines


class TestWhatIsWrong:
    def words(self, found: Document) -> list[str]:
        lines = page(found, width=None)
        return [" ".join(line.split()) for line in lines[lines.index("what is wrong:") + 1 :]]

    def test_is_nothing_where_all_is_well(self) -> None:
        assert "what is wrong:" not in page(document(lun("1", a=cell())))

    def test_is_one_line_for_a_switch_that_a_thousand_luns_have_their_paths_through(self) -> None:
        def down(place: int) -> str:
            return f"2 of 4 paths usable; down: sd{place}, sd{place + 1} (target 0x21); something else"

        luns = [lun(f"w{place}", a=cell("degraded", 2, 4, down(place))) for place in range(1000)]
        assert self.words(document(*luns)) == [
            "degraded 1000 LUNs on a: 2 of 4 paths usable; down: paths to 0x21; something else"
        ]

    def test_names_the_paths_where_only_one_lun_has_lost_them(self) -> None:
        reason = "2 of 4 paths usable; down: sda (target 0x21)"
        assert self.words(document(lun("1", "x", a=cell("degraded", 2, 4, reason)))) == [f"degraded x on a: {reason}"]

    def test_says_why_a_node_is_doubtful_once(self) -> None:
        doubt = "the node is offline"
        cells = {"a": cell("unknown", 4, 4, f"{doubt}; last reported: optimal 4/4")}
        other = {"a": cell("unknown", 2, 4, f"{doubt}; last reported: degraded 2/4")}
        nodes = [node("a", online=False, reason=doubt)]
        assert self.words(document(lun("1", **cells), lun("2", **other), nodes=nodes)) == [
            "unknown 1, 2 on a: the node is offline"
        ]

    def test_counts_the_reasons_where_each_lun_has_its_own(self) -> None:
        luns = [lun(f"w{place}", a=cell("failed", 0, 4, f"reason {place}")) for place in range(100)]
        words = self.words(document(*luns))
        assert len(words) == 9
        assert "92 LUNs on a: 92 more reasons" in words[-1]

    def test_has_the_words_of_nodes_luns_and_the_cluster(self) -> None:
        nodes = [
            node("a", apply=applied("aaaaaaaa11", "multipathd refused it"), warnings=("garbage in a value",)),
            node("b", daemon="cannot-tell", reason="it hangs", apply=applied("bbbbbbbb22")),
        ]
        found = document(lun("1", "x", ("nodes do not agree on its size",), a=cell()), nodes=nodes, warnings=("old",))
        assert self.words(found) == [
            "node a: the configuration is not in force: multipathd refused it",
            "node a: garbage in a value",
            "node b: it hangs",
            "nodes not all have the same configuration in force: aaaaaaaa on a; bbbbbbbb on b",
            "LUN x: nodes do not agree on its size",
            "cluster old",
        ]

    def test_tells_a_node_that_says_nothing_from_one_whose_reporter_only_reports_maps(self) -> None:
        silent = document(nodes=[node("a", daemon="unknown", age=None)])
        assert self.words(silent) == ["node a: it has said nothing yet; `pathfleet agent` there does"]
        assert "what is wrong:" not in page(document(lun("1", a=cell()), nodes=[node("a", daemon="unknown")]))

    def test_says_nothing_of_a_node_that_is_not_to_have_multipath(self) -> None:
        nodes = [node("a", daemon="not-installed", reason="multipath-tools is not installed on this node")]
        assert "what is wrong:" not in page(document(nodes=nodes))


def test_a_screen_is_not_overrun() -> None:
    many = document(*[lun(f"w{place:03}", a=cell("degraded", 2)) for place in range(29)])
    for height in (5, 12, 24, 60):
        assert len(fitted(many, Choice(), 80, height)) <= height
    assert any("more LUNs" in "".join(text for text, _ in line) for line in fitted(many, Choice(), 80, 24))


@given(name=st.text(min_size=1), reason=st.text(min_size=1), width=st.integers(40, 200))
def test_what_a_device_is_called_neither_steers_nor_breaks_the_page(name: str, reason: str, width: int) -> None:
    found = document(lun("1", name, (reason,), a=cell("failed", 0, 4, reason)), nodes=[node("a", reason=reason)])
    for line in overview(found, Choice(), width):
        assert render.text_of(line).plain.isprintable()
