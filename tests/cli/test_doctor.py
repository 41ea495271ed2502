from __future__ import annotations

import json
import re
import time
from pathlib import Path

import click
import pytest

from pathfleet.cli import pathfleet
from pathfleet.cli.doctor import exit_code
from pathfleet.cluster.doctor import Diagnosis
from pathfleet.core import report, wire
from pathfleet.core.facts import Unexamined
from pathfleet.core.findings import Finding
from pathfleet.core.report import MapReport
from pathfleet.core.rules import RULES
from pathfleet.store.sqlite import SQLiteStore
from tests.cli.commands import Ran, run_beside
from tests.fakes import FakeDaemon
from tests.replies import group, map_, path, reply

LUN = "36001405aaaaaaaaaaaaaaaaaaaaaaaaa"
PATHS = (path("sda", host_adapter="192.0.2.1"), path("sdb", host_adapter="192.0.2.2"))


class Node:
    """This node: a multipathd and a store, without an agent."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "sys/block").mkdir(parents=True)

    def daemon(self, *paths: object) -> FakeDaemon:
        daemon = FakeDaemon(str(self.directory / "multipathd"), reply(map_(LUN, group(*(paths or PATHS)))))  # type: ignore[arg-type]
        daemon.replies["show config local"] = b"defaults {\n}\n"
        return daemon

    async def run(self, *arguments: str) -> Ran:
        return await run_beside(
            "doctor", *arguments, node="a", state_directory=str(self.directory), sysfs=str(self.directory / "sys"),
            multipathd_socket=str(self.directory / "multipathd"),
        )  # fmt: skip

    async def say(self, name: str, maps: dict[str, MapReport]) -> None:
        async with SQLiteStore(self.directory / "cluster.db", node=name) as store:
            now = int(time.time())
            await store.alive()
            await store.put("multipath", report.plain(maps, now))
            said = {"multipathd": "running", "start": 0, "versions": {"multipath-tools": "0.9.4"}}
            await store.put("pathfleet", wire.stamp(said, now))


@pytest.fixture
async def node(tmp_path: Path) -> Node:
    node = Node(tmp_path)
    await node.say("a", {LUN: MapReport("optimal", 2, 2)})
    return node


async def test_a_healthy_cluster_ends_with_0(node: Node) -> None:
    async with node.daemon():
        ran = await node.run()
    assert (ran.code, ran.out, ran.err) == (0, "nothing found; 1 node examined\n", "")


async def test_a_warning_ends_with_1_and_says_what_it_means_and_what_to_do(node: Node) -> None:
    async with node.daemon(path("sda")):
        ran = await node.run("--node")
    assert ran.code == 1
    assert ran.out.startswith("warning  single-path\n")
    assert f"LUN {LUN}: one path on a" in ran.out
    assert "meaning" in ran.out
    assert "`pathfleet node a --paths`" in ran.out


async def test_an_error_ends_with_2(node: Node) -> None:
    await node.say("b", {LUN: MapReport("optimal", 2, 2, 1 << 30)})
    await node.say("c", {LUN: MapReport("optimal", 2, 2, 2 << 30)})
    async with node.daemon():
        ran = await node.run()
    assert ran.code == 2
    assert "error  size-differs" in ran.out
    assert "not examined  on b, c: what only the node itself knows" in ran.out


async def test_what_could_not_be_examined_ends_with_3_and_is_never_healthy(node: Node) -> None:
    await node.say("b", {LUN: MapReport("optimal", 2, 2)})
    async with node.daemon():
        ran = await node.run()
    assert ran.code == 3
    assert "nothing found; 1 node examined, but not everything could be examined" in ran.out


async def test_json_has_everything(node: Node) -> None:
    async with node.daemon(path("sda")):
        ran = await node.run("-o", "json")
    said = json.loads(ran.out)
    assert ran.code == 1
    assert [finding["code"] for finding in said["findings"]] == ["single-path"]
    assert said["examined"] == ["a"]


async def test_a_hostile_name_steers_no_terminal(node: Node) -> None:
    await node.say("\x1b[2Jb", {"\x1b[31mevil`id`": MapReport("failed", 0, 0)})
    async with node.daemon():
        ran = await node.run()
    assert ran.code == 1
    assert "\x1b" not in ran.out
    assert "`multipath -f NAME`" in ran.out


async def test_what_is_muted_no_longer_counts_and_can_be_heard_again(node: Node) -> None:
    async with node.daemon(path("sda")):
        muted = await node.run("mute", "single-path", "--subject", LUN, "--days", "3", "--reason", "one cable")
        assert (muted.code, muted.err) == (0, "")
        quiet = await node.run()
        assert quiet.code == 0
        assert "one cable" in quiet.out
        assert "one cable" in (await node.run("mutes")).out
        assert (await node.run("unmute", "single-path", "--subject", LUN)).code == 0
        assert (await node.run()).code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("single-path", "--reason", "x"),
        ("single-path", "--reason", "x", "--days", "1", "--until", "2099-01-01"),
        ("single-path", "--reason", "x", "--until", "soon"),
        ("single-path", "--reason", "x", "--until", "2099-13-45"),
        ("single-path", "--days", "3"),
    ],
)
async def test_a_mute_without_an_end_or_a_reason_is_refused(node: Node, arguments: tuple[str, ...]) -> None:
    assert (await node.run("mute", *arguments)).code == 64


async def test_a_mute_can_end_on_a_day(node: Node) -> None:
    assert (await node.run("mute", "single-path", "--until", "2099-01-01", "--reason", "x")).code == 0
    assert "2099-01-01" in (await node.run("mutes")).out


async def test_each_finding_explains_itself(node: Node) -> None:
    listed = await node.run("explain")
    for rule in RULES:
        assert rule.code in listed.out
    one = await node.run("explain", "size-differs")
    assert "multipathd resize map WWID" in one.out
    assert (await node.run("explain", "nonsense")).code == 69


async def test_without_a_store_a_node_can_still_be_examined(node: Node) -> None:
    (node.directory / "cluster.db").unlink()
    (node.directory / "cluster.db").mkdir()
    async with node.daemon(path("sda")):
        assert (await node.run()).code == 69
        ran = await node.run("--node")
    assert ran.code == 1
    assert "not examined  what the cluster wants" in ran.out


def test_the_exit_code_is_that_of_the_worst() -> None:
    def found(severity: str, *unexamined: Unexamined) -> Diagnosis:
        finding = Finding("x", severity, "node", "a", (), "", "", "")  # type: ignore[arg-type]
        return Diagnosis([finding], [], [*unexamined], [])

    gap = Unexamined("LVM", "why")
    assert exit_code(found("info")) == 0
    assert exit_code(found("info", gap)) == 3
    assert exit_code(found("warning", gap)) == 1
    assert exit_code(found("error", gap)) == 2


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_the_commands_in_remedies_exist(rule: object) -> None:
    for command in re.findall(r"`pathfleet ([^`]+)`", getattr(rule, "remedy", "")):
        group: click.Command | None = pathfleet
        for word in command.split():
            if not isinstance(group, click.Group) or not re.fullmatch(r"[a-z]+", word):
                break
            group = group.get_command(click.Context(group), word)
            assert group is not None, command
