from __future__ import annotations

import pytest

from pathfleet.core.glossary import CHECKS, FLAGS, HEALTH, of_path
from pathfleet.core.health import USABLE_CHECKS, Flag, Health, usable
from pathfleet.core.maps import Path


def test_every_health_is_explained() -> None:
    assert set(HEALTH) == set(Health)


def test_every_flag_is_explained_with_a_remedy() -> None:
    assert set(FLAGS) == set(Flag)
    assert all(meaning.remedy for meaning in FLAGS.values())


def test_every_health_but_optimal_has_a_remedy() -> None:
    assert [health for health, meaning in HEALTH.items() if not meaning.remedy] == [Health.OPTIMAL]


def test_every_usable_word_is_explained_as_usable() -> None:
    assert {check for check, meaning in CHECKS.items() if "usable" in meaning.says} == USABLE_CHECKS


def test_every_word_that_is_not_usable_has_a_remedy() -> None:
    assert {check for check, meaning in CHECKS.items() if not meaning.remedy} == USABLE_CHECKS


DM = ["active", "failed", "undef", "brand new"]
DEVICE = ["running", "offline", "unknown"]


@pytest.mark.parametrize("check", [*CHECKS, "brand new"])
@pytest.mark.parametrize("device", DEVICE)
@pytest.mark.parametrize("dm", DM)
def test_a_path_has_no_remedy_exactly_when_it_is_usable(dm: str, device: str, check: str) -> None:
    path = Path("sda", dm, device, check)
    assert (of_path(path).remedy is None and "not usable" not in of_path(path).says) is usable(path)


def test_a_word_that_is_not_known_is_explained_as_not_usable() -> None:
    assert "'brand new'" in of_path(Path("sda", "active", "running", "brand new")).says
    assert "not usable" in of_path(Path("sda", "active", "running", "brand new")).says


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (Path("sda", "active", "running", "ghost"), "standby"),
        (Path("sda", "failed", "offline", "faulty"), "set the device offline"),
        (Path("sda", "failed", "running", "ready"), "the kernel has the path failed"),
        (Path("sda", "failed", "running", "i/o pending"), "the kernel has the path failed"),
        (Path("sda", "undef", "running", "ready"), "does not say that it uses the path"),
        (Path("sda", "active", "running", "faulty"), "has not been told yet"),
        (Path("sda", "failed", "running", "faulty"), "does not answer its check"),
    ],
)
def test_the_states_of_a_path_are_explained_together(path: Path, says: str) -> None:
    assert says in of_path(path).says
