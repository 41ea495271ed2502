"""Topologies as files, and the SAN that a fabric derives from them."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.errors import SettingsError
from pathfleet.lab import san_file
from pathfleet.lab.devices import sd_dev_t, sd_name
from pathfleet.lab.fabric import Access, Fabric
from tests.lab.bench import SMALL, Bench

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)


@pytest.mark.parametrize("name", sorted(san_file.ready()))
def test_what_is_dumped_loads_as_the_same(name: str) -> None:
    topology = san_file.load(san_file.ready()[name])
    assert san_file.load(san_file.dump(topology)) == topology


@given(
    switches=st.integers(1, 4),
    transport=st.sampled_from(["fc", "iscsi", "nvme-tcp"]),
    counts=st.tuples(*[st.integers(1, 4)] * 4),
    alias=st.text(min_size=1, max_size=8).filter(lambda text: text > "\ud7ff" or text.isprintable()),
)
def test_any_compact_file_dumps_and_loads_as_the_same(
    switches: int, transport: str, counts: tuple[int, int, int, int], alias: str
) -> None:
    controllers, ports, hosts, luns = counts
    names = ", ".join(f'{{ name = "s{n}", fabric = "f{n % 2}" }}' for n in range(switches))
    topology = san_file.load(
        f'name = "any"\nswitches = [{names}]\n'
        f'arrays = [{{ name = "a", transport = "{transport}", controllers = {controllers}, ports = {ports} }}]\n'
        f'hosts = [{{ name = "h", count = {hosts} }}]\nluns = [{{ name = "l", count = {luns}, size = "1G" }}]\n'
    )
    topology = msgspec.structs.replace(topology, luns=(msgspec.structs.replace(topology.luns[0], alias=alias),))
    assert san_file.load(san_file.dump(topology)) == topology


def test_the_same_names_give_the_same_wwids_and_ports_and_no_two_are_alike() -> None:
    topology = san_file.load(san_file.ready()["large"])
    again = san_file.load(san_file.ready()["large"])
    assert topology == again
    wwids = {lun.wwid for lun in topology.luns}
    assert len(wwids) == 1000
    assert all(re.fullmatch("36[0-9a-f]{31}", wwid) for wwid in wwids)
    addresses = [port.address for host in topology.hosts for port in host.ports]
    addresses += [port.address for array in topology.arrays for port in array.ports()]
    assert len(set(addresses)) == len(addresses) == 64 * 2 + 8


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("size = ", "sise = "), "sise"),
        (('"10G"', '"10 gig"'), "size = '10 gig'"),
        (('version = "0.9.4"', 'version = "1.0"'), "1.0"),
        (("count = 3", "count = 0"), "count = 0"),
        (('name = "vm"', 'name = "vm", array = "nowhere"'), "there is no array 'nowhere'"),
        (('name = "vm"', 'name = "vm", hosts = ["pve9"]'), "there is no host 'pve9'"),
        (('name = "vm"', 'name = "vm", controller = "ct9"'), "there is no controller 'ct9'"),
        (('name = "vm"', 'name = "vm", alias = "same"'), "the alias 'same' is given 3 times"),
        (("defaults =", 'zones = [{ name = "z", members = ["pve9"] }]\ndefaults ='), "zone z: there is no 'pve9'"),
        (("name = ", "name "), "not TOML"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(change: tuple[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        san_file.load(SMALL.replace(*change, 1))


def test_a_path_leads_from_each_port_to_each_target_port_of_its_fabric() -> None:
    fabric = Fabric(san_file.load(SMALL))
    assert [nexus.name for nexus in fabric.nexuses["pve1"]] == [
        "pve1-hba0>array1-ct0-p0",
        "pve1-hba0>array1-ct1-p0",
        "pve1-hba1>array1-ct0-p1",
        "pve1-hba1>array1-ct1-p1",
    ]


@pytest.mark.parametrize(
    ("members", "seen"),
    [
        ('["pve1", "array1"]', 4),
        ('["pve1-hba0", "array1"]', 2),
        ('["pve1-hba0", "array1-ct0"]', 1),
        ('["pve1-hba0", "array1-ct0-p1"]', 0),  # in another fabric
        ('["pve2", "array1"]', 0),
    ],
)
def test_zones_leave_only_what_they_name(members: str, seen: int) -> None:
    fabric = Fabric(san_file.load(f'{SMALL}[[zones]]\nname = "z"\nmembers = {members}\n'))
    assert len(fabric.nexuses["pve1"]) == seen


def test_a_lun_is_optimized_at_its_own_controller_alone() -> None:
    fabric = Fabric(san_file.load(SMALL))
    lun = fabric.lun("vm2")
    states = {nexus.controller: fabric.access(nexus, lun) for nexus in fabric.nexuses["pve1"]}
    assert states == {"array1-ct0": Access.NON_OPTIMIZED, "array1-ct1": Access.OPTIMIZED}


def test_a_lun_mapped_to_some_hosts_is_not_there_on_others() -> None:
    bench = Bench(SMALL.replace('name = "vm"', 'name = "vm", hosts = ["pve2"]'))
    assert (len(bench.maps("pve1")), len(bench.maps("pve2"))) == (0, 3)


def test_iscsi_has_a_scsi_host_for_each_session_and_fibre_channel_one_for_each_port() -> None:
    def addresses(transport: str) -> list[str]:
        bench = Bench(SMALL.replace('name = "array1"', f'name = "array1", transport = "{transport}"'))
        return [path.hctl for path in bench.san.nodes["pve1"].kernel.by_wwid[bench.san.fabric.lun("vm2").wwid]]

    assert addresses("fc") == ["1:0:0:1", "1:0:1:1", "2:0:0:1", "2:0:1:1"]
    assert addresses("iscsi") == ["1:0:0:1", "2:0:0:1", "3:0:0:1", "4:0:0:1"]
    assert addresses("nvme-tcp") == ["1:1:2:2", "2:1:2:2", "3:1:2:2", "4:1:2:2"]


@pytest.mark.parametrize(
    ("number", "name", "dev_t"),
    [
        (0, "sda", "8:0"),
        (15, "sdp", "8:240"),
        (16, "sdq", "65:0"),
        (25, "sdz", "65:144"),
        (26, "sdaa", "65:160"),
        (127, "sddx", "71:240"),
        (128, "sddy", "128:0"),
        (255, "sdiv", "135:240"),
        (256, "sdiw", "8:256"),
        (701, "sdzz", "131:720"),
        (702, "sdaaa", "131:736"),
    ],
)
def test_disks_are_named_and_numbered_as_by_the_kernel(number: int, name: str, dev_t: str) -> None:
    assert (sd_name(number), sd_dev_t(number)) == (name, dev_t)
