from __future__ import annotations

import random
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core.dmstatus import KernelPath
from pathfleet.core.health import (
    USABLE_CHECKS,
    Facts,
    Flag,
    Health,
    KernelMap,
    Verdict,
    flags,
    initiator_of,
    judge,
    target_of,
    usable,
)
from pathfleet.core.maps import Map, Path, PathGroup
from pathfleet.core.ports import Port

WWID = "3600a098038303053453f463045727a41"
NOTHING_KNOWN = Facts()

UP = Path("sda", "active", "running", "ready")
GHOST = Path("sdb", "active", "running", "ghost")
DOWN = Path("sdc", "failed", "running", "faulty")


def lun(*paths: Path, **fields: str) -> Map:
    """A map with one path group."""
    return Map(name=WWID, uuid=WWID, sysfs="dm-3", path_groups=(PathGroup(50, "active", paths),), **fields)


def judged(map_: Map, facts: Facts = NOTHING_KNOWN) -> tuple[Verdict, tuple[Flag, ...]]:
    verdict = judge(map_, facts)
    return verdict, flags(verdict, facts)


@pytest.mark.parametrize("check", ["ready", "ghost", "i/o pending"])
def test_a_path_is_usable_when_kernel_and_checker_say_so(check: str) -> None:
    assert usable(Path("sda", "active", "running", check))


@pytest.mark.parametrize(
    "check", ["faulty", "shaky", "i/o timeout", "delayed", "undef", "disconnected", "", "READY", "invented in 2030"]
)
def test_any_other_word_of_the_checker_is_not_usable(check: str) -> None:
    assert not usable(Path("sda", "active", "running", check))


@pytest.mark.parametrize("check", sorted(USABLE_CHECKS))
@pytest.mark.parametrize("dm", ["failed", "undef", "", "Active", "invented in 2030"])
def test_a_path_is_not_usable_unless_the_kernel_says_active(dm: str, check: str) -> None:
    assert not usable(Path("sda", dm, "running", check))


@pytest.mark.parametrize("device", ["running", "offline", "unknown", "invented in 2030"])
def test_the_device_state_alone_proves_nothing(device: str) -> None:
    assert usable(Path("sda", "active", device, "ready"))
    assert not usable(Path("sda", "failed", device, "faulty"))


@pytest.mark.parametrize(
    ("paths", "health", "active"),
    [
        ((UP,), Health.OPTIMAL, 1),
        ((UP, UP, GHOST), Health.OPTIMAL, 3),
        ((UP, DOWN), Health.DEGRADED, 1),
        ((GHOST, DOWN, DOWN), Health.DEGRADED, 1),
        ((DOWN,), Health.FAILED, 0),
        ((DOWN, DOWN), Health.FAILED, 0),
        ((), Health.FAILED, 0),
    ],
)
def test_health_is_all_some_or_none_of_the_paths(paths: tuple[Path, ...], health: Health, active: int) -> None:
    verdict = judge(lun(*paths), NOTHING_KNOWN)
    assert (verdict.health, verdict.active, verdict.total) == (health, active, len(paths))


def test_a_map_without_groups_is_failed() -> None:
    verdict = judge(Map(uuid=WWID), NOTHING_KNOWN)
    assert (verdict.health, verdict.active, verdict.total) == (Health.FAILED, 0, 0)


def test_the_total_is_the_sum_over_the_groups() -> None:
    groups = (PathGroup(50, "active", (UP, DOWN)), PathGroup(10, "enabled", (GHOST,)), PathGroup(0, "enabled", ()))
    verdict = judge(Map(uuid=WWID, path_groups=groups), NOTHING_KNOWN)
    assert (verdict.active, verdict.total) == (2, 3)


def test_a_ghost_is_usable_and_counted_as_standby() -> None:
    verdict = judge(lun(UP, UP, GHOST, GHOST), NOTHING_KNOWN)
    assert (verdict.health, verdict.active, verdict.total, verdict.standby) == (Health.OPTIMAL, 4, 4, 2)


def test_a_ghost_that_the_kernel_has_failed_is_no_standby() -> None:
    verdict = judge(lun(UP, Path("sdb", "failed", "running", "ghost")), NOTHING_KNOWN)
    assert (verdict.health, verdict.standby) == (Health.DEGRADED, 0)


@pytest.mark.parametrize(
    ("queueing", "features", "said"),
    [
        ("on", "1 queue_if_no_path", "on"),
        ("55 sec", "1 queue_if_no_path", "55 sec"),
        ("6 chk", "1 queue_if_no_path", "6 chk"),
        ("-", "1 queue_if_no_path", "on"),
        ("-", "3 retain_attached_hw_handler queue_if_no_path", "on"),
        ("", "1 queue_if_no_path", "on"),
        ("-", "0", None),
        ("off", "0", None),
        ("off", "1 queue_if_no_path", None),
    ],
)
def test_a_failed_map_queues_as_multipathd_says(queueing: str, features: str, said: str | None) -> None:
    verdict, beside = judged(lun(DOWN, queueing=queueing, features=features))
    assert (verdict.health, verdict.queueing) == (Health.FAILED, said)
    assert (Flag.QUEUEING in beside) is (said is not None)


