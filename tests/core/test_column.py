from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core import column, report, wire
from pathfleet.core.column import Column, Said
from pathfleet.core.report import MapReport

NOW = 1_751_546_766
WWID = "3600a098038314c6c6e3f4b6f4c6c5a30"
MAPS = {WWID: MapReport("optimal", 2, 2)}


def value(maps: Mapping[str, MapReport] = MAPS, *, age: int = 0) -> bytes:
    return report.plain(maps, NOW - age)


def info(multipathd: str = "running", *, age: int = 0, reason: str | None = None) -> bytes:
    versions = {"pathfleet": "0.1.0", "multipath-tools": "0.9.4"}
    return wire.stamp({"multipathd": multipathd, "reason": reason, "start": 0, "versions": versions}, NOW - age)


def detail(*, age: int = 0, **more: object) -> bytes:
    return wire.stamp({"maps": {WWID: {"name": "vm1", "flags": ["suspended"]}}, **more}, NOW - age)


def seen(values: Mapping[str, bytes], online: bool | None = True, before: Said | None = None) -> Column:
    return column.judge("n1", online, column.read(values, before), NOW)


def packed(*, age: int = 0, state: str = "failed") -> dict[str, bytes]:
    contents = report.contents({f"{number:x}": MapReport(state, 0, 4) for number in range(99)}, limit=300)
    assert len(contents) > 2
    return {key: wire.stamp(content, NOW - age) for key, content in contents.items()}


class TestANodeThat:
    def test_is_well_is_not_doubted(self) -> None:
        found = seen({"multipath": value(age=3), "pathfleet": info(), "multipath-detail": detail()})
        assert (found.online, found.daemon, found.doubt, found.maps) == (True, "running", None, MAPS)
        assert (found.spoke_at, found.said.warnings) == (NOW - 3, ())
        assert found.said.details[WWID].name == "vm1"

    def test_has_no_maps_is_not_doubted(self) -> None:
        found = seen({"pathfleet": info(age=7)})
        assert (found.daemon, found.maps, found.doubt, found.spoke_at) == ("no-maps", {}, None, NOW - 7)

    def test_reports_an_empty_list_of_maps_has_none(self) -> None:
        assert seen({"pathfleet": info(), "multipath": value({})}).daemon == "no-maps"

    def test_is_offline_is_doubted_and_its_last_report_kept(self) -> None:
        found = seen({"multipath": value(), "pathfleet": info()}, online=False)
        assert (found.doubt, found.maps, found.daemon) == ("the node is offline", MAPS, "running")

    def test_nobody_can_tell_of_is_doubted_for_the_lack_of_a_quorum(self) -> None:
        assert "no quorum" in (seen({"multipath": value()}, online=None).doubt or "")

    def test_cannot_tell_is_doubted_with_its_reason_and_its_last_report_kept(self) -> None:
        found = seen({"multipath": value(age=50), "pathfleet": info("cannot-tell", reason="it hangs")})
        assert (found.doubt, found.daemon, found.maps) == ("the node cannot tell: it hangs", "cannot-tell", MAPS)

    def test_cannot_tell_for_long_is_doubted_for_that_and_not_for_the_age_of_its_report(self) -> None:
        found = seen({"multipath": value(age=500), "pathfleet": info("cannot-tell", reason="it hangs")})
        assert found.doubt == "the node cannot tell: it hangs"

    def test_cannot_tell_and_does_not_say_why_is_doubted(self) -> None:
        assert seen({"pathfleet": info("cannot-tell")}).doubt == "the node cannot tell: it does not say why"

    def test_could_not_tell_before_its_agent_stopped_is_believed_where_another_reporter_is_fresh(self) -> None:
        assert seen({"multipath": value(), "pathfleet": info("cannot-tell", age=500)}).doubt is None

    @pytest.mark.parametrize("daemon", ["not-running", "not-installed"])
    def test_has_no_multipathd_is_not_doubted(self, daemon: str) -> None:
        found = seen({"pathfleet": info(daemon)})
        assert (found.daemon, found.doubt) == (daemon, None)

    def test_has_only_another_reporter_does_not_say_how_its_daemon_is(self) -> None:
        found = seen({"multipath": value(age=3)})
        assert (found.daemon, found.maps, found.doubt) == ("unknown", MAPS, None)

    def test_says_a_word_of_a_newer_version_is_unknown(self) -> None:
        assert seen({"pathfleet": info("resting")}).daemon == "unknown"

    def test_never_spoke_is_shown(self) -> None:
        found = seen({})
        assert (found.daemon, found.maps, found.spoke_at, found.doubt) == ("unknown", {}, None, None)


