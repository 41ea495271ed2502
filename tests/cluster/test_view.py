from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.cluster import view
from pathfleet.cluster.view import NodeView
from pathfleet.core import report, wire
from pathfleet.core.report import MapReport
from pathfleet.store import Member
from tests.fakes import Memory, MemoryStore

NOW = 1_751_546_766
WWID = "3600a098038314c6c6e3f4b6f4c6c5a30"
MAPS = {WWID: MapReport("optimal", 2, 2)}
ONLINE = Member(online=True)


def value(maps: Mapping[str, MapReport] = MAPS, *, age: int = 0) -> bytes:
    return report.plain(maps, NOW - age)


def info(multipathd: str = "running", *, age: int = 0, reason: str | None = None) -> bytes:
    versions = {"pathfleet": "0.1.0", "multipath-tools": "0.9.4"}
    return wire.stamp({"multipathd": multipathd, "reason": reason, "start": 0, "versions": versions}, NOW - age)


def seen(values: Mapping[str, bytes], member: Member = ONLINE) -> NodeView:
    return view.view("n1", member, values, NOW)


def packed() -> dict[str, bytes]:
    contents = report.contents({f"{number:x}": MapReport("failed", 0, 4) for number in range(99)}, limit=300)
    assert len(contents) > 2
    return {key: wire.stamp(content, NOW) for key, content in contents.items()}


class TestANodeThat:
    def test_is_well_is_shown_without_doubt(self) -> None:
        found = seen({"multipath": value(age=3), "pathfleet": info()})
        assert (found.online, found.daemon, found.age, found.maps) == (True, "running", 3, MAPS)
        assert (found.doubt, found.warnings, found.versions.multipath_tools) == (None, (), "0.9.4")

    def test_has_no_maps_is_shown_without_doubt(self) -> None:
        found = seen({"pathfleet": info()})
        assert (found.daemon, found.maps, found.doubt) == ("running", None, None)

    def test_is_offline_is_doubted_and_its_last_report_shown(self) -> None:
        found = seen({"multipath": value(), "pathfleet": info()}, Member(online=False))
        assert (found.doubt, found.maps) == ("the node is offline", MAPS)

    def test_nobody_can_tell_of_is_neither_online_nor_offline(self) -> None:
        found = seen({"multipath": value()}, Member(online=None))
        assert found.online is None
        assert "no quorum" in (found.doubt or "")

    def test_cannot_tell_is_doubted_with_its_reason_and_the_age_of_what_it_last_said(self) -> None:
        found = seen({"multipath": value(age=50), "pathfleet": info("cannot-tell", reason="it hangs")})
        assert found.doubt == "the node cannot tell: it hangs; the report is the last one, 50 s old"
        assert found.maps == MAPS

    def test_cannot_tell_from_the_beginning_is_doubted(self) -> None:
        found = seen({"pathfleet": info("cannot-tell", reason="it hangs")})
        assert found.doubt == "the node cannot tell: it hangs; nothing was ever reported"

    def test_cannot_tell_and_does_not_say_why_is_doubted(self) -> None:
        assert "does not say why" in (seen({"pathfleet": info("cannot-tell")}).doubt or "")

    def test_is_not_running_multipathd_says_why(self) -> None:
        found = seen({"pathfleet": info("not-running", reason="not installed")})
        assert (found.daemon, found.reason, found.doubt) == ("not-running", "not installed", None)

    def test_has_only_another_reporter_is_shown(self) -> None:
        found = seen({"multipath": value(age=3)})
        assert (found.daemon, found.age, found.maps, found.doubt) == (None, 3, MAPS, None)

    def test_said_nothing_yet_is_shown(self) -> None:
        found = seen({})
        assert (found.daemon, found.maps, found.age, found.doubt) == (None, None, None, None)


class TestAge:
    @pytest.mark.parametrize("age", [180, 0, -180])
    def test_up_to_180_s_either_way_is_no_doubt(self, age: int) -> None:
        assert seen({"multipath": value(age=age)}).doubt is None

    def test_beyond_that_means_a_reporter_that_stopped(self) -> None:
        found = seen({"multipath": value(age=181)})
        assert found.doubt == "the report is 181 s old: its reporter has stopped"
        assert found.maps == MAPS

    def test_ahead_beyond_that_means_a_broken_clock(self) -> None:
        assert seen({"multipath": value(age=-181)}).doubt == "the node's clock is 181 s ahead of this one"

    @pytest.mark.parametrize(("age", "doubt"), [(180, None), (181, "its agent has stopped"), (-181, "s ahead")])
    def test_of_a_node_without_maps_is_that_of_its_last_word(self, age: int, doubt: str | None) -> None:
        found = seen({"pathfleet": info(age=age)}).doubt
        assert found is None if doubt is None else doubt in (found or "")


