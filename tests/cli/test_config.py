from __future__ import annotations

import asyncio
import json
import stat
import sys
import time
from pathlib import Path

import pytest
import yaml

from pathfleet.cli import config_luns
from pathfleet.cluster.luns import LunSeen, LunsSeen, LunThere
from pathfleet.core import applied, configuration, properties, report, roll, wire
from pathfleet.core.report import MapReport
from pathfleet.store.sqlite import SQLiteStore
from tests.cli.commands import Ran, run
from tests.fakes import FakeDaemon

LUN = "3600a098038314c6c6e3f4b6f4c6c5a30"
OTHER = "3600a098038314c6c6e3f4b6f4c6c5a31"


class Cluster:
    """A cluster on this machine, seen from node `a`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.variables = {
            "state_directory": str(directory),
            "node": "a",
            "sysfs": str(directory / "sys"),
            "multipathd_socket": str(directory / "multipathd"),
        }

    def run(self, *arguments: str, stdin: str = "") -> Ran:
        return run("config", *arguments, stdin=stdin.encode(), **self.variables)

    async def run_beside(self, *arguments: str) -> Ran:
        return await asyncio.to_thread(self.run, *arguments)

    def show(self) -> dict[str, object]:
        ran = self.run("show", "-o", "json")
        assert ran.code == 0, ran.err
        found = json.loads(ran.out)
        assert isinstance(found, dict)
        return found

    def store(self, node: str = "a") -> SQLiteStore:
        return SQLiteStore(self.directory / "cluster.db", node=node)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """One LUN and one default."""
    there = Cluster(tmp_path)
    assert there.run("lun", "add", LUN, "--alias", "db").code == 0
    assert there.run("set", "no-path-retry=12").code == 0
    return there


def test_the_configuration_is_shown_alike_in_all_formats(cluster: Cluster) -> None:
    shown = cluster.show()
    assert shown["defaults"] == {"no-path-retry": "12"}
    assert shown["wwids"] == [{"wwid": LUN, "properties": {"alias": "db"}}]
    assert yaml.safe_load(cluster.run("show", "-o", "yaml").out) == shown
    table = cluster.run("show").out
    assert [line.split() for line in table.splitlines()] == [
        ["DEFAULT", "VALUE"],
        ["no-path-retry", "12"],
        ["WWID", "ALIAS", "PROPERTIES"],
        [LUN, "db", "-"],
        ["FILE", "DIGEST"],
        ["multipath.cfg", str(shown["digest"])],
        ["overrides", configuration.digest(b"")],
    ]


async def test_an_empty_configuration_is_called_so(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    async with cluster.store():
        pass
    ran = await cluster.run_beside("show")
    assert ran.out.startswith("nothing is configured: nodes go by their own files")


def test_a_change_shows_what_nodes_will_render_and_then_writes(cluster: Cluster) -> None:
    ran = cluster.run("set", "failback=immediate", "polling-interval=3")
    assert ran.code == 0
    assert '+\tfailback "immediate"' in ran.out.splitlines()
    assert ran.out.splitlines()[-1].startswith("written, digest ")
    assert cluster.show()["defaults"] == {"failback": "immediate", "no-path-retry": "12", "polling-interval": "3"}


def test_a_dry_run_shows_the_same_and_writes_nothing(cluster: Cluster) -> None:
    before = cluster.show()
    ran = cluster.run("set", "failback=immediate", "--dry-run")
    assert '+\tfailback "immediate"' in ran.out.splitlines()
    assert ran.out.splitlines()[-1] == "nothing was changed"
    assert cluster.show() == before


def test_a_change_to_what_is_so_already_says_so(cluster: Cluster) -> None:
    ran = cluster.run("set", "no-path-retry=12")
    assert (ran.code, ran.out) == (0, "nothing to change: it is so already\n")


def test_for_a_script_a_change_answers_with_the_digests(cluster: Cluster) -> None:
    done = json.loads(cluster.run("set", "failback=manual", "-o", "json").out)
    assert done["written"] is True
    shown = cluster.show()
    for name in ("digest", "overrides-digest", "combined-digest"):
        assert done[name] == shown[name]
    again = cluster.run("unset", "failback", "--digest", done["digest"], "-o", "json")
    assert json.loads(again.out)["written"] is True


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "failback=manual"),
        ("unset", "no-path-retry"),
        ("set", "prio=alua", "--wwid", LUN),
        ("lun", "add", OTHER),
        ("lun", "set", LUN, "prio=alua"),
        ("lun", "remove", LUN),
        ("alias", LUN, "data"),
        ("overrides", "set", "/dev/null"),
    ],
)
def test_a_stale_digest_changes_nothing(cluster: Cluster, arguments: tuple[str, ...]) -> None:
    before = cluster.show()
    ran = cluster.run(*arguments, "--digest", "0" * 40)
    assert (ran.code, ran.out) == (69, "")
    assert "read it again, merge, retry" in ran.err
    assert cluster.show() == before


def test_a_lun_is_added_set_unset_named_and_removed(cluster: Cluster) -> None:
    for arguments in (
        ("lun", "add", OTHER),
        ("lun", "set", OTHER, "no-path-retry=queue", "prio=alua"),
        ("unset", "prio", "--wwid", OTHER),
        ("alias", OTHER, "data"),
    ):
        assert cluster.run(*arguments).code == 0
    assert cluster.show()["wwids"] == [
        {"wwid": LUN, "properties": {"alias": "db"}},
        {"wwid": OTHER, "properties": {"alias": "data", "no-path-retry": "queue"}},
    ]
    ran = cluster.run("lun", "remove", OTHER)
    assert f"-/{OTHER}/" in ran.out.splitlines()
    assert cluster.show()["wwids"] == [{"wwid": LUN, "properties": {"alias": "db"}}]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("set", "polling-interval=0"), "allowed: a number from 1"),
        (("set", "pathretry=3"), "pathretry"),
        (("unset", "pathretry"), "pathretry"),
        (("lun", "add", LUN), "change this one instead"),
        (("lun", "remove", OTHER), "add it first"),
        (("alias", LUN, "a/b"), "alias: 'a/b' is refused"),
    ],
)
def test_what_is_refused_says_what_is_allowed_and_changes_nothing(
    cluster: Cluster, arguments: tuple[str, ...], says: str
) -> None:
    before = cluster.show()
    ran = cluster.run(*arguments)
    assert ran.code != 0
    assert ran.out == ""
    assert says in ran.err
    assert cluster.show() == before


@pytest.mark.parametrize("assignment", ["failback", "=manual", ""])
def test_what_is_no_assignment_is_a_wrong_command_line(cluster: Cluster, assignment: str) -> None:
    ran = cluster.run("set", assignment)
    assert ran.code == 64
    assert "write PROPERTY=VALUE" in ran.err


def test_a_property_given_twice_is_a_wrong_command_line(cluster: Cluster) -> None:
    assert "given twice" in cluster.run("set", "failback=manual", "failback=immediate").err


async def test_a_lun_that_a_storage_uses_is_kept_unless_forced(cluster: Cluster) -> None:
    async with cluster.store() as store:
        text = f"multipath: san\n\tcontent none\n\nlvm: vg\n\tvgname vg\n\tbase san:{LUN}\n\n"
        await store.swap("storage.cfg", text.encode(), None)
    ran = await cluster.run_beside("lun", "remove", LUN)
    assert ran.code == 69
    assert "used by storage vg" in ran.err
    ran = await cluster.run_beside("lun", "remove", LUN, "--force")
    assert ran.code == 0


def test_clear_only_shows_what_goes_unless_told_yes(cluster: Cluster) -> None:
    before = cluster.show()
    ran = cluster.run("clear")
    assert ran.code == 0
    assert '-\tno_path_retry "12"' in ran.out
    assert "--yes" in ran.err
    assert cluster.show() == before


def test_clear_leaves_nothing(cluster: Cluster) -> None:
    assert cluster.run("clear", "--yes").code == 0
    assert cluster.run("show").out.startswith("nothing is configured")


async def test_clear_does_not_take_the_luns_of_a_storage_unless_forced(cluster: Cluster) -> None:
    async with cluster.store() as store:
        text = f"multipath: san\n\tcontent none\n\nlvm: vg\n\tvgname vg\n\tbase san:{LUN}\n\n"
        await store.swap("storage.cfg", text.encode(), None)
    ran = await cluster.run_beside("clear", "--yes")
    assert ran.code == 69
    assert "storage vg uses" in ran.err
    assert (await cluster.run_beside("clear", "--yes", "--force")).code == 0


async def test_at_once_is_written_for_the_nodes(cluster: Cluster) -> None:
    ran = await cluster.run_beside("set", "failback=manual", "--at-once")
    assert "all nodes apply it now" in ran.out
    async with cluster.store() as store:
        file = await store.read(roll.FILE)
    found = roll.decode(file.content if file else None)
    assert found is not None
    assert found.at_once


async def test_luns_are_listed_with_those_that_are_seen_and_not_allowed(cluster: Cluster) -> None:
    async with cluster.store("b") as store:
        await store.put(report.KEY, report.plain({OTHER: MapReport("optimal", 2, 2)}, int(time.time())))
        await store.alive()
    async with cluster.store("a") as store:
        await store.put(report.KEY, report.plain({}, int(time.time())))
        await store.alive()
    disk = cluster.directory / "sys/block/sda/device"
    disk.mkdir(parents=True)
    (disk / "wwid").write_text(f"naa.{LUN[1:]}\n")
    ran = await cluster.run_beside("lun", "list", "-o", "json")
    said = json.loads(ran.out)
    assert [(row["wwid"], row["allowed"], row["alias"], row["nodes"]) for row in said["luns"]] == [
        (LUN, True, "db", {"a": {"map": False, "disks": ["sda"], "holds": []}}),
        (OTHER, False, None, {"b": {"map": True, "disks": None, "holds": []}}),
    ]
    assert list(said["silent"]) == ["b"]
    ran = await cluster.run_beside("lun", "list")
    first, second = ran.out.splitlines()[1:]
    assert first.endswith("  1 on a, ? on b  ? on b")
    assert second.split()[-8:] == ["b", "-", "?", "on", "b", "?", "on", "b"]
    assert "the disks of b are not known: no agent" in ran.err


async def test_disks_that_nobody_can_tell_of_are_not_shown_as_none(cluster: Cluster) -> None:
    async with cluster.store("a") as store:
        await store.alive()
    ran = await cluster.run_beside("lun", "list")
    assert "warning: the disks of a are not known" in ran.err
    assert "warning: the maps of a are not known" in ran.err
    assert ran.out.splitlines()[1].split()[-4:] == ["?", "-", "?", "?"]


async def test_what_another_node_says_does_not_steer_the_terminal(cluster: Cluster) -> None:
    async with cluster.store("a") as store:
        await store.alive()
    block = cluster.directory / "sys\x1b[2J"
    cluster.variables["sysfs"] = str(block)
    ran = await cluster.run_beside("lun", "list")
    assert "sys\N{REPLACEMENT CHARACTER}[2J" in ran.err
    assert "\x1b" not in ran.err + ran.out


def test_what_many_nodes_hold_alike_is_said_once() -> None:
    everywhere = {node: LunThere(map=False, disks=("sda", "sdb"), holds=("sda1",)) for node in "abcdef"}
    lun = LunSeen(OTHER, False, None, 1 << 30, None, None, [], everywhere)
    some = LunSeen(OTHER, False, None, None, None, None, [], {"a": LunThere(map=None, disks=("sda",))})
    found = LunsSeen(list("abcdef"), [], {}, ["a"])
    assert config_luns._row(lun, found)[4:] == ("? on a", "-", "2 on all", "sda1 on all")
    assert config_luns._row(some, found)[4:] == ("? on a", "-", "1 on a", "-")
    silent = LunsSeen([*"abcdef", "g"], [], {"g": "why"}, [])
    said = ("2 on a b c d +2, ? on g", "sda1 on a b c d +2, ? on g")
    assert config_luns._row(lun, silent)[4:] == ("-", "-", *said)


TEXT = 'blacklist {\n\tdevnode "^sda$"\n}\n'
BAD = "blacklist {\n\tfrobnicate x\n}\n"


def test_overrides_are_set_from_standard_input_and_shown_as_they_are(cluster: Cluster) -> None:
    assert cluster.run("overrides", "set", "-", stdin=TEXT).code == 0
    assert cluster.run("overrides", "show").out == TEXT
    shown = json.loads(cluster.run("overrides", "show", "-o", "json").out)
    assert shown == {"content": TEXT, "digest": configuration.digest(TEXT.encode())}


def test_overrides_with_errors_are_refused_with_all_of_them_by_line(cluster: Cluster) -> None:
    ran = cluster.run("overrides", "set", "-", stdin=BAD)
    assert (ran.code, ran.out) == (64, "")
    assert ran.err.startswith("2:2: error: ")
    assert cluster.show()["overrides"] == ""


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot be read: No such file"), (b"# a\n\xff", "line 2: this is no UTF-8 text")]
)
def test_a_file_that_is_none_is_named(cluster: Cluster, content: bytes | None, says: str) -> None:
    file = cluster.directory / "file"
    if content is not None:
        file.write_bytes(content)
    ran = cluster.run("overrides", "set", str(file))
    assert ran.code == 78
    assert f"{file}" in ran.err
    assert says in ran.err


def editor(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let $EDITOR be a script, which finds the file in $1."""
    program = cluster.directory / "editor"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(program))
    monkeypatch.setattr("tempfile.tempdir", str(cluster.directory))


