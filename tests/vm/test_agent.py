"""The agent as it is installed: in a real guest, by its unit, unprivileged, on a real multipathd.

Each fault is followed to the bytes that the agent publishes, and to whether the report is kept or cleared.
"""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pathfleet.core import report
from pathfleet.core.report import MapReport
from tests.vm import installation
from tests.vm.conftest import OLDEST_PYTHON
from tests.vm.machine import Machine
from tests.vm.reading import configured, lun, overridden, paths

MIB = 1 << 20
NOTICE_SECONDS = 45


@dataclass(frozen=True)
class Values:
    """What the agent had published when the condition held."""

    values: dict[str, str]
    at: float

    @property
    def time(self) -> int:
        return int(json.loads(self.values["multipath"])["time"])


class Agent:
    """The agent of the guest, seen through the store."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def until(self, condition: str, *, seconds: int = NOTICE_SECONDS) -> Values:
        """Return the published values once a condition over `values`, `maps`, `detail` and `info` holds."""
        command = f"values {seconds} {shlex.quote(condition)}"
        found = json.loads(self._machine.run(command, deadline=seconds + 30).stdout)
        assert found["reached"], f"not within {seconds} s: {condition}\n{json.dumps(found['values'], indent=1)}"
        return Values(found["values"], found["at"])

    def polls_again(self) -> None:
        """Wait until the agent has asked multipathd once more: it tells systemd of each round."""
        show = "systemctl show pathfleet-agent -p WatchdogTimestampMonotonic"
        self._machine.run(f'before=$({show}); until [ "$before" != "$({show})" ]; do sleep 0.2; done')


@pytest.fixture(scope="module")
def installed(guest: Machine, suite: str) -> Iterator[Machine]:
    """The guest with the agent's user and unit, started."""
    if installation.python_version(guest) < OLDEST_PYTHON:
        pytest.skip(f"Debian {suite} has a Python that is too old for pathfleet")
    installation.install_agent(guest)
    yield guest
    guest.run("systemctl stop pathfleet-agent", deadline=60)


@pytest.fixture
def agent(installed: Machine, machine: Machine) -> Iterator[Agent]:
    """The agent, on a SAN that is healthy and has just been published as such."""
    assert installed is machine
    agent = Agent(machine)
    agent.until("len(maps) == 3 and all(m['state'] == 'optimal' and m['paths-total'] == 2 for m in maps.values())")
    yield agent
    machine.run("rm -f /var/lib/pathfleet/baseline.json")


def optimal(size_mib: int = 64) -> MapReport:
    return MapReport("optimal", 2, 2, size_mib * MIB, "iscsi")


def test_the_published_report_is_byte_for_byte_the_plain_form(agent: Agent) -> None:
    found = agent.until("len(maps) == 3")
    assert found.values["multipath"].encode() == report.plain({lun(n): optimal() for n in range(3)}, found.time)


def test_the_agent_runs_unprivileged_and_systemd_knows_it_is_ready(machine: Machine, agent: Agent) -> None:
    agent.until("len(maps) == 3")
    shown = machine.run("systemctl show pathfleet-agent -p ActiveState,SubState,User,StatusText").stdout.decode()
    assert "ActiveState=active" in shown
    assert "User=pathfleet" in shown
    assert "StatusText=3 optimal" in shown
    pid = machine.run("systemctl show pathfleet-agent -p MainPID --value").stdout.decode().strip()
    status = machine.run(f"cat /proc/{pid}/status").stdout.decode()
    assert re.search(r"^CapEff:\t0{16}$", status, re.MULTILINE)


def test_a_device_offline_is_published_with_what_is_down_and_cleared_when_it_is_back(
    machine: Machine, agent: Agent
) -> None:
    device = paths(machine, 0)[0]
    machine.run(f"san offline {device}")
    found = agent.until(f"maps['{lun(0)}']['state'] == 'degraded' and '{lun(0)}' in detail")
    expected = {lun(0): MapReport("degraded", 1, 2, 64 * MIB, "iscsi"), lun(1): optimal(), lun(2): optimal()}
    assert found.values["multipath"].encode() == report.plain(expected, found.time)
    detail = json.loads(found.values["multipath-detail"])["maps"][lun(0)]
    assert detail["flags"] == ["single-domain"]
    assert [(down["path"], down["dm"], down["checker"]) for down in detail["down"]] == [(device, "failed", "faulty")]
    assert detail["down"][0]["initiator"] == "10.77.0.1"
    assert detail["down"][0]["target"].endswith("@10.77.0.1:3260")
    machine.run(f"san online {device}")
    agent.until(f"maps['{lun(0)}']['state'] == 'optimal' and not any(d.get('down') for d in detail.values())")


def test_a_session_cut_is_below_expected(machine: Machine, agent: Agent) -> None:
    machine.run("san logout 2")
    found = agent.until("all(m['paths-total'] == 1 for m in maps.values()) and len(detail) == 3")
    one = MapReport("optimal", 1, 1, 64 * MIB, "iscsi")
    assert found.values["multipath"].encode() == report.plain({lun(n): one for n in range(3)}, found.time)
    detail = json.loads(found.values["multipath-detail"])["maps"]
    assert {tuple(entry["flags"]) for entry in detail.values()} == {("below-expected", "single-domain")}


def test_a_portal_down_degrades_all_and_names_the_portal(machine: Machine, agent: Agent) -> None:
    machine.run("san portal 2 down")
    found = agent.until("all(m['state'] == 'degraded' for m in maps.values()) and len(detail) == 3")
    downs = [down for entry in json.loads(found.values["multipath-detail"])["maps"].values() for down in entry["down"]]
    assert {down["target"].partition("@")[2] for down in downs} == {"10.78.0.1:3260"}


