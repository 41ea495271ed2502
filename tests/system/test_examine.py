from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from pathfleet.core.facts import Holder, LvmDevice, LvmGroup, NodeFacts
from pathfleet.errors import CannotTell
from pathfleet.system import examine_disks, examine_lvm
from pathfleet.system.examine import examine
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.program import Ended, NotDone
from tests.fakes import FakeDaemon, hangs
from tests.replies import group, map_, path, reply

WWID = "36001405aaaaaaaaaaaaaaaaaaaaaaaaa"
OTHER = "36001405bbbbbbbbbbbbbbbbbbbbbbbbb"
CONFIG = "defaults {\n\treservation_key 0x123abc\n}\n"


class Node:
    """A file system with a sysfs, a /proc and an /etc, and a multipathd beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = str(root / "multipathd")
        (root / "sys/block").mkdir(parents=True)

    def write(self, name: str, content: str | bytes) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def dm(self, name: str, uuid: str, *slaves: str) -> None:
        self.write(f"sys/block/{name}/dm/uuid", f"{uuid}\n")
        self.write(f"sys/block/{name}/dm/name", f"name-of-{name}\n")
        self.write(f"sys/block/{name}/size", "2048\n")
        (self.root / "sys/block" / name / "slaves").mkdir()
        for slave in slaves:
            self.write(f"sys/block/{name}/slaves/{slave}", "")
            self.write(f"sys/block/{slave}/holders/{name}", "")

    def disk(self, name: str, wwid: str = WWID, number: str = "8:0") -> None:
        self.write(f"sys/block/{name}/size", "2048\n")
        self.write(f"sys/block/{name}/dev", f"{number}\n")
        self.write(f"sys/block/{name}/device/wwid", f"naa.{wwid[1:]}\n")
        self.write(f"sys/block/{name}/device/vendor", "EXAMPLE \n")
        self.write(f"sys/block/{name}/device/vpd_pg80", b"\0\x80\0\x04S\x1b-1")

    async def examine(self, **more: object) -> NodeFacts:
        multipathd = Multipathd(self.address)
        return await examine("a", multipathd=multipathd, sysfs=self.root / "sys", settle_seconds=0, **more)  # type: ignore[arg-type]

    def daemon(self, maps: bytes = reply(map_(WWID, group(path("sda"), path("sdb"))))) -> FakeDaemon:
        daemon = FakeDaemon(self.address, maps)
        daemon.replies["show config local"] = CONFIG.encode()
        return daemon


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node with one LUN over two paths."""
    node = Node(tmp_path)
    node.disk("sda")
    node.disk("sdb", number="8:16")
    node.dm("dm-0", f"mpath-{WWID}", "sda", "sdb")
    return node


async def test_a_map_is_told_with_what_kernel_and_multipathd_say(node: Node) -> None:
    async with node.daemon():
        facts = await node.examine()
    assert facts.daemon == "running"
    assert facts.version == "0.9.4"
    assert facts.unexamined == ()
    (found,) = facts.maps or ()
    assert (found.wwid, found.size, found.slaves, found.listed) == (WWID, 2048 * 512, ("sda", "sdb"), True)
    assert (found.paths_active, found.paths_total) == (2, 2)


async def test_a_disk_is_told_with_its_identity_and_all_that_sits_on_it(node: Node) -> None:
    node.write("sys/block/sda/sda1/partition", "1\n")
    node.write("sys/block/sda/sda1/dev", "8:1\n")
    node.write("sys/block/sda/sda1/holders/dm-7", "")
    node.dm("dm-7", "LVM-x")
    node.write("proc/self/mountinfo", "22 1 8:1 / /srv rw - ext4 /dev/sda1 rw\n23 1 0:5 / /proc rw - proc proc rw\n")
    async with node.daemon():
        facts = await node.examine()
    disk = (facts.disks or ())[0]
    assert (disk.device, disk.wwid, disk.map, disk.vendor) == ("sda", WWID, WWID, "EXAMPLE")
    assert disk.serial == "S\N{REPLACEMENT CHARACTER}-1"
    assert disk.partitions == ("sda1",)
    assert disk.mounts == ("/srv",)
    assert Holder("dm-7", "name-of-dm-7", "LVM-x") in disk.holders