def kept(cluster: Cluster, ran: Ran) -> Path:
    (file,) = cluster.directory.glob("pathfleet-overrides-*")
    assert str(file) in ran.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return file


def test_overrides_are_edited(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(cluster, monkeypatch, f"printf '{TEXT}' > \"$1\"".replace("\n", "\\n").replace("\t", "\\t"))
    ran = cluster.run("overrides", "edit")
    assert ran.code == 0, ran.err
    assert cluster.show()["overrides"] == TEXT


def test_an_editor_that_does_not_save_changes_nothing(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(cluster, monkeypatch, "exit 0")
    assert cluster.run("overrides", "edit").out == "nothing was changed: the editor did not save\n"


def test_errors_go_back_to_the_editor_until_they_are_gone(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = cluster.directory / "good", cluster.directory / "bad"
    good.write_text(TEXT)
    bad.write_text(BAD)
    editor(cluster, monkeypatch, f'if [ -e {bad} ]; then mv {bad} "$1"; else cp {good} "$1"; fi')
    ran = cluster.run("overrides", "edit", stdin="y\n")
    assert ran.code == 0, ran.err
    assert "2:2: error: " in ran.err
    assert cluster.show()["overrides"] == TEXT


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_a_text_with_errors_that_is_given_up_is_kept(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    (cluster.directory / "bad").write_text(BAD)
    editor(cluster, monkeypatch, f'cp {cluster.directory}/bad "$1"')
    ran = cluster.run("overrides", "edit", stdin=answer)
    assert ran.code == 69
    assert kept(cluster, ran).read_text() == BAD
    assert cluster.show()["overrides"] == ""


def test_a_text_that_somebody_else_overtook_is_kept(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    (cluster.directory / "mine").write_text(TEXT)
    settings = " ".join(f"PATHFLEET_{name.upper()}={value}" for name, value in cluster.variables.items())
    other = f"echo '# theirs' | {settings} {sys.executable} -m pathfleet config overrides set - >/dev/null"
    editor(cluster, monkeypatch, f'{other}\ncp {cluster.directory}/mine "$1"')
    ran = cluster.run("overrides", "edit")
    assert ran.code == 69
    assert "was changed since it was read" in ran.err
    assert kept(cluster, ran).read_text() == TEXT
    assert cluster.show()["overrides"] == "# theirs\n"


def test_a_file_is_linted_without_being_stored(cluster: Cluster) -> None:
    ran = cluster.run("lint", "-", stdin=BAD)
    assert ran.code == 2
    assert ran.out.startswith("2:2: error: ")
    assert cluster.run("lint", "-", stdin=TEXT).code == 0
    assert json.loads(cluster.run("lint", "-o", "json").out) == {"findings": []}


def test_a_file_is_linted_where_there_is_no_store(tmp_path: Path) -> None:
    ran = Cluster(tmp_path).run("lint", "-", stdin=BAD)
    assert ran.code == 2
    assert "warning: without the cluster's LUNs and versions" in ran.err


EFFECTIVE = f"""defaults {{
	no_path_retry RETRY
	user_friendly_names "no"
	find_multipaths "strict"
}}
multipaths {{
	multipath {{
		wwid "{LUN}"
		alias "db"
	}}
}}
"""


async def look(cluster: Cluster, *arguments: str, retry: str = "12") -> Ran:
    async with FakeDaemon(cluster.variables["multipathd_socket"]) as daemon:
        daemon.replies["show config local"] = EFFECTIVE.replace("RETRY", retry).encode()
        return await cluster.run_beside(*arguments)


async def apply(cluster: Cluster, node: str, digest: str | None, error: str | None = None) -> None:
    async with cluster.store(node) as store:
        await store.alive()
        await store.put(applied.KEY, wire.stamp(applied.content(digest, error), int(time.time())))


async def test_where_all_nodes_have_it_in_force_the_exit_code_is_0(cluster: Cluster) -> None:
    digest = json.loads((await look(cluster, "show", "-o", "json")).out)["combined-digest"]
    await apply(cluster, "a", digest)
    for command in ("diff", "status"):
        ran = await look(cluster, command)
        assert ran.code == 0, ran.out
    assert "a: multipathd goes by all of it" in (await look(cluster, "diff")).out


async def test_drift_is_shown_by_node_and_keyword(cluster: Cluster) -> None:
    digest = json.loads((await look(cluster, "show", "-o", "json")).out)["combined-digest"]
    await apply(cluster, "a", digest)
    await apply(cluster, "b", "old", "multipathd died")
    ran = await look(cluster, "diff", retry='"queue"')
    assert ran.code == 1
    assert ["defaults", "no_path_retry", "12", "queue"] in [line.split() for line in ran.out.splitlines()]
    assert "b     failed" in ran.out
    assert "multipathd died" in ran.out
    assert "b: what multipathd goes by is not known" in ran.out
    assert "no agent with an API answers" in ran.out
    found = json.loads((await look(cluster, "diff", "-o", "json", retry='"queue"')).out)
    assert [(node["node"], node["state"]) for node in found["nodes"]] == [("a", "drifted"), ("b", "failed")]


async def test_a_node_that_does_not_say_is_unknown_and_not_well(cluster: Cluster) -> None:
    async with cluster.store("b") as store:
        await store.alive()
        await store.put("other", b"x")
    ran = await look(cluster, "status")
    assert ran.code == 3
    assert "it has not said what it has in force" in ran.out


@pytest.fixture
def node_files(tmp_path: Path) -> Path:
    root = tmp_path / "node"
    (root / "etc/multipath").mkdir(parents=True)
    (root / "etc/multipath.conf").write_text(
        'defaults {\n\tuser_friendly_names yes\n\tfailback manual\n\tuid_attribute "X"\n}\n' + TEXT
    )
    (root / "etc/multipath/wwids").write_text(f"/{LUN}/\n/{OTHER}/\n")
    (root / "etc/multipath/bindings").write_text(f"mpatha {OTHER}\n")
    return root


def test_an_import_shows_all_of_it_and_writes_after_a_yes(cluster: Cluster, node_files: Path) -> None:
    ran = cluster.run("import", "--node-files", str(node_files), stdin="y\n")
    assert ran.code == 0, ran.err
    assert '+\tfailback "manual"' in ran.out.splitlines()
    assert "/etc/multipath.conf:4" in ran.out
    assert "is not known: nobody listens" in ran.out
    shown = cluster.show()
    assert shown["defaults"] == {"failback": "manual", "no-path-retry": "12"}
    assert shown["wwids"] == [
        {"wwid": LUN, "properties": {"alias": "db"}},
        {"wwid": OTHER, "properties": {"alias": "mpatha"}},
    ]
    assert shown["overrides"] == TEXT


@pytest.mark.parametrize(("answer", "code"), [("n\n", 69), ("", 130)])
def test_an_import_without_a_yes_writes_nothing(cluster: Cluster, node_files: Path, answer: str, code: int) -> None:
    before = cluster.show()
    assert cluster.run("import", "--node-files", str(node_files), stdin=answer).code == code
    assert cluster.run("import", "--node-files", str(node_files), "-o", "json").code == 0
    assert cluster.show() == before


def test_an_import_for_a_script_needs_yes_and_tells_what_it_did(cluster: Cluster, node_files: Path) -> None:
    ran = cluster.run("import", "--node-files", str(node_files), "--without", OTHER, "--yes", "-o", "json")
    found = json.loads(ran.out)
    assert found["written"] is True
    assert [(node["node"], node["differences"]) for node in found["nodes"]] == [("a", None)]
    assert f"LUN {OTHER}" in [left["what"] for left in found["left"]]
    again = cluster.run("import", "--node-files", str(node_files), "--without", OTHER, "--yes")
    assert again.out.splitlines()[-1] == "nothing to take over: the cluster has all of it"


async def test_an_import_shows_what_this_nodes_multipathd_would_go_by(cluster: Cluster, node_files: Path) -> None:
    ran = await look(cluster, "import", "--node-files", str(node_files), "--yes", retry="3")
    assert ["defaults", "no_path_retry", "3", "12"] in [line.split() for line in ran.out.splitlines()]


def test_the_properties_are_listed() -> None:
    assert len(json.loads(run("config", "properties", "-o", "json").out)) == len(properties.SETTABLE)
    assert run("config", "properties", "-o", "markdown").out == properties.reference()
    assert "polling-interval" in run("config", "properties").out