def test_all_paths_down_with_queueing_is_published_as_failed_and_queueing(machine: Machine, agent: Agent) -> None:
    overridden(machine, "no_path_retry queue")
    for device in paths(machine, 1):
        machine.run(f"san offline {device}")
    found = agent.until(f"maps['{lun(1)}']['state'] == 'failed' and 'queueing' in detail['{lun(1)}']['flags']")
    expected = {lun(0): optimal(), lun(1): MapReport("failed", 0, 2, 64 * MIB, "iscsi"), lun(2): optimal()}
    assert found.values["multipath"].encode() == report.plain(expected, found.time)


def test_a_resized_lun_is_published_with_its_new_size(machine: Machine, agent: Agent) -> None:
    try:
        machine.run("san resize 2 80")
        machine.run(f"ask resize map {lun(2)}")
        found = agent.until(f"maps['{lun(2)}']['size'] == {80 * MIB}")
        expected = {lun(0): optimal(), lun(1): optimal(), lun(2): optimal(80)}
        assert found.values["multipath"].encode() == report.plain(expected, found.time)
    finally:
        machine.run("san resize 2 64", check=False)
        machine.run(f"ask resize map {lun(2)}", check=False)


def test_a_stopped_daemon_clears_the_report_and_is_not_started_by_being_asked(machine: Machine, agent: Agent) -> None:
    machine.run("systemctl stop multipathd.service")  # its socket, where there is one, keeps listening
    found = agent.until("info['multipathd'] == 'not-running' and 'multipath' not in values")
    assert "multipath-detail" not in found.values
    assert "3 multipath map(s)" in json.loads(found.values["pathfleet"])["reason"]
    agent.polls_again()
    assert machine.run("systemctl is-active multipathd.service", check=False).stdout == b"inactive\n"


def test_a_frozen_daemon_is_cannot_tell_and_the_report_is_kept(machine: Machine, agent: Agent) -> None:
    before = agent.until("len(maps) == 3").values["multipath"]
    machine.run("kill -STOP $(cat /run/multipathd.pid)")
    try:
        found = agent.until("info['multipathd'] == 'cannot-tell'")
        assert "hangs" in json.loads(found.values["pathfleet"])["reason"]
        assert json.loads(found.values["multipath"])["maps"] == json.loads(before)["maps"]
    finally:
        machine.run("kill -CONT $(cat /run/multipathd.pid)")
    agent.until("info['multipathd'] == 'running'")


def test_a_lun_with_quotes_and_backslashes_in_its_strings_is_published_beside_the_others(
    machine: Machine, agent: Agent
) -> None:
    machine.run("""san debug-disk 'A"B\\C' 'Pr"o\\d' 9z""")
    found = agent.until("len(maps) == 4")
    assert {entry["state"] for entry in json.loads(found.values["multipath"])["maps"].values()} == {"optimal"}


def test_a_blacklisted_open_map_is_unknown_to_the_agent_and_told_by_the_kernel_to_root(
    machine: Machine, agent: Agent
) -> None:
    machine.run(f"sleep 600 < /dev/mapper/{lun(0)} > /dev/null 2>&1 & echo $! > /run/holder")
    try:
        configured(machine, f'blacklist {{\n wwid "{lun(0)}"\n}}\n')
        found = agent.until(f"maps['{lun(0)}']['state'] == 'unknown' and '{lun(0)}' in detail")
        assert json.loads(found.values["multipath-detail"])["maps"][lun(0)]["flags"] == ["unmanaged"]
        shown = json.loads(machine.run(f"pathfleet maps {lun(0)} -o json").stdout)
        assert (shown["health"], shown["flags"], shown["paths-active"]) == ("optimal", ["unmanaged"], 2)
    finally:
        machine.run("kill $(cat /run/holder)")


def test_a_suspended_map_keeps_its_health_and_is_flagged(machine: Machine, agent: Agent) -> None:
    machine.run(f"dmsetup suspend --nolockfs {lun(2)}")
    try:
        found = agent.until(f"'suspended' in detail['{lun(2)}']['flags']")
        assert json.loads(found.values["multipath"])["maps"][lun(2)]["state"] == "optimal"
    finally:
        machine.run(f"dmsetup resume {lun(2)}")


def test_a_store_that_is_deleted_is_written_anew_within_one_poll(machine: Machine, agent: Agent) -> None:
    machine.run("rm /var/lib/pathfleet/cluster.db*")
    agent.until("len(maps) == 3", seconds=25)


def test_sigterm_ends_the_agent_cleanly_and_leaves_its_last_word(machine: Machine, agent: Agent) -> None:
    machine.run("systemctl stop pathfleet-agent")
    shown = machine.run("systemctl show pathfleet-agent -p Result,ExecMainStatus").stdout.decode()
    try:
        assert shown.split() == ["Result=success", "ExecMainStatus=0"]
        agent.until("len(maps) == 3")
    finally:
        machine.run("systemctl start pathfleet-agent", deadline=90)


def test_maps_shows_a_person_what_is_wrong_and_what_to_do(machine: Machine, agent: Agent) -> None:
    device = paths(machine, 0)[0]
    machine.run(f"san offline {device}")
    agent.until(f"maps['{lun(0)}']['state'] == 'degraded'")
    table = machine.run("pathfleet maps").stdout.decode()
    assert re.search(rf"^degraded +1/2 +- +{lun(0)} +64 MiB +iscsi +single-domain *$", table, re.MULTILINE)
    one = machine.run(f"pathfleet maps {lun(0)}").stdout.decode()
    assert f"echo running > /sys/block/{device}/device/state" in one