async def test_a_map_that_only_the_kernel_has_is_told_as_unmanaged(node: Node) -> None:
    async with node.daemon(reply()) as daemon:
        facts = await node.examine()
    (found,) = facts.maps or ()
    assert (found.listed, found.flags, found.paths_total) == (False, ("unmanaged",), 2)
    assert daemon.questions.count("show maps json") == 2  # it may have been about to be listed


async def test_without_a_multipathd_the_maps_of_the_kernel_are_told(node: Node) -> None:
    facts = await node.examine()
    assert facts.daemon == "not-running"
    assert [(found.wwid, found.listed) for found in facts.maps or ()] == [(WWID, None)]


async def test_a_multipathd_that_gives_no_answer_is_said_and_never_taken_for_one_without_maps(node: Node) -> None:
    async with node.daemon() as daemon:
        daemon.script = [hangs] * 3
        facts = await node.examine()
    assert facts.daemon == "cannot-tell"
    assert [(each.what, each.node) for each in facts.unexamined] == [("multipathd", "a")]


async def test_files_are_told_in_the_order_in_which_multipathd_reads_them_without_keys(node: Node) -> None:
    node.write("etc/multipath.conf", CONFIG)
    for name in ("b.conf", "B.conf", ".hidden.conf", "not-read.txt"):
        node.write(f"etc/multipath/conf.d/{name}", "")
    node.write("etc/multipath/wwids", f"# list\n/{WWID}/\n")
    async with node.daemon():
        facts = await node.examine()
    names = [file.name for file in facts.files]
    directory = "/etc/multipath/conf.d"
    assert names == ["/etc/multipath.conf", f"{directory}/.hidden.conf", f"{directory}/B.conf", f"{directory}/b.conf"]
    assert "123abc" not in facts.files[0].text + (facts.effective or "")
    assert facts.wwids == (WWID,)


async def test_a_file_that_cannot_be_read_is_said(node: Node) -> None:
    (node.root / "etc/multipath.conf").mkdir(parents=True)
    node.write("etc/multipath/conf.d/big.conf", "x" * 300_000)
    async with node.daemon():
        facts = await node.examine()
    assert facts.files == ()
    assert [each.what.rpartition("/")[2] for each in facts.unexamined] == ["multipath.conf", "big.conf"]


async def test_without_a_sysfs_nothing_passes_for_healthy(tmp_path: Path) -> None:
    node = Node(tmp_path)
    (tmp_path / "sys/block").rmdir()
    facts = await node.examine()
    assert (facts.maps, facts.disks) == (None, None)
    assert "disks" in [each.what for each in facts.unexamined]


class FakeRunner:
    """Plays LVM: what it says by its first argument, a Report with the fields that it is asked for."""

    def __init__(self, **says: str | Ended | Exception) -> None:
        self.says = {"pvs": PVS, "vgs": VGS, "lvmconfig": SETTINGS, **says}
        self.asked: list[tuple[str, ...]] = []

    async def __call__(
        self, program: str, *arguments: str, deadline_seconds: float, environment: Mapping[str, str] | None = None
    ) -> Ended:
        assert program.endswith("lvm")
        assert deadline_seconds < 5
        assert environment
        self.asked.append(arguments)
        said = self.says[arguments[0]]
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, Ended) else Ended(0, said, "")


PVS = """{"report": [{"pv": [
    {"pv_name":"/dev/sdz", "pv_uuid":"u-1", "vg_name":"vg", "pv_duplicate":"0"},
    {"pv_name":"/dev/sdy", "pv_uuid":"u-1", "vg_name":"vg", "pv_duplicate":"1"},
    {"pv_name":"/dev/sdx", "pv_uuid":"", "vg_name":"", "pv_duplicate":"0"},
    {"pv_name":"[unknown]", "pv_uuid":"u-2", "vg_name":"vg", "pv_duplicate":"0"}]}]}"""
VGS = """{"report": [{"vg": [
    {"vg_name":"vg", "vg_autoactivation":"1", "lv_name":"on", "lv_autoactivation":"1"},
    {"vg_name":"vg", "vg_autoactivation":"1", "lv_name":"off", "lv_autoactivation":"0"},
    {"vg_name":"empty", "vg_autoactivation":"0", "lv_name":"", "lv_autoactivation":"0"}]}]}"""
SETTINGS = (
    'devices {\n\tfilter=["a|.*|"]\n\tglobal_filter=["r|/dev/sd.*|","a|\\"|"]\n\tmultipath_component_detection=0\n}'
)
LVM = Path("/sbin/lvm")


