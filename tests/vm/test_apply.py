"""The cluster's configuration applied by its unit on a real multipathd: LUNs allowed, pruned, bad files taken back.

Whatever a test does, tearing all of it down leaves /etc/multipath and /etc/multipath.conf as they were.
"""

import json
import re
import shlex
from collections.abc import Iterator

import pytest

from pathfleet.core import configuration, schema
from tests.vm import installation
from tests.vm.conftest import OLDEST_PYTHON, SUITE
from tests.vm.machine import Machine, Result
from tests.vm.reading import lun

APPLY_SECONDS = 90
ETC = "/etc/multipath"
CFG, OVERRIDES = configuration.FILE, configuration.OVERRIDES_FILE
#: As the guests' own, but a LUN needs to be listed to become a map, and the intervals are multipathd's own.
STRICT = """\
# hand-made
defaults {
    find_multipaths      strict
    user_friendly_names  no
}
blacklist {
    devnode "^nvme0n"
}
"""
#: The LUN that the machine boots from, as its installer listed it; no other program may touch it.
BOOT_LUN = "3600508b400105e210000900000490000"
FINGERPRINT = (
    "cd /etc && find multipath multipath.conf -printf '%p %y %m %u %g %l\\n' | sort;"
    " find multipath multipath.conf -type f -exec sha256sum {} + | sort"
)
UNCHECKED = "/run/systemd/system/pathfleet-apply.service.d/unchecked.conf"
#: Of the properties whose first word or smallest number would harm a map that the guest's own array serves.
HARMLESS = {
    "alias": "every", "prio": "alua", "prio-args": "exclusive_pref_bit", "mode": "0660", "max-sectors-kb": "512",
    "features": "1 queue_if_no_path", "max-polling-interval": "4", "reservation-key": "0x1",
}  # fmt: skip


class Cluster:
    """The guest as the one node of a cluster whose configuration the tests change."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def config(self, command: str) -> str:
        """Run `pathfleet config …`; return what it says."""
        return self._machine.run(f"pathfleet config {command}", deadline=120).stdout.decode()

    def tries(self, command: str) -> Result:
        """Run `pathfleet config …`, which may fail."""
        return self._machine.run(f"pathfleet config {command}", check=False, deadline=120)

    def write(self, name: str, text: str) -> None:
        """Put a file into the store past every check; what has failed before is not tried again then."""
        self._machine.run(f"values --write {name}", stdin=text.encode())

    def applied(self, condition: str) -> dict[str, object]:
        """Return the node's `multipath-apply` once a condition over `applied` and `wanted` holds."""
        command = f"values {APPLY_SECONDS} {shlex.quote(condition)}"
        found = json.loads(self._machine.run(command, deadline=APPLY_SECONDS + 30).stdout)
        assert found["reached"], f"not within {APPLY_SECONDS} s: {condition}\n{json.dumps(found['values'], indent=1)}"
        value: dict[str, object] = json.loads(found["values"]["multipath-apply"])
        return value

    def in_force(self) -> None:
        """Wait until this node has applied what the cluster's files say now."""
        self.applied("applied and applied['digest'] == wanted and applied['error'] is None")

    def failed(self) -> str:
        """Wait until this node says why it has not applied what is wanted."""
        return str(self.applied("applied and applied['error']")["error"])

    def maps(self) -> dict[str, str]:
        """Return the names of multipathd's maps by WWID."""
        shown = json.loads(self._machine.run("ask show maps json").stdout)["maps"]
        return {map_["uuid"]: map_["name"] for map_ in shown}

    def drop_ins(self) -> str:
        """Return the text of all drop-ins."""
        return self._machine.run(f"cat {ETC}/conf.d/*").stdout.decode()