def test_a_map_without_paths_may_queue() -> None:
    verdict, beside = judged(Map(uuid=WWID, queueing="on"))
    assert (verdict.health, verdict.queueing, beside) == (Health.FAILED, "on", (Flag.QUEUEING,))


@pytest.mark.parametrize("paths", [(UP,), (UP, DOWN), (GHOST,)])
def test_a_map_that_merely_would_queue_is_not_flagged(paths: tuple[Path, ...]) -> None:
    verdict, beside = judged(lun(*paths, queueing="on", features="1 queue_if_no_path"))
    assert verdict.queueing is None
    assert Flag.QUEUEING not in beside


@pytest.mark.parametrize(("dm", "flagged"), [("suspend", True), ("active", False), ("undef", False)])
def test_a_suspended_map_is_flagged_and_keeps_its_health(dm: str, flagged: bool) -> None:
    verdict, beside = judged(lun(UP, UP, dm_st=dm))
    assert verdict.health is Health.OPTIMAL
    assert (Flag.SUSPENDED in beside) is flagged


def test_a_marginal_path_is_usable_and_flagged() -> None:
    verdict, beside = judged(lun(UP, msgspec.structs.replace(UP, marginal_st="marginal")))
    assert (verdict.health, verdict.active) == (Health.OPTIMAL, 2)
    assert Flag.MARGINAL in beside


@pytest.mark.parametrize(
    ("accepted", "flagged"), [({}, False), ({WWID: 1}, False), ({WWID: 2}, False), ({WWID: 3}, True)]
)
def test_fewer_paths_than_accepted_are_flagged(accepted: Mapping[str, int], flagged: bool) -> None:
    verdict, beside = judged(lun(UP, UP), Facts(baseline=accepted))
    assert verdict.health is Health.OPTIMAL
    assert (Flag.BELOW_EXPECTED in beside) is flagged


def test_paths_that_are_down_count_as_expected() -> None:
    assert Flag.BELOW_EXPECTED not in judged(lun(UP, DOWN), Facts(baseline={WWID: 2}))[1]


A1 = Path("sda", "active", "running", "ready", host_wwpn="0xA", target_wwpn="0x1")
A2 = Path("sdb", "active", "running", "ready", host_wwpn="0xA", target_wwpn="0x2")
B1 = Path("sdc", "active", "running", "ready", host_wwpn="0xB", target_wwpn="0x1")
B2 = Path("sdd", "active", "running", "ready", host_wwpn="0xB", target_wwpn="0x2")


@pytest.mark.parametrize(
    ("paths", "flagged"),
    [
        pytest.param((A1, B2), False, id="two-ports-at-both-ends"),
        pytest.param((A1, A2), True, id="one-initiator-port"),
        pytest.param((A1, B1), True, id="one-target-port"),
        pytest.param((A1,), True, id="one-path"),
        pytest.param((A1, A2, B1, B2), False, id="full-mesh"),
        pytest.param((A1, msgspec.structs.replace(B2, dm_st="failed", chk_st="faulty")), True, id="only-usable-count"),
        pytest.param((DOWN, DOWN), False, id="no-usable-path-shares-nothing"),
        pytest.param((UP, UP), False, id="ports-not-known-are-not-shared"),
        pytest.param((A1, msgspec.structs.replace(A2, host_wwpn="[unknown]")), False, id="one-port-not-known"),
    ],
)
def test_single_domain_is_one_port_under_all_usable_paths(paths: tuple[Path, ...], flagged: bool) -> None:
    assert (Flag.SINGLE_DOMAIN in judged(lun(*paths))[1]) is flagged


def iscsi(dev: str, initiator: str) -> Path:
    """A path as multipathd shows it: no portal; the IQN that it tells is the same for every portal of the array."""
    return Path(
        dev,
        "active",
        "running",
        "ready",
        host_wwpn="[undef]",
        target_wwpn="[undef]",
        host_adapter=initiator,
    )


def test_an_iqn_alone_is_no_target_port() -> None:
    assert target_of(iscsi("sda", "192.0.2.1"), {}) is None
    assert Flag.SINGLE_DOMAIN not in judged(lun(iscsi("sda", "192.0.2.1"), iscsi("sdb", "198.51.100.1")))[1]


