from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pathfleet.cli import cluster
from pathfleet.cli.cluster import write_store
from pathfleet.errors import SettingsError
from pathfleet.settings import load
from tests.cli.commands import Ran, run_beside
from tests.cluster.etcd_nodes import Node

needs_etcd = pytest.mark.skipif(
    not (shutil.which("etcd") and shutil.which("openssl")), reason="needs etcd: apt install etcd-server openssl"
)


class Shell:
    """Root's shell on one node."""

    def __init__(self, node: Node, patch: pytest.MonkeyPatch) -> None:
        self.node = node
        self.settings = node.directory / "pathfleet.toml"
        self.settings.write_text(f'# ours\nnode = "{node.name}"\n')
        self._patch = patch

    async def run(self, *arguments: str, stdin: bytes = b"") -> Ran:
        self._patch.setattr(cluster, "MACHINE", self.node.machine)
        return await run_beside("--config", str(self.settings), "cluster", *arguments, stdin=stdin)


@pytest.fixture
def shells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Shell]]:
    nodes = [Node(tmp_path, name, number) for number, name in enumerate(("a", "b"), 21)]
    yield [Shell(node, monkeypatch) for node in nodes]
    for node in nodes:
        node.end()


@needs_etcd
async def test_two_commands_and_a_token_make_a_cluster_of_two(shells: list[Shell]) -> None:
    a, b = shells
    founded = await a.run("init", a.node.address)
    assert founded.code == 0, founded.err
    line = founded.out.strip()
    assert line.startswith(f'store = "etcd://{a.node.address}:2379/pathfleet?ca=')
    assert "put this line into" in founded.err
    assert str(a.settings) in founded.err
    assert "store" not in a.settings.read_text()

    token = await a.run("token", "b", b.node.address)
    assert (token.code, token.out.count("\n")) == (0, 1), token.err
    assert "a secret" in token.err

    joined = await b.run("join", "-", "--write-settings", stdin=token.out.encode())
    assert joined.code == 0, joined.err
    assert b.settings.read_text() == f'{joined.out}# ours\nnode = "b"\n'
    assert load(b.settings, {}).store.startswith(f"etcd://{b.node.address}:2379,{a.node.address}:2379/pathfleet?")

    assert (await b.run("members")).out.splitlines()[0].split()[:4] == ["NAME", "STATE", "LEADER", "HEALTHY"]
    found = json.loads((await b.run("members", "-o", "json")).out)
    assert found == yaml.safe_load((await b.run("members", "-o", "yaml")).out)
    assert {member["name"]: (member["state"], member["healthy"]) for member in found} == {
        "a": ("started", True),
        "b": ("started", True),
    }
    shown = await a.run("settings")
    assert shown.out.startswith(f'store = "etcd://{a.node.address}:2379,{b.node.address}:2379/pathfleet?')
    assert "store" not in a.settings.read_text()
    written = await a.run("settings", "--write-settings")
    assert written.out == shown.out
    assert a.settings.read_text() == f'{shown.out}# ours\nnode = "a"\n'

    left = await b.run("leave")
    assert (left.code, left.out) == (0, ""), left.err
    assert left.err.count("kept: ") == 2
    assert "moved" not in left.err
    again = await b.run("members")
    assert (again.code, again.out) == (69, "")
    assert "is no member of an etcd cluster" in again.err


@needs_etcd
async def test_who_leaves_with_the_authoritys_key_is_told(shells: list[Shell]) -> None:
    a = shells[0]
    await a.run("init", a.node.address)
    refused = await a.run("leave")
    assert (refused.code, refused.out) == (69, "")
    assert "--force" in refused.err
    left = await a.run("leave", "--force")
    assert left.code == 0, left.err
    assert "ca.key: move it to another member's" in left.err


@pytest.mark.parametrize("token", ["garbage", "-"])
async def test_a_bad_token_is_refused_and_not_repeated(shells: list[Shell], token: str) -> None:
    ran = await shells[0].run("join", token, stdin=b"garbage\n")
    assert (ran.code, ran.out) == (78, "")
    assert "no whole token" in ran.err
    assert "garbage" not in ran.err


async def test_proxmox_is_sent_to_its_own_store(shells: list[Shell]) -> None:
    (shells[0].node.directory / "pve").mkdir()
    for arguments in (("init", shells[0].node.address), ("members",), ("leave",), ("token", "b", "127.0.0.1")):
        ran = await shells[0].run(*arguments)
        assert (ran.code, ran.out) == (69, "")
        assert "set store = pmxcfs:///etc/pve" in ran.err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, 'store = "etcd://x"\n'),
        ("", 'store = "etcd://x"\n'),
        ('node = "a"', 'store = "etcd://x"\nnode = "a"'),
        ('# c\nstore = "old" # why\nnode = "a"\n', '# c\nstore = "etcd://x"\nnode = "a"\n'),
        ('# store = "old"\n', 'store = "etcd://x"\n# store = "old"\n'),
    ],
)
def test_only_the_store_of_a_settings_file_changes(tmp_path: Path, before: str | None, after: str) -> None:
    file = tmp_path / "pathfleet.toml"
    if before is not None:
        file.write_text(before)
        file.chmod(0o640)
    write_store(file, "etcd://x")
    assert file.read_text() == after
    assert file.stat().st_mode & 0o777 == (0o644 if before is None else 0o640)


@pytest.mark.parametrize("text", ['"store" = "x"\n', "store = '''\nx'''\n", 'node = """\nstore = 1\n"""\n', "garbage"])
def test_a_settings_file_that_is_unclear_is_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "pathfleet.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r'write.*: store = "etcd://x"'):
        write_store(file, "etcd://x")
    assert file.read_text() == text
