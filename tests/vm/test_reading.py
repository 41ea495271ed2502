"""Faults on a real SAN, as the real multipathd of each Debian release tells them: verdict and flags.

Read from outside the guest, so it also runs where the guest's Python is too old for pathfleet. With
PATHFLEET_VM_RECORD=1 the replies become the recordings in tests/data/vm, which tests/core judges again without a
virtual machine.
"""

import os

import pytest

from pathfleet.core.health import Facts, Flag, Health, Verdict, flags
from tests.vm.machine import Machine
from tests.vm.reading import Reading, configured, lun, overridden, paths

Verdicts = dict[str, Verdict]


@pytest.fixture
def reading(machine: Machine) -> Reading:
    return Reading(machine, recording=os.environ.get("PATHFLEET_VM_RECORD") == "1")


def all_are(verdicts: Verdicts, health: Health, active: int, total: int) -> bool:
    return len(verdicts) == 3 and all(
        (verdict.health, verdict.active, verdict.total) == (health, active, total) for verdict in verdicts.values()
    )


def flags_of(verdict: Verdict) -> set[Flag]:
    return set(flags(verdict, Facts()))


def test_a_healthy_san_is_optimal_without_a_flag(reading: Reading) -> None:
    verdicts = reading.until("healthy", lambda v: all_are(v, Health.OPTIMAL, 2, 2))
    assert {flags_of(verdict) <= {Flag.NON_OPTIMAL} for verdict in verdicts.values()} == {True}


def test_a_device_set_offline_degrades_its_map_alone(machine: Machine, reading: Reading) -> None:
    first = paths(machine, 0)[0]
    machine.run(f"san offline {first}")
    verdicts = reading.until("device-offline", lambda v: v[lun(0)].health is Health.DEGRADED)
    assert (verdicts[lun(0)].active, verdicts[lun(0)].total) == (1, 2)
    assert verdicts[lun(1)].health is Health.OPTIMAL
    (down,) = [path for group in verdicts[lun(0)].map.path_groups for path in group.paths if path.dm_st == "failed"]
    assert (down.dev, down.dev_st) == (first, "offline")


def test_a_session_cut_leaves_fewer_paths_and_says_nothing_else(machine: Machine, reading: Reading) -> None:
    machine.run("san logout 2")
    verdicts = reading.until("session-cut", lambda v: all_are(v, Health.OPTIMAL, 1, 1))
    expected = Facts(baseline=dict.fromkeys(verdicts, 2))
    assert {Flag.BELOW_EXPECTED in flags(verdict, expected) for verdict in verdicts.values()} == {True}


def test_a_portal_down_degrades_every_map(machine: Machine, reading: Reading) -> None:
    machine.run("san portal 2 down")
    reading.until("portal-down", lambda v: all_are(v, Health.DEGRADED, 1, 2))


@pytest.mark.parametrize(
    ("no_path_retry", "first", "last"),
    [("fail", None, None), ("5", "sec", None), ("queue", "on", "on")],
)
def test_all_paths_down_fails_and_queues_as_no_path_retry_says(
    machine: Machine, reading: Reading, no_path_retry: str, first: str | None, last: str | None
) -> None:
    overridden(machine, f"no_path_retry {no_path_retry}")
    for device in paths(machine, 1):
        machine.run(f"san offline {device}")

    def waits(verdicts: Verdicts, word: str | None) -> bool:
        verdict = verdicts.get(lun(1))
        if verdict is None or verdict.health is not Health.FAILED:
            return False
        return verdict.queueing is None if word is None else word in (verdict.queueing or "")

    verdicts = reading.until(f"all-paths-down-{no_path_retry}", lambda v: waits(v, first))
    assert (Flag.QUEUEING in flags_of(verdicts[lun(1)])) is (first is not None)
    if first != last:
        verdicts = reading.until(f"all-paths-down-{no_path_retry}-later", lambda v: waits(v, last))
        assert (Flag.QUEUEING in flags_of(verdicts[lun(1)])) is (last is not None)
    assert verdicts[lun(0)].health is Health.OPTIMAL


def test_an_alua_standby_port_is_usable_and_named_standby(machine: Machine, reading: Reading) -> None:
    overridden(machine, "path_checker tur")  # the table of 0.11.1 has directio for this kind, which knows no standby
    machine.run("san alua 0 2 standby")
    verdicts = reading.until("alua-standby", lambda v: v[lun(0)].standby == 1)
    assert (verdicts[lun(0)].health, verdicts[lun(0)].active) == (Health.OPTIMAL, 2)