class TestGarbage:
    @pytest.mark.parametrize(
        "garbage",
        [
            b"",
            b"null",
            b"[]",
            b"\xff\xfe",
            b'{"maps":{},"time":-1}',
            b'{"maps":{},"time":1e99}',
            b'{"maps":{"x":{"state":"optimal","paths-active":-1,"paths-total":2}},"time":1}',
            b'{"maps":{"x":{"state":1,"paths-active":1,"paths-total":2}},"time":1}',
            b'{"time":1751546766}',
            b"[" * 100_000,
            b'{"chunks":1,"digest":"x","packed":"!","time":1}',
            b'{"chunks":1,"digest":"x","packed":"AAAA","time":1}',
        ],
    )
    def test_in_a_report_is_a_doubt_that_names_the_key(self, garbage: bytes) -> None:
        found = seen({"multipath": garbage, "pathfleet": info()})
        assert found.maps is None
        assert found.doubt
        assert found.daemon == "running"

    def test_in_what_a_node_says_of_itself_or_in_detail_is_a_warning_and_the_report_stands(self) -> None:
        found = seen({"multipath": value(), "pathfleet": b"{", "multipath-detail": b"\xff"})
        assert (found.maps, found.doubt, found.daemon) == (MAPS, None, None)
        assert [warning.split(":")[0] for warning in found.warnings] == [
            "the value of `pathfleet` is not what it should be",
            "the value of `multipath-detail` is not what it should be",
        ]

    @given(
        st.dictionaries(
            st.sampled_from(["multipath", "multipath.1", "multipath.2", "pathfleet", "multipath-detail", "x"]),
            st.binary(max_size=60)
            | st.from_regex(
                rb'\A\{("(maps|time|chunks|packed|digest|multipathd)":([0-9]{1,30}|"[a-z]*"|\{\}),?){1,4}\}\Z'
            ),
        ),
        st.sampled_from([True, False, None]),
    )
    def test_of_any_kind_does_not_raise(self, values: dict[str, bytes], online: bool | None) -> None:
        assert seen(values, Member(online)).node == "n1"

    @given(st.data())
    def test_in_a_packed_report_does_not_raise_and_is_never_taken_for_healthy(self, data: st.DataObject) -> None:
        values = packed()
        key = data.draw(st.sampled_from(sorted(values)))
        place = data.draw(st.integers(0, len(values[key]) - 1))
        values[key] = values[key][:place] + data.draw(st.binary(max_size=2)) + values[key][place + 1 :]
        found = seen(values)
        assert found.doubt or {each.state for each in (found.maps or {}).values()} == {"failed"}


class TestAPackedReport:
    def test_is_shown_as_a_plain_one(self) -> None:
        found = seen(packed())
        assert len(found.maps or {}) == 99
        assert found.doubt is None

    @pytest.mark.parametrize("how", ["missing", "of another generation"])
    def test_that_is_being_written_is_a_doubt(self, how: str) -> None:
        values = packed()
        if how == "missing":
            del values["multipath.1"]
        else:
            values["multipath.1"] = wire.stamp({"digest": "0" * 16, "packed": "AAAA"}, NOW)
        found = seen(values)
        assert found.maps is None
        assert "being written" in (found.doubt or "")


async def open_store(node: str, memory: Memory) -> MemoryStore:
    return await MemoryStore(node, memory).__aenter__()


class TestTheCluster:
    async def test_is_every_member_and_everybody_who_left_values_by_name(self) -> None:
        memory = Memory()
        for name in ("c", "a"):
            store = await open_store(name, memory)
            await store.put("multipath", value())
        await (await open_store("b", memory)).alive()
        found = await view.nodes(store, NOW)
        assert [(node.node, node.online) for node in found] == [("a", False), ("b", True), ("c", False)]

    async def test_loses_one_row_to_one_nodes_garbage(self) -> None:
        memory = Memory()
        for name, said in (("a", b"garbage"), ("b", value())):
            store = await open_store(name, memory)
            await store.alive()
            await store.put("multipath", said)
        bad, good = await view.nodes(store, NOW)
        assert bad.doubt
        assert (good.maps, good.doubt) == (MAPS, None)