@pytest.fixture(scope="module")
def node(guest: Machine, suite: str) -> Iterator[Machine]:
    """The guest with the agent and the unit that applies; the store was made by the latter, which runs as root."""
    if installation.python_version(guest) < OLDEST_PYTHON:
        pytest.skip(f"Debian {suite} has a Python that is too old for pathfleet")
    if guest.run("systemctl cat pathfleet-agent", check=False).code:
        installation.install_agent(guest)
    guest.run("systemctl stop pathfleet-agent && rm -rf /var/lib/pathfleet", deadline=60)
    guest.run("cp -a /etc/multipath.conf /root/multipath.conf.kept")
    guest.put(STRICT.encode(), "/etc/multipath.conf")
    installation.install_apply(guest)
    guest.run("systemctl start pathfleet-apply && systemctl start pathfleet-agent", deadline=120)
    yield guest
    guest.run("systemctl stop pathfleet-apply pathfleet-agent", deadline=90)
    guest.run("cp -a /root/multipath.conf.kept /etc/multipath.conf && ask reconfigure")


@pytest.fixture
def cluster(node: Machine, machine: Machine) -> Iterator[Cluster]:
    """A cluster without a configuration; LUN 2 is neither listed nor a map, the LUN to boot from is listed."""
    assert node is machine
    machine.run(f"sed -i '\\#{lun(2)}#d' {ETC}/wwids && printf '# by hand\\n/{BOOT_LUN}/\\n' >> {ETC}/wwids")
    machine.run(f"ask del map {lun(2)} && ask reconfigure")
    until(machine, f"ask show daemon | grep -q idle && ! ask show maps json | grep -q {lun(2)}")
    cluster = Cluster(machine)
    yield cluster
    machine.run("systemctl start multipathd.service")
    cluster.write(OVERRIDES, "")
    cluster.write(CFG, "")
    cluster.applied("applied and not applied['digest'] and not applied['error']")
    # as the other tests want it
    machine.run(f"sed -i '/by hand/d; /{BOOT_LUN}/d' {ETC}/wwids; multipath -a {device(machine, 2)}; ask reconfigure")


@pytest.fixture(scope="module")
def unchecked(node: Machine) -> Iterator[None]:
    """The unit runs without the linter."""
    node.run(f"mkdir -p $(dirname {UNCHECKED})")
    node.put(b"[Service]\nExecStart=\nExecStart=unchecked config apply --follow\n", UNCHECKED)
    node.run("systemctl daemon-reload && systemctl restart pathfleet-apply", deadline=120)
    yield
    node.run(f"rm {UNCHECKED} && systemctl daemon-reload && systemctl restart pathfleet-apply", deadline=120)


def device(machine: Machine, number: int) -> str:
    return "/dev/" + machine.run(f"san devices {number}").stdout.decode().split()[0]


def until(machine: Machine, command: str, seconds: int = 40) -> None:
    machine.run(f"timeout {seconds} sh -c {shlex.quote(f'until {command}; do sleep 0.2; done')}", deadline=seconds * 3)


def show(machine: Machine, *names: str, unit: str = "pathfleet-apply") -> list[str]:
    return machine.run(f"systemctl show {unit} --value -p {' -p '.join(names)}").stdout.decode().split()


def test_a_lun_that_is_allowed_becomes_a_map_with_its_alias(machine: Machine, cluster: Cluster) -> None:
    assert lun(2) not in cluster.maps()
    cluster.config(f"lun add {lun(2)} --alias vmstore")
    cluster.in_force()
    assert cluster.maps()[lun(2)] == "vmstore"
    assert f"/{lun(2)}/" in machine.get(f"{ETC}/wwids").decode()


