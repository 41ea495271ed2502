"""A simulated daemon says what the real one of its release said in the same place: tests/data/vm, from our own tests.

The lab is the virtual machine's SAN: three LUNs over two iSCSI portals, portal 1 optimized, configured as each
release's built-in table has it for that kind of LUN. Compared are the keys in their order, and every word; not what a
name is, nor counters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pathfleet.core import maps
from tests.lab.bench import Bench
from tests.vm.reading import RECORDINGS

SAN = """
name = "vm"
switches = [{{ name = "lan-1", fabric = "1" }}, {{ name = "lan-2", fabric = "2" }}]
hosts = [{{ name = "node", version = "{version}" }}]
luns = [{{ name = "lun", count = 3, size = "64M", controller = "portal1" }}]

[defaults]
polling_interval = 2
max_polling_interval = 4
{table}

[[arrays]]
name = "san"
transport = "iscsi"
vendor = "LIO-ORG"
product = "FILEIO"
revision = "4.0"
controllers = [
  {{ name = "portal1", ports = [{{ name = "p1", switch = "lan-1" }}] }},
  {{ name = "portal2", ports = [{{ name = "p2", switch = "lan-2" }}] }},
]
"""

#: What the releases have built in for LUNs of the kernel's target; 0.8.5 has nothing, so that its defaults apply.
TABLES = {
    "0.8.5": 'path_grouping_policy = "failover"\nfailback = "manual"',
    "0.9.4": "no_path_retry = 12",
    "0.11.1": 'no_path_retry = 12\npath_checker = "directio"\ndetect_checker = "no"',
}

Scenario = Callable[[Bench], None]


def lab(version: str, files: Path | None = None) -> Bench:
    return Bench(SAN.format(version=version, table=TABLES[version]), files)


def configured(text: str) -> Scenario:
    def change(bench: Bench) -> None:
        directory = bench.san.nodes["node"].directory
        assert directory is not None
        (directory / "conf.d/test.conf").write_text(text)
        bench.ask("reconfigure", "node")
        bench.passes(5)

    return change


def overridden(setting: str) -> Scenario:
    return configured(f"overrides {{\n {setting}\n}}\n")


def down(no_path_retry: str, seconds: int) -> Scenario:
    def happen(bench: Bench) -> None:
        overridden(f"no_path_retry {no_path_retry}")(bench)
        for path in bench.san.nodes["node"].kernel.by_wwid[bench.san.fabric.lun("lun2").wwid]:
            bench.inflict("offline", f"node:{path.name}", seconds=0)
        bench.passes(seconds)

    return happen


def portal_down(bench: Bench) -> None:
    bench.inflict("break", "p2")
    if bench.san.nodes["node"].host.version == "0.11.1":
        # its guest's kernel had given the devices up by the moment of the recording, the others' had not yet
        for device in ("sdd", "sde", "sdf"):
            bench.inflict("offline", f"node:{device}", seconds=0)


def standby(bench: Bench) -> None:
    overridden("path_checker tur")(bench)
    bench.inflict("alua", "lun1", "p2=standby")


def unused_but_first(bench: Bench) -> None:
    for lun in ("lun2", "lun3"):
        bench.inflict("unused", lun, seconds=0)


def sessions_gone(bench: Bench) -> None:
    unused_but_first(bench)
    bench.inflict("logout", "portal1", seconds=1)
    bench.inflict("logout", "portal2", seconds=1)


def swapped(bench: Bench) -> None:
    overridden("failback manual")(bench)
    bench.inflict("swap", "lun2")


def marginal(bench: Bench) -> None:
    bench.ask("setmarginal path sdd", "node")


def blacklisted(bench: Bench) -> None:
    unused_but_first(bench)
    configured(f'blacklist {{\n wwid "{bench.san.fabric.lun("lun1").wwid}"\n}}\n')(bench)


def all_blacklisted(bench: Bench) -> None:
    bench.inflict("unused", "lun1", seconds=0)
    unused_but_first(bench)
    configured('blacklist {\n wwid ".*"\n}\n')(bench)


#: By the recording's name: what happened, and which LUNs it is about (the others may be still recovering from what
#: the virtual machine's tests did before).
SCENARIOS: dict[str, tuple[Scenario, tuple[int, ...]]] = {
    "healthy": (lambda _: None, (0, 1, 2)),
    "device-offline": (lambda bench: bench.inflict("offline", "node:sda"), (0,)),
    "session-cut": (lambda bench: bench.inflict("logout", "portal2"), (0, 1, 2)),
    "portal-down": (portal_down, (0, 1, 2)),
    "all-paths-down-5": (down("5", 6), (1,)),
    "all-paths-down-5-later": (down("5", 36), (1,)),
    "all-paths-down-fail": (down("fail", 6), (1,)),
    "all-paths-down-queue": (down("queue", 6), (1,)),
    "alua-standby": (standby, (0,)),
    "alua-unavailable": (lambda bench: bench.inflict("alua", "lun1", "p2=unavailable"), (0,)),
    "alua-swapped": (swapped, (1,)),
    "path-marginal": (marginal, (0,)),
    "map-suspended": (lambda bench: bench.inflict("suspend", "lun3", "node"), (2,)),
    "sessions-gone-map-open": (sessions_gone, (0,)),
    "blacklisted-map-open": (blacklisted, (0, 1)),
    "no-maps": (all_blacklisted, ()),
}
#: The text of these says how many there were, or whose; only the type counts.
NAMES = ("name", "uuid", "sysfs", "dev", "dev_t", "target_wwnn", "host_adapter")
COUNTERS = ("path_faults", "switch_grp", "map_loads", "total_q_time", "q_timeouts")


def recording(version: str, name: str) -> bytes:
    file = RECORDINGS / version / f"{name}.json"
    if not file.exists():
        pytest.skip(f"there is no recording {version}/{name}: the virtual machine's tests have not made it yet")
    return file.read_bytes()


def shape(value: Any, key: str = "") -> Any:
    """What is compared: keys in order, words with numbers of seconds and checks taken out, the type of the rest."""
    if isinstance(value, dict):
        # which group the kernel calls active hangs on whether I/O came since the table or a path changed
        if value.get("dm_st") in ("active", "enabled") and "selector" in value:
            value = value | {"dm_st": "active or enabled"}
        return [(inner, shape(each, inner)) for inner, each in value.items()]
    if isinstance(value, list):
        return [shape(each) for each in value]
    if key == "host_adapter" and value == "[undef]":
        return value
    if key in NAMES or key in COUNTERS:
        return type(value).__name__
    return re.sub(r"\d+ (sec|chk)", r"N \1", value) if key == "queueing" else value


def by_number(reply: bytes, number_of: Callable[[str], int]) -> dict[int, Any]:
    return {number_of(map_["uuid"]): shape(map_) for map_ in json.loads(reply)["maps"]}


@pytest.fixture(params=TABLES)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_reply_has_the_structure_and_the_words_of_the_real_one(name: str, version: str, tmp_path: Path) -> None:
    real = recording(version, name)
    bench = lab(version, tmp_path)
    happens, luns = SCENARIOS[name]
    happens(bench)
    numbers = {live.wwid: live.lun.number for live in bench.san.fabric.luns.values()}
    simulated = by_number(bench.ask("show maps json", "node"), numbers.__getitem__)
    recorded = by_number(real, lambda wwid: int(wwid[-2:], 16))
    assert {number: simulated.get(number) for number in luns} == {number: recorded.get(number) for number in luns}
    assert not luns or recorded.keys() & set(luns)
    assert bool(simulated) == bool(recorded)


def test_a_checker_that_reads_takes_a_standby_port_for_down() -> None:
    """Why the virtual machine's test of a standby port has 0.11.1 use another one."""
    bench = lab("0.11.1")
    bench.inflict("alua", "lun1", "p2=standby")
    checks = [path.chk_st for group in bench.map("lun1", "node").path_groups for path in group.paths]
    assert checks == ["ready", "faulty"]


def test_every_line_of_a_healthy_reply_is_laid_out_as_the_real_one(version: str, tmp_path: Path) -> None:
    def layout(reply: bytes) -> list[str]:
        return [re.sub(r'("\w+" ?: ).*?(,?)$', r"\1\2", line) for line in reply.decode().splitlines()]

    real = recording(version, "healthy")
    assert b'"dm_st" : "enabled"' in real
    assert layout(lab(version, tmp_path).ask("show maps json", "node")) == layout(real)


def test_help_names_the_commands_of_the_release(version: str) -> None:
    real = recording(version, "help")
    simulated = lab(version).ask("help", "node")
    assert maps.version_in(simulated) == version
    assert simulated == real


def test_a_listing_of_nothing_is_answered_as_by_the_real_one(version: str, tmp_path: Path) -> None:
    real = recording(version, "show-paths-without-any")
    bench = lab(version, tmp_path)
    all_blacklisted(bench)
    for port in ("p1", "p2"):
        bench.inflict("logout", port, seconds=0)
    assert bench.ask("show paths", "node") == real