@pytest.mark.parametrize(("second", "flagged"), [("198.51.100.9:3260", False), ("192.0.2.9:3260", True)])
def test_portals_of_one_iqn_are_ports(second: str, flagged: bool) -> None:
    ports = {
        "sda": Port("iscsi", "192.0.2.1", "iqn.2026-01.org.example:array@192.0.2.9:3260"),
        "sdb": Port("iscsi", "198.51.100.1", f"iqn.2026-01.org.example:array@{second}"),
    }
    map_ = lun(iscsi("sda", "192.0.2.1"), iscsi("sdb", "198.51.100.1"))
    assert (Flag.SINGLE_DOMAIN in judged(map_, Facts(ports=ports))[1]) is flagged


@pytest.mark.parametrize(
    ("port", "path", "initiator", "target"),
    [
        pytest.param(Port("fc", "0xC", "0x3"), A1, "0xC", "0x3", id="sysfs-first"),
        pytest.param(Port("fc"), A1, "0xA", "0x1", id="then-multipathd"),
        pytest.param(None, A1, "0xA", "0x1", id="multipathd-alone"),
        pytest.param(None, iscsi("sda", "192.0.2.1"), "192.0.2.1", None, id="address-for-iscsi"),
        pytest.param(None, iscsi("sda", "[undef]"), None, None, id="session-down"),
    ],
)
def test_ports_come_from_sysfs_then_from_multipathd(
    port: Port | None, path: Path, initiator: str | None, target: str | None
) -> None:
    ports = {path.dev: port} if port else {}
    assert (initiator_of(path, ports), target_of(path, ports)) == (initiator, target)


@pytest.mark.parametrize(
    ("groups", "flagged"),
    [
        pytest.param([(50, "active", UP), (10, "enabled", UP)], False, id="best-in-use"),
        pytest.param([(10, "active", UP), (50, "enabled", UP)], True, id="better-one-waits"),
        pytest.param([(10, "active", UP), (50, "enabled", GHOST)], True, id="better-one-is-standby"),
        pytest.param([(10, "active", UP), (50, "enabled", DOWN)], False, id="better-one-is-down"),
        pytest.param([(10, "active", UP), (10, "enabled", UP)], False, id="equal"),
        pytest.param([(10, "enabled", UP), (50, "enabled", UP)], False, id="none-in-use-yet"),
        pytest.param([(0, "active", DOWN), (50, "enabled", DOWN)], False, id="none-usable"),
        pytest.param([], False, id="no-groups"),
    ],
)
def test_non_optimal_is_a_better_usable_group_that_waits(groups: list[tuple[int, str, Path]], flagged: bool) -> None:
    map_ = Map(uuid=WWID, path_groups=tuple(PathGroup(pri, dm, (path,)) for pri, dm, path in groups))
    assert (Flag.NON_OPTIMAL in judged(map_)[1]) is flagged


def kernel(*active: bool) -> Facts:
    paths = tuple(KernelPath(f"8:{16 * number}", active=each) for number, each in enumerate(active))
    return Facts(kernel={WWID: KernelMap(len(paths), paths)})


@pytest.mark.parametrize(
    ("facts", "health", "active", "total"),
    [
        pytest.param(kernel(True, True), Health.OPTIMAL, 2, 2, id="all"),
        pytest.param(kernel(True, False), Health.DEGRADED, 1, 2, id="some"),
        pytest.param(kernel(False, False), Health.FAILED, 0, 2, id="none"),
        pytest.param(Facts(kernel={WWID: KernelMap(2)}), Health.UNKNOWN, 0, 2, id="only-root-may-ask"),
    ],
)
@pytest.mark.parametrize("shown", [Map(uuid=WWID), lun()], ids=["no-groups", "empty-group"])
def test_of_a_map_that_multipathd_shows_without_paths_the_kernel_decides(
    shown: Map, facts: Facts, health: Health, active: int, total: int
) -> None:
    verdict, beside = judged(shown, facts)
    assert (verdict.health, verdict.active, verdict.total, verdict.unmanaged) == (health, active, total, True)
    assert Flag.UNMANAGED in beside


@pytest.mark.parametrize("facts", [NOTHING_KNOWN, kernel(), Facts(kernel={WWID: KernelMap(0)})])
def test_a_map_without_paths_in_the_kernel_too_is_failed_and_managed(facts: Facts) -> None:
    verdict, beside = judged(Map(uuid=WWID), facts)
    assert (verdict.health, verdict.unmanaged, beside) == (Health.FAILED, False, ())


def test_the_kernel_is_not_asked_where_multipathd_shows_paths() -> None:
    verdict = judge(lun(UP, UP), kernel(False, False))
    assert (verdict.health, verdict.unmanaged) == (Health.OPTIMAL, False)


