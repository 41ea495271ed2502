"""What each fault does to paths and maps, and that it is undone."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from pathfleet.core.health import Facts, Flag, flags
from pathfleet.errors import SettingsError
from pathfleet.lab.faults import FAULTS, inflict, relieve
from tests.lab.bench import SMALL, Bench

ALL_WELL = Counter({("optimal", 4, 4): 3})


@pytest.mark.parametrize(
    ("component", "here", "elsewhere"),
    [
        ("switch-a", ("degraded", 2, 4), ("degraded", 2, 4)),
        ("array1-ct0", ("degraded", 2, 4), ("degraded", 2, 4)),
        ("array1-ct1-p1", ("degraded", 3, 4), ("degraded", 3, 4)),
        ("array1", ("failed", 0, 4), ("failed", 0, 4)),
        ("pve1-hba0", ("degraded", 2, 4), ("optimal", 4, 4)),
        ("cable:pve1-hba1", ("degraded", 2, 4), ("optimal", 4, 4)),
        ("cable:array1-ct0-p0", ("degraded", 3, 4), ("degraded", 3, 4)),
        ("pve1-hba0>array1-ct0-p0", ("degraded", 3, 4), ("optimal", 4, 4)),
    ],
)
def test_what_is_broken_takes_the_paths_through_it_until_mended(
    component: str, here: tuple[str, int, int], elsewhere: tuple[str, int, int]
) -> None:
    bench = Bench()
    bench.inflict("break", component)
    assert (bench.counts("pve1"), bench.counts("pve2")) == (Counter({here: 3}), Counter({elsewhere: 3}))
    bench.relieve("break", component)
    assert (bench.counts("pve1"), bench.counts("pve2")) == (ALL_WELL, ALL_WELL)


def test_two_broken_parts_of_one_way_must_both_be_mended() -> None:
    bench = Bench()
    bench.inflict("break", "switch-a")
    bench.inflict("break", "pve1-hba0")
    bench.relieve("break", "switch-a")
    assert bench.counts("pve1") == Counter({("degraded", 2, 4): 3})
    bench.relieve("break", "pve1-hba0")
    assert bench.counts("pve1") == ALL_WELL


def test_io_finds_a_dead_path_within_a_tenth_of_a_second_and_the_idle_group_waits_for_its_check() -> None:
    bench = Bench()
    bench.passes(0.5)
    bench.inflict("break", "switch-a", seconds=0.11)
    assert bench.counts() == Counter({("degraded", 3, 4): 3})
    bench.passes(20)
    assert bench.counts() == Counter({("degraded", 2, 4): 3})


def test_without_io_a_dead_path_waits_for_its_check() -> None:
    bench = Bench()
    for lun in ("vm1", "vm2", "vm3"):
        bench.inflict("unused", lun, seconds=0)
    bench.inflict("break", "switch-a", seconds=0.9)
    assert bench.counts() == ALL_WELL
    bench.passes(20)
    assert bench.counts() == Counter({("degraded", 2, 4): 3})


def test_an_offline_device_is_called_so() -> None:
    bench = Bench()
    bench.inflict("offline", "pve1:sda")
    (path,) = [p for group in bench.map("vm1").path_groups for p in group.paths if p.dm_st == "failed"]
    assert (path.dev, path.dev_st, path.chk_st) == ("sda", "offline", "faulty")
    bench.relieve("offline", "pve1:sda")
    assert bench.counts() == ALL_WELL


def test_sessions_taken_down_leave_fewer_paths_and_come_back() -> None:
    bench = Bench()
    bench.inflict("logout", "array1-ct0")
    assert bench.counts() == Counter({("optimal", 2, 2): 3})
    bench.relieve("logout", "array1-ct0")
    assert bench.counts() == ALL_WELL
    assert sorted(bench.san.nodes["pve1"].kernel.paths) == [f"sd{letter}" for letter in "abcdefghijkl"]


def test_with_all_sessions_gone_an_open_map_stays_without_paths_and_others_go() -> None:
    bench = Bench()
    bench.inflict("unused", "vm2", seconds=0)
    bench.inflict("logout", "array1", seconds=1)
    assert {map_.uuid for map_ in bench.maps()} == {bench.san.fabric.lun(name).wwid for name in ("vm1", "vm3")}
    map_ = bench.map("vm1")
    assert (map_.path_groups, map_.vend, map_.queueing) == ((), "##", "29 sec")
    bench.relieve("logout", "array1")
    assert bench.counts() == ALL_WELL


def test_an_unmapped_lun_fails_where_it_was_unmapped() -> None:
    bench = Bench()
    bench.inflict("unmap", "vm1", "pve1")
    assert (bench.verdict("vm1", "pve1").active, bench.verdict("vm1", "pve2").active) == (0, 4)
    bench.relieve("unmap", "vm1")
    assert bench.verdict("vm1", "pve1").active == 4


def test_a_resized_lun_changes_the_map_when_it_is_resized_too() -> None:
    bench = Bench()
    node = bench.san.nodes["pve1"]
    bench.inflict("resize", "vm1", "20G")
    assert node.sysfs.size_bytes("dm-0") == 10 << 30
    assert bench.ask('show paths raw format "%d %S"').startswith(b"sda 20G\n")
    assert bench.ask(f"resize map {bench.map('vm1').uuid}") == b"ok\n"
    assert node.sysfs.size_bytes("dm-0") == 20 << 30


def test_two_luns_under_one_wwid_share_a_map() -> None:
    bench = Bench()
    bench.inflict("clone", "vm2", "vm1")
    assert (bench.verdict("vm1").total, len(bench.maps())) == (8, 3)  # the map that was vm2's is open and stays
    bench.relieve("clone", "vm2")
    assert bench.counts() == ALL_WELL


def test_a_marginal_part_makes_its_paths_marginal_though_usable() -> None:
    bench = Bench()
    bench.inflict("marginal", "pve1-hba0")
    assert bench.counts() == ALL_WELL
    assert Flag.MARGINAL in flags(bench.verdict(), Facts())
    bench.relieve("marginal", "pve1-hba0")
    assert Flag.MARGINAL not in flags(bench.verdict(), Facts())


def test_a_standby_port_is_a_ghost_and_an_unavailable_one_is_down() -> None:
    bench = Bench()
    bench.inflict("alua", "vm1", "array1-ct1=standby")
    assert (bench.verdict().active, bench.verdict().standby) == (4, 2)
    bench.inflict("alua", "vm1", "array1-ct1=unavailable")
    assert bench.verdict().active == 2
    bench.relieve("alua", "vm1")
    assert bench.verdict().standby == 0
    assert bench.counts() == ALL_WELL


def test_swapped_controllers_move_the_io_at_once_or_leave_it_non_optimal() -> None:
    bench = Bench()
    bench.inflict("swap", "vm1")
    assert [group.pri for group in bench.map().path_groups] == [50, 10]
    assert Flag.NON_OPTIMAL not in flags(bench.verdict(), Facts())
    manual = Bench(SMALL.replace("no_path_retry = 6", 'failback = "manual"'))
    manual.inflict("swap", "vm1")
    assert [group.pri for group in manual.map().path_groups] == [10, 50]
    assert Flag.NON_OPTIMAL in flags(manual.verdict(), Facts())


def test_a_suspended_map_says_so() -> None:
    bench = Bench()
    bench.inflict("suspend", "vm1", "pve1")
    assert Flag.SUSPENDED in flags(bench.verdict(), Facts())
    bench.relieve("suspend", "vm1")
    assert Flag.SUSPENDED not in flags(bench.verdict(), Facts())


def test_a_dead_daemon_leaves_the_kernel_at_work_and_knows_all_again_when_started() -> None:
    bench = Bench()
    node = bench.san.nodes["pve1"]
    pid = node.daemon.pid
    bench.inflict("dead", "pve1")
    bench.inflict("break", "switch-a")
    assert not node.daemon.alive
    assert {path.active for path in node.kernel.maps[bench.map().uuid].groups[0]} == {True, False}
    bench.relieve("dead", "pve1")
    assert bench.counts() == Counter({("degraded", 2, 4): 3})
    assert node.daemon.pid != pid


def test_a_hung_daemon_takes_no_notice() -> None:
    bench = Bench()
    bench.inflict("hung", "pve1")
    bench.inflict("break", "switch-a")
    assert {path.check for path in bench.san.nodes["pve1"].kernel.paths.values()} == {"ready"}


def test_a_host_that_is_down_has_no_daemon_and_boots_with_one() -> None:
    bench = Bench()
    node = bench.san.nodes["pve1"]
    bench.inflict("break", "pve1")
    assert (node.powered, node.daemon.alive) == (False, False)
    bench.relieve("break", "pve1")
    assert (node.powered, node.daemon.alive) == (True, True)


def test_the_store_is_the_runners_to_take_down() -> None:
    bench = Bench()
    bench.inflict("store", "store")
    bench.relieve("store", "store")
    assert bench.store == [True, False]


@pytest.mark.parametrize(
    ("fault", "name", "value", "told"),
    [
        ("explode", "pve1", "", "there is no fault 'explode'"),
        ("break", "nothing", "", "there is no LUN 'nothing'"),
        ("dead", "switch-a", "", "that is a switch; dead is for host"),
        ("resize", "vm1", "", "say also SIZE"),
        ("resize", "vm1", "big", "size = 'big'"),
        ("alua", "vm1", "array1=fast", "PORT=STATE"),
        ("offline", "pve1:sdzz", "", "no path device 'sdzz'"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_in_words(fault: str, name: str, value: str, told: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        inflict(Bench().san, fault, name, value)


def test_every_fault_says_what_it_does_and_to_what() -> None:
    assert all(fault.help and fault.applies_to for fault in FAULTS.values())


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_every_fault_leaves_nothing_behind(fault: str) -> None:
    bench = Bench()
    samples = {
        "switch": "switch-a",
        "host": "pve1",
        "lun": "vm1",
        "path": "pve1:sda",
        "store": "store",
    }
    values = {"resize": "20G", "clone": "vm2", "alua": "array1-ct0=standby", "suspend": "pve1"}
    component = samples[FAULTS[fault].applies_to[0]]
    bench.inflict(fault, component, values.get(fault, ""))
    bench.relieve(fault, component)
    assert (bench.counts("pve1"), bench.san.applied) == (ALL_WELL, [])


def test_the_documentation_names_every_fault() -> None:
    text = (Path(__file__).parents[2] / "docs/lab.md").read_text()
    assert [name for name in FAULTS if f"| `{name}` |" not in text] == []


def test_a_session_that_comes_back_over_a_broken_cable_has_dead_paths() -> None:
    bench = Bench()
    bench.inflict("logout", "pve1-hba0")
    bench.inflict("break", "cable:pve1-hba0")
    bench.relieve("logout", "pve1-hba0")
    assert bench.counts() == Counter({("degraded", 2, 4): 3})


def test_one_fault_at_two_places_is_ended_at_both() -> None:
    bench = Bench()
    inflict(bench.san, "alua", "vm1", "array1-ct0=standby")
    inflict(bench.san, "alua", "vm1", "array1-ct1=unavailable")
    assert len(bench.san.applied) == 2
    relieve(bench.san, "alua", "vm1", "array1-ct0=standby")
    assert [fault.value for fault in bench.san.applied] == ["array1-ct1=unavailable"]
    relieve(bench.san, "alua", "vm1")
    assert bench.san.applied == []


def test_a_daemon_has_one_manner_at_a_time() -> None:
    bench = Bench()
    inflict(bench.san, "slow", "pve1")
    inflict(bench.san, "busy", "pve1")
    assert [fault.fault for fault in bench.san.applied] == ["busy"]


def test_the_end_of_a_dead_daemon_does_not_start_one_on_a_host_that_is_down() -> None:
    bench = Bench()
    inflict(bench.san, "dead", "pve1")
    inflict(bench.san, "break", "pve1")
    relieve(bench.san, "dead", "pve1")
    assert not bench.san.node("pve1").daemon.works


def test_a_value_that_a_fault_does_not_take_is_refused() -> None:
    with pytest.raises(SettingsError, match="takes no value"):
        inflict(Bench().san, "break", "switch-a", "hard")
