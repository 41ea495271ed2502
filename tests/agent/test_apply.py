from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pathfleet.agent.apply import NOT_RUNNING, Applier
from pathfleet.core.wanted import Wanted
from pathfleet.system.dropins import Attempt, Files
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.multipathd_unit import MultipathdUnit
from pathfleet.system.wwids import Wwids
from tests.agent.apply_bench import UNLISTED, Host, lab, wanted, wwid

GOOD = wanted("defaults {\n\tno_path_retry 7\n}\n")
OTHER = wanted("defaults {\n\tno_path_retry 9\n}\n")


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with lab(tmp_path) as hosts:
        yield hosts[0]


@pytest.fixture
async def unlisted(tmp_path: Path) -> AsyncIterator[Host]:
    async with lab(tmp_path, UNLISTED) as hosts:
        yield hosts[0]


async def test_what_is_wanted_is_in_force_and_written_for_all_to_read(host: Host) -> None:
    outcome = await host.applier.apply(GOOD)
    assert (outcome.digest, outcome.error, outcome.stops) == (GOOD.digest, None, False)
    assert "no_path_retry 7" in await host.multipathd.effective()
    (file,) = (host.etc / "conf.d").iterdir()
    assert file.read_text() == GOOD.drop_ins.baseline
    assert file.stat().st_mode & 0o777 == 0o644
    assert await host.applier.has(GOOD)


async def test_nothing_changed_reconfigures_nothing(host: Host) -> None:
    await host.applier.apply(GOOD)
    before = host.reconfigurations()
    assert (await host.applier.apply(GOOD)).error is None
    assert host.reconfigurations() == before


async def test_an_allowed_lun_becomes_a_map_with_its_alias(unlisted: Host) -> None:
    assert await unlisted.names() == set()
    lun = wwid(unlisted, "vm2")
    plan = wanted(f'multipaths {{\n\tmultipath {{\n\t\twwid "{lun}"\n\t\talias "db"\n\t}}\n}}\n', lun)
    assert (await unlisted.applier.apply(plan)).error is None
    assert await unlisted.names() == {"db"}


async def test_a_lun_that_is_no_longer_allowed_may_go_and_what_others_allowed_stays(unlisted: Host) -> None:
    theirs, ours = wwid(unlisted, "vm1"), wwid(unlisted, "vm2")
    with (unlisted.etc / "wwids").open("a") as file:
        file.write(f"/{theirs}/\n")
    before = unlisted.tree()
    await unlisted.applier.apply(wanted("defaults {\n}\n", theirs, ours))
    assert len(await unlisted.names()) == 2
    unlisted.close_maps()
    assert (await unlisted.applier.apply(wanted("defaults {\n}\n", theirs))).error is None
    assert unlisted.tree()["wwids"] == before["wwids"]
    assert await unlisted.names() == {theirs}
    await unlisted.applier.apply(wanted("defaults {\n}\n"))
    assert unlisted.tree()["wwids"] == before["wwids"]


async def test_an_emptied_configuration_leaves_everything_byte_for_byte_as_before(unlisted: Host) -> None:
    before = unlisted.tree()
    lun = wwid(unlisted, "vm2")
    await unlisted.applier.apply(wanted("defaults {\n\tno_path_retry 7\n}\n", lun, overrides="overrides {\n}\n"))
    assert unlisted.tree() != before
    reconfigured = unlisted.reconfigurations()
    unlisted.close_maps()
    outcome = await unlisted.applier.apply(Wanted())
    assert (outcome.digest, outcome.error) == (None, None)
    assert unlisted.tree() == before
    assert list(unlisted.state.iterdir()) == []
    assert unlisted.reconfigurations() == reconfigured + 1
    assert await unlisted.names() == set()
    assert (await unlisted.applier.apply(Wanted())).error is None
    assert unlisted.reconfigurations() == reconfigured + 1


@pytest.mark.parametrize(
    ("bad", "asked", "why"),
    [
        ("defaults {\n\tpolling_interval 0\n}\n", ["start"], "ended"),
        ("defaults {\n\tpolling_interval abc\n}\n", ["kill", "start"], "answers nothing"),
        ('blacklist {\n\twwid ".*"\n}\n', [], "worse: map .* has 0 usable path.s., before it had 4, "),
    ],
    ids=["dies", "spins", "loses maps"],
)
@pytest.mark.parametrize("first", [True, False], ids=["the first", "a later one"])
async def test_what_multipathd_or_the_maps_do_not_survive_is_rolled_back(
    host: Host, bad: str, asked: list[str], why: str, *, first: bool
) -> None:
    if not first:
        await host.applier.apply(GOOD)
    before, names = host.tree(), await host.names()
    outcome = await host.applier.apply(wanted("defaults {\n}\n", overrides=bad))
    assert outcome.stops
    assert outcome.digest == (None if first else GOOD.digest)
    assert outcome.error is not None
    assert "rolled back to what was in force before" in outcome.error
    assert re.search(why, outcome.error), outcome.error
    assert host.unit.asked == asked
    assert host.tree() == before
    assert await host.names() == names
    assert (await host.multipathd.state()).configured
    assert first == ("no_path_retry 7" not in await host.multipathd.effective())


