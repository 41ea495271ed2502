from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from pathfleet.agent.baseline import Baseline
from pathfleet.agent.collect import Collector
from pathfleet.core import maps
from pathfleet.core.dmstatus import KernelPath
from pathfleet.core.health import Flag, Health, flags
from pathfleet.core.maps import Map
from pathfleet.core.node import Daemon
from pathfleet.errors import CannotTell, NotRunning
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.sysfs import Sysfs
from tests.fakes import FakeDaemon, says
from tests.replies import group, help_text, map_, path, reply

WWID = "3600a098038314c6c6e3f4b6f4c6c5a30"
TWO = reply(map_(WWID, group(path("sda"), path("sdb"))))
PATHLESS = reply(map_(WWID, name="data"))


class Told:
    """A multipathd of which the test says what it answers."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.version_answer: str | Exception = "0.9.4"
        self.asked_version = 0

    async def maps(self) -> tuple[Map, ...]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return maps.decode(answer)

    async def version(self) -> str | None:
        self.asked_version += 1
        if isinstance(self.version_answer, Exception):
            raise self.version_answer
        return self.version_answer


async def kernel_has_nothing() -> Mapping[str, tuple[KernelPath, ...]]:
    return {}


def collector(told: Told, root: Path, *, baseline: Baseline | None = None) -> Collector:
    return Collector(told, sysfs=Sysfs(root), baseline=baseline, kernel_paths=kernel_has_nothing)


def disk(root: Path, name: str, session: int) -> None:
    """An iSCSI disk as sysfs lays it out."""
    device = root / f"devices/platform/host{session}/session{session}/target{session}:0:0/{session}:0:0:1"
    (device / "block" / name).mkdir(parents=True)
    (device / "block" / name / "device").symlink_to("../..")
    (root / "block").mkdir(exist_ok=True)
    (root / "block" / name).symlink_to(device / "block" / name)


def device(root: Path, dm: str, *, slaves: tuple[str, ...] = ()) -> None:
    directory = root / "block" / dm
    (directory / "dm").mkdir(parents=True)
    (directory / "dm" / "uuid").write_text(f"mpath-{WWID}\n")
    (directory / "size").write_text("67108864\n")
    for slave in slaves:
        (directory / "slaves" / slave).mkdir(parents=True)


class TestTheAnswersAre:
    async def test_running_with_maps(self, tmp_path: Path) -> None:
        found = await collector(Told(TWO), tmp_path).collect()
        assert (found.daemon, found.reason, found.version) == (Daemon.RUNNING, None, "0.9.4")
        assert [verdict.health for verdict in found.verdicts] == [Health.OPTIMAL]

    async def test_running_without_maps(self, tmp_path: Path) -> None:
        found = await collector(Told(reply()), tmp_path).collect()
        assert (found.daemon, found.verdicts) == (Daemon.RUNNING, ())

    async def test_not_running(self, tmp_path: Path) -> None:
        found = await collector(Told(NotRunning("it is not there")), tmp_path).collect()
        assert (found.daemon, found.reason, found.verdicts) == (Daemon.NOT_RUNNING, "it is not there", ())

    async def test_not_running_while_the_kernel_has_maps_says_so(self, tmp_path: Path) -> None:
        device(tmp_path, "dm-0")
        found = await collector(Told(NotRunning("it is not there")), tmp_path).collect()
        assert found.reason == "it is not there; the kernel has 1 multipath map(s) whose paths nobody checks now"

    async def test_not_installed(self, tmp_path: Path) -> None:
        """The daemon does not run and its program is nowhere: another answer than one that was stopped."""
        (tmp_path / "proc").mkdir()
        (tmp_path / "sbin").mkdir()
        absent = Multipathd(
            pid_file=tmp_path / "multipathd.pid", proc=tmp_path / "proc", search_path=str(tmp_path / "sbin")
        )
        found = await Collector(absent, sysfs=Sysfs(tmp_path)).collect()
        assert found.daemon is Daemon.NOT_INSTALLED
        assert "is not installed on this node; install it" in (found.reason or "")
        program = tmp_path / "sbin" / "multipathd"
        program.touch(0o755)
        found = await Collector(absent, sysfs=Sysfs(tmp_path)).collect()
        assert found.daemon is Daemon.NOT_RUNNING

    async def test_cannot_tell(self, tmp_path: Path) -> None:
        found = await collector(Told(CannotTell("it hangs")), tmp_path).collect()
        assert (found.daemon, found.reason, found.verdicts) == (Daemon.CANNOT_TELL, "it hangs", ())

    async def test_those_of_a_real_socket(self, tmp_path: Path) -> None:
        address = str(tmp_path / "socket")
        collector = Collector(Multipathd(address), sysfs=Sysfs(tmp_path), kernel_paths=kernel_has_nothing)
        assert (await collector.collect()).daemon is Daemon.NOT_RUNNING
        async with FakeDaemon(address, TWO) as daemon:
            assert len((await collector.collect()).verdicts) == 1
            daemon.script = [says(b"timeout\n")] * 3
            assert (await collector.collect()).daemon is Daemon.CANNOT_TELL
            daemon.replies["show maps json"] = reply()
            assert (await collector.collect()).verdicts == ()


class TestSysfsTells:
    async def test_size_and_transport(self, tmp_path: Path) -> None:
        disk(tmp_path, "sda", 1)
        device(tmp_path, "dm-0")
        (verdict,) = (await collector(Told(TWO), tmp_path).collect()).verdicts
        assert (verdict.size, verdict.transport) == (32 << 30, "iscsi")

    async def test_nothing_and_the_verdict_stands_without_it(self, tmp_path: Path) -> None:
        (verdict,) = (await collector(Told(TWO), tmp_path / "nowhere").collect()).verdicts
        assert (verdict.health, verdict.size, verdict.transport) == (Health.OPTIMAL, None, None)

    async def test_the_transport_which_stays_known_when_all_paths_go(self, tmp_path: Path) -> None:
        disk(tmp_path, "sda", 1)
        collecting = collector(Told(TWO, PATHLESS), tmp_path)
        for expected in (Health.OPTIMAL, Health.FAILED, Health.FAILED):
            (verdict,) = (await collecting.collect()).verdicts
            assert (verdict.health, verdict.transport) == (expected, "iscsi")

    async def test_the_transport_also_after_a_time_when_nobody_could_tell(self, tmp_path: Path) -> None:
        disk(tmp_path, "sda", 1)
        collecting = collector(Told(TWO, CannotTell("busy"), NotRunning("restarting"), PATHLESS), tmp_path)
        for _ in range(3):
            await collecting.collect()
        (verdict,) = (await collecting.collect()).verdicts
        assert verdict.transport == "iscsi"

    async def test_the_transport_of_a_map_that_went_is_forgotten(self, tmp_path: Path) -> None:
        disk(tmp_path, "sda", 1)
        collecting = collector(Told(TWO, reply(), PATHLESS), tmp_path)
        for _ in range(2):
            await collecting.collect()
        (verdict,) = (await collecting.collect()).verdicts
        assert verdict.transport is None


class TestAMapThatMultipathdShowsWithoutPaths:
    async def test_is_judged_by_the_kernel_where_it_may_be_asked(self, tmp_path: Path) -> None:
        async def kernel() -> Mapping[str, tuple[KernelPath, ...]]:
            return {"data": (KernelPath("8:0", active=True), KernelPath("8:16", active=False))}

        found = await Collector(Told(PATHLESS), sysfs=Sysfs(tmp_path), kernel_paths=kernel).collect()
        (verdict,) = found.verdicts
        assert (verdict.health, verdict.active, verdict.total) == (Health.DEGRADED, 1, 2)
        assert Flag.UNMANAGED in flags(verdict, found.facts)

    async def test_is_unknown_where_the_kernel_may_not_be_asked_but_has_paths(self, tmp_path: Path) -> None:
        async def kernel() -> Mapping[str, tuple[KernelPath, ...]]:
            raise CannotTell("needs root", passing=False)

        device(tmp_path, "dm-0", slaves=("sda", "sdb"))
        found = await Collector(Told(PATHLESS), sysfs=Sysfs(tmp_path), kernel_paths=kernel).collect()
        (verdict,) = found.verdicts
        assert (verdict.health, verdict.total, verdict.unmanaged) == (Health.UNKNOWN, 2, True)

    @pytest.mark.parametrize("known", [{}, {"data": ()}])
    async def test_is_failed_where_the_kernel_has_none_either(
        self, tmp_path: Path, known: Mapping[str, tuple[KernelPath, ...]]
    ) -> None:
        async def kernel() -> Mapping[str, tuple[KernelPath, ...]]:
            return known

        (verdict,) = (await Collector(Told(PATHLESS), sysfs=Sysfs(tmp_path), kernel_paths=kernel).collect()).verdicts
        assert (verdict.health, verdict.total, verdict.unmanaged) == (Health.FAILED, 0, False)

    async def test_is_found_in_the_kernel_under_its_mangled_name(self, tmp_path: Path) -> None:
        async def kernel() -> Mapping[str, tuple[KernelPath, ...]]:
            return {"my data": (KernelPath("8:0", active=True),)}

        told = Told(reply(map_(WWID, name=r"my\x20data")))
        (verdict,) = (await Collector(told, sysfs=Sysfs(tmp_path), kernel_paths=kernel).collect()).verdicts
        assert verdict.health is Health.OPTIMAL

    async def test_alone_makes_the_kernel_be_asked(self, tmp_path: Path) -> None:
        async def kernel() -> Mapping[str, tuple[KernelPath, ...]]:
            raise AssertionError("a reading of healthy maps needs no dmsetup")

        found = await Collector(Told(TWO), sysfs=Sysfs(tmp_path), kernel_paths=kernel).collect()
        assert len(found.verdicts) == 1


class TestTheVersion:
    async def test_is_asked_once_for_many_readings(self, tmp_path: Path) -> None:
        told = Told(TWO)
        collecting = collector(told, tmp_path)
        assert {(await collecting.collect()).version for _ in range(5)} == {"0.9.4"}
        assert told.asked_version == 1

    async def test_is_asked_again_after_the_daemon_was_away(self, tmp_path: Path) -> None:
        told = Told(TWO, NotRunning("upgrading"), TWO)
        collecting = collector(told, tmp_path)
        await collecting.collect()
        assert (await collecting.collect()).version is None
        told.version_answer = "0.9.9"
        assert (await collecting.collect()).version == "0.9.9"

    async def test_is_asked_again_after_a_minute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        told = Told(TWO)
        collecting = collector(told, tmp_path)
        await collecting.collect()
        loop = asyncio.get_running_loop()
        later = loop.time() + 61
        monkeypatch.setattr(loop, "time", lambda: later)
        told.version_answer = "0.9.9"
        assert (await collecting.collect()).version == "0.9.9"

    async def test_that_nobody_tells_costs_no_map_and_is_asked_for_again(self, tmp_path: Path) -> None:
        told = Told(TWO)
        told.version_answer = CannotTell("busy")
        collecting = collector(told, tmp_path)
        found = await collecting.collect()
        assert (found.daemon, found.version, len(found.verdicts)) == (Daemon.RUNNING, None, 1)
        told.version_answer = "0.9.4"
        assert (await collecting.collect()).version == "0.9.4"

    async def test_comes_from_the_banner_of_the_help(self, tmp_path: Path) -> None:
        async with FakeDaemon(str(tmp_path / "socket"), TWO) as daemon:
            daemon.replies["help"] = help_text("0.11.1")
            found = await Collector(Multipathd(daemon.address), sysfs=Sysfs(tmp_path)).collect()
        assert found.version == "0.11.1"


class TestTheBaseline:
    async def test_makes_fewer_paths_than_accepted_a_flag(self, tmp_path: Path) -> None:
        baseline = Baseline(tmp_path)
        baseline.accept({WWID: 4}, forget_others=True)
        found = await collector(Told(TWO), tmp_path, baseline=baseline).collect()
        assert Flag.BELOW_EXPECTED in flags(found.verdicts[0], found.facts)

    async def test_grows_only_when_the_agent_says_so(self, tmp_path: Path) -> None:
        baseline = Baseline(tmp_path)
        collecting = collector(Told(TWO), tmp_path, baseline=baseline)
        found = await collecting.collect()
        assert baseline.read() == {}
        collecting.accept_growth(found)
        assert baseline.read() == {WWID: 2}

    async def test_that_cannot_be_read_costs_no_map_and_is_told_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "baseline.json").write_bytes(b"garbage")
        collecting = collector(Told(TWO), tmp_path, baseline=Baseline(tmp_path))
        for _ in range(3):
            found = await collecting.collect()
            collecting.accept_growth(found)
            assert len(found.verdicts) == 1
        assert len(caplog.records) == 1
        assert (tmp_path / "baseline.json").read_bytes() == b"garbage"


class Repeating(Told):
    """A multipathd that says the same with the same tuple, as the real client does."""

    def __init__(self, said: bytes) -> None:
        super().__init__(said)
        self.said = maps.decode(said)

    async def maps(self) -> tuple[Map, ...]:
        return self.said


class TestWhileNothingChanges:
    async def test_the_same_snapshot_is_given_again(self, tmp_path: Path) -> None:
        collector_ = collector(Repeating(TWO), tmp_path)
        first = await collector_.collect()
        # the transports that the first one told are facts from the second one on
        assert await collector_.collect() is first

    async def test_a_new_size_is_seen_once_a_change_is_expected(self, tmp_path: Path) -> None:
        device(tmp_path, "dm-0")
        collector_ = collector(Repeating(reply(map_(WWID, group(path("sda")), sysfs="dm-0"))), tmp_path)
        assert (await collector_.collect()).verdicts[0].size == 67108864 * 512
        (tmp_path / "block/dm-0/size").write_text("134217728\n")
        assert (await collector_.collect()).verdicts[0].size == 67108864 * 512
        collector_.expect_change()
        assert (await collector_.collect()).verdicts[0].size == 134217728 * 512

    async def test_an_accepted_number_of_paths_is_seen_at_once(self, tmp_path: Path) -> None:
        baseline = Baseline(tmp_path)
        baseline.accept({WWID: 4}, forget_others=False)
        collector_ = collector(Repeating(TWO), tmp_path, baseline=baseline)
        found = await collector_.collect()
        assert Flag.BELOW_EXPECTED in flags(found.verdicts[0], found.facts)
        baseline.accept({WWID: 2}, forget_others=False)
        found = await collector_.collect()
        assert Flag.BELOW_EXPECTED not in flags(found.verdicts[0], found.facts)

    async def test_another_tuple_is_judged_anew(self, tmp_path: Path) -> None:
        told = Told(TWO, reply(map_(WWID, group(path("sda"), path("sdb", "failed", "faulty")))))
        collector_ = collector(told, tmp_path)
        assert (await collector_.collect()).verdicts[0].health is Health.OPTIMAL
        assert (await collector_.collect()).verdicts[0].health is Health.DEGRADED


def at_once(told: Told, root: Path) -> Collector:
    """Return a collector that takes a map which is not listed for forgotten at once."""
    return Collector(told, sysfs=Sysfs(root), kernel_paths=kernel_has_nothing, settle_seconds=0)


class TestAMapThatOnlyTheKernelHas:
    """multipathd 0.8.5 lists a map no more when its open LUN is blacklisted; the kernel goes on using it."""

    async def test_may_be_about_to_be_listed(self, tmp_path: Path) -> None:
        device(tmp_path, "dm-0", slaves=("sda", "sdb"))
        collector_ = collector(Repeating(reply()), tmp_path)
        for _ in range(3):
            assert (await collector_.collect()).verdicts == ()
            collector_.expect_change()

    async def test_is_unmanaged_when_it_is_missed_for_a_while(self, tmp_path: Path) -> None:
        device(tmp_path, "dm-0", slaves=("sda", "sdb"))
        (verdict,) = (await at_once(Repeating(reply()), tmp_path).collect()).verdicts
        assert (verdict.map.uuid, verdict.health, verdict.total) == (WWID, Health.UNKNOWN, 2)
        assert verdict.unmanaged

    async def test_is_not_shown_twice_once_multipathd_lists_it(self, tmp_path: Path) -> None:
        device(tmp_path, "dm-0", slaves=("sda", "sdb"))
        collector_ = at_once(Told(reply(), TWO), tmp_path)
        assert (await collector_.collect()).verdicts[0].unmanaged
        assert [verdict.total for verdict in (await collector_.collect()).verdicts] == [2]