class TestAge:
    @pytest.mark.parametrize("age", [180, 0, -180])
    def test_up_to_180_s_either_way_is_no_doubt(self, age: int) -> None:
        assert seen({"multipath": value(age=age)}).doubt is None

    @pytest.mark.parametrize("age", [181, 9999])
    def test_beyond_that_means_a_reporter_that_stopped_in_the_same_words_however_old(self, age: int) -> None:
        found = seen({"multipath": value(age=age)})
        assert found.doubt == "the report is more than 180 s old: its reporter has stopped"
        assert found.maps == MAPS

    @pytest.mark.parametrize("key", ["multipath", "pathfleet"])
    def test_ahead_beyond_that_means_a_broken_clock(self, key: str) -> None:
        said = {"multipath": value(age=-181), "pathfleet": info(age=-181)}[key]
        assert seen({key: said}).doubt == "the node's clock is more than 180 s ahead of this one"

    @pytest.mark.parametrize(("age", "doubt"), [(180, None), (181, "its agent has stopped"), (-181, "ahead")])
    def test_of_a_node_without_maps_is_that_of_its_last_word(self, age: int, doubt: str | None) -> None:
        found = seen({"pathfleet": info(age=age)}).doubt
        assert found is None if doubt is None else doubt in (found or "")


class TestJudgedAgain:
    def test_a_column_is_itself_while_nothing_changes(self) -> None:
        fresh = seen({"multipath": value()})
        assert column.again(fresh, NOW + 180) is fresh

    def test_a_report_grows_stale(self) -> None:
        fresh = seen({"multipath": value()})
        assert column.again(fresh, NOW + 181) == column.judge("n1", True, fresh.said, NOW + 181)

    def test_a_clock_that_is_ahead_stays_so_until_the_node_speaks_again(self) -> None:
        ahead = seen({"multipath": value(age=-200)})
        assert column.again(ahead, NOW + 60) is ahead
        assert "reporter has stopped" in (column.again(ahead, NOW + 381).doubt or "")


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
            b'{"maps":{"\\ud800":{"state":"","paths-active":1,"paths-total":2}},"time":1}',
            b'{"time":1751546766}',
            b"[" * 100_000,
            b'{"chunks":1,"digest":"x","packed":"!","time":1}',
            b'{"chunks":1,"digest":"x","packed":"AAAA","time":1}',
        ],
    )
    def test_in_a_report_is_a_doubt_and_the_last_one_that_could_be_read_stands(self, garbage: bytes) -> None:
        values = {"multipath": value(), "pathfleet": info()}
        found = seen({**values, "multipath": garbage})
        assert (found.maps, found.daemon) == ({}, "running")
        assert found.doubt
        found = seen({**values, "multipath": garbage}, before=column.read(values))
        assert found.maps == MAPS
        assert found.doubt
        assert seen(values, before=found.said).doubt is None

    def test_in_other_values_is_a_warning_and_the_report_stands(self) -> None:
        found = seen(
            {"multipath": value(), "pathfleet": b"{", "multipath-detail": b"\xff", "multipath-apply": b'{"time":"x"}'}
        )
        assert (found.maps, found.doubt, found.daemon) == (MAPS, None, "unknown")
        assert [warning.split(":")[0] for warning in found.said.warnings] == [
            f"the value of `{key}` is not what it should be"
            for key in ("multipath-detail", "pathfleet", "multipath-apply")
        ]

    def test_a_reason_as_long_as_a_book_is_cut(self) -> None:
        found = seen({"pathfleet": info("cannot-tell", reason="x" * 30_000)})
        assert len(found.doubt or "") < 300

    def test_a_map_without_wwid_has_no_place(self) -> None:
        assert seen({"multipath": value({"": MapReport("optimal", 1, 1), **MAPS})}).maps == MAPS

    @given(
        st.dictionaries(
            st.sampled_from(["multipath", "multipath.1", "pathfleet", "multipath-detail", "multipath-apply", "x"]),
            st.binary(max_size=60)
            | st.from_regex(
                rb'\A\{("(maps|time|chunks|packed|digest|multipathd)":([0-9]{1,30}|"[a-z]*"|\{\}),?){1,4}\}\Z'
            ),
        ),
        st.sampled_from([True, False, None]),
    )
    def test_of_any_kind_does_not_raise(self, values: dict[str, bytes], online: bool | None) -> None:
        assert seen(values, online, before=column.read(packed())).node == "n1"

    @given(st.data())
    def test_in_a_packed_report_does_not_raise_and_is_never_taken_for_healthy(self, data: st.DataObject) -> None:
        values = packed()
        key = data.draw(st.sampled_from(sorted(values)))
        place = data.draw(st.integers(0, len(values[key]) - 1))
        values[key] = values[key][:place] + data.draw(st.binary(max_size=2)) + values[key][place + 1 :]
        found = seen(values)
        assert found.doubt or {each.state for each in found.maps.values()} == {"failed"}


