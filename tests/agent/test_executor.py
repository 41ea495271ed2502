from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from pathfleet.agent.executor import Counter, Executor
from pathfleet.agent.group_work import GroupWork
from pathfleet.agent.map_work import MapWork
from pathfleet.core import work
from pathfleet.core.facts import NodeFacts
from pathfleet.core.node import Daemon
from pathfleet.core.reply import Reply
from pathfleet.core.work import AnyTask, Holder, PathSeen
from pathfleet.errors import Busy, CannotTell, Malformed, NotFound, NotRunning, Refused, Unreachable
from pathfleet.system import executor as client
from pathfleet.system.lvm import LVM
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.program import Ended, StillRunning
from tests.fakes import FakeDaemon
from tests.replies import group, map_, path, reply
from tests.system import lvm_tools
from tests.system.lvm_tools import Tools, disk, report
from tests.system.san import Node

NAA = "600a098038314c6c6e3f4b6f4c6c5a30"
WWID = f"3{NAA}"
GOOD = reply(map_(WWID, group(path("sda"), path("sdb")), sysfs="dm-3"))
SINGLE = reply(map_(WWID, group(path("sda"), path("sdb", "failed", "faulty")), sysfs="dm-3"))
DEAD = reply(map_(WWID, group(path("sda", "failed", "faulty"), path("sdb", "failed", "faulty")), queueing="on"))


EXAMINED = NodeFacts("a", 1, Daemon.RUNNING)


async def examined() -> NodeFacts:
    return EXAMINED


