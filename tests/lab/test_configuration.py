"""Files of a host: drop-ins and wwids obeyed, bad ones with the consequences that real daemons showed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.bench import SMALL, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(SMALL, tmp_path)


def write(bench: Bench, name: str, text: str, *, then: str = "reconfigure") -> None:
    directory = bench.san.nodes["pve1"].directory
    assert directory is not None
    (directory / name).write_text(text)
    bench.ask(then)
    bench.passes(5)


def test_a_host_starts_with_its_luns_listed(bench: Bench, tmp_path: Path) -> None:
    listed = (tmp_path / "pve1/multipath/wwids").read_text().splitlines()
    assert {line for line in listed if line.startswith("/")} == {f"/{map_.uuid}/" for map_ in bench.maps()}


def test_later_drop_ins_win_and_comments_and_quotes_are_understood(bench: Bench) -> None:
    write(bench, "conf.d/a.conf", 'defaults {\n no_path_retry "queue" # for ever\n}\n')
    write(bench, "conf.d/b.conf", "! old comment\ndefaults {\n\tno_path_retry 3\n\tpolling_interval 7\n}\n")
    assert bench.map().queueing == "3 chk"
    text = bench.ask("show config local").decode()
    assert "\tno_path_retry 3\n" in text
    assert "\tpolling_interval 7\n" in text


def test_an_alias_renames_the_live_map_and_shows_in_the_effective_configuration(bench: Bench) -> None:
    wwid = bench.map().uuid
    write(bench, "conf.d/x.conf", f'multipaths {{\n multipath {{\n wwid {wwid}\n alias "db"\n }}\n}}\n')
    assert bench.map().name == "db"
    assert f'\t\twwid "{wwid}"\n\t\talias "db"\n' in bench.ask("show config local").decode()


def test_user_friendly_names_rename_live_maps(bench: Bench) -> None:
    write(bench, "conf.d/x.conf", "defaults {\n user_friendly_names yes\n}\n")
    assert [map_.name for map_ in bench.maps()] == ["mpatha", "mpathb", "mpathc"]


def test_a_lun_that_is_not_listed_gets_no_map_until_it_is(tmp_path: Path) -> None:
    bench = Bench(SMALL.replace('name = "vm"', 'name = "vm", listed = false'), tmp_path)
    assert bench.maps() == ()
    wwid = bench.san.fabric.lun("vm2").wwid
    write(bench, "wwids", f"# Valid WWIDs:\n/{wwid}/\n")
    assert [map_.uuid for map_ in bench.maps()] == [wwid]


def test_find_multipaths_greedy_needs_no_list(tmp_path: Path) -> None:
    bench = Bench(SMALL.replace('name = "vm"', 'name = "vm", listed = false'), tmp_path)
    write(bench, "conf.d/x.conf", "defaults {\n find_multipaths greedy\n}\n")
    assert len(bench.maps()) == 3


def test_a_blacklisted_open_map_has_no_paths_for_multipathd_and_all_of_them_for_the_kernel(bench: Bench) -> None:
    bench.inflict("unused", "vm2", seconds=0)
    write(bench, "conf.d/x.conf", 'blacklist {\n wwid ".*"\n}\n')
    assert bench.map().path_groups == ()
    assert {map_.uuid for map_ in bench.maps()} == {bench.san.fabric.lun(n).wwid for n in ("vm1", "vm3")}
    kernel = bench.san.nodes["pve1"].kernel.kernel_paths()
    assert [path.active for path in kernel[bench.map().name]] == [True] * 4


def test_counters_start_anew_with_the_configuration(bench: Bench) -> None:
    bench.inflict("break", "pve1-hba0")
    assert bench.ask('show maps raw format "%0"') != b"0\n0\n0\n"
    bench.relieve("break", "pve1-hba0")
    bench.ask("reconfigure")
    bench.passes(5)
    assert bench.ask('show maps raw format "%0"') == b"0\n0\n0\n"


@pytest.mark.parametrize(
    ("version", "file", "text", "alive", "hung"),
    [
        ("0.9.4", "multipath.conf", 'blacklist {\n devnode "^(sd[a"\n}\n', False, False),
        ("0.11.1", "multipath.conf", 'blacklist {\n devnode "^(sd[a"\n}\n', False, False),
        ("0.11.1", "conf.d/x.conf", 'blacklist {\n devnode "^(sd[a"\n}\n', True, False),
        ("0.9.4", "conf.d/x.conf", "defaults {\n polling_interval 0\n}\n", True, False),
        ("0.11.1", "conf.d/x.conf", "defaults {\n polling_interval 0\n}\n", False, False),
        ("0.9.4", "conf.d/x.conf", "defaults {\n polling_interval abc\n}\n", True, False),
        ("0.14.3", "conf.d/x.conf", "defaults {\n polling_interval abc\n}\n", True, True),
        ("0.14.3", "conf.d/x.conf", "multipaths {\n multipath {\n alias x\n }\n}\n", True, False),
        ("0.14.3", "conf.d/x.conf", "defaults {\n bogus 1\n polling_interval 5\n", True, False),
    ],
)
def test_a_bad_file_does_to_the_daemon_what_it_did_to_the_real_one(
    tmp_path: Path, version: str, file: str, text: str, *, alive: bool, hung: bool
) -> None:
    bench = Bench(SMALL.replace("0.9.4", version), tmp_path)
    write(bench, file, text)
    daemon = bench.san.nodes["pve1"].daemon
    assert (daemon.alive, daemon.hung) == (alive, hung)
    assert len(bench.san.nodes["pve1"].kernel.maps) == 3


def test_a_daemon_killed_by_a_file_comes_back_once_the_file_is_good(bench: Bench) -> None:
    write(bench, "multipath.conf", 'blacklist {\n devnode "^(sd[a"\n}\n')
    node = bench.san.nodes["pve1"]
    node.start_daemon()
    assert not node.daemon.works
    assert node.directory is not None
    (node.directory / "multipath.conf").unlink()
    node.start_daemon()
    assert len(bench.maps()) == 3