def test_a_lun_that_is_removed_goes_and_what_others_listed_stays(machine: Machine, cluster: Cluster) -> None:
    before = machine.get(f"{ETC}/wwids").decode()
    assert f"/{lun(0)}/" in before  # so it is never ours
    cluster.write(CFG, f"wwid: {lun(0)}\n\nwwid: {lun(2)}\n\talias vmstore\n\nwwid: {BOOT_LUN}\n\n")
    cluster.in_force()
    assert set(cluster.maps()) == {lun(0), lun(1), lun(2)}
    cluster.write(CFG, "defaults: defaults\n\tfailback manual\n\n")
    cluster.in_force()
    assert machine.get(f"{ETC}/wwids").decode() == before
    assert set(cluster.maps()) == {lun(0), lun(1)}


def test_every_property_is_in_force_after_the_write_and_no_drift_is_seen(cluster: Cluster) -> None:
    def lines(rows: list[schema.Property]) -> str:
        return "".join(f"\t{row.name} {harmless(row)}\n" for row in rows)

    defaults = lines([row for row in schema.PROPERTIES if row.in_defaults])
    properties = lines([row for row in schema.PROPERTIES if row.in_wwid])
    cluster.write(CFG, f"defaults: defaults\n{defaults}\nwwid: {lun(2)}\n{properties}\n")
    cluster.in_force()
    assert cluster.maps()[lun(2)] == HARMLESS["alias"]
    assert "goes by all of it" in cluster.config("diff")  # ends well only where all have it in force


def harmless(row: schema.Property) -> str:
    found = HARMLESS.get(row.name) or row.fixed or (row.words[0] if row.words else str((row.minimum or 0) + 1))
    return schema.check(row.name, found, wwid=None if row.in_defaults else lun(2))


def test_a_bad_override_is_refused_with_its_line_and_nothing_changes(machine: Machine, cluster: Cluster) -> None:
    before = machine.run(FINGERPRINT).stdout
    machine.put(b'blacklist {\n    devnode "^(sd[a"\n}\n', "/root/bad.conf")
    said = cluster.tries("overrides set /root/bad.conf")
    assert said.code
    assert b"\n2:" in b"\n" + said.stderr
    assert machine.run(FINGERPRINT).stdout == before


def test_a_value_that_another_file_has_the_last_word_on_is_reported(machine: Machine, cluster: Cluster) -> None:
    machine.put(b"defaults {\n no_path_retry 3\n}\n", f"{ETC}/conf.d/zzz-mine.conf")
    cluster.config("set no-path-retry=7")
    said = cluster.failed()
    assert "no_path_retry is 3 instead of 7" in said
    assert "zzz-mine.conf" in said
    assert cluster.tries("diff").code == 1
    machine.run(f"rm {ETC}/conf.d/zzz-mine.conf")


def test_what_is_written_while_multipathd_is_stopped_is_in_force_once_it_runs(
    machine: Machine, cluster: Cluster
) -> None:
    machine.run("systemctl stop multipathd.service")
    cluster.write(CFG, "defaults: defaults\n\tno-path-retry 6\n\n")
    assert "not running" in cluster.failed()
    assert show(machine, "ActiveState", unit="multipathd") == ["inactive"]
    machine.run("systemctl start multipathd.service")
    assert "in force" in cluster.config("apply")
    assert "no_path_retry 6" in machine.run("ask show config local").stdout.decode()


def test_a_read_only_disk_is_said_and_overcome(machine: Machine, cluster: Cluster) -> None:
    before = machine.run(FINGERPRINT).stdout
    (pid,) = show(machine, "MainPID")
    remount = f"nsenter -t {pid} -m mount -o bind,remount,%s {ETC}"
    machine.run(remount % "ro")
    cluster.write(CFG, "defaults: defaults\n\tno-path-retry 5\n\n")
    assert "read-only" in cluster.failed()
    assert machine.run(FINGERPRINT).stdout == before
    machine.run(remount % "rw")
    cluster.write(CFG, "defaults: defaults\n\tno-path-retry 8\n\n")
    cluster.in_force()
    assert show(machine, "MainPID") == [pid]


