from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core import wire
from pathfleet.core.detail import Detail, DownPath, MapDetail, content, decode, detail_of
from pathfleet.core.dmstatus import KernelPath
from pathfleet.core.health import Facts, Health, KernelMap, Verdict, judge
from pathfleet.core.maps import Map, Path, PathGroup
from pathfleet.core.ports import Port
from pathfleet.errors import Malformed

TIME = 1751546766
LIMIT = 32 * 1024
WWID = "3600a098038303053453f463045727a41"
UP = Path("sda", "active", "running", "ready")
GHOST = Path("sdb", "active", "running", "ghost")
DOWN = Path("sdc", "failed", "running", "faulty", host_wwpn="0xA", target_wwpn="[unknown]")
NOTHING_KNOWN = Facts()


def verdict(*paths: Path, wwid: str = WWID, name: str | None = None, facts: Facts = NOTHING_KNOWN) -> Verdict:
    return judge(
        Map(name=wwid if name is None else name, uuid=wwid, path_groups=(PathGroup(50, "active", paths),)), facts
    )


def said(*verdicts: Verdict, facts: Facts = NOTHING_KNOWN, limit: int = LIMIT) -> Detail | None:
    """What a reader reads of what is written."""
    written = content(verdicts, facts, limit=limit)
    if written is None:
        return None
    value = wire.stamp(written, TIME)
    assert len(value) < limit
    return decode(value)


def test_there_is_nothing_to_say_of_optimal_maps_named_by_their_wwid() -> None:
    assert said(verdict(UP, GHOST), verdict(UP, wwid="other")) is None
    assert said() is None


def test_a_map_of_which_there_is_nothing_to_say_does_not_appear() -> None:
    assert said(verdict(UP), verdict(UP, wwid="b", name="mpathb")) == Detail(TIME, {"b": MapDetail(name="mpathb")})


def test_paths_that_are_down_are_named_with_ports_and_states() -> None:
    down = DownPath("sdc", "failed", "faulty", "0xA")
    assert said(verdict(UP, GHOST, DOWN)) == Detail(TIME, {WWID: MapDetail(down=(down,))})


def test_the_value_is_as_the_specification_has_it() -> None:
    facts = Facts(ports={"sdc": Port("fc", "0xA", "0x1")}, baseline={WWID: 9})
    written = content([verdict(DOWN, name="mpatha", facts=facts)], facts, limit=LIMIT)
    assert written is not None
    assert wire.stamp(written, 5) == (
        b'{"maps":{"' + WWID.encode() + b'":{"down":[{"checker":"faulty","dm":"failed","initiator":"0xA",'
        b'"path":"sdc","target":"0x1"}],"flags":["below-expected"],"name":"mpatha"}},"time":5}'
    )


def test_flags_of_an_optimal_map_are_said() -> None:
    suspended = judge(
        Map(name=WWID, uuid=WWID, dm_st="suspend", path_groups=(PathGroup(1, "active", (UP,)),)), NOTHING_KNOWN
    )
    assert said(suspended) == Detail(TIME, {WWID: MapDetail(("suspended",))})


def test_an_unmanaged_map_has_flags_and_no_paths() -> None:
    facts = Facts(kernel={WWID: KernelMap(2, (KernelPath("8:0", active=True), KernelPath("8:16", active=False)))})
    assert detail_of(verdict(facts=facts), facts) == MapDetail(("unmanaged",))


def test_a_map_without_wwid_is_left_out() -> None:
    assert said(verdict(DOWN, wwid="")) is None


def test_of_two_maps_with_one_wwid_the_worse_stands() -> None:
    worse, better = verdict(DOWN, name="worse"), verdict(UP, name="better")
    for pair in ((worse, better), (better, worse)):
        detail = said(*pair)
        assert detail is not None
        assert detail.maps[WWID].name == "worse"


def troubled(count: int, *, named: bool = True) -> list[Verdict]:
    """Every fourth map failed, every fourth degraded, the others optimal."""
    kinds = ((DOWN, DOWN), (UP, DOWN), (UP,), (GHOST,))
    return [
        verdict(*kinds[number % 4], wwid=f"3600{number:028x}", name=f"lun{number}" if named else None)
        for number in range(count)
    ]


@given(st.integers(1, 60), st.integers(80, 9000), st.booleans())
def test_the_value_stays_below_any_limit_and_says_what_it_cut(count: int, limit: int, named: bool) -> None:
    verdicts = troubled(count, named=named)
    whole, cut = said(*verdicts), said(*verdicts, limit=limit)
    assert whole is not None
    assert cut is not None
    assert whole.cut == 0
    assert cut.cut == sum(cut.maps.get(wwid) != detail for wwid, detail in whole.maps.items())
    for wwid, detail in cut.maps.items():
        assert detail in (whole.maps[wwid], msgspec.structs.replace(whole.maps[wwid], down=()))


def test_down_is_cut_before_any_map_loses_its_name() -> None:
    verdicts = troubled(400)
    cut = said(*verdicts)
    assert cut is not None
    assert cut.cut > 0
    assert len(cut.maps) == 400
    assert all(detail.name for detail in cut.maps.values())


def test_the_worst_maps_keep_their_down() -> None:
    verdicts = troubled(400)
    cut = said(*verdicts)
    assert cut is not None
    keeps = {each.map.uuid for each in verdicts if cut.maps[each.map.uuid].down}
    failed = {each.map.uuid for each in verdicts if each.health is Health.FAILED}
    assert keeps
    assert keeps < failed or failed < keeps


def test_the_order_of_the_maps_does_not_matter() -> None:
    verdicts = troubled(400)
    assert said(*verdicts) == said(*reversed(verdicts))


@pytest.mark.parametrize("value", [b"", b"{}", b'{"maps":{}}', b'{"maps":{"a":{"down":[{}]}},"time":1}', b"\xff"])
def test_anything_else_is_malformed(value: bytes) -> None:
    with pytest.raises(Malformed, match="multipath-detail"):
        decode(value)


def test_what_a_newer_writer_adds_is_ignored() -> None:
    assert decode(b'{"maps":{"a":{"flags":["new-flag"],"mood":1}},"time":1,"x":[]}') == Detail(
        1, {"a": MapDetail(("new-flag",))}
    )
