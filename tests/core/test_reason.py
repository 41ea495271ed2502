from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core.detail import DownPath, MapDetail
from pathfleet.core.reason import gist, of_absence, of_doubt, of_report, of_word
from pathfleet.core.report import MapReport

_NAMES = st.text("abcdefghij:.-_", min_size=1, max_size=12)


def down(*names: str, target: str | None = None) -> MapDetail:
    return MapDetail(
        ("single-domain",), None, tuple(DownPath(name, "failed", "faulty", None, target) for name in names)
    )


@given(names=st.lists(_NAMES, min_size=2, max_size=2), others=st.lists(_NAMES, min_size=2, max_size=2), target=_NAMES)
def test_luns_that_lost_their_paths_to_one_target_have_one_gist(
    names: list[str], others: list[str], target: str
) -> None:
    half = MapReport("degraded", 2, 4)
    reasons = [of_report(half, down(*each, target=target)) for each in (names, others)]
    assert gist(reasons[0]) == gist(reasons[1])
    assert f"paths to {target}" in gist(reasons[0])


def test_luns_that_lost_paths_to_different_targets_have_not() -> None:
    half = MapReport("degraded", 2, 4)
    assert gist(of_report(half, down("sda", target="1"))) != gist(of_report(half, down("sda", target="2")))


def test_paths_without_a_known_target_are_some_paths() -> None:
    assert gist(of_report(MapReport("degraded", 2, 4), down("sda"))).startswith(
        "2 of 4 paths usable; down: some paths; all usable paths share one port"
    )


def test_luns_of_a_doubtful_node_share_the_doubt_however_they_were() -> None:
    maps = (MapReport("optimal", 4, 4), MapReport("failed", 0, 2))
    assert {gist(of_doubt("the node is offline", map_)) for map_ in maps} == {"the node is offline"}


@pytest.mark.parametrize(
    "reason",
    [
        of_report(MapReport("failed", 0, 0), MapDetail()),
        of_word("novel"),
        of_absence("running", ("vg1",), reported=True),
        "",
    ],
)
def test_a_reason_that_names_nothing_of_the_lun_is_its_own_gist(reason: str) -> None:
    assert gist(reason) == reason