async def test_a_map_in_use_stays_though_its_lun_is_no_longer_allowed(unlisted: Host) -> None:
    lun = wwid(unlisted, "vm2")
    await unlisted.applier.apply(wanted("defaults {\n}\n", lun))
    assert (await unlisted.applier.apply(wanted("defaults {\n}\n"))).error is None
    assert await unlisted.names() == {lun}


async def test_a_map_that_was_in_use_goes_when_it_is_closed_also_after_a_restart_and_is_forgotten(
    unlisted: Host,
) -> None:
    lun = wwid(unlisted, "vm2")
    nothing = wanted("defaults {\n}\n")
    await unlisted.applier.apply(wanted("defaults {\n}\n", lun))
    await unlisted.applier.apply(nothing)
    await unlisted.started_anew().let_go(nothing)
    assert await unlisted.names() == {lun}
    unlisted.close_maps()
    await unlisted.started_anew().let_go(nothing)
    assert await unlisted.names() == set()
    assert not (unlisted.state / "apply/leaving-maps.json").exists()


async def test_maps_that_are_open_when_all_is_torn_down_go_later_and_then_nothing_of_ours_is_left(
    unlisted: Host,
) -> None:
    await unlisted.applier.apply(wanted("defaults {\n}\n", wwid(unlisted, "vm2")))
    assert (await unlisted.applier.apply(Wanted())).error is None
    assert len(await unlisted.names()) == 1
    unlisted.close_maps()
    await unlisted.started_anew().let_go(Wanted())
    assert await unlisted.names() == set()
    assert list(unlisted.state.iterdir()) == []


@pytest.mark.parametrize("by", ["us", "us, soon", "others"])
async def test_a_map_whose_lun_is_allowed_again_stays_when_it_is_closed(unlisted: Host, by: str) -> None:
    lun = wwid(unlisted, "vm2")
    allowing, nothing = wanted("defaults {\n}\n", lun), wanted("defaults {\n}\n")
    await unlisted.applier.apply(allowing)
    await unlisted.applier.apply(nothing)
    if by == "us":
        await unlisted.applier.apply(allowing)
    if by == "others":
        with (unlisted.etc / "wwids").open("a") as file:
            file.write(f"/{lun}/\n")
    unlisted.close_maps()
    await unlisted.applier.let_go(nothing if by == "others" else allowing)
    assert await unlisted.names() == {lun}
    assert (unlisted.state / "apply/leaving-maps.json").exists() == (by == "us, soon")


async def test_luns_allowed_by_what_failed_are_no_longer_allowed(unlisted: Host) -> None:
    before = unlisted.tree()
    lun = wwid(unlisted, "vm2")
    outcome = await unlisted.applier.apply(wanted("defaults {\n\tpolling_interval 0\n}\n", lun))
    assert outcome.stops
    assert unlisted.tree() == before


async def test_a_value_that_another_file_has_the_last_word_on_is_named(host: Host) -> None:
    (host.etc / "conf.d/zzz-mine.conf").write_text("defaults {\n\tno_path_retry 3\n}\n")
    outcome = await host.applier.apply(GOOD)
    assert (outcome.digest, outcome.stops) == (GOOD.digest, True)
    assert outcome.error is not None
    assert "no_path_retry is 3 instead of 7" in outcome.error
    assert "zzz-mine.conf after ours" in outcome.error
    assert not await host.applier.has(GOOD)


async def test_one_that_never_gets_done_is_ended_though_it_answers(host: Host) -> None:
    daemon = host.node.daemon

    def never_done() -> None:
        daemon.state = "configure"
        del daemon.reconfigure

    daemon.reconfigure = never_done  # type: ignore[method-assign]
    outcome = await host.applier.apply(GOOD)
    assert outcome.error is not None
    assert "still busy with it; rolled back to what was in force before" in outcome.error
    assert host.unit.asked == ["kill", "start"]
    assert (await host.multipathd.state()).configured


async def test_no_other_file_can_be_why_an_entry_of_a_list_is_absent(host: Host) -> None:
    (host.etc / "conf.d/zzz-mine.conf").write_text("defaults {\n\tno_path_retry 3\n}\n")
    bad = wanted("defaults {\n}\n", overrides='blacklist {\n\tdevnode "^(sd[a"\n}\n')
    outcome = await host.applier.apply(bad)
    assert outcome.error is not None
    assert "did not take it: blacklist devnode" in outcome.error


