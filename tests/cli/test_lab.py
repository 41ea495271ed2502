from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from pathfleet.lab import san_file
from pathfleet.lab.demo import Demo
from pathfleet.lab.faults import FAULTS
from pathfleet.lab.san import Applied
from pathfleet.store.sqlite import SQLiteStore
from tests.cli.commands import Ran, run, run_beside
from tests.cli.test_main import offered
from tests.fakes import FakeDaemon
from tests.lab.bench import SMALL
from tests.replies import group, map_, path, reply


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Demo]:
    """A running one in `tmp_path`, a hundred times as fast as the world."""
    demo = Demo.prepared(san_file.load(SMALL), tmp_path)
    demo.san.clock.speed = 100
    async with demo.running():
        yield demo


async def ask(tmp_path: Path, *arguments: str) -> Ran:
    return await run_beside("lab", *arguments, "--directory", str(tmp_path))


@pytest.mark.usefixtures("lab")
async def test_break_and_mend_say_what_is_broken_now(tmp_path: Path) -> None:
    ran = await ask(tmp_path, "break", "switch-a")
    assert (ran.code, ran.out, ran.err) == (0, "now: break switch-a\n", "")
    ran = await ask(tmp_path, "break", "vm1", "20G", "--fault", "resize")
    assert ran.out == "now: break switch-a\nnow: resize vm1 20G\n"
    ran = await ask(tmp_path, "mend", "switch-a")
    assert ran.out == "now: resize vm1 20G\n"
    ran = await ask(tmp_path, "mend", "vm1", "--fault", "resize")
    assert (ran.code, ran.out) == (0, "nothing is broken\n")


async def test_mend_all_ends_every_fault(tmp_path: Path, lab: Demo) -> None:
    for component, *more in (["switch-a"], ["pve1", "--fault", "dead"], ["vm1", "pve1", "--fault", "unmap"]):
        assert (await ask(tmp_path, "break", component, *more)).code == 0
    ran = await ask(tmp_path, "mend", "--all")
    assert (ran.code, ran.out) == (0, "nothing is broken\n")
    assert (lab.san.applied, lab.san.fabric.broken) == ([], set())


@pytest.mark.usefixtures("lab")
async def test_show_has_every_component_with_all_that_is_wrong_with_it(tmp_path: Path) -> None:
    for component, fault in (("switch-a", "break"), ("switch-a", "marginal"), ("pve1:sda", "offline")):
        await ask(tmp_path, "break", component, "--fault", fault)
    ran = await ask(tmp_path, "show")
    rows = [line.split() for line in ran.out.splitlines()]
    assert (ran.code, rows[0]) == (0, ["COMPONENT", "KIND", "FAULT"])
    assert ["switch-a", "switch", "break,", "marginal"] in rows
    assert ["switch-b", "switch"] in rows
    assert ["pve1:sda", "offline"] in rows


async def test_show_says_the_same_as_json_and_yaml(tmp_path: Path, lab: Demo) -> None:
    await ask(tmp_path, "break", "vm1", "20G", "--fault", "resize")
    as_json = json.loads((await ask(tmp_path, "show", "-o", "json")).out)
    assert as_json == yaml.safe_load((await ask(tmp_path, "show", "-o", "yaml")).out)
    assert as_json == {
        "components": lab.san.components(),
        "faults": [{"fault": "resize", "component": "vm1", "value": "20G"}],
        "error": None,
    }