@pytest.mark.parametrize(("facts", "said"), [(kernel(False), "on"), (kernel(True), None)])
def test_an_unmanaged_map_queues_only_without_active_path(facts: Facts, said: str | None) -> None:
    assert judge(Map(uuid=WWID, queueing="on"), facts).queueing == said


def test_an_unmanaged_map_does_not_queue_while_nobody_can_tell() -> None:
    verdict = judge(Map(uuid=WWID, queueing="on"), Facts(kernel={WWID: KernelMap(2)}))
    assert (verdict.health, verdict.queueing) == (Health.UNKNOWN, None)


@pytest.mark.parametrize("map_", [lun(UP), lun()])
def test_the_size_is_that_of_the_device(map_: Map) -> None:
    assert judge(map_, Facts(sizes={"dm-3": 32 << 30, "dm-4": 1})).size == 32 << 30
    assert judge(map_, NOTHING_KNOWN).size is None


def test_the_transport_is_that_of_a_path_whose_port_is_known() -> None:
    ports = {"sda": Port(), "sdc": Port("fc")}
    assert judge(lun(UP, DOWN), Facts(ports=ports, transports={WWID: "iscsi"})).transport == "fc"


@pytest.mark.parametrize("map_", [lun(), lun(UP)])
def test_the_last_transport_seen_stands_where_no_port_is_known(map_: Map) -> None:
    assert judge(map_, Facts(transports={WWID: "iscsi"})).transport == "iscsi"
    assert judge(map_, Facts(ports={"sdq": Port("fc")}, transports={WWID: "iscsi"})).transport == "iscsi"
    assert judge(map_, NOTHING_KNOWN).transport is None


WORDS = st.sampled_from(["active", "failed", "undef", "ready", "ghost", "i/o pending", "faulty", "shaky", "?"])
PATHS = st.builds(
    Path, st.sampled_from(["sda", "sdb", "sdc"]), WORDS, WORDS, WORDS, st.integers(-1, 50), WORDS, WORDS, WORDS, WORDS
)
GROUPS = st.builds(PathGroup, st.integers(-1, 50), WORDS, st.lists(PATHS, max_size=4).map(tuple))
MAPS = st.builds(Map, uuid=st.just(WWID), path_groups=st.lists(GROUPS, max_size=3).map(tuple))


@given(
    MAPS,
    st.fixed_dictionaries(
        {}, optional={name: st.text(max_size=9) for name in ("name", "queueing", "dm_st", "features")}
    ),
    st.builds(
        Facts,
        sizes=st.dictionaries(st.just(""), st.integers(0)),
        ports=st.dictionaries(st.just("sda"), st.builds(Port, st.just("fc"), st.just("0xA"))),
        baseline=st.dictionaries(st.just(WWID), st.integers(0, 9)),
        transports=st.dictionaries(st.just(WWID), st.just("fc")),
    ),
)
def test_health_depends_on_nothing_but_the_paths(map_: Map, other: dict[str, str], facts: Facts) -> None:
    bare, dressed = judge(map_, NOTHING_KNOWN), judge(msgspec.structs.replace(map_, **other), facts)
    assert (dressed.health, dressed.active, dressed.total) == (bare.health, bare.active, bare.total)
    paths = [path for group in map_.path_groups for path in group.paths]
    assert (bare.active, bare.total) == (sum(map(usable, paths)), len(paths))


@given(MAPS, st.randoms(use_true_random=False))
def test_the_order_of_paths_and_groups_does_not_matter(map_: Map, chance: random.Random) -> None:
    # Only one group is in use at a time.
    groups = [
        msgspec.structs.replace(group, dm_st="active" if number == 0 else "enabled")
        for number, group in enumerate(map_.path_groups)
    ]
    shuffled = [
        msgspec.structs.replace(group, paths=tuple(chance.sample(group.paths, len(group.paths)))) for group in groups
    ]
    chance.shuffle(shuffled)
    one, other = (Map(uuid=WWID, path_groups=tuple(order)) for order in (groups, shuffled))
    verdict, same = judge(one, NOTHING_KNOWN), judge(other, NOTHING_KNOWN)
    assert (verdict.health, verdict.active, verdict.total, verdict.standby) == (
        same.health,
        same.active,
        same.total,
        same.standby,
    )
    assert flags(verdict, NOTHING_KNOWN) == flags(same, NOTHING_KNOWN)


def test_flags_stand_in_one_order() -> None:
    verdict, beside = judged(
        lun(msgspec.structs.replace(DOWN, marginal_st="marginal"), dm_st="suspend", queueing="on"),
        Facts(baseline={WWID: 2}),
    )
    assert verdict.health is Health.FAILED
    assert beside == (Flag.QUEUEING, Flag.SUSPENDED, Flag.MARGINAL, Flag.BELOW_EXPECTED)