def test_the_unit_has_little_of_root_and_leaves_the_store_to_the_agent(machine: Machine, cluster: Cluster) -> None:
    (pid,) = show(machine, "MainPID")
    status = machine.run(f"cat /proc/{pid}/status").stdout.decode()
    assert re.search(r"^CapEff:\t0{15}b$", status, re.MULTILINE)  # CHOWN, DAC_OVERRIDE, FOWNER
    owners = machine.run("stat -c %U /var/lib/pathfleet/cluster.db*").stdout.decode().split()
    assert owners == ["pathfleet"] * 3
    cluster.applied("applied and maps")  # both write it


def test_killed_it_starts_again_and_goes_on(machine: Machine, cluster: Cluster) -> None:
    (pid,) = show(machine, "MainPID")
    machine.run("systemctl kill -s KILL pathfleet-apply")
    cluster.write(CFG, "defaults: defaults\n\tno-path-retry 4\n\n")
    cluster.in_force()
    assert show(machine, "MainPID") != [pid]


def test_killed_at_any_moment_it_converges_and_leaves_nothing_behind(machine: Machine, cluster: Cluster) -> None:
    before = machine.run(FINGERPRINT).stdout
    machine.run("systemctl stop pathfleet-apply", deadline=120)
    cluster.write(CFG, f"defaults: defaults\n\tno-path-retry 7\n\nwwid: {lun(2)}\n\talias vmstore\n\n")
    machine.run("interrupted 0.1 0.2 0.4 0.7 1.2 1.9 0.8", deadline=120)
    # as if it had died of it: it is started again
    machine.run("systemctl stop multipathd.service && systemctl start pathfleet-apply", deadline=120)
    cluster.in_force()
    assert cluster.maps()[lun(2)] == "vmstore"
    cluster.write(CFG, "")
    cluster.in_force()
    assert machine.run(FINGERPRINT).stdout == before


def test_clearing_leaves_the_machine_byte_for_byte_as_before(machine: Machine, cluster: Cluster) -> None:
    before, maps = machine.run(FINGERPRINT).stdout, cluster.maps()
    cluster.write(OVERRIDES, "overrides {\n\tno_path_retry 4\n}\n")
    cluster.write(CFG, f"defaults: defaults\n\tno-path-retry 9\n\nwwid: {lun(2)}\n\talias vmstore\n\n")
    cluster.in_force()
    assert machine.run(FINGERPRINT).stdout != before
    cluster.config("clear --yes")
    cluster.in_force()
    assert machine.run(FINGERPRINT).stdout == before
    machine.run("test ! -e /var/lib/pathfleet/apply")
    assert cluster.maps() == maps


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("bad", "why"),
    [
        pytest.param('blacklist {\n devnode "^(sd[a"\n}\n', "did not take it: .*sd.a", id="no pattern"),
        pytest.param('blacklist {\n wwid ".*"\n}\n', "maps got worse: .* is gone", id="maps lost"),
        pytest.param("defaults {\n polling_interval abc\n}\n", "did not|had not read", id="no number"),
        pytest.param(
            "defaults {\n polling_interval 0\n}\n",
            "multipathd ended with",
            id="a zero to divide by",
            marks=pytest.mark.skipif(SUITE == "bookworm", reason="0.9.4 goes by it: it divides since 0.10.0"),
        ),
    ],
)
def test_a_bad_override_let_past_the_linter_is_rolled_back_with_the_daemon_alive(
    machine: Machine, cluster: Cluster, bad: str, why: str
) -> None:
    cluster.write(CFG, "defaults: defaults\n\tno-path-retry 9\n\n")
    cluster.in_force()
    maps, before = cluster.maps(), cluster.drop_ins()
    cluster.write(OVERRIDES, bad)
    said = cluster.failed()
    assert re.search(f"({why}).*; rolled back to what was in force before$", said), said
    assert b"idle" in machine.run("ask show daemon").stdout
    assert cluster.maps() == maps
    assert cluster.drop_ins() == before