async def test_without_a_running_multipathd_files_are_written_and_no_roll_is_stopped(host: Host) -> None:
    host.node.daemon.stop()
    for _ in range(2):
        outcome = await host.applier.apply(GOOD)
        assert (outcome.digest, outcome.error, outcome.stops) == (GOOD.digest, NOT_RUNNING, False)
    assert host.unit.asked == []
    assert await host.applier.recover() is None
    host.node.start_daemon()
    assert (await host.applier.apply(GOOD)).error is None
    assert await host.applier.has(GOOD)


async def test_what_waited_for_multipathd_and_fails_with_it_is_rolled_back(host: Host) -> None:
    await host.applier.apply(GOOD)
    before = host.tree()
    host.node.daemon.stop()
    bad = wanted('blacklist {\n\twwid ".*"\n}\n')
    assert (await host.applier.apply(bad)).digest == bad.digest
    (host.etc / "conf.d/zz-pathfleet-10-baseline.conf").rename(host.etc / "kept")
    host.node.start_daemon()
    (host.etc / "kept").rename(host.etc / "conf.d/zz-pathfleet-10-baseline.conf")
    outcome = await host.applier.apply(bad)
    assert (outcome.digest, outcome.stops) == (GOOD.digest, True)
    assert host.tree() == before


async def test_where_multipath_tools_are_not_installed_nothing_is_written(tmp_path: Path) -> None:
    absent = Multipathd(pid_file=tmp_path / "absent", proc=tmp_path, search_path=str(tmp_path))
    files, wwids = Files(tmp_path / "multipath", tmp_path / "state"), Wwids(tmp_path / "multipath", tmp_path / "state")
    outcome = await Applier(absent, MultipathdUnit(), files, wwids).apply(GOOD)
    assert (outcome.digest, outcome.stops) == (None, False)
    assert outcome.error == (
        "not applied: multipath-tools is not installed on this node; install it and start multipathd"
    )
    assert list(tmp_path.iterdir()) == []


async def test_a_multipathd_that_hangs_already_is_let_alone(host: Host) -> None:
    host.node.daemon.hang()
    before = host.tree()
    outcome = await host.applier.apply(GOOD)
    assert (outcome.digest, outcome.stops) == (None, False)
    assert outcome.error is not None
    assert "nothing was changed" in outcome.error
    assert host.tree() == before


async def test_files_that_were_touched_are_missed_and_put_back(host: Host) -> None:
    await host.applier.apply(GOOD)
    file = host.etc / "conf.d/zz-pathfleet-10-baseline.conf"
    for touch in (file.unlink, lambda: file.write_text("defaults {\n}\n")):
        touch()
        assert not await host.applier.has(GOOD)
        assert await host.applier.accepted(GOOD)
        assert not await host.applier.accepted(OTHER)
        assert (await host.applier.apply(GOOD)).error is None
        assert file.read_text() == GOOD.drop_ins.baseline


async def test_a_directory_that_is_none_is_said_and_stops_no_roll(host: Host) -> None:
    (host.etc / "conf.d").rmdir()
    (host.etc / "conf.d").write_text("no directory")
    outcome = await host.applier.apply(GOOD)
    assert (outcome.digest, outcome.stops) == (None, False)
    assert outcome.error is not None
    assert "conf.d cannot be opened: it is no directory" in outcome.error
    assert (host.etc / "conf.d").read_text() == "no directory"


async def test_two_processes_do_not_apply_at_once(host: Host) -> None:
    with Files(host.etc, host.state).locked():
        outcome = await host.applier.apply(GOOD)
    assert outcome.error is not None
    assert "another process" in outcome.error
    assert not outcome.stops


async def test_a_map_that_nobody_uses_and_that_goes_comes_back(host: Host) -> None:
    host.close_maps()
    names = await host.names()
    outcome = await host.applier.apply(wanted('blacklist {\n\twwid ".*"\n}\n'))
    assert outcome.error is not None
    assert "is gone" in outcome.error
    assert await host.names() == names


async def test_an_apply_that_was_interrupted_is_undone_at_the_next_start_with_the_daemon_it_ended(host: Host) -> None:
    await host.applier.apply(GOOD)
    before = host.tree()
    files = Files(host.etc, host.state)
    files.begin(Attempt("d", daemon_ran=True), frozenset(), version=None)
    files.write("defaults {\n\tpolling_interval 0\n}\n", None)
    host.node.daemon.stop()
    done = await host.started_anew().recover()
    assert done is not None
    assert "interrupted" in done
    assert host.unit.asked == ["start"]
    assert host.tree() == before
    assert await host.applier.has(GOOD)
    assert await host.applier.recover() is None


async def test_a_daemon_that_did_not_run_before_the_interrupted_apply_is_not_started(host: Host) -> None:
    host.node.daemon.stop()
    Files(host.etc, host.state).begin(Attempt("d"), frozenset(), version=None)
    assert await host.applier.recover() is not None
    assert host.unit.asked == []
    assert not host.node.daemon.alive
