from __future__ import annotations

from typing import TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pathfleet.core import configuration, storagecfg
from pathfleet.core.configuration import Configuration
from pathfleet.core.detail import MapDetail
from pathfleet.core.facts import ConfFile, Disk, Holder, Lvm, LvmDevice, LvmGroup, MapFacts, NodeFacts, without_keys
from pathfleet.core.findings import Examined
from pathfleet.core.report import MapReport, Report
from pathfleet.core.rules import BY_CODE, RULES
from tests.core.examined import (
    NOW,
    OTHER,
    SIZE,
    WWID,
    applied,
    codes,
    column,
    disk,
    facts,
    found,
    healthy,
    info,
    lvm,
    map_,
)  # fmt: skip

T = TypeVar("T")

CONFIGURED = configuration.parse(f"defaults: defaults\n\tno-path-retry 12\n\nwwid: {WWID}\n")
STORAGES = storagecfg.parse(f"multipath: san\n\nlvm: vms\n\tvgname vg\n\tbase san:{WWID}\n\tshared 1\n")
DEVICE = 'devices {{\n\tdevice {{\n\t\tvendor "X"\n\t\tproduct "Y"\n\t\t{}\n\t}}\n}}\n'
#: A logical volume right on a path.
VOLUME = Holder("dm-5", "vg-x", "LVM-1")
EXPECTED = storagecfg.expectations(STORAGES)


def on_a(**more: object) -> Examined:
    """The healthy cluster, with something else on node a."""
    return healthy(facts={"a": facts("a", **more), "b": facts("b")})


def test_a_healthy_cluster_has_no_findings() -> None:
    assert found(healthy()) == []
    wanted = healthy(
        configuration=CONFIGURED, digest="d", storages=STORAGES, expectations=EXPECTED,
        columns={name: column(name, applied=applied("d")) for name in "ab"},
    )  # fmt: skip
    assert found(wanted) == []


def test_what_nodes_published_is_enough_to_find_what_is_in_it() -> None:
    """Without any facts."""
    flagged = MapDetail(("single-domain",), "mpatha")
    examined = healthy(
        facts={},
        columns={
            "a": column("a", details={WWID: flagged}),
            "b": column("b", report=Report({WWID: MapReport("failed", 0, 0, 2 * SIZE)}, NOW)),
        },
    )
    assert codes(examined) == {"single-domain", "size-differs", "stale-map", "friendly-names", "alias-differs"}


def test_what_is_in_doubt_is_not_judged() -> None:
    dead = column("b", online=False, doubt="the node is offline", report=Report({WWID: MapReport("failed", 0, 0)}, 1))
    assert found(healthy(facts={}, columns={"a": column("a"), "b": dead})) == []


@pytest.mark.parametrize(
    ("code", "examined"),
    [
        ("single-path", on_a(maps=(map_(WWID, None, "sda", paths_active=1, paths_total=1),))),
        ("single-domain", on_a(maps=(map_(flags=("single-domain",)),))),
        ("map-size-differs", on_a(disks=(disk("sda", size=2 * SIZE), disk("sdb", size=2 * SIZE)))),
        ("map-size-differs", on_a(disks=(disk("sda"), disk("sdb", size=2 * SIZE)))),
        ("two-luns-one-wwid", on_a(disks=(disk("sda"), disk("sdb", serial="2")))),
        ("two-luns-one-wwid", on_a(disks=(disk("sda", vendor="X"), disk("sdb", vendor="X")))),
        ("unmanaged-map", on_a(maps=(map_(listed=False, flags=("unmanaged",)),))),
        ("queues-for-ever", on_a(maps=(map_(queues=True),))),
        ("lvm-on-component-device", on_a(lvm=Lvm((LvmDevice("sdb", "uuid-1", "vg"),)))),
        ("lvm-on-component-device", on_a(disks=(disk("sda", holders=(VOLUME,)), disk("sdb")))),
        ("component-device-in-use", on_a(disks=(disk("sda", mounts=("/srv",)), disk("sdb")))),
        ("component-device-in-use", on_a(disks=(disk("sda", holders=(Holder("md0"),)), disk("sdb")))),
        ("lvm-filter-missing", on_a(lvm=lvm(LvmDevice("sda")))),
        ("lvm-filter-missing", on_a(lvm=lvm(detection=False))),
        ("duplicate-pv", on_a(lvm=lvm(LvmDevice("dm-9", "uuid-1", "vg", duplicate=True)))),
        ("version-spread", on_a(version="0.11.1")),
        ("version-defects", on_a(version="0.8.8")),
        ("clock-skew", healthy(facts={"a": replace(facts("a"), time=NOW - 300), "b": facts("b")})),
        ("clock-skew", healthy(columns={"a": column(info=info(), report=Report({}, NOW + 400))}, facts={})),
        ("report-stale", healthy(columns={"a": column(report=Report({}, NOW - 400))}, facts={})),
        ("report-unreadable", healthy(columns={"a": column(trouble="not JSON")}, facts={})),
        ("daemon-not-running", on_a(daemon="not-running", reason="gone")),
        ("daemon-cannot-tell", on_a(daemon="cannot-tell", reason="it hangs")),
    ],
)  # fmt: skip
def test_each_thing_that_is_wrong_is_found(code: str, examined: Examined) -> None:
    findings = found(examined, code)
    assert findings
    for finding in findings:
        assert finding.code == code
        assert finding.seen
        assert finding.remedy