async def test_lvm_is_told_as_it_sees_the_node() -> None:
    found, why = await examine_lvm.view(FakeRunner(), LVM)
    assert why is None
    assert found is not None
    assert found.devices == (
        LvmDevice("sdz", "u-1", "vg"), LvmDevice("sdy", "u-1", "vg", duplicate=True), LvmDevice("sdx"),
    )  # fmt: skip
    assert found.groups == (
        LvmGroup("empty", autoactivation=False),
        LvmGroup("vg", autoactivation=True, volumes=("on",)),
    )
    assert found.component_detection is False
    assert found.filters == ("r|/dev/sd.*|", 'a|\\"|', "a|.*|")


async def test_an_lvm_that_knows_no_autoactivation_activates_all() -> None:
    class Old(FakeRunner):
        async def __call__(self, program: str, *arguments: str, **more: object) -> Ended:
            if arguments[0] == "vgs" and "vg_autoactivation" in arguments[-1]:
                return Ended(5, "", "  Unrecognised field: vg_autoactivation")
            return await super().__call__(program, *arguments, **more)  # type: ignore[arg-type]

    found, _ = await examine_lvm.view(Old(vgs='{"report": [{"vg": [{"vg_name":"vg", "lv_name":"x"}]}]}'), LVM)
    assert found is not None
    assert found.groups == (LvmGroup("vg", None, ("x",)),)


@pytest.mark.parametrize("trouble", [NotDone("`lvm pvs` was not done within 3 s"), "no JSON", "[]", '{"report": 1}'])
async def test_an_lvm_that_cannot_be_asked_or_understood_is_said(trouble: str | Exception) -> None:
    found, why = await examine_lvm.view(FakeRunner(pvs=trouble), LVM)
    assert found is None
    assert why is not None
    assert why.startswith("LVM ")


@pytest.mark.parametrize("state", ["faulty", "gone"])
async def test_lvm_is_not_asked_while_it_would_wait_for_a_path(node: Node, state: str) -> None:
    runner = FakeRunner()
    if state == "faulty":
        async with node.daemon(
            reply(map_(WWID, group(path("sda", "failed", "faulty"), path("sdb", "failed", "faulty"))))
        ):
            facts = await node.examine(run=runner, lvm=LVM)
    else:
        facts = await node.examine(run=runner, lvm=LVM)  # no multipathd
    assert facts.lvm is None
    assert runner.asked == []
    assert "LVM" in [each.what for each in facts.unexamined]


async def test_lvm_is_asked_while_all_maps_have_paths(node: Node) -> None:
    runner = FakeRunner()
    async with node.daemon():
        facts = await node.examine(run=runner, lvm=LVM)
    assert facts.lvm is not None
    assert {arguments[0] for arguments in runner.asked} == {"pvs", "vgs", "lvmconfig"}


async def test_lvm_needs_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "lvm"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setattr(examine_lvm, "SEARCH_PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found, why = await examine_lvm.view(FakeRunner())
    assert found is None
    assert why is not None
    assert "root" in why


async def test_where_lvm_is_not_installed_there_is_nothing_to_examine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(examine_lvm, "SEARCH_PATH", str(tmp_path))
    assert await examine_lvm.view(FakeRunner()) == (None, None)


def test_a_disk_without_a_map_is_told_with_what_is_on_it(node: Node) -> None:
    node.write("sys/block/sdz/device/wwid", "naa.600a098038314c6c6e3f4b6f4c6c5aff")
    node.write("sys/block/sdz/sdz1/partition", "1")
    (found,) = [disk for disk in examine_disks.of_luns(node.root / "sys") if disk.device == "sdz"]
    assert (found.wwid, found.map, found.partitions) == ("3600a098038314c6c6e3f4b6f4c6c5aff", None, ("sdz1",))


def test_disks_of_which_nobody_can_tell_are_not_none(tmp_path: Path) -> None:
    with pytest.raises(CannotTell, match="the disks of this node are not known"):
        examine_disks.of_luns(tmp_path)


def test_disks_of_which_nobody_can_tell_whether_they_are_mounted_are_not_free(node: Node) -> None:
    (node.root / "proc").mkdir()
    with pytest.raises(CannotTell, match="what is mounted cannot be read"):
        examine_disks.of_luns(node.root / "sys")
