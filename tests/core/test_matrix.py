from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core import column, wire
from pathfleet.core.applied import Applied
from pathfleet.core.change import CellChange, Change, LunChange, Matrix, NodeChange
from pathfleet.core.column import Column, Said
from pathfleet.core.detail import DownPath, MapDetail
from pathfleet.core.matrix import WORST_FIRST, Document, Lun, State, matrix
from pathfleet.core.node import PublishedNodeInfo, Versions
from pathfleet.core.report import MapReport, Report
from pathfleet.core.storagecfg import Expectations, Expected

NOW = 1_751_546_766
OPTIMAL, DEGRADED, FAILED = MapReport("optimal", 4, 4), MapReport("degraded", 2, 4), MapReport("failed", 0, 4)
VG1 = Expected(None, ("vg1",))


def said(
    maps: Mapping[str, MapReport] | None, details: Mapping[str, MapDetail] | None = None, *, age: int = 0
) -> Said:
    return Said(None if maps is None else Report(dict(maps), NOW - age), details=dict(details or {}))


def node(
    name: str,
    maps: Mapping[str, MapReport] | None = None,
    *,
    online: bool | None = True,
    age: int = 0,
    details: Mapping[str, MapDetail] | None = None,
) -> Column:
    return column.judge(name, online, said(maps, details, age=age), NOW)


def info(
    daemon: str, reason: str | None = None, *, age: int = 0, arrays: Mapping[str, str] | None = None
) -> PublishedNodeInfo:
    versions = Versions("0.1.0", "0.9.4")
    return PublishedNodeInfo(daemon, 0, versions, reason, arrays=dict(arrays or {}), time=NOW - age)


def rows(*columns: Column, expected: Expectations | None = None) -> dict[str, Lun]:
    return {lun.wwid: lun for lun in matrix(columns, expected or {}, NOW).luns}


def named(name: str) -> MapDetail:
    return MapDetail(name=name)