def test_a_path_beside_its_map_is_not_found_twice() -> None:
    """LVM uses the map and has merely seen the path too."""
    examined = on_a(lvm=lvm(LvmDevice("sda", "uuid-1", "vg", duplicate=True)))
    assert codes(examined) == {"lvm-filter-missing", "duplicate-pv"}


def test_lvm_on_a_disk_that_ought_to_be_a_path_is_found() -> None:
    """LVM was first, so the map could not take the disk."""
    stolen = disk("sdb", map=None, holders=(Holder("dm-5", "vg-x", "LVM-1"),))
    (finding,) = found(on_a(disks=(disk("sda"), stolen)), "lvm-on-component-device")
    assert finding.subject == WWID
    assert "sdb on a is a path" in finding.seen


def test_lvm_on_a_partition_of_a_path_is_found() -> None:
    examined = on_a(disks=(disk("sda", partitions=("sda1",)), disk("sdb")), lvm=Lvm((LvmDevice("sda1", "u", "vg"),)))
    assert len(found(examined, "lvm-on-component-device")) == 1


def test_lvm_on_a_local_disk_is_nothing_to_find() -> None:
    local = disk("sdz", "35000c500a1b2c3d4", map=None, holders=(Holder("dm-5", "root", "LVM-1"),))
    assert found(on_a(disks=(disk("sda"), disk("sdb"), local), lvm=lvm(LvmDevice("sdz", "u", "pve")))) == []


def test_serial_numbers_of_controllers_are_no_contradiction() -> None:
    """Arrays for which one groups paths by serial number."""
    examined = on_a(
        disks=(disk("sda"), disk("sdb", serial="2")),
        effective="devices {\n\tdevice {\n\t\tpath_grouping_policy group_by_serial\n\t}\n}\n",
    )
    assert found(examined, "two-luns-one-wwid") == []


def test_a_map_that_nobody_allows_any_more_is_found_and_one_that_the_node_allows_is_told() -> None:
    extra = map_(OTHER, None, "sdc", "sdd")
    examined = replace(on_a(maps=(map_(), extra)), configuration=CONFIGURED)
    assert {each.subject for each in found(examined, "map-not-allowed")} == {OTHER}
    boot = replace(on_a(maps=(map_(), extra), wwids=(WWID, OTHER)), configuration=CONFIGURED)
    assert found(boot, "map-not-allowed") == []
    assert [each.severity for each in found(boot, "lun-not-configured")] == ["info"]


def test_without_a_list_of_luns_no_map_is_one_too_many() -> None:
    assert not codes(on_a(wwids=())) & {"map-not-allowed", "lun-not-configured"}


def test_an_alias_of_two_luns_is_found_across_nodes() -> None:
    examined = healthy(
        facts={"a": facts("a", maps=(map_(WWID, "data"),)), "b": facts("b", maps=(map_(OTHER, "data"),))}
    )
    (finding,) = found(examined, "alias-conflict")
    assert WWID in finding.seen
    assert OTHER in finding.seen


def test_a_name_that_the_cluster_gave_is_not_a_friendly_one() -> None:
    named = on_a(maps=(map_(WWID, "mpatha"),))
    assert found(named, "friendly-names")
    given = replace(named, configuration=Configuration(wwids={WWID: {"alias": "mpatha"}}))
    assert not found(given, "friendly-names")