def test_an_alua_unavailable_port_is_down(machine: Machine, reading: Reading) -> None:
    machine.run("san alua 0 2 unavailable")
    verdicts = reading.until("alua-unavailable", lambda v: v[lun(0)].active == 1)
    assert verdicts[lun(0)].health is Health.DEGRADED


def test_a_group_in_use_of_lower_priority_is_non_optimal(machine: Machine, reading: Reading) -> None:
    overridden(machine, "failback manual")
    machine.run(f"dd if=/dev/mapper/{lun(1)} of=/dev/null bs=4k count=1 iflag=direct")  # puts the first group in use
    machine.run("san alua 1 1 non-optimized && san alua 1 2 optimized")
    verdicts = reading.until("alua-swapped", lambda v: Flag.NON_OPTIMAL in flags_of(v[lun(1)]))
    assert verdicts[lun(1)].health is Health.OPTIMAL


def test_a_suspended_map_is_flagged(machine: Machine, reading: Reading) -> None:
    machine.run(f"dmsetup suspend --nolockfs {lun(2)}")
    try:
        verdicts = reading.until("map-suspended", lambda v: Flag.SUSPENDED in flags_of(v[lun(2)]))
    finally:
        machine.run(f"dmsetup resume {lun(2)}")
    assert verdicts[lun(0)].health is Health.OPTIMAL


def test_a_marginal_path_is_usable_and_flagged(machine: Machine, reading: Reading) -> None:
    machine.run(f"ask setmarginal path {paths(machine, 0)[1]}")
    try:
        verdicts = reading.until("path-marginal", lambda v: Flag.MARGINAL in flags_of(v[lun(0)]))
    finally:
        machine.run(f"ask unsetmarginal path {paths(machine, 0)[1]}")
    assert verdicts[lun(0)].health is Health.OPTIMAL


def test_all_sessions_gone_leave_an_open_map_without_paths(machine: Machine, reading: Reading) -> None:
    machine.run(f"sleep 600 < /dev/mapper/{lun(0)} > /dev/null 2>&1 & echo $! > /run/holder")
    try:
        machine.run("san logout 1 && san logout 2")
        verdicts = reading.until("sessions-gone-map-open", lambda v: lun(0) in v and v[lun(0)].total == 0)
        assert verdicts[lun(0)].health is Health.FAILED
    finally:
        machine.run("kill $(cat /run/holder)")


def test_a_blacklisted_open_map_has_no_paths_in_multipathds_view(machine: Machine, reading: Reading) -> None:
    machine.run(f"sleep 600 < /dev/mapper/{lun(0)} > /dev/null 2>&1 & echo $! > /run/holder")
    try:
        configured(machine, f'blacklist {{\n wwid "{lun(0)}"\n}}\n')
        verdicts = reading.until(
            "blacklisted-map-open", lambda v: bool(v) and (lun(0) not in v or not v[lun(0)].total)
        )
        # 0.8.5 lists it no more; by the kernel's view, which test_agent.py asks for, all paths still work
        assert lun(0) not in verdicts or verdicts[lun(0)].health is Health.FAILED
    finally:
        machine.run("kill $(cat /run/holder)")


def test_hostile_inquiry_strings_cost_no_other_map(machine: Machine, reading: Reading) -> None:
    machine.run("""san debug-disk 'A"B\\C' 'Pr"o\\d' 9z""")
    verdicts = reading.until("hostile-inquiry", lambda v: len(v) == 4)
    assert sum(verdict.health is Health.OPTIMAL for verdict in verdicts.values()) == 4
    (hostile,) = [verdict for verdict in verdicts.values() if "\\" in verdict.map.vend]
    assert hostile.map.vend == 'A"B\\C'


def test_an_alias_with_quotes_costs_no_other_map(machine: Machine, reading: Reading) -> None:
    configured(machine, f'multipaths {{\n multipath {{\n wwid {lun(1)}\n alias "say ""hi"" \\ there"\n }}\n}}\n')
    verdicts = reading.until("hostile-alias", lambda v: lun(1) in v and v[lun(1)].map.name != lun(1))
    assert len(verdicts) == 3


def test_a_daemon_without_maps_lists_none(machine: Machine, reading: Reading) -> None:
    configured(machine, 'blacklist {\n wwid ".*"\n}\n')
    assert reading.until("no-maps", lambda v: not v and b'"maps": []' in reading.reply()) == {}
    reading.record("show-paths-without-any", reading.reply("show paths"))


def test_an_unknown_command_tells_the_version(reading: Reading) -> None:
    from pathfleet.core import maps

    reply = reading.reply("help")
    reading.record("help", reply)
    assert maps.version_in(reply) is not None
