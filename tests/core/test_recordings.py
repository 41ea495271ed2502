"""What real daemons of several versions said under known faults, recorded by tests/vm, is judged as it was there."""

from pathlib import Path

import pytest

from pathfleet.core import maps
from pathfleet.core.health import Facts, flags, judge

RECORDINGS = Path(__file__).parents[1] / "data/vm"

#: The map that a fault concerns, among those recorded: health, usable/total, flags.
EXPECTED = {
    "healthy": ("optimal", "2/2", ""),
    "device-offline": ("degraded", "1/2", "single-domain"),
    "session-cut": ("optimal", "1/1", "single-domain"),
    "portal-down": ("degraded", "1/2", "single-domain"),
    "all-paths-down-fail": ("failed", "0/2", ""),
    "all-paths-down-5": ("failed", "0/2", "queueing"),
    "all-paths-down-5-later": ("failed", "0/2", ""),
    "all-paths-down-queue": ("failed", "0/2", "queueing"),
    "alua-standby": ("optimal", "2/2", ""),
    "alua-unavailable": ("degraded", "1/2", "single-domain"),
    "alua-swapped": ("optimal", "2/2", "non-optimal"),
    "map-suspended": ("optimal", "2/2", "suspended"),
    "path-marginal": ("optimal", "2/2", "marginal"),
    "sessions-gone-map-open": ("failed", "0/0", "queueing"),
    "blacklisted-map-open": ("failed", "0/0", "queueing"),
    "hostile-inquiry": ("optimal", "2/2", ""),
    "hostile-alias": ("optimal", "2/2", ""),
}
#: What a version has otherwise: 0.8.5 lists a blacklisted map no more, and lets no map without paths queue.
OTHERWISE = {
    ("0.8.5", "blacklisted-map-open"): ("optimal", "2/2", ""),
    ("0.8.5", "sessions-gone-map-open"): ("failed", "0/0", ""),
}
#: Replies that are no maps.
OTHERS = {"help", "no-maps", "show-paths-without-any"}
#: The oldest, the one of Debian 12, and the one of Debian 13 and Proxmox VE 9.
VERSIONS = ("0.8.5", "0.9.4", "0.11.1")


def recordings() -> list[tuple[str, str]]:
    return [(file.parent.name, file.stem) for file in sorted(RECORDINGS.glob("*/*.json"))]


def recorded(version: str, name: str) -> bytes:
    return (RECORDINGS / version / f"{name}.json").read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_fault_is_recorded_of_every_version(version: str) -> None:
    assert {name for of, name in recordings() if of == version} == {*EXPECTED, *OTHERS}


@pytest.mark.parametrize(("version", "name"), [pair for pair in recordings() if pair[1] in EXPECTED])
def test_a_recorded_fault_is_judged_as_it_was_seen(version: str, name: str) -> None:
    verdicts = [judge(map_, Facts()) for map_ in maps.decode(recorded(version, name))]
    shown = {
        (verdict.health.value, f"{verdict.active}/{verdict.total}", ",".join(flags(verdict, Facts())))
        for verdict in verdicts
    }
    assert OTHERWISE.get((version, name), EXPECTED[name]) in shown
    unaffected = [verdict for verdict in verdicts if verdict.health == "optimal"]
    assert len(unaffected) >= (0 if name in ("portal-down", "sessions-gone-map-open", "blacklisted-map-open") else 2)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_recorded_help_tells_its_version(version: str) -> None:
    assert maps.version_in(recorded(version, "help")) == version


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_daemon_without_maps_lists_none(version: str) -> None:
    assert maps.decode(recorded(version, "no-maps")) == ()