def test_a_daemon_that_nobody_needs_is_not_missed() -> None:
    idle = healthy(columns={"a": column(info=info("not-running", "stopped"), report=None)}, facts={})
    assert found(idle, "daemon-not-running") == []
    assert found(replace(idle, expectations=EXPECTED), "daemon-not-running")
    forgotten = info("not-running", "multipathd is not running; the kernel has 3 multipath map(s) whose paths …")
    assert found(healthy(columns={"a": column(info=forgotten, report=None)}, facts={}), "daemon-not-running")


@pytest.mark.parametrize(
    ("said", "digest", "is_found"),
    [
        (None, None, False),
        (None, "new", True),
        (applied("new"), "new", False),
        (applied("old"), "new", True),
        (applied("new", "multipathd died of it"), "new", True),
        (applied(None), None, False),
        (applied("old"), None, True),
        (applied("old"), "", False),
    ],
)
def test_a_node_that_does_not_go_by_the_configuration_is_found(
    said: object, digest: str | None, *, is_found: bool
) -> None:
    examined = healthy(columns={"a": column(applied=said)}, facts={}, digest=digest)
    assert bool(found(examined, "config-not-applied")) is is_found


def test_what_a_storage_expects_and_a_node_has_not_is_found() -> None:
    columns = {"a": column("a"), "b": column("b", report=None)}
    (finding,) = found(healthy(columns=columns, facts={}, expectations=EXPECTED), "storage-expects-missing")
    assert (finding.subject, finding.nodes) == (WWID, ("b",))


def test_a_storage_for_a_node_that_there_is_not_is_found() -> None:
    storages = storagecfg.parse("multipath: san\n\tnodes a,gone\n")
    (finding,) = found(healthy(storages=storages), "storage-names-unknown-node")
    assert finding.seen == "its nodes name gone"


def test_a_shared_group_that_nodes_activate_by_themselves_is_found() -> None:
    def with_group(group: LvmGroup) -> Examined:
        return replace(on_a(lvm=Lvm((), (group,), component_detection=True)), storages=STORAGES)

    assert found(with_group(LvmGroup("vg", autoactivation=True, volumes=("vm-1",))), "lvm-autoactivation")
    assert found(with_group(LvmGroup("vg", None, ("vm-1",))), "lvm-autoactivation")
    assert not found(with_group(LvmGroup("vg", autoactivation=False, volumes=("vm-1",))), "lvm-autoactivation")
    assert not found(with_group(LvmGroup("vg", autoactivation=True)), "lvm-autoactivation")
    assert not found(with_group(LvmGroup("pve", autoactivation=True, volumes=("root",))), "lvm-autoactivation")


def with_file(text: str, name: str = "/etc/multipath/conf.d/site.conf") -> Examined:
    return replace(on_a(files=(ConfFile(name, text),)), configuration=CONFIGURED)


@pytest.mark.parametrize(
    ("name", "text", "is_found"),
    [
        ("site.conf", "defaults {\n\tno_path_retry queue\n}\n", False),
        ("zzz.conf", "defaults {\n\tno_path_retry queue\n}\n", True),
        ("zzz.conf", "defaults {\n\tno_path_retry 12\n}\n", False),
        ("site.conf", "overrides {\n\tno_path_retry fail\n}\n", True),
        ("site.conf", DEVICE.format("no_path_retry queue"), True),
        ("site.conf", DEVICE.format("prio alua"), False),
        ("site.conf", f"multipaths {{\n\tmultipath {{\n\t\twwid {OTHER}\n\t\tno_path_retry 3\n\t}}\n}}\n", True),
        ("zz-pathfleet-10-baseline.conf", "overrides {\n\tno_path_retry fail\n}\n", False),
    ],
)  # fmt: skip
def test_a_local_file_that_outranks_the_cluster_is_found(name: str, text: str, *, is_found: bool) -> None:
    findings = found(with_file(text, f"/etc/multipath/conf.d/{name}"), "local-config-fights")
    assert bool(findings) is is_found
    assert all("no_path_retry" in finding.seen for finding in findings)


@pytest.mark.parametrize(
    "text", ["defaults {\n\tpolling_interval 0\n}\n", 'blacklist {\n\tdevnode "^(sd[a"\n}\n', "defaults {\n"]
)
def test_a_local_file_that_multipathd_does_not_survive_is_found(text: str) -> None:
    (finding,) = found(with_file(text), "config-lint")
    assert finding.seen.startswith("/etc/multipath/conf.d/site.conf, line ")


