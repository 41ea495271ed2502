"""Commands of the socket, in each release's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from pathfleet.core import maps
from pathfleet.errors import CannotTell
from tests.lab.bench import SMALL, Bench

VERSIONS = ("0.8.5", "0.9.4", "0.11.1", "0.14.3")


def of(version: str, more: str = "", files: Path | None = None) -> Bench:
    return Bench(SMALL.replace("0.9.4", version) + more, files)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_release_names_itself_and_lists_its_maps(version: str) -> None:
    bench = of(version)
    assert maps.version_in(bench.ask("help")) == version
    assert len(bench.maps()) == 3
    assert (b"lun_hex" in bench.ask("show maps json")) is (version != "0.8.5")
    wwid = bench.map().uuid
    assert maps.decode(bench.ask(f"show map {wwid} json"))[0].uuid == wwid


@pytest.mark.parametrize(
    ("version", "failed", "denied"),
    [
        ("0.8.5", b"fail\n", b"permission deny: need to be root"),
        ("0.9.4", b"fail\n", b"permission deny: need to be root\n"),
        ("0.11.1", b"fail\ndevice not found\n", b"fail\npermission deny: need to be root\n"),
        ("0.14.3", b"fail\ndevice not found\n", b"fail\npermission deny: need to be root\n"),
    ],
)
def test_failures_are_worded_by_the_release(version: str, failed: bytes, denied: bytes) -> None:
    bench = of(version)
    assert bench.ask("show map nosuch json") == failed
    assert bench.ask("fail path sda", uid=1000) == denied
    assert bench.ask("show daemon", uid=1000) == b"pid 1000 idle\n"
    prefix = b"fail\n" if denied.startswith(b"fail") else b""
    complaint = b"" if version == "0.8.5" else b"nonsense: not found\n"
    assert bench.ask("nonsense").startswith(prefix + complaint + b"multipath-tools v")


@pytest.mark.parametrize(("version", "answer"), [("0.8.5", b""), ("0.9.4", b"ok\n"), ("0.14.3", b"ok\n")])
def test_nothing_to_list_is_not_always_an_empty_reply(version: str, answer: bytes) -> None:
    bench = of(version)
    for lun in ("vm1", "vm2", "vm3"):
        bench.inflict("unused", lun, seconds=0)
    bench.inflict("logout", "array1")
    assert bench.ask("show maps") == bench.ask("show paths") == answer
    assert bench.maps() == ()


@pytest.mark.parametrize(
    ("failback", "old", "new"),
    [("immediate", "immediate", "immediate"), ("manual", "-", "manual"), ("10", ".......... 0/10", "deferred:10")],
)
def test_failback_is_worded_by_the_release(failback: str, old: str, new: str) -> None:
    for version, word in (("0.9.4", old), ("0.11.1", new)):
        bench = Bench(SMALL.replace("0.9.4", version).replace("no_path_retry = 6", f'failback = "{failback}"'))
        assert bench.ask('show maps raw format "%F"').splitlines() == [word.encode()] * 3


def test_keywords_may_be_shortened_while_they_are_unique() -> None:
    bench = Bench()
    assert bench.ask("show maps jso") == bench.ask("list multipaths json") == bench.ask("show maps json")
    assert b"Missing argument" in bench.ask("show map")
    assert b"not found" in bench.ask("show foo")


def test_an_unknown_wildcard_prints_nothing_and_a_raw_format_has_no_heading() -> None:
    bench = Bench()
    assert bench.ask('show maps raw format "%d:%Z|%N"') == b"dm-0:|4\ndm-1:|4\ndm-2:|4\n"
    assert bench.ask('show paths raw format "%d %L"').splitlines()[1] == b"sdb 0x0001000000000000"
    assert of("0.8.5").ask('show paths raw format "%d %L"').splitlines()[1] == b"sdb "


def test_the_countdown_of_a_map_without_paths_runs_and_ends_in_off() -> None:
    bench = Bench()
    assert bench.map().queueing == "6 chk"
    bench.inflict("break", "array1", seconds=5)
    words = []
    for _ in range(4):
        words.append(bench.map().queueing)
        bench.passes(10)
    assert words == ["26 sec", "16 sec", "6 sec", "off"]
    assert bench.map().features == "0"
    bench.relieve("break", "array1")
    assert (bench.map().queueing, bench.map().features) == ("6 chk", "1 queue_if_no_path")


@pytest.mark.parametrize(("setting", "well", "ill"), [("fail", "off", "off"), ("queue", "on", "on")])
def test_queueing_for_ever_or_not_at_all(setting: str, well: str, ill: str) -> None:
    bench = Bench(SMALL.replace("no_path_retry = 6", f'no_path_retry = "{setting}"'))
    assert bench.map().queueing == well
    bench.inflict("break", "array1")
    assert bench.map().queueing == ill


def test_without_no_path_retry_multipathd_has_no_opinion() -> None:
    assert Bench(SMALL.replace("no_path_retry = 6", "")).map().queueing == "-"


def test_queueing_is_disabled_and_restored_by_command() -> None:
    bench = Bench(SMALL.replace("no_path_retry = 6", 'no_path_retry = "queue"'))
    wwid = bench.map().uuid
    assert bench.ask(f"disablequeueing map {wwid}") == b"ok\n"
    assert (bench.map().queueing, bench.map().features) == ("off", "0")
    assert bench.ask("restorequeueing maps") == b"ok\n"
    assert (bench.map().queueing, bench.map().features) == ("on", "1 queue_if_no_path")


def test_a_path_failed_by_command_stays_so_until_it_is_reinstated() -> None:
    bench = Bench()
    assert bench.ask("fail path sda") == b"ok\n"
    bench.passes(60)
    assert bench.verdict().active == 3
    assert bench.ask("reinstate path sda") == b"ok\n"
    bench.passes(30)
    assert bench.verdict().active == 4


def test_a_marginal_path_by_command() -> None:
    bench = Bench()
    bench.ask("setmarginal path sda")
    bench.passes(60)
    assert b'"marginal_st" : "marginal"' in bench.ask("show maps json")
    bench.ask("unsetmarginal path sda")
    assert b'"marginal_st" : "marginal"' not in bench.ask("show maps json")


def test_an_open_map_is_not_removed_and_a_closed_one_is_until_added_again() -> None:
    bench = of("0.11.1")
    wwid = bench.map().uuid
    assert bench.ask(f"del map {wwid}") == b"fail\nmap or partition in use\n"
    bench.inflict("unused", "vm1", seconds=0)
    assert bench.ask(f"del map {wwid}") == b"ok\n"
    assert b"[orphan]" in bench.ask('show paths raw format "%d %m"')
    assert len(bench.maps()) == 2
    assert bench.ask(f"add map {wwid}") == b"ok\n"
    assert len(bench.maps()) == 3


def test_a_path_is_dropped_and_added_again() -> None:
    bench = Bench()
    bench.ask("del path sda")
    assert bench.verdict().total == 3
    bench.ask("add path sda")
    assert bench.verdict().total == 4


def test_strings_are_printed_raw() -> None:
    bench = Bench(SMALL.replace('name = "array1"', """name = "array1", vendor = 'A"B\\C'"""))
    assert b'"vend" : "A"B\\C",' in bench.ask("show maps json")
    assert bench.map().vend == 'A"B\\C'


def test_a_reply_that_is_refused_is_never_taken_for_no_maps() -> None:
    with pytest.raises(CannotTell):
        maps.decode(Bench().ask("show mapz json"))


def test_status_counts_paths_by_state() -> None:
    bench = Bench()
    bench.inflict("break", "pve1-hba0")
    assert bench.ask("show status") == (
        b"path checker states:\ndown                6\nup                  6\n\npaths: 12\nbusy: False\n"
    )