class TestACell:
    @pytest.mark.parametrize(("map_", "reason"), [
        (OPTIMAL, "4 of 4 paths usable"),
        (DEGRADED, "2 of 4 paths usable"),
        (FAILED, "0 of 4 paths usable"),
        (MapReport("failed", 0, 0), "no paths at all"),
    ])  # fmt: skip
    def test_is_as_reported(self, map_: MapReport, reason: str) -> None:
        cell = rows(node("n1", {"w": map_}, age=7))["w"].nodes["n1"]
        assert (cell.state, cell.paths_active, cell.paths_total) == (map_.state, map_.paths_active, map_.paths_total)
        assert (cell.reason, cell.flags, cell.age) == (reason, (), 7)

    def test_names_the_paths_that_are_down_by_target_and_what_its_flags_mean(self) -> None:
        paths = [
            DownPath("sdb", "failed", "faulty", None, "50:0a"),
            DownPath("sdc", "failed", "faulty", None, "50:0a"),
        ]
        detail = MapDetail(("single-domain", "novel"), None, (*paths, DownPath("sdd", "failed", "faulty")))
        cell = rows(node("n1", {"w": MapReport("degraded", 1, 4)}, details={"w": detail}))["w"].nodes["n1"]
        assert cell.reason == (
            "1 of 4 paths usable; down: sdb, sdc (target 50:0a), sdd;"
            " all usable paths share one port: its loss takes them all; novel"
        )
        assert cell.flags == ("single-domain", "novel")

    def test_leaves_out_details_that_are_of_another_moment_than_the_report(self) -> None:
        before = MapDetail(("single-domain",), None, (DownPath("sdb", "failed", "faulty"),))
        cell = rows(node("n1", {"w": OPTIMAL}, details={"w": before}))["w"].nodes["n1"]
        assert (cell.reason, cell.flags) == ("4 of 4 paths usable", ())

    def test_stays_short_whatever_a_peer_lists(self) -> None:
        detail = MapDetail(("f" * 999,) * 999, None, (DownPath("s" * 999, "", "", None, "t" * 999),) * 999)
        cell = rows(node("n1", {"w": MapReport("failed", 0, 999)}, details={"w": detail}))["w"].nodes["n1"]
        assert "and 991 more" in cell.reason
        assert len(msgspec.json.encode(cell)) < 3000

    @pytest.mark.parametrize(("column_", "doubt"), [
        (node("n1", {"w": OPTIMAL}, online=False), "the node is offline"),
        (node("n1", {"w": OPTIMAL}, online=None), "no quorum"),
        (node("n1", {"w": OPTIMAL}, age=181), "its reporter has stopped"),
        (node("n1", {"w": OPTIMAL}, age=-181), "clock is more than 180 s ahead"),
        (column.judge("n1", True, Said(Report({"w": OPTIMAL}, NOW), "it is malformed"), NOW), "it is malformed"),
        (column.judge("n1", True, Said(Report({"w": OPTIMAL}, NOW), info=info("cannot-tell", "it hangs")), NOW),
         "the node cannot tell: it hangs"),
    ], ids=["offline", "no quorum", "stale", "clock ahead", "malformed", "cannot tell"])  # fmt: skip
    def test_is_unknown_with_the_doubt_and_the_last_report(self, column_: Column, doubt: str) -> None:
        cell = rows(column_)["w"].nodes["n1"]
        assert (cell.state, cell.paths_active, cell.paths_total, cell.flags) == (State.UNKNOWN, 4, 4, ())
        assert doubt in cell.reason
        assert cell.reason.endswith("; last reported: optimal 4/4")

    @pytest.mark.parametrize("word", ["missing", "superb", "", "x" * 30_000])
    def test_is_unknown_for_a_word_that_is_not_known(self, word: str) -> None:
        cell = rows(node("n1", {"w": MapReport(word, 4, 4)}))["w"].nodes["n1"]
        assert cell.state is State.UNKNOWN
        assert "this version does not know" in cell.reason
        assert len(cell.reason) < 200

    def test_is_unknown_where_the_node_says_so(self) -> None:
        assert "only root" in rows(node("n1", {"w": MapReport("unknown", 0, 0)}))["w"].nodes["n1"].reason

    def test_is_absent_where_the_lun_is_neither_reported_nor_expected(self) -> None:
        found = rows(node("n1", {"w": OPTIMAL}), node("n2", {"v": OPTIMAL}), node("n3"))
        assert {wwid: [*lun.nodes] for wwid, lun in found.items()} == {"w": ["n1"], "v": ["n2"]}
        assert found["w"].cluster_state is State.OPTIMAL


