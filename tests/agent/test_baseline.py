from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pathfleet.agent.baseline import Baseline, counts
from pathfleet.core import maps
from pathfleet.core.health import Facts, judge
from pathfleet.errors import SettingsError
from tests.replies import group, map_, path, reply


@pytest.fixture
def baseline(tmp_path: Path) -> Baseline:
    return Baseline(tmp_path)


def test_nothing_was_accepted_at_first(baseline: Baseline) -> None:
    assert baseline.read() == {}


def test_the_number_rises_by_itself(baseline: Baseline) -> None:
    baseline.raise_to({"x": 2})
    baseline.raise_to({"x": 4, "y": 1})
    assert baseline.read() == {"x": 4, "y": 1}


def test_the_number_does_not_fall_by_itself_nor_is_an_absent_lun_forgotten(baseline: Baseline) -> None:
    baseline.raise_to({"x": 4, "y": 4})
    baseline.raise_to({"x": 2, "z": 1})
    assert baseline.read() == {"x": 4, "y": 4, "z": 1}


def test_the_operator_accepts_fewer_and_other_luns_keep_theirs(baseline: Baseline) -> None:
    baseline.raise_to({"x": 4, "y": 4})
    baseline.accept({"x": 2}, forget_others=False)
    assert baseline.read() == {"x": 2, "y": 4}


def test_the_operator_accepts_all_and_what_is_gone_is_forgotten(baseline: Baseline) -> None:
    baseline.raise_to({"x": 4, "y": 4})
    baseline.accept({"x": 2}, forget_others=True)
    assert baseline.read() == {"x": 2}


def test_nothing_is_written_when_nothing_rises(baseline: Baseline, tmp_path: Path) -> None:
    baseline.raise_to({"x": 4})
    before = (tmp_path / "baseline.json").stat()
    baseline.raise_to({"x": 4})
    assert (tmp_path / "baseline.json").stat().st_ino == before.st_ino


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    def accept(names: range) -> None:
        own = Baseline(tmp_path)
        for name in names:
            own.accept({str(name): name}, forget_others=False)

    writers = [threading.Thread(target=accept, args=[range(start, 80, 4)]) for start in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert Baseline(tmp_path).read() == {str(name): name for name in range(80)}


@pytest.mark.parametrize("garbage", [b"", b"{", b'{"x": "many"}', b"[]", b"\xff\xfe", b"[" * 100_000, b'{"x": 2.5}'])
def test_what_cannot_be_read_is_said_and_is_not_taken_for_nothing(
    baseline: Baseline, tmp_path: Path, garbage: bytes
) -> None:
    (tmp_path / "baseline.json").write_bytes(garbage)
    for change in (
        baseline.read,
        lambda: baseline.raise_to({"x": 1}),
        lambda: baseline.accept({"x": 1}, forget_others=False),
    ):
        with pytest.raises(SettingsError, match=r"cannot be read from .+baseline\.json: .+remove it"):
            change()
    assert (tmp_path / "baseline.json").read_bytes() == garbage


def test_accepting_all_needs_nothing_of_what_was_there(baseline: Baseline, tmp_path: Path) -> None:
    (tmp_path / "baseline.json").write_bytes(b"garbage")
    baseline.accept({"x": 1}, forget_others=True)
    assert baseline.read() == {"x": 1}


@pytest.mark.parametrize("place", ["nowhere", "a-file"])
def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "a-file").touch()
    directory = tmp_path / place
    with pytest.raises(SettingsError, match=r"baseline\.json.*state-directory"):
        Baseline(directory).accept({"x": 1}, forget_others=True)


def test_only_maps_with_a_wwid_and_paths_have_a_number() -> None:
    found = maps.decode(reply(map_("x", group(path("sda"))), map_("", group(path("sdb"))), map_("z")))
    assert counts(tuple(judge(each, Facts()) for each in found)) == {"x": 1}