async def test_run_lets_the_steps_of_a_file_happen(tmp_path: Path, lab: Demo) -> None:
    script = tmp_path / "script.toml"
    script.write_text('[[steps]]\nat = 1\nbreak = "switch-a"\n')
    ran = await ask(tmp_path, "run", str(script))
    assert ran.code == 0
    assert ran.out.startswith(f"the steps of {script} happen from now on")
    async with asyncio.timeout(30):
        while not lab.san.applied:  # noqa: ASYNC110 - a plain value of the lab
            await asyncio.sleep(0.005)
    assert lab.san.applied == [Applied("break", "switch-a")]


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["break", "nothing"], "there is no LUN 'nothing' in this lab"),
        (["break", "switch-a", "--fault", "dead"], "dead switch-a: that is a switch; dead is for host"),
        (["break", "vm1", "--fault", "resize"], "resize vm1: say also SIZE"),
        (["mend", "nothing"], "there is no LUN 'nothing' in this lab"),
        (["run", "bad.toml"], "step 1: names one fault"),
        (["run", "bytes.toml"], "bytes.toml cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_what_a_lab_refuses_ends_with_78_in_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("[[steps]]\nat = 1\n")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    ran = await ask(tmp_path, *arguments)
    assert (ran.code, ran.out) == (78, "")
    assert ran.err.startswith(f"pathfleet: {words}")


@pytest.mark.usefixtures("lab")
async def test_what_was_said_of_a_fault_steers_no_terminal(tmp_path: Path) -> None:
    ran = await ask(tmp_path, "break", "pve1", "\x1b[2J")
    assert ran.code == 78
    assert "\x1b" not in ran.out + ran.err


def test_faults_explains_every_one() -> None:
    ran = run("lab", "faults")
    assert (ran.code, ran.err) == (0, "")
    head, *rows = ran.out.splitlines()
    assert head.split() == ["FAULT", "OF", "VALUE", "MEANS"]
    assert [row.split()[0] for row in rows] == list(FAULTS)
    assert all(row.endswith(fault.help) for row, fault in zip(rows, FAULTS.values(), strict=True))
    document = json.loads(run("lab", "faults", "-o", "json").out)
    assert [(row["fault"], tuple(row["applies-to"]), row["value"] or "") for row in document] == [
        (name, fault.applies_to, fault.value) for name, fault in FAULTS.items()
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["nonsense"], ["break"], ["break", "a", "b", "c"], ["break", "a", "--fault", "boom"], ["mend"],
        ["mend", "a", "--all"], ["run"], ["run", "absent.toml"], ["show", "x"], ["show", "-o", "xml"],
        ["faults", "x"], ["import", "x"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_use_ends_with_64(arguments: list[str]) -> None:
    ran = run("lab", *arguments)
    assert (ran.code, ran.out) == (64, "")
    assert "Usage: pathfleet lab" in ran.err


@pytest.mark.parametrize("arguments", [["show"], ["break", "a"], ["mend", "a"], ["mend", "--all"]], ids=" ".join)
def test_without_a_lab_it_ends_with_78_and_says_the_next_step(tmp_path: Path, arguments: list[str]) -> None:
    ran = run("lab", *arguments, "--directory", str(tmp_path))
    assert (ran.code, ran.out) == (78, "")
    assert ran.err.startswith(f"pathfleet: no lab answers at {tmp_path}/control ")
    assert "start one with `pathfleet demo`, or name its --directory" in ran.err


async def test_components_and_faults_are_completed(tmp_path: Path, lab: Demo) -> None:
    assert await offered(f"pathfleet lab break --directory {tmp_path} switch-", tmp_path) == ["switch-a", "switch-b"]
    assert await offered(f"pathfleet lab mend --directory {tmp_path} pve1-", tmp_path) == ["pve1-hba0", "pve1-hba1"]
    assert await offered("pathfleet lab break x --fault ", tmp_path) == list(FAULTS)
    assert await offered("pathfleet lab mend x --fault cl", tmp_path) == ["clone", "closes"]
    assert len(lab.san.components()) > 10


async def test_without_a_lab_completion_stays_silent(tmp_path: Path) -> None:
    assert await offered(f"pathfleet lab break --directory {tmp_path} s", tmp_path) == []


# import


async def imported(lab: Demo, *arguments: str) -> Ran:
    return await run_beside("--config", str(lab.settings_file("pve1")), "lab", "import", *arguments)


async def both_reported(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "store/cluster.db", node="test") as store, asyncio.timeout(30):
        async for _ in store.changes():
            if sum("multipath" in values for values in (await store.all_values()).values()) == 2:
                return


async def test_import_prints_a_topology_of_what_the_settings_show(tmp_path: Path, lab: Demo) -> None:
    await both_reported(tmp_path)
    ran = await imported(lab)
    assert (ran.code, ran.err) == (0, "")
    found = san_file.load(ran.out)
    assert [host.name for host in found.hosts] == ["pve1", "pve2"]
    assert {lun.wwid for lun in found.luns} == {lun.wwid for lun in lab.san.topology.luns}


async def test_import_to_a_file_says_how_to_rehearse_it(tmp_path: Path, lab: Demo) -> None:
    file = tmp_path / "mine.toml"
    ran = await imported(lab, "--to", str(file))
    assert (ran.code, ran.out) == (0, f"{file}: 3 LUNs; rehearse with `pathfleet demo --topology {file}`\n")
    assert len(san_file.load(file.read_text()).luns) == 3


async def test_import_to_where_nothing_can_be_written_ends_with_78(tmp_path: Path, lab: Demo) -> None:
    ran = await imported(lab, "--to", str(tmp_path / "absent/mine.toml"))
    assert (ran.code, ran.out) == (78, "")
    assert "mine.toml cannot be written: No such file or directory" in ran.err


async def test_import_without_the_store_takes_this_node_alone_and_says_so(tmp_path: Path, lab: Demo) -> None:
    await ask(tmp_path, "break", "store", "--fault", "store")
    ran = await imported(lab)
    assert ran.code == 0
    assert ran.err.startswith("pathfleet: only this node is known: ")
    assert [host.name for host in san_file.load(ran.out).hosts] == ["pve1"]


async def test_import_without_known_ports_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    async with FakeDaemon(str(tmp_path / "socket"), reply(map_("x1", group(path("pfa"))))) as daemon:
        ran = await run_beside(
            "lab", "import",
            multipathd_socket=daemon.address, sysfs=f"{tmp_path}/sys", state_directory=str(tmp_path),
        )  # fmt: skip
    assert (ran.code, ran.out) == (78, "")
    assert "no path has two known ports" in ran.err


async def test_import_without_multipathd_cannot_tell(tmp_path: Path) -> None:
    ran = await run_beside("lab", "import", multipathd_socket=str(tmp_path / "absent"), state_directory=str(tmp_path))
    assert (ran.code, ran.out) == (3, "")
    assert "nobody listens at" in ran.err