class TestAnExpectedLun:
    @pytest.mark.parametrize(("column_", "reason"), [
        (node("n1", {"v": OPTIMAL}), "expected by storage vg1, the node reports no such LUN"),
        (node("n1"), "expected by storage vg1, the node reports no LUN at all"),
        (column.judge("n1", True, Said(info=info("running")), NOW),
         "expected by storage vg1, the node reports no LUN at all"),
        (column.judge("n1", True, Said(info=info("not-running")), NOW),
         "expected by storage vg1, multipathd is not running there"),
        (column.judge("n1", True, Said(info=info("not-installed")), NOW),
         "expected by storage vg1, multipathd is not installed there"),
    ])  # fmt: skip
    def test_is_missing_where_a_node_that_can_be_believed_has_it_not(self, column_: Column, reason: str) -> None:
        lun = rows(column_, expected={"w": VG1})["w"]
        cell = lun.nodes["n1"]
        assert (cell.state, cell.paths_active, cell.paths_total) == (State.MISSING, None, None)
        assert cell.reason == reason
        assert (lun.cluster_state, lun.storages) == (State.MISSING, ("vg1",))

    @pytest.mark.parametrize("column_", [
        node("n1", online=False), node("n1", {"v": OPTIMAL}, online=None), node("n1", {"v": OPTIMAL}, age=181),
        column.judge("n1", True, Said(trouble="it is malformed"), NOW),
        column.judge("n1", True, Said(info=info("running", age=181)), NOW),
        column.judge("n1", True, Said(info=info("cannot-tell")), NOW),
    ], ids=["offline", "no quorum", "stale", "malformed", "silent", "cannot tell"])  # fmt: skip
    def test_is_unknown_where_the_node_is_in_doubt(self, column_: Column) -> None:
        cell = rows(column_, expected={"w": VG1})["w"].nodes["n1"]
        assert cell.state is State.UNKNOWN
        assert cell.reason == f"{column_.doubt}; expected by storage vg1"

    def test_is_as_reported_where_it_is_reported(self) -> None:
        assert rows(node("n1", {"w": DEGRADED}), expected={"w": VG1})["w"].nodes["n1"].state is State.DEGRADED

    def test_is_absent_on_other_nodes_than_those_expected(self) -> None:
        found = rows(node("n1"), node("n2"), expected={"w": Expected(frozenset({"n2"}), ("vg1",))})
        assert [*found["w"].nodes] == ["n2"]

    def test_that_only_unknown_nodes_are_to_carry_is_unknown_and_says_so(self) -> None:
        lun = rows(node("n1"), expected={"w": Expected(frozenset({"n9"}), ("vg1",))})["w"]
        assert (lun.cluster_state, lun.nodes) == (State.UNKNOWN, {})
        assert lun.warnings == ("expected on n9, which the cluster does not know",)

    def test_that_is_expected_on_no_node_has_no_row(self) -> None:
        assert rows(node("n1"), expected={"w": Expected(frozenset(), ("vg1",))}) == {}


class TestARow:
    @pytest.mark.parametrize(("one", "other"), list(itertools.combinations(WORST_FIRST, 2)))
    def test_is_as_bad_as_its_worst_cell(self, one: State, other: State) -> None:
        made = {
            State.FAILED: {"w": FAILED}, State.MISSING: {"v": OPTIMAL}, State.DEGRADED: {"w": DEGRADED},
            State.UNKNOWN: {"w": MapReport("?", 1, 1)}, State.OPTIMAL: {"w": OPTIMAL},
        }  # fmt: skip
        columns = [node("n1", made[other]), node("n2", made[one]), node("n3", made[other])]
        lun = rows(*columns, expected={"w": VG1})["w"]
        assert [cell.state for cell in lun.nodes.values()] == [other, one, other]
        assert lun.cluster_state is one

    def test_order_is_failed_missing_degraded_unknown_optimal(self) -> None:
        assert [*WORST_FIRST] == ["failed", "missing", "degraded", "unknown", "optimal"]

    def test_comes_worst_first_then_by_alias_or_wwid(self) -> None:
        maps = {"c": OPTIMAL, "b": OPTIMAL, "z": FAILED, "d": OPTIMAL}
        found = matrix([node("n1", maps, details={"d": named("aa")})], {}, NOW)
        assert [lun.wwid for lun in found.luns] == ["z", "d", "b", "c"]

    def test_takes_size_transport_and_alias_of_most_nodes(self) -> None:
        small, large = MapReport("optimal", 4, 4, 5, "iscsi"), MapReport("optimal", 4, 4, 9, "fc")
        lun = rows(*(node(f"n{i}", {"w": small if i == 1 else large}, details={"w": named("vm1")}) for i in range(3)))[
            "w"
        ]
        assert (lun.size, lun.transport, lun.alias) == (9, "fc", "vm1")

    def test_has_the_array_that_nodes_tell_by_the_beginning_of_its_wwid(self) -> None:
        wwid = "3600a098038314c6c6e3f4b6f4c6c5a30"
        told = Said(Report({wwid: OPTIMAL, "3624a9370": OPTIMAL}, NOW), info=info("running", arrays={wwid[:8]: "N"}))
        found = rows(column.judge("n1", True, told, NOW), node("n2", {wwid: OPTIMAL}))
        assert (found[wwid].array, found["3624a9370"].array) == ("N", None)

    def test_warns_where_nodes_disagree_on_its_size(self) -> None:
        sizes = [9] * 6 + [5]
        lun = rows(*(node(f"n{i}", {"w": MapReport("optimal", 4, 4, size)}) for i, size in enumerate(sizes)))["w"]
        assert lun.warnings == (
            "nodes disagree on its size: 9 bytes on n0, n1, n2, n3 and 2 more; 5 bytes on n6",
        )  # fmt: skip

    def test_does_not_take_the_size_of_a_node_in_doubt_before_that_of_others(self) -> None:
        old = node("n1", {"w": MapReport("optimal", 4, 4, 5)}, online=False)
        assert rows(old)["w"].size == 5
        lun = rows(old, node("n2", {"w": MapReport("optimal", 4, 4, 9)}))["w"]
        assert (lun.size, lun.warnings) == (9, ())

    def test_warns_where_nodes_name_it_differently(self) -> None:
        lun = rows(*(node(f"n{i}", {"w": OPTIMAL}, details={"w": named(f"mpath{i % 2}")}) for i in range(3)))["w"]
        assert lun.alias == "mpath0"
        assert lun.warnings == ("nodes name it differently: 'mpath0' on n0, n2; 'mpath1' on n1",)

    def test_warns_where_its_alias_stands_for_another_lun_too_though_on_another_node(self) -> None:
        found = rows(
            node("n1", {"w": OPTIMAL}, details={"w": named("mpatha")}),
            node("n2", {"v": OPTIMAL, "u": OPTIMAL}, details={"v": named("mpatha"), "u": named("mpatha")}),
        )
        assert found["w"].warnings == ("its alias 'mpatha' also stands for u and 1 more",)
        assert found["u"].warnings == ("its alias 'mpatha' also stands for v and 1 more",)


