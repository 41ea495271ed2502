from __future__ import annotations

import msgspec
import pytest

from pathfleet.core import maps
from pathfleet.core.answer import Answer, answer_of, worst_first
from pathfleet.core.health import Facts, Verdict, judge
from pathfleet.core.node import Daemon
from pathfleet.core.ports import Port
from tests.replies import Fields, group, map_, path, reply


def verdicts(*reported: Fields) -> tuple[Verdict, ...]:
    return tuple(judge(each, Facts()) for each in maps.decode(reply(*reported)))


GOOD = map_("1", group(path("sda"), path("sdb", "active", "ghost")))
BAD = map_("2", group(path("sdc"), path("sdd", "failed", "faulty"), pri=10), name="data", vend="ACME ", prod="##")
DEAD = map_("3", group(path("sde", "failed", "faulty")))


@pytest.mark.parametrize("daemon", [Daemon.NOT_RUNNING, Daemon.NOT_INSTALLED, Daemon.CANNOT_TELL])
def test_a_daemon_that_does_not_run_is_the_answer_with_its_reason(daemon: Daemon) -> None:
    assert answer_of(daemon, "why", (), Facts()) == Answer(daemon.value, "why", [])


def test_no_maps_is_an_answer_of_its_own() -> None:
    assert answer_of(Daemon.RUNNING, None, (), Facts()) == Answer("no-maps", "multipathd has no maps", [])


def test_the_worst_map_is_first_and_names_decide_among_equals() -> None:
    found = verdicts(GOOD, BAD, DEAD, map_("0", group(path("sdx"))))
    assert [verdict.map.name for verdict in worst_first(found)] == ["3", "data", "0", "1"]


def test_a_row_names_its_alias_only_where_that_is_not_the_wwid() -> None:
    found = answer_of(Daemon.RUNNING, None, verdicts(GOOD, BAD), Facts())
    assert [(row.wwid, row.alias) for row in found.maps] == [("2", "data"), ("1", None)]


def test_padding_and_the_word_for_nothing_are_no_vendor_or_product() -> None:
    (row,) = answer_of(Daemon.RUNNING, None, verdicts(BAD), Facts()).maps
    assert (row.vendor, row.product) == ("ACME", None)


def test_a_path_says_what_its_states_mean_and_what_to_do() -> None:
    (row,) = answer_of(Daemon.RUNNING, None, verdicts(BAD), Facts()).maps
    usable, down = row.path_groups[0].paths
    assert (usable.state, usable.remedy) == ("usable", None)
    assert (down.state, down.dm, down.checker, down.meaning) == (
        "down",
        "failed",
        "faulty",
        "the device does not answer its check",
    )
    assert down.remedy


def test_a_path_behind_a_passive_port_is_standby() -> None:
    (row,) = answer_of(Daemon.RUNNING, None, verdicts(GOOD), Facts()).maps
    assert [each.state for each in row.path_groups[0].paths] == ["usable", "standby"]
    assert row.paths_standby == 1


def test_ports_come_from_the_facts() -> None:
    facts = Facts(ports={"sda": Port("fc", "0x1", "0x2", "1:0:0:1")})
    (row,) = answer_of(Daemon.RUNNING, None, verdicts(GOOD), facts).maps
    first = row.path_groups[0].paths[0]
    assert (first.initiator, first.target, first.hctl) == ("0x1", "0x2", "1:0:0:1")


def test_what_one_node_sends_another_one_reads() -> None:
    found = answer_of(Daemon.RUNNING, None, verdicts(GOOD, BAD, DEAD), Facts())
    assert msgspec.json.decode(msgspec.json.encode(found), type=Answer) == found