class TestDetail:
    def test_of_another_time_than_the_report_is_left_out_and_that_is_said(self) -> None:
        found = seen({"multipath": value(), "multipath-detail": detail(age=200)})
        assert (found.said.details, found.doubt) == ({}, None)
        assert "not of the time" in found.said.warnings[0]

    def test_that_found_no_room_is_said(self) -> None:
        found = seen({"multipath": value(), "multipath-detail": detail(cut=7)})
        assert found.said.cut == 7
        assert "found no room" in found.said.warnings[0]


class TestAReportThatIsBeingWritten:
    @pytest.mark.parametrize("how", ["missing", "of another generation"])
    def test_is_torn_and_a_doubt(self, how: str) -> None:
        values = packed()
        if how == "missing":
            del values["multipath.1"]
        else:
            values["multipath.1"] = wire.stamp({"digest": "0" * 16, "packed": "AAAA"}, NOW)
        found = seen(values)
        assert found.said.torn
        assert "being written" in (found.doubt or "")
        assert not found.maps

    def test_is_not_torn_once_it_is_whole(self) -> None:
        found = seen(packed())
        assert (len(found.maps), found.doubt, found.said.torn) == (99, None, False)


class TestARefresh:
    @pytest.mark.parametrize("values", [{"multipath": value(age=60)}, packed(age=60)], ids=["plain", "packed"])
    def test_shares_everything_with_what_was_said_before_but_the_time(self, values: dict[str, bytes]) -> None:
        values["multipath-detail"] = detail(age=60)
        before = column.read(values)
        later = {key: said.replace(b"%d}" % (NOW - 60), b"%d}" % NOW) for key, said in values.items()}
        after = column.read(later, before)
        assert after.report is not None
        assert before.report is not None
        assert after.report.time == NOW
        assert after.report.maps is before.report.maps
        assert after.details is before.details
        assert after.report == report.Report(column.read(later).report.maps, NOW)  # type: ignore[union-attr]

    def test_by_a_writer_that_orders_its_keys_otherwise_is_read_and_shared(self) -> None:
        before = column.read({"multipath": value()})
        after = column.read({"multipath": b'{"time":5,' + value()[1:].rpartition(b",")[0] + b"}"}, before)
        assert after.report == report.Report(MAPS, 5)
        assert after.report.maps is before.report.maps  # type: ignore[union-attr]

    @given(
        st.binary(max_size=30) | st.sampled_from([b'{"maps":{},"time":5}', b'{"time":5,"maps":{}}', value()]),
        st.binary(max_size=30)
        | st.sampled_from([b'{"maps":{},"time":05}', b'{"maps":{},"time":0}', b'{"maps":{},"time":1751546766}x']),
    )
    def test_is_read_as_if_it_were_the_first(self, old: bytes, new: bytes) -> None:
        alone, after = (
            column.read({"multipath": new}),
            column.read({"multipath": new}, column.read({"multipath": old})),
        )
        assert (alone.trouble, alone.warnings) == (after.trouble, after.warnings)
        assert alone.trouble or alone.report == after.report

    def test_of_garbage_is_garbage(self) -> None:
        before = column.read({"multipath": b'{"maps":1,"time":5}'}, column.read({"multipath": value()}))
        assert column.read({"multipath": b'{"maps":1,"time":6}'}, before).trouble

    def test_equal_maps_are_one_object(self) -> None:
        maps = column.read(packed()).report.maps  # type: ignore[union-attr]
        assert len({id(map_) for map_ in maps.values()}) == 1