class TestANodeRow:
    def test_says_all_that_is_known_of_the_node(self) -> None:
        it = Said(
            Report({}, NOW - 3), info=info("running"), applied=Applied(NOW - 9, "abc", "refused"), warnings=("!",)
        )
        (row,) = matrix([column.judge("n1", True, it, NOW)], {}, NOW).nodes
        assert (row.node, row.online, row.daemon, row.reason, row.age) == ("n1", True, "no-maps", None, 3)
        assert row.apply is not None
        assert (row.apply.digest, row.apply.error, row.apply.time) == ("abc", "refused", NOW - 9)
        assert (row.versions.multipath_tools, row.warnings) == ("0.9.4", ("!",))

    @pytest.mark.parametrize(("column_", "reason"), [
        (node("n1", online=False), "the node is offline"),
        (column.judge("n1", True, Said(info=info("not-running", "nobody listens")), NOW), "nobody listens"),
    ])  # fmt: skip
    def test_says_why_it_is_in_doubt_or_multipathd_does_not_run(self, column_: Column, reason: str) -> None:
        assert matrix([column_], {}, NOW).nodes[0].reason == reason

    def test_has_no_age_if_the_node_never_spoke_and_a_negative_one_if_its_clock_is_ahead(self) -> None:
        found = matrix([node("b"), node("a", {}, age=-5)], {}, NOW).nodes
        assert [(row.node, row.age) for row in found] == [("a", -5), ("b", None)]


def test_the_document_has_the_names_of_the_specification() -> None:
    found = msgspec.to_builtins(matrix([node("n1", {"w": OPTIMAL})], {}, NOW))
    assert {*found} == {"luns", "nodes", "warnings"}
    assert {*found["luns"][0]} == {
        "wwid", "alias", "cluster-state", "size", "transport", "storages", "warnings", "array", "nodes"
    }  # fmt: skip
    assert {*found["luns"][0]["nodes"]["n1"]} == {"state", "paths-active", "paths-total", "age", "reason", "flags"}
    assert {*found["nodes"][0]} == {"node", "online", "daemon", "reason", "age", "apply", "versions", "warnings"}