class Host:
    """A node with one LUN: its kernel, its multipathd, its programs, and its executor."""

    def __init__(self, root: Path, daemon: FakeDaemon) -> None:
        self.node = Node(root)
        for name, hctl in (("sda", "0:0:0:1"), ("sdb", "1:0:0:1")):
            self.node.disk(name, hctl=hctl, naa=NAA)
        self.node.map(WWID)
        self.daemon = daemon
        self.tools = Tools({"dmsetup": Ended(0, "0\n", ""), "blkid": Ended(2, "", ""), "pvs": report("pv")})
        self.zeroed: list[tuple[int, int]] = []
        maps = MapWork(
            Multipathd(daemon.address),
            lun=self.node.lun,
            lvm=LVM(self.tools, self.tools),
            run=self.tools,
            settle_seconds=0.3,
        )
        self.zero: Callable[[int, int, int], None] = lambda _, at, length: self.zeroed.append((at, length))
        groups = GroupWork(maps, run=self.tools, zero=self._zero)
        self.executor = Executor(maps, groups, examined)
        (self.node.dev / "dm-3").write_bytes(bytes(4096))

    def _zero(self, file: int, at: int, length: int) -> None:
        self.zero(file, at, length)

    def answers(self, command: str, text: str) -> None:
        self.daemon.replies[command] = text.encode()

    def grow_paths(self, size: int, *names: str) -> None:
        for name in names:
            (self.node.sysfs / "block" / name / "size").write_text(str(size // 512))


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with FakeDaemon(str(tmp_path / "multipathd"), GOOD) as daemon:
        yield Host(tmp_path, daemon)


async def test_a_map_is_told_with_its_paths_and_users(host: Host) -> None:
    host.node.process(12, "dd", "dm-3")
    use = await host.executor.do(work.Holders(WWID))
    assert isinstance(use, work.MapUse)
    assert (use.device, use.size, use.usable) == ("dm-3", 1 << 30, 2)
    assert use.users == (Holder("process", "dd (12)", "dm-3"),)


async def test_a_map_that_is_open_has_a_user_even_if_nobody_can_be_named(host: Host) -> None:
    host.tools.ends["dmsetup"] = Ended(0, "1\n", "")
    use = await host.executor.do(work.Holders(WWID))
    assert isinstance(use, work.MapUse)
    assert [user.kind for user in use.users] == ["opened"]
    host.tools.ends["dmsetup"] = Ended(1, "", "Device dm-3 not found")
    with pytest.raises(CannotTell):
        await host.executor.do(work.Holders(WWID))


async def test_a_group_with_volumes_on_a_map_is_told(host: Host) -> None:
    host.tools.ends |= {"pvs": report("pv", disk(WWID)), "lvs": report("lv", lvm_tools.volume("a"))}
    use = await host.executor.do(work.Holders(WWID))
    assert isinstance(use, work.MapUse)
    assert use.holders == (Holder("group", "vms (1 volumes)", "dm-3"),)
    assert (use.groups, use.users) == (("vms",), ())


async def test_a_group_without_volumes_on_a_map_is_told_and_keeps_nothing(host: Host) -> None:
    host.tools.ends |= {"pvs": report("pv", disk(WWID)), "lvs": report("lv")}
    use = await host.executor.do(work.Holders(WWID))
    assert isinstance(use, work.MapUse)
    assert use.holders == (Holder("empty-group", "vms", "dm-3"),)
    assert (use.groups, use.users) == (("vms",), ())


async def test_lvm_does_not_look_at_a_map_without_a_path(host: Host) -> None:
    host.daemon.replies["show maps json"] = DEAD
    await host.executor.do(work.Holders(WWID))
    assert f"r|^/dev/disk/by-id/dm-uuid-mpath-{WWID}$|" in host.tools.configs[0]


async def test_all_paths_are_rescanned(host: Host) -> None:
    done = await host.executor.do(work.Rescan(WWID))
    assert done == work.Paths((PathSeen("sda", "0:0:0:1", 1 << 30), PathSeen("sdb", "1:0:0:1", 1 << 30)))
    assert [(host.node.sysfs / f"devices/{hctl}:0:0:1/rescan").read_text() for hctl in "01"] == ["1", "1"]
    with pytest.raises(NotFound):
        await host.executor.do(work.Rescan("3600b"))


async def test_a_map_grows_when_all_its_paths_have(host: Host) -> None:
    host.grow_paths(2 << 30, "sda")
    with pytest.raises(Refused, match="do not show one size"):
        await host.executor.do(work.ResizeMap(WWID))
    host.grow_paths(2 << 30, "sdb")
    host.answers(f"resize map {WWID}", "ok\n")
    with pytest.raises(CannotTell, match="did not grow"):
        await host.executor.do(work.ResizeMap(WWID))
    host.answers(f"resize map {WWID}", "fail\n")
    with pytest.raises(Refused, match="'fail'"):
        await host.executor.do(work.ResizeMap(WWID))
    host.grow_paths(2 << 30, "dm-3")
    host.daemon.questions.clear()
    assert await host.executor.do(work.ResizeMap(WWID)) == work.Sizes(2 << 30, 2 << 30)
    assert host.daemon.questions == []


async def test_a_map_never_shrinks(host: Host) -> None:
    host.grow_paths(1 << 29, "sda", "sdb")
    with pytest.raises(Refused, match="never shrinks"):
        await host.executor.do(work.ResizeMap(WWID))


async def test_a_map_in_use_or_without_a_path_is_not_flushed(host: Host) -> None:
    host.node.process(12, "dd", "dm-3")
    with pytest.raises(Busy, match=r"process dd \(12\)"):
        await host.executor.do(work.Flush(WWID))
    (host.node.proc / "12/fd/7").unlink()
    host.daemon.replies["show maps json"] = DEAD
    with pytest.raises(Refused, match="bring a path back first"):
        await host.executor.do(work.Flush(WWID))
    assert not [question for question in host.daemon.questions if question.startswith("del")]


@pytest.mark.parametrize("answer", ["fail\nmap or partition in use\n", "ok\n"])
async def test_a_map_that_multipathd_keeps_is_not_told_as_flushed(host: Host, answer: str) -> None:
    host.answers(f"del map {WWID}", answer)
    with pytest.raises((Busy, CannotTell)):
        await host.executor.do(work.Flush(WWID))


async def test_a_map_is_taken_away_by_its_name_since_multipathd_does_not_know_the_wwid_of_an_alias(host: Host) -> None:
    (host.node.sysfs / "block/dm-3/dm/name").write_text("vmstore\n")
    host.answers("del map vmstore", "fail\nmap or partition in use\n")
    with pytest.raises(Busy):
        await host.executor.do(work.Flush(WWID))


async def test_a_map_grows_by_its_name(host: Host) -> None:
    (host.node.sysfs / "block/dm-3/dm/name").write_text("vmstore\n")
    for device in ("sda", "sdb"):
        host.grow_paths(2 << 30, device)
    host.answers("resize map vmstore", "fail\n")
    with pytest.raises(Refused, match="'fail' to `resize map vmstore`"):
        await host.executor.do(work.ResizeMap(WWID))


async def test_paths_are_deleted_after_the_flush_and_not_before(host: Host) -> None:
    with pytest.raises(Busy, match="flush it first"):
        await host.executor.do(work.DeletePaths(WWID))
    host.node.remove("dm-3")
    assert await host.executor.do(work.Flush(WWID)) == work.Paths((), (f"there was no map of LUN {WWID}",))
    done = await host.executor.do(work.DeletePaths(WWID))
    assert isinstance(done, work.Paths)
    assert [each.device for each in done.paths] == ["sda", "sdb"]
    assert done.remarks == ()


async def test_only_paths_that_went_are_told_as_deleted(host: Host) -> None:
    host.node.remove("dm-3")
    host.node.disk("sdc", hctl="2:0:0:1")
    named = (PathSeen("sdb", "9:0:0:1", None), PathSeen("sdc", "2:0:0:1", None), PathSeen("sdz", "3:0:0:1", None))
    host.node.remove("sdb")
    done = await host.executor.do(work.DeletePaths(WWID, named))
    assert isinstance(done, work.Paths)
    assert [each.device for each in done.paths] == ["sda"]
    assert [remark.split()[0] for remark in done.remarks] == ["sdb", "sdc", "sdz"]


async def test_a_path_of_a_map_that_was_flushed_here_goes_though_it_does_not_say_which_lun_it_is(host: Host) -> None:
    (host.node.sysfs / "devices/0:0:0:1/wwid").unlink()
    host.answers(f"del map {WWID}", "ok\n")
    flushing = asyncio.create_task(host.executor.do(work.Flush(WWID)))
    while f"del map {WWID}" not in host.daemon.questions:  # noqa: ASYNC110 - the daemon has no event to wait for
        await asyncio.sleep(0.01)
    host.node.remove("dm-3")
    flushed = await flushing
    assert isinstance(flushed, work.Paths)
    for gone in (["sda", "sdb"], ["sdb"]):  # by the second time, sda may be another LUN in the same place
        done = await host.executor.do(work.DeletePaths(WWID, flushed.paths))
        assert isinstance(done, work.Paths)
        assert [each.device for each in done.paths] == gone


async def test_who_uses_bare_paths_uses_the_lun(host: Host) -> None:
    host.node.remove("dm-3")
    host.node.process(12, "dd", "sdb")
    use = await host.executor.do(work.Holders(WWID))
    paths = (PathSeen("sda", "0:0:0:1", 1 << 30), PathSeen("sdb", "1:0:0:1", 1 << 30))
    assert use == work.MapUse(None, paths=paths, holders=(Holder("process", "dd (12)", "sdb"),))
    assert use.users == use.holders


async def test_bare_paths_of_a_lun_that_nobody_uses_are_told_as_well(host: Host) -> None:
    host.node.remove("dm-3")
    use = await host.executor.do(work.Holders(WWID))
    assert isinstance(use, work.MapUse)
    assert [path.device for path in use.paths] == ["sda", "sdb"]
    assert (use.device, use.holders) == (None, ())


@pytest.mark.parametrize("maps", [SINGLE, DEAD, reply()])
async def test_no_group_is_made_on_a_single_path(host: Host, maps: bytes) -> None:
    host.daemon.replies["show maps json"] = maps
    with pytest.raises(Refused, match="two or more"):
        await host.executor.do(work.CreateGroup(WWID, "vms"))


async def test_no_group_is_made_on_data(host: Host) -> None:
    host.tools.ends["blkid"] = Ended(0, "TYPE=xfs\n", "")
    with pytest.raises(Busy, match=r"holds a signature \(xfs\); nothing was changed"):
        await host.executor.do(work.CreateGroup(WWID, "vms"))
    host.tools.ends["pvs"] = report("pv", disk(WWID, "others"))
    with pytest.raises(Busy, match="belongs to group others"):
        await host.executor.do(work.CreateGroup(WWID, "vms"))
    host.node.process(12, "dd", "dm-3")
    host.tools.ends["pvs"] = report("pv")
    with pytest.raises(Busy, match="dd"):
        await host.executor.do(work.CreateGroup(WWID, "vms"))
    assert host.tools.changes == []


async def test_a_group_is_made_on_an_empty_map_and_adopted_where_it_is(host: Host) -> None:
    host.tools.ends["vgs"] = [report("vg"), report("vg", lvm_tools.group())]
    made = await host.executor.do(work.CreateGroup(WWID, "vms"))
    assert isinstance(made, work.MadeGroup)
    assert not made.adopted
    host.tools.told.clear()
    host.tools.ends["pvs"] = report("pv", disk(WWID))
    again = await host.executor.do(work.CreateGroup(WWID, "vms"))
    assert isinstance(again, work.MadeGroup)
    assert again.adopted
    assert host.tools.changes == []


async def test_a_volume_that_is_open_is_neither_deactivated_nor_freed(host: Host) -> None:
    host.tools.ends["lvs"] = report("lv", lvm_tools.volume("a", active=True, opened=True))
    for task in (work.Deactivate("vms", "a"), work.RemoveVolume("vms", "a"), work.RenameVolume("vms", "a", "b")):
        with pytest.raises(Busy, match="in use"):
            await host.executor.do(task)
    assert host.tools.changes == []


async def test_a_volume_that_is_not_in_use_is_taken_from_the_node_and_freed(host: Host) -> None:
    host.tools.ends["lvs"] = report("lv", lvm_tools.volume("a", active=True))
    await host.executor.do(work.RemoveVolume("vms", "a"))
    assert host.tools.changes == ["lvchange -an vms/a", "lvremove --yes vms/a"]


async def test_a_doomed_volume_is_overwritten_to_its_end(host: Host, tmp_path: Path) -> None:
    row = {**lvm_tools.volume("del-a", 100 << 20, active=True), "lv_path": str(tmp_path / "volume")}
    (tmp_path / "volume").touch()
    host.tools.ends["lvs"] = report("lv", row)
    done = await host.executor.do(work.ZeroVolume("vms", "del-a", 1 << 20))
    assert done == work.Zeroed(100 << 20, 100 << 20)
    assert host.zeroed == [(1 << 20, 64 << 20), (65 << 20, 35 << 20)]
    assert host.tools.changes == ["lvchange -an vms/del-a"]


class Gate:
    """Lets a program wait until it is opened; `reached` when it is there."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, name: str) -> None:
        if name == self._name:
            self.reached.set()
            await self.open.wait()


async def test_a_task_whose_turn_does_not_come_does_not_begin(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.tools.ends["lvs"] = report("lv", lvm_tools.volume("a"), lvm_tools.volume("b"))
    host.tools.before = gate = Gate("lvremove")
    monkeypatch.setattr(work.RenameVolume, "turn_seconds", 0.02)
    first = asyncio.create_task(host.executor.do(work.RemoveVolume("vms", "a")))
    await gate.reached.wait()
    with pytest.raises(Busy, match="this one did not begin, nothing was changed: try again"):
        await host.executor.do(work.RenameVolume("vms", "b", "c"))
    # what changes nothing waits for nobody
    await host.executor.do(work.Volumes("vms"))
    gate.open.set()
    await first
    await host.executor.do(work.RenameVolume("vms", "b", "c"))
    assert host.tools.changes == ["lvremove --yes vms/a", "lvrename vms b c"]


async def test_a_task_is_given_up_in_its_time_and_lets_others_have_their_turn(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.tools.ends["lvs"] = report("lv", lvm_tools.volume("a"))
    host.tools.before = gate = Gate("lvs")
    monkeypatch.setattr(work.RemoveVolume, "deadline_seconds", 3.1)
    with pytest.raises(CannotTell, match=r"not done within 3.1 s, and is given up"):
        await host.executor.do(work.RemoveVolume("vms", "a"))
    assert host.tools.changes == []
    gate.open.set()
    await host.executor.do(work.RemoveVolume("vms", "a"))


@pytest.mark.parametrize(
    "kind",
    [work.CreateGroup, work.CreateVolume, work.ResizeVolume, work.RefreshVolume, work.RenameVolume, work.RemoveVolume,
     work.Activate, work.ResizeGroupDisk],
)  # fmt: skip
def test_a_task_under_a_lock_of_the_store_ends_before_the_lock_does(kind: type[work.Task[object]]) -> None:
    assert kind.deadline_seconds <= 50
    assert kind.turn_seconds <= 5


@pytest.mark.parametrize("task", [work.ResizeVolume("vms", "a", 1 << 30), work.ResizeGroupDisk(WWID)])
async def test_a_group_that_a_command_still_changes_is_left_alone_until_that_has_ended(
    host: Host, task: AnyTask
) -> None:
    end = asyncio.get_running_loop().create_future()
    stuck = StillRunning("it goes on", end)
    host.tools.ends |= {
        "pvs": report("pv", disk(WWID)),
        "lvs": report("lv", lvm_tools.volume("a"), lvm_tools.volume("b")),
        "vgs": report("vg", lvm_tools.group()),
        "lvextend": stuck,
        "pvresize": stuck,
    }
    with pytest.raises(StillRunning, match="still runs, since the LUN does not answer; it ends when that does"):
        await host.executor.do(task)
    for other in (work.RemoveVolume("vms", "b"), work.Activate("vms", "b"), work.ZeroVolume("vms", "del-b")):
        with pytest.raises(Busy, match="still runs"):
            await host.executor.do(other)
    end.set_result(None)
    await asyncio.sleep(0)
    await host.executor.do(work.RemoveVolume("vms", "b"))


async def test_a_volume_that_is_overwritten_holds_up_no_other(host: Host, tmp_path: Path) -> None:
    go, reached = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def zero(_: int, __: int, ___: int) -> None:
        loop.call_soon_threadsafe(reached.set)
        go.wait()

    host.zero = zero
    row = {**lvm_tools.volume("del-a", active=True), "lv_path": str(tmp_path / "volume")}
    (tmp_path / "volume").touch()
    host.tools.ends["lvs"] = report("lv", row, lvm_tools.volume("b"))
    zeroing = asyncio.create_task(host.executor.do(work.ZeroVolume("vms", "del-a", 512)))
    await reached.wait()
    await host.executor.do(work.RemoveVolume("vms", "b"))
    go.set()
    await zeroing


async def test_without_multipathd_nobody_can_tell(host: Host, tmp_path: Path) -> None:
    maps = MapWork(
        Multipathd(str(tmp_path / "nobody")), lun=host.node.lun, lvm=LVM(host.tools, host.tools), run=host.tools
    )
    with pytest.raises(NotRunning):
        await Executor(maps, GroupWork(maps), examined).do(work.Volumes("vms"))


async def test_a_map_is_waited_for_no_longer_than_asked(host: Host) -> None:
    use = await host.executor.do(work.ActivateMap(WWID, 0))
    assert isinstance(use, work.MapUse)
    assert use.usable == 2
    (host.node.dev / f"disk/by-id/dm-uuid-mpath-{WWID}").unlink()
    for wwid, lack in ((WWID, "no /dev/disk/by-id"), ("3600b", "no map of it")):
        with pytest.raises(CannotTell, match=lack):
            await host.executor.do(work.ActivateMap(wwid, 0))


async def test_a_task_goes_over_the_socket_and_its_answer_back(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "run/executor.sock"
    async with Counter(host.executor, ()).open(file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        here = client.Executor(file)
        assert (await here.do(work.Holders(WWID))).device == "dm-3"
        with pytest.raises(NotFound, match="no map of LUN 3600b"):
            await here.do(work.Rescan("3600b"))
        assert await here.do(work.Examine()) == EXAMINED
    assert not file.exists()
    with pytest.raises(Unreachable, match="systemctl start pathfleet-executor"):
        await here.do(work.Holders(WWID))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
async def test_nobody_else_may_ask(host: Host) -> None:
    with TemporaryDirectory() as directory:  # not below those that only this user may enter
        Path(directory).chmod(0o755)
        await _refused(host, Path(directory) / "executor.sock")


async def _refused(host: Host, file: Path) -> None:
    async with Counter(host.executor, ()).open(file):
        file.chmod(0o666)
        program = (
            "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
            f's.sendall(b\'{{"task":"holders","wwid":"{WWID}"}}\'); s.shutdown(1); print(s.recv(65536).decode())'
        )
        process = await asyncio.create_subprocess_exec(
            "/usr/bin/python3", "-c", program, str(file), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await asyncio.wait_for(process.communicate(), 30)
    answer = msgspec.json.decode(said, type=Reply)
    assert answer.error is not None
    assert "user 65534 may not ask" in answer.error.message


class Defective(Executor):
    def __init__(self) -> None: ...

    async def do(self, task: AnyTask) -> object:  # noqa: ARG002
        raise ZeroDivisionError


async def test_what_nobody_foresaw_is_answered_and_does_not_end_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "executor.sock"
    async with Counter(Defective(), ()).open(file):
        for _ in range(2):
            answer = await client.Executor(file).ask(work.Holders(WWID))
            assert answer.error is not None
            assert "defect" in answer.error.message
    assert "ZeroDivisionError" in caplog.text


async def test_what_is_no_task_is_answered_as_such(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "executor.sock"
    async with Counter(host.executor, ()).open(file):
        reader, writer = await asyncio.open_unix_connection(str(file))
        writer.write(b"x" * 70_000)
        writer.write_eof()
        answer = msgspec.json.decode(await asyncio.wait_for(reader.read(), 30), type=Reply)
        writer.close()
    assert answer.error is not None
    assert answer.error.code == Malformed.code
