from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.cli.one_line import unreadable, verdict
from pathfleet.core.matrix import Document
from tests.cli.documents import applied, cell, document, lun, node

GOOD = lun("1", "good", a=cell())
HALF = lun("2", "half", a=cell("degraded", 2))
DEAD = lun("3", "dead", a=cell("failed", 0))
GONE = lun("4", "gone", a=cell("missing", None, None))
DARK = lun("5", "dark", a=cell("unknown", 4))
LINE = re.compile(r"PATHFLEET (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+( \| [a-z]+=[0-9]+;[0-9]*;[0-9]*;0(;[0-9]+)?.*)?")


@pytest.mark.parametrize(
    ("found", "code", "says"),
    [
        (document(GOOD), 0, "OK - 1 LUN optimal on 1 node"),
        (document(GOOD, HALF), 1, "WARNING - 1 of 2 LUNs degraded: half"),
        (document(GOOD, HALF, DEAD), 2, "CRITICAL - 1 of 3 LUNs failed: dead; 1 of 3 LUNs degraded: half"),
        (document(GOOD, GONE), 2, "CRITICAL - 1 of 2 LUNs missing: gone"),
        (document(GOOD, DARK), 3, "UNKNOWN - 1 of 2 LUNs unknown: dark"),
        (document(HALF, DARK), 1, "WARNING - 1 of 2 LUNs degraded: half; 1 of 2 LUNs unknown: dark"),
        (document(), 3, "UNKNOWN - no node has reported yet"),
        (document(nodes=[node("a", daemon="no-maps")]), 0, "OK - no LUNs on 1 node"),
        (document(nodes=[node("a", daemon="not-installed", reason="none")]), 0, "OK - no LUNs on 1 node"),
        (document(GOOD, nodes=[node("a", online=False)]), 3, "UNKNOWN - 1 of 1 node not reporting: a"),
        (document(nodes=[node("a", daemon="cannot-tell", reason="hangs")]), 3, "UNKNOWN - 1 of 1 node not reporting"),
        (document(nodes=[node("a", reason="the report is stale")]), 3, "UNKNOWN - 1 of 1 node not reporting: a"),
        (document(nodes=[node("a", daemon="unknown", age=None)]), 3, "UNKNOWN - 1 of 1 node not reporting: a"),
        (document(nodes=[node("a", daemon="unknown", reason="garbage")]), 3, "UNKNOWN - 1 of 1 node not reporting"),
        (document(GOOD, nodes=[node("a", daemon="unknown")]), 0, "OK - 1 LUN optimal"),
        (document(nodes=[node("a", daemon="not-running", reason="x")]), 1, "WARNING - multipathd not running on a"),
        (document(nodes=[node("a", apply=applied(None, "no"))]), 1, "WARNING - configuration not in force on a"),
        (
            document(lun("1", "x", a=cell("optimal", 2, 2, "", "below-expected"))),
            1,
            "WARNING - 1 below-expected: x",
        ),
        (document(lun("1", "x", a=cell("optimal", 2, 2, "", "single-domain"))), 0, "OK - 1 LUN optimal"),
    ],
)  # fmt: skip
def test_the_worst_decides_and_what_is_not_known_is_named(found: Document, code: int, says: str) -> None:
    given_ = verdict(found)
    assert given_.code == code
    assert says in given_.line
    assert LINE.fullmatch(given_.line)


def test_a_node_that_is_silent_is_named_beside_a_failed_lun() -> None:
    found = verdict(document(DEAD, nodes=[node("a"), node("b", online=None)]))
    assert found.code == 2
    assert "1 of 2 nodes not reporting: b" in found.line


def test_performance_data_has_each_state_with_thresholds_and_bounds() -> None:
    line = verdict(document(GOOD, HALF, DEAD)).line
    assert line.partition(" | ")[2].split() == [
        "luns=3;;;0", "optimal=1;;;0;3", "unknown=0;;;0;3", "degraded=1;0;;0;3", "missing=0;;0;0;3", "failed=1;;0;0;3",
        "nodes=1;;;0", "online=1;;;0;1",
    ]  # fmt: skip


def test_few_names_stand_for_many() -> None:
    line = verdict(document(*[lun(f"{place:02}", a=cell("failed", 0)) for place in range(40)])).line
    assert "40 of 40 LUNs failed: 00, 01, 02 and 37 more |" in line


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_name_or_reason_ends_the_text_or_the_line(name: str, reason: str) -> None:
    found = document(
        lun("1", name, a=cell("failed", 0, 4, reason)), nodes=[node(name, online=False)], warnings=(reason,)
    )
    assert verdict(found).line.count("|") == 1
    assert verdict(found).line.isprintable()
    assert "|" not in unreadable(reason).line
    assert unreadable(reason).line.isprintable()