NAMES = ("n1", "n2", "n3")
wwids = st.sampled_from(["u", "v", "w", "x"])
map_reports = st.builds(
    MapReport,
    st.sampled_from(["optimal", "degraded", "failed", "unknown", "?"]),
    st.integers(0, 4),
    st.integers(0, 4),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([None, "fc", "iscsi"]),
)
details = st.builds(
    MapDetail,
    st.sampled_from([(), ("queueing",)]),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([(), (DownPath("sdb", "failed", "faulty"),)]),
)
sayings = st.builds(
    Said,
    report=st.none() | st.builds(Report, st.dictionaries(wwids, map_reports), st.integers(NOW - 300, NOW + 300)),
    trouble=st.sampled_from([None, None, None, "it is malformed"]),
    details=st.dictionaries(wwids, details),
    info=st.none()
    | st.builds(
        info,
        st.sampled_from(["running", "not-running", "cannot-tell"]),
        age=st.integers(-300, 300),
        arrays=st.dictionaries(wwids, st.sampled_from(["NETAPP LUN", "PURE"])),
    ),
    applied=st.none() | st.builds(Applied, st.integers(0, 9), st.sampled_from([None, "d"])),
)
columns = st.builds(
    column.judge, st.sampled_from(NAMES), st.sampled_from([True, True, False, None]), sayings, st.just(NOW)
)
expecteds = st.builds(
    Expected, st.none() | st.frozensets(st.sampled_from([*NAMES, "n9"])), st.sampled_from([("vg1",), ("vg1", "vg2")])
)
expectations = st.dictionaries(wwids, expecteds)
steps = st.one_of(
    columns.map(lambda each: ("place", each)),
    st.sampled_from(NAMES).map(lambda name: ("drop", name)),
    expectations.map(lambda each: ("expect", each)),
    st.lists(columns, min_size=2, max_size=4).map(lambda each: ("place-all", each)),
)