def test_what_is_lawful_in_a_local_file_is_no_error() -> None:
    text = "defaults {\n\tuser_friendly_names yes\n\tfind_multipaths on\n}\n"
    assert found(with_file(text), "config-lint") == []


def test_a_blacklist_that_hides_a_lun_of_the_cluster_is_found() -> None:
    (finding,) = found(with_file('blacklist {\n\twwid ".*"\n}\n'), "lun-blacklisted")
    assert finding.subject == WWID
    excepted = f'blacklist {{\n\twwid ".*"\n}}\nblacklist_exceptions {{\n\twwid "{WWID}"\n}}\n'
    assert found(with_file(excepted), "lun-blacklisted") == []


def test_reservation_keys_are_hidden() -> None:
    text = (
        'defaults {\n\treservation_key 0x123abc\n}\nmultipath {\n\treservation_key "0x9:aptpl"\n\treservation_key file'
    )
    hidden = without_keys(text)
    assert "123abc" not in hidden
    assert "0x9" not in hidden
    assert hidden.endswith("reservation_key file")


def test_a_remedy_names_what_it_is_about() -> None:
    (finding,) = found(on_a(maps=(map_(WWID, "data", paths_active=0, paths_total=0),)), "stale-map")
    assert "`lsblk /dev/mapper/data` on a" in finding.remedy
    assert finding.alias is None  # the nodes name it differently


def test_a_hostile_name_is_never_part_of_a_command() -> None:
    evil = "x; rm -rf /"
    examined = on_a(maps=(map_(evil, "`id`", paths_active=0, paths_total=0),))
    for finding in found(examined):
        assert "rm -rf" not in finding.remedy
        assert "`id`" not in finding.remedy


def test_codes_are_unique_and_rules_say_what_to_do() -> None:
    assert len(BY_CODE) == len(RULES)
    for rule in RULES:
        assert rule.code == rule.code.lower().replace("_", "-")
        assert rule.meaning.endswith(".")
        assert rule.remedy.endswith(".")


words = st.one_of(
    st.text(max_size=12),
    st.sampled_from((WWID, "a", "sda", "mpatha", "\x1b[2J", "not-running", "0.9.4", "9999.1", "single-domain")),
)
texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(("defaults {\n\tno_path_retry queue\n}\n", "defaults {\n\n}", 'blacklist {\n\twwid "("\n', "}")),
)
maybe = st.none() | words
sizes = st.none() | st.integers(0, (1 << 63) - 1)
counts = st.integers(0, (1 << 31) - 1)


def several(each: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(each, max_size=3).map(tuple)


holders = several(st.builds(Holder, words, maybe, maybe | st.just("LVM-x")))
disks = several(
    st.builds(
        Disk, words, maybe, maybe, sizes, maybe, maybe, maybe, maybe, several(words), holders, several(words),
    )
)  # fmt: skip
maps = several(
    st.builds(
        MapFacts, words, words, maybe, sizes, several(words), st.none() | st.booleans(), counts, counts,
        several(words), st.booleans(),
    )
)  # fmt: skip
lvms = st.builds(
    Lvm,
    several(st.builds(LvmDevice, words, maybe, maybe | st.just("vg"), st.booleans())),
    several(st.builds(LvmGroup, words | st.just("vg"), st.none() | st.booleans(), several(words))),
    st.none() | st.booleans(),
    several(words),
)
anything = st.builds(
    NodeFacts, words, st.integers(0, (1 << 40) - 1), words, maybe, maybe, st.none() | maps, st.none() | disks,
    st.none() | lvms, several(st.builds(ConfFile, words, texts)), st.none() | several(words), st.none() | texts,
)  # fmt: skip


@settings(deadline=None)
@given(anything)
def test_whatever_a_peer_says_of_itself_breaks_no_rule_and_commands_nothing(said: NodeFacts) -> None:
    read = msgspec.json.decode(msgspec.json.encode(said), type=NodeFacts)
    examined = replace(
        healthy(
            facts={"a": read, "b": facts("b")}, columns={"a": column("a", applied=applied("d")), "b": column("b")}
        ),
        configuration=CONFIGURED,
        storages=STORAGES,
        expectations=EXPECTED,
        digest="d",
    )
    for finding in found(examined):
        assert len(finding.seen) <= 600
        assert finding.remedy.isprintable()
