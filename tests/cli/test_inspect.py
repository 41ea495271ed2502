from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.commands import run, spawn
from tests.replies import group, help_text, map_, path, reply

WWID = "3600a098038314c6c6e3f4b6f4c6c5a30"
OPTIMAL = reply(map_(WWID, group(path("sda", host_adapter="192.0.2.1"), path("sdb", host_adapter="192.0.2.2"))))
DEGRADED = reply(map_(WWID, group(path("sda"), path("sdb", "failed", "faulty")), name="data", vend="ACME", prod="X  "))
FAILED = reply(map_(WWID, group(path("sda", "failed", "faulty")), queueing="12 sec"), map_("2", group(path("sdb"))))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return tmp_path / "maps.json"


@pytest.mark.parametrize(
    ("text", "code", "answer"),
    [
        pytest.param(OPTIMAL, 0, "maps", id="optimal"),
        pytest.param(DEGRADED, 1, "maps", id="degraded"),
        pytest.param(FAILED, 2, "maps", id="failed"),
        pytest.param(reply(), 0, "no-maps", id="no maps"),
        pytest.param(b"", 3, "cannot-tell", id="empty"),
        pytest.param(b"timeout\n", 3, "cannot-tell", id="timeout"),
        pytest.param(b"fail\n", 3, "cannot-tell", id="fail"),
        pytest.param(help_text(), 3, "cannot-tell", id="help"),
        pytest.param(OPTIMAL[:300], 3, "cannot-tell", id="cut"),
        pytest.param(b"multipathd> " + OPTIMAL + b"multipathd> ", 3, "cannot-tell", id="interactive"),
        pytest.param(bytes(range(256)) * 40, 3, "cannot-tell", id="binary"),
        pytest.param(b"[" * 100_000, 3, "cannot-tell", id="deep"),
    ],
)
@pytest.mark.parametrize("output", ["table", "json", "yaml", "wire"])
def test_each_answer_has_its_exit_code_in_every_form(
    saved: Path, text: bytes, code: int, answer: str, output: str
) -> None:
    saved.write_bytes(text)
    ran = run("inspect", str(saved), "-o", output)
    assert ran.code == code
    if output == "json":
        found = json.loads(ran.out)
        assert list(found) == ["answer", "reason", "maps"]
        assert found["answer"] == answer
        assert (found["reason"] is None) == bool(found["maps"]) == (answer == "maps")
    elif output == "table" and answer != "maps":
        assert ran.out.startswith(f"{answer}: ")
    elif output == "wire":
        assert (ran.out == "") == (answer == "cannot-tell")
        assert ("nothing would be published" in ran.err) == (answer == "cannot-tell")


def test_json_says_all_of_a_map(saved: Path) -> None:
    saved.write_bytes(DEGRADED)
    (found,) = json.loads(run("inspect", str(saved), "-o", "json").out)["maps"]
    (groups,) = [found.pop("path-groups")]
    assert found == {
        "wwid": WWID,
        "alias": "data",
        "health": "degraded",
        "flags": ["single-domain"],
        "paths-active": 1,
        "paths-total": 2,
        "paths-standby": 0,
        "queueing": None,
        "size": None,
        "transport": None,
        "device": "dm-0",
        "vendor": "ACME",
        "product": "X",
    }
    assert [group["state"] for group in groups] == ["active"]
    assert groups[0]["paths"][1] == {
        "path": "sdb",
        "state": "down",
        "dm": "failed",
        "checker": "faulty",
        "device": "running",
        "priority": 50,
        "initiator": "192.0.2.1",
        "target": None,
        "hctl": None,
        "marginal": False,
        "meaning": "the device does not answer its check",
        "remedy": groups[0]["paths"][1]["remedy"],
    }


def test_the_wire_form_is_exact(saved: Path) -> None:
    saved.write_bytes(FAILED)
    ran = run("inspect", str(saved), "--output", "wire", "--time", "1751546766")
    assert ran.out == (
        '{"maps":{"2":{"paths-active":1,"paths-total":1,"state":"optimal"},'
        f'"{WWID}":{{"paths-active":0,"paths-total":1,"state":"failed"}}}},"time":1751546766}}\n'
    )


def test_the_wire_form_of_no_maps_has_none(saved: Path) -> None:
    saved.write_bytes(reply())
    assert run("inspect", str(saved), "-o", "wire", "--time", "0").out == '{"maps":{},"time":0}\n'


def test_yaml_says_the_same_as_json(saved: Path) -> None:
    hostile = 'a"b\\c: #\x1b[31m\u2028\U0001f9f1\x85 yes'
    saved.write_bytes(reply(map_(hostile, group(path("sda", "failed", "faulty")), name=hostile), map_("1e5")))
    as_json, as_yaml = (run("inspect", str(saved), "-o", form).out for form in ("json", "yaml"))
    assert yaml.safe_load(as_yaml) == json.loads(as_json)


def test_the_table_has_the_worst_first_and_a_countdown_with_its_flag(saved: Path) -> None:
    saved.write_bytes(FAILED)
    head, first, second = run("inspect", str(saved)).out.splitlines()
    assert head.split() == ["HEALTH", "PATHS", "LUN", "WWID", "SIZE", "TRANSPORT", "FLAGS"]
    assert first.split() == ["failed", "0/1", "-", WWID, "?", "?", "queueing", "(12", "sec)"]
    assert second.split() == ["optimal", "1/1", "-", "2", "?", "?", "single-domain"]


def test_a_dash_reads_standard_input() -> None:
    assert run("inspect", "-", stdin=DEGRADED).code == 1


async def test_it_is_the_same_as_a_process() -> None:
    ran = await spawn("inspect", "-", "-o", "wire", "--time", "5", stdin=OPTIMAL)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith('"time":5}\n')


def test_a_file_that_is_not_there_leaves_nobody_to_tell(tmp_path: Path) -> None:
    ran = run("inspect", str(tmp_path / "absent"))
    assert (ran.code, ran.out) == (3, f"cannot-tell: {tmp_path}/absent cannot be read: No such file or directory\n")


def test_a_directory_is_used_wrongly(tmp_path: Path) -> None:
    ran = run("inspect", str(tmp_path))
    assert (ran.code, ran.out) == (64, "")
    assert "is a directory" in ran.err


def test_what_no_reply_can_be_as_long_as_is_not_read_on(saved: Path) -> None:
    with saved.open("wb") as file:
        file.truncate(33 << 20)
    ran = run("inspect", str(saved))
    assert ran.code == 3
    assert "no reply of multipathd is that long" in ran.out


@pytest.mark.parametrize("time", ["-1", "soon", "1.5"])
def test_a_time_that_is_none_is_used_wrongly(saved: Path, time: str) -> None:
    saved.write_bytes(OPTIMAL)
    assert run("inspect", str(saved), "--time", time).code == 64