class Listener:
    """Applies changes, as the page does, and knows nothing else."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], object] = {}
        self.luns: dict[str, object] = {}
        self.nodes: dict[str, object] = {}

    def hear(self, changes: Iterable[Change]) -> None:
        for change in changes:
            match change:
                case CellChange(wwid, name, cell, before, state):
                    was = self.cells.pop((wwid, name), None)
                    assert (was and was["state"]) == before  # type: ignore[index]
                    if cell:
                        self.cells[wwid, name] = msgspec.to_builtins(cell)
                        assert self.luns[wwid]["cluster-state"] == state  # type: ignore[index]
                case LunChange(wwid, lun):
                    self.luns.pop(wwid, None)
                    self.luns |= {wwid: msgspec.to_builtins(lun)} if lun else {}
                case NodeChange(name, head):
                    self.nodes.pop(name, None)
                    self.nodes |= {name: msgspec.to_builtins(head)} if head else {}

    def check(self, document: Document) -> None:
        """Whether what was heard is what the document says, but for ages."""
        shown = msgspec.to_builtins(document)
        cells = {(lun["wwid"], name): cell for lun in shown["luns"] for name, cell in lun.pop("nodes").items()}
        for each in (*cells.values(), *shown["nodes"]):
            del each["age"]
        for head in (*shown["nodes"], *self.nodes.values()):
            if head["apply"]:
                head["apply"].pop("time", None)
        assert self.cells == cells
        assert self.luns == {lun["wwid"]: lun for lun in shown["luns"]}
        assert self.nodes == {head["node"]: head for head in shown["nodes"]}


def taken(live: Matrix, step: tuple[str, object]) -> list[Change]:
    match step:
        case ("place", Column() as each):
            return live.place(each)
        case ("place-all", list() as each):
            return live.place(*each)
        case ("drop", str() as name):
            return live.drop(name)
        case (_, dict() as each):
            return live.expect(each)
    raise AssertionError(step)


class TestKeptUpToDate:
    @given(st.lists(steps, max_size=12))
    def test_it_is_what_it_would_be_if_made_anew_and_who_hears_its_changes_knows_all_of_it(
        self, history: list[tuple[str, object]]
    ) -> None:
        live, listener = Matrix(), Listener()
        expected: Expectations = {}
        for step in history:
            expected = step[1] if step[0] == "expect" else expected  # type: ignore[assignment]
            listener.hear(taken(live, step))
            anew = matrix(live.columns.values(), expected, NOW)
            assert live.document(NOW) == anew
            assert msgspec.json.encode(live.document(NOW)) == msgspec.json.encode(anew)
            assert {wwid: live.lun(wwid, NOW) for wwid in "uvwx"} == {
                wwid: next((lun for lun in anew.luns if lun.wwid == wwid), None) for wwid in "uvwx"
            }
        listener.check(live.document(NOW))

    @given(st.lists(columns, unique_by=lambda each: each.node), columns, expectations)
    def test_no_nodes_input_changes_another_nodes_column(
        self, others: list[Column], new: Column, expected: dict[str, Expected]
    ) -> None:
        live = Matrix()
        live.expect(expected)
        live.place(*others)
        changes = live.place(new)
        assert {each.node for each in changes if isinstance(each, CellChange | NodeChange)} <= {new.node}

    @given(st.lists(columns, unique_by=lambda each: each.node), expectations)
    def test_a_row_is_its_worst_cell(self, all_: list[Column], expected: dict[str, Expected]) -> None:
        for lun in matrix(all_, expected, NOW).luns:
            states = [cell.state for cell in lun.nodes.values()] or [State.UNKNOWN]
            assert lun.cluster_state is min(states, key=WORST_FIRST.index)

    def test_what_only_refreshes_changes_nothing(self) -> None:
        live = Matrix()
        values = {
            "multipath": wire.stamp({"maps": {"w": {"state": "optimal", "paths-active": 1, "paths-total": 1}}}, 1)
        }
        before = column.read(values)
        live.place(column.judge("n1", True, before, 1))
        after = column.read({"multipath": values["multipath"].replace(b":1}", b":61}")}, before)
        assert live.place(column.judge("n1", True, after, 61)) == []
        assert live.document(61).nodes[0].age == 0

    def test_another_array_alone_is_another_row(self) -> None:
        live, report = Matrix(), Report({"w": OPTIMAL}, NOW)
        live.place(column.judge("n1", True, Said(report, info=info("running")), NOW))
        (row,) = live.place(column.judge("n1", True, Said(report, info=info("running", arrays={"w": "PURE"})), NOW))
        assert isinstance(row, LunChange)
        assert row.lun is not None
        assert row.lun.array == "PURE"

    def test_a_time_of_applying_that_moves_is_no_change(self) -> None:
        live = Matrix()
        assert live.place(Column("n1", True, Said(applied=Applied(1, "d"))))
        assert live.place(Column("n1", True, Said(applied=Applied(61, "d")))) == []
        assert live.place(Column("n1", True, Said(applied=Applied(61, "e"))))

    def test_one_changed_map_is_one_changed_cell_and_its_row(self) -> None:
        live = Matrix()
        live.place(node("n1", {"w": OPTIMAL, "v": OPTIMAL}), node("n2", {"w": OPTIMAL}))
        row, cell = live.place(node("n1", {"w": DEGRADED, "v": OPTIMAL}))
        assert isinstance(row, LunChange)
        assert isinstance(cell, CellChange)
        assert (row.wwid, row.lun and row.lun.cluster_state) == ("w", State.DEGRADED)
        assert (cell.wwid, cell.node, cell.before, cell.cluster_state) == ("w", "n1", State.OPTIMAL, State.DEGRADED)

    def test_equal_cells_of_a_node_are_one_object_in_a_document(self) -> None:
        live = Matrix()
        live.place(node("n1", {f"w{i}": OPTIMAL for i in range(9)}))
        assert len({id(lun.nodes["n1"]) for lun in live.document(NOW).luns}) == 1
