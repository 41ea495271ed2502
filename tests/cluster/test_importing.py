from __future__ import annotations

import time
from pathlib import Path

import pytest

from pathfleet.cluster import config, importing
from pathfleet.cluster.importing import Rename
from pathfleet.core import detail, report, wire
from pathfleet.core.render import BASELINE_FILE, OVERRIDES_FILE
from pathfleet.core.report import MapReport
from pathfleet.errors import NotFound, SettingsError
from tests.fakes import Memory, MemoryStore

LUN = "3600a098038314c6c6e3f4b6f4c6c5a30"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A node with everything, and with what pathfleet has rendered there."""
    (tmp_path / "etc/multipath/conf.d").mkdir(parents=True)
    for name, text in {
        "multipath.conf": "defaults {\n\tuser_friendly_names yes\n}\n",
        "multipath/wwids": f"/{LUN}/\n",
        "multipath/bindings": f"mpatha {LUN}\n",
        "multipath/conf.d/b.conf": "defaults {\n\tfailback manual\n}\n",
        "multipath/conf.d/B.conf": "defaults {\n\tfailback immediate\n}\n",
        "multipath/conf.d/.hidden.conf": "",
        "multipath/conf.d/b.conf.bak": "never read",
        f"multipath/conf.d/{BASELINE_FILE}": "defaults {\n\tprio alua\n}\n",
        f"multipath/conf.d/{OVERRIDES_FILE}": "",
    }.items():
        (tmp_path / "etc" / name).write_text(text)
    return tmp_path


def test_files_are_read_in_the_order_of_multipathd_without_those_of_pathfleet(root: Path) -> None:
    files = importing.node_files(root)
    assert [source.name for source in files.sources] == [
        "/etc/multipath.conf",
        "/etc/multipath/conf.d/.hidden.conf",
        "/etc/multipath/conf.d/B.conf",
        "/etc/multipath/conf.d/b.conf",
    ]
    assert files.wwids is not None
    assert files.wwids.text == f"/{LUN}/\n"


def test_a_copy_of_the_directory_alone_will_do(root: Path) -> None:
    (root / "etc/multipath.conf").rename(root / "etc/multipath/multipath.conf")
    files = importing.node_files(root / "etc/multipath")
    assert [source.name for source in files.sources] == ["multipath.conf", ".hidden.conf", "B.conf", "b.conf"]
    assert files.bindings is not None


def test_a_place_without_any_such_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing to import"):
        importing.node_files(tmp_path)


def test_a_file_that_cannot_be_read_is_not_taken_for_none(root: Path) -> None:
    (root / "etc/multipath/wwids").unlink()
    (root / "etc/multipath/wwids").mkdir()
    with pytest.raises(SettingsError, match=r"wwids cannot be read: Is a directory"):
        importing.node_files(root)


async def test_an_import_is_a_plan_of_both_files_and_of_what_it_renames(root: Path) -> None:
    memory = Memory()
    now = int(time.time())
    for name, alias in (("a", "mpatha"), ("b", "mpathx"), ("c", None)):
        async with MemoryStore(name, memory) as other:
            await other.put(report.KEY, report.plain({LUN: MapReport("optimal", 2, 2)}, now))
            if alias:
                await other.put(detail.KEY, wire.stamp({"maps": {LUN: {"name": alias}}}, now))
    async with MemoryStore("a", memory) as store:
        found = await importing.plan(store, importing.node_files(root))
        assert found.plan.after.configuration.defaults == {"failback": "manual"}
        assert found.plan.after.configuration.wwids == {LUN: {"alias": "mpatha"}}
        assert found.renames == (Rename("b", LUN, "mpathx", "mpatha"), Rename("c", LUN, LUN, "mpatha"))
        await config.write(store, found.plan)
        again = await importing.plan(store, importing.node_files(root))
        assert not again.plan.changes


async def test_a_node_whose_values_are_garbage_costs_only_its_renames(root: Path) -> None:
    memory = Memory(values={"b": {report.KEY: b"garbage"}, "c": {detail.KEY: b"garbage"}})
    async with MemoryStore("a", memory) as store:
        assert (await importing.plan(store, importing.node_files(root))).renames == ()
