from __future__ import annotations

import os
from pathlib import Path

import pytest

from pathfleet.core.ports import Port
from pathfleet.system.sysfs import MapDevice, Sysfs

PCI = "devices/pci0000:00/0000:00:02.0"


def write(root: Path, path: str, content: str | bytes) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode() + b"\n")


def disk(root: Path, name: str, device: str) -> None:
    """A block device as sysfs lays it out: a directory below its device, and a link to it in /sys/block."""
    directory = root / device / "block" / name
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "device").symlink_to("../..")
    (root / "block").mkdir(exist_ok=True)
    link = root / "block" / name
    link.unlink(missing_ok=True)
    link.symlink_to(f"../{device}/block/{name}")


def fc_disk(root: Path, name: str, *, host: int = 2, rport: int = 1, wwpn: str = "0x5006016012345678") -> None:
    remote = f"rport-{host}:0-{rport}"
    disk(root, name, f"{PCI}/host{host}/{remote}/target{host}:0:{rport}/{host}:0:{rport}:4")
    write(root, f"class/fc_host/host{host}/port_name", f"0x10000000c9aabb0{host}")
    write(root, f"class/fc_remote_ports/{remote}/port_name", wwpn)


def iscsi_disk(
    root: Path, name: str, *, session: int = 1, address: str = "192.0.2.9", local: str = "192.0.2.1"
) -> None:
    host = session + 3
    disk(root, name, f"devices/platform/host{host}/session{session}/target{host}:0:0/{host}:0:0:1")
    write(root, f"class/iscsi_host/host{host}/ipaddress", local)
    write(root, f"class/iscsi_session/session{session}/targetname", "iqn.2004-01.example:array")
    write(root, f"class/iscsi_connection/connection{session}:0/persistent_address", address)
    write(root, f"class/iscsi_connection/connection{session}:0/persistent_port", "3260")


def nvme(root: Path, name: str, transport: str, address: str) -> None:
    controller = f"devices/virtual/nvme-fabrics/ctl/{name.partition('n1')[0]}"
    (root / controller / name).mkdir(parents=True)
    (root / controller / name / "device").symlink_to("..")
    (root / "block").mkdir(exist_ok=True)
    (root / "block" / name).symlink_to(f"../{controller}/{name}")
    write(root, f"{controller}/transport", transport)
    write(root, f"{controller}/address", address)


def dm(
    root: Path, name: str, uuid: str, *, alias: str = "", sectors: str = "131072", slaves: tuple[str, ...] = ()
) -> None:
    directory = f"devices/virtual/block/{name}"
    write(root, f"{directory}/dm/uuid", uuid)
    write(root, f"{directory}/dm/name", alias)
    write(root, f"{directory}/size", sectors)
    (root / directory / "slaves").mkdir()
    for slave in slaves:
        (root / directory / "slaves" / slave).symlink_to(f"../../../../../{PCI}/{slave}")
    (root / "block").mkdir(exist_ok=True)
    (root / "block" / name).symlink_to(f"../{directory}")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def port_of(root: Path, device: str) -> Port:
    return Sysfs(root).ports([device])[device]


def test_fibre_channel_is_told_by_both_wwpns(tmp_path: Path) -> None:
    fc_disk(tmp_path, "sdb")
    assert port_of(tmp_path, "sdb") == Port("fc", "0x10000000c9aabb02", "0x5006016012345678", "2:0:1:4")


@pytest.mark.parametrize("unknown", ["0xffffffffffffffff", "0x0", ""])
def test_a_wwpn_that_the_kernel_does_not_know_is_none(tmp_path: Path, unknown: str) -> None:
    fc_disk(tmp_path, "sdb", wwpn=unknown)
    assert port_of(tmp_path, "sdb") == Port("fc", "0x10000000c9aabb02", None, "2:0:1:4")


def test_iscsi_is_told_by_local_address_and_portal(tmp_path: Path) -> None:
    iscsi_disk(tmp_path, "sdc")
    assert port_of(tmp_path, "sdc") == Port(
        "iscsi", "192.0.2.1", "iqn.2004-01.example:array@192.0.2.9:3260", "4:0:0:1"
    )


def test_two_portals_of_one_iqn_are_two_ports(tmp_path: Path) -> None:
    iscsi_disk(tmp_path, "sdc", session=1, address="192.0.2.9")
    iscsi_disk(tmp_path, "sdd", session=2, address="2001:db8::9")
    targets = [port.target for port in Sysfs(tmp_path).ports(["sdc", "sdd"]).values()]
    assert targets == [
        "iqn.2004-01.example:array@192.0.2.9:3260",
        "iqn.2004-01.example:array@[2001:db8::9]:3260",
    ]


def test_sas_behind_an_expander_is_told_by_the_hosts_phy_and_the_end_device(tmp_path: Path) -> None:
    port = f"{PCI}/host0/port-0:1"
    disk(tmp_path, "sde", f"{port}/expander-0:0/port-0:0:5/end_device-0:0:5/target0:0:7/0:0:7:0")
    (tmp_path / port / "phy-0:4").symlink_to("../phy-0:4")
    write(tmp_path, "class/sas_phy/phy-0:4/sas_address", "0x500605b001")
    write(tmp_path, "class/sas_device/end_device-0:0:5/sas_address", "0x5000c500aa")
    assert port_of(tmp_path, "sde") == Port("sas", "0x500605b001", "0x5000c500aa", "0:0:7:0")


def test_sas_without_an_end_device_is_told_by_the_disks_own_attribute(tmp_path: Path) -> None:
    disk(tmp_path, "sde", f"{PCI}/host0/target0:1:0/0:1:0:0")
    write(tmp_path, f"{PCI}/host0/target0:1:0/0:1:0:0/sas_address", "0x5000c500bb")
    assert port_of(tmp_path, "sde") == Port("sas", None, "0x5000c500bb", "0:1:0:0")


def test_srp_is_told_by_both_gids(tmp_path: Path) -> None:
    disk(tmp_path, "sdf", f"{PCI}/host5/target5:0:0/5:0:0:0")
    (tmp_path / "class/srp_host/host5").mkdir(parents=True)
    write(tmp_path, "class/scsi_host/host5/sgid", "fe80:0000:0000:0000:0002:c903:0000:0001")
    write(tmp_path, "class/scsi_host/host5/dgid", "fe80:0000:0000:0000:0002:c903:0000:0002")
    assert port_of(tmp_path, "sdf") == Port(
        "srp",
        "fe80:0000:0000:0000:0002:c903:0000:0001",
        "fe80:0000:0000:0000:0002:c903:0000:0002",
        "5:0:0:0",
    )


@pytest.mark.parametrize(
    ("device", "transport"),
    [
        (f"{PCI}/ata3/host2/target2:0:0/2:0:0:0", "ata"),
        (f"{PCI}/usb1/1-2/1-2:1.0/host2/target2:0:0/2:0:0:0", "usb"),
        (f"{PCI}/virtio2/host2/target2:0:0/2:0:0:0", "virtio"),
        ("devices/tcm_loop_0/tcm_loop_adapter_0/host2/target2:0:0/2:0:0:0", "loop"),
        ("devices/pseudo_0/adapter0/host2/target2:0:0/2:0:0:0", None),
    ],
)
def test_other_buses_are_told_by_a_parent_of_the_device(tmp_path: Path, device: str, transport: str | None) -> None:
    disk(tmp_path, "sdg", device)
    port = port_of(tmp_path, "sdg")
    assert (port.transport, port.initiator, port.target, port.hctl) == (transport, None, None, "2:0:0:0")


def test_disks_without_scsi_have_no_hctl(tmp_path: Path) -> None:
    disk(tmp_path, "vda", f"{PCI}/virtio1")
    (tmp_path / "devices/virtual/block/loop0").mkdir(parents=True)
    (tmp_path / "block/loop0").symlink_to("../devices/virtual/block/loop0")
    assert Sysfs(tmp_path).ports(["vda", "loop0"]) == {"vda": Port("virtio"), "loop0": Port("loop")}


@pytest.mark.parametrize(
    ("transport", "address", "port"),
    [
        (
            "tcp",
            "traddr=192.0.2.9,trsvcid=4420,src_addr=192.0.2.1",
            Port("nvme-tcp", "192.0.2.1", "192.0.2.9:4420"),
        ),
        (
            "rdma",
            "traddr=2001:db8::9,trsvcid=4420,host_traddr=2001:db8::1",
            Port("nvme-rdma", "2001:db8::1", "[2001:db8::9]:4420"),
        ),
        (
            "fc",
            "traddr=nn-0x200000a098:pn-0x200100a098,host_traddr=nn-0x20000090fa:pn-0x10000090fa",
            Port("nvme-fc", "0x10000090fa", "0x200100a098"),
        ),
        ("pcie", "0000:01:00.0", Port("nvme-pcie", None, "0000:01:00.0")),
        ("loop", "", Port("nvme-loop")),
        ("tcp", "nonsense", Port("nvme-tcp")),
        ("carrier-pigeon", "traddr=192.0.2.9", Port()),
    ],
)
def test_nvme_is_told_by_its_controller(tmp_path: Path, transport: str, address: str, port: Port) -> None:
    nvme(tmp_path, "nvme3n1", transport, address)
    assert port_of(tmp_path, "nvme3n1") == port


@pytest.mark.parametrize("name", ["sdz", "", ".", "..", "../class", "a/b", "sd\0a", "\udcff", "x" * 5000])
def test_a_device_that_is_not_there_is_absent(tmp_path: Path, name: str) -> None:
    fc_disk(tmp_path, "sdb")
    sysfs = Sysfs(tmp_path)
    assert sysfs.ports([name]) == {}
    assert sysfs.size_bytes(name) is None
    assert sysfs.map_slaves(name) is None


def test_text_from_a_peer_is_bounded_and_harmless(tmp_path: Path) -> None:
    iscsi_disk(tmp_path, "sdc")
    write(tmp_path, "class/iscsi_session/session1/targetname", b"iqn.\xff\x1b[2J" + b"x" * 9000)
    write(tmp_path, "class/iscsi_host/host4/ipaddress", "(null)")
    port = port_of(tmp_path, "sdc")
    assert port.initiator is None
    assert port.target is not None
    assert port.target.startswith("iqn.\ufffd\ufffd[2Jxx")
    assert len(port.target) < 300


def test_what_was_read_is_kept_while_the_device_stays(tmp_path: Path) -> None:
    fc_disk(tmp_path, "sdb")
    sysfs = Sysfs(tmp_path)
    before = sysfs.ports(["sdb"])
    write(tmp_path, "class/fc_remote_ports/rport-2:0-1/port_name", "0x1")
    assert sysfs.ports(["sdb"]) == before


def test_another_device_under_the_same_name_is_read_afresh(tmp_path: Path) -> None:
    fc_disk(tmp_path, "sdb")
    sysfs = Sysfs(tmp_path)
    sysfs.ports(["sdb"])
    iscsi_disk(tmp_path, "sdb")
    assert sysfs.ports(["sdb"])["sdb"].transport == "iscsi"


def test_a_device_not_asked_for_is_forgotten(tmp_path: Path) -> None:
    fc_disk(tmp_path, "sdb")
    sysfs = Sysfs(tmp_path)
    sysfs.ports(["sdb"])
    sysfs.ports([])
    write(tmp_path, "class/fc_remote_ports/rport-2:0-1/port_name", "0x1")
    assert sysfs.ports(["sdb"])["sdb"].target == "0x1"


def test_a_local_address_not_known_yet_is_looked_for_again_soon(tmp_path: Path) -> None:
    iscsi_disk(tmp_path, "sdc", local="")
    clock = Clock()
    sysfs = Sysfs(tmp_path, clock=clock)
    assert sysfs.ports(["sdc"])["sdc"].initiator is None
    write(tmp_path, "class/iscsi_host/host4/ipaddress", "192.0.2.1")
    clock.now += 31
    assert sysfs.ports(["sdc"])["sdc"].initiator == "192.0.2.1"


def test_a_local_address_is_remembered_while_the_session_is_down(tmp_path: Path) -> None:
    iscsi_disk(tmp_path, "sdc", local="192.0.2.1")
    clock = Clock()
    sysfs = Sysfs(tmp_path, clock=clock)
    sysfs.ports(["sdc"])
    write(tmp_path, "class/iscsi_host/host4/ipaddress", "")
    clock.now += 301
    assert sysfs.ports(["sdc"])["sdc"].initiator == "192.0.2.1"
    write(tmp_path, "class/iscsi_host/host4/ipaddress", "192.0.2.2")
    clock.now += 301
    assert sysfs.ports(["sdc"])["sdc"].initiator == "192.0.2.2"


def test_a_size_is_in_bytes_whatever_the_sector(tmp_path: Path) -> None:
    dm(tmp_path, "dm-0", "mpath-36001", sectors="131072")
    assert Sysfs(tmp_path).size_bytes("dm-0") == 64 * 1024 * 1024


@pytest.mark.parametrize("sectors", ["", "-1", "many", "9" * 30, "١٢"])
def test_a_size_that_is_no_number_is_none(tmp_path: Path, sectors: str) -> None:
    dm(tmp_path, "dm-0", "mpath-36001", sectors=sectors)
    assert Sysfs(tmp_path).size_bytes("dm-0") is None


def test_the_kernels_multipath_maps_are_found_without_multipathd(tmp_path: Path) -> None:
    dm(tmp_path, "dm-0", "mpath-36001", alias=r"the\x20backup", slaves=("sdc", "sdb"))
    dm(tmp_path, "dm-1", "LVM-abc", alias="vg-root", slaves=("dm-0",))
    dm(tmp_path, "dm-2", "part1-mpath-36001", alias="backup-part1", slaves=("dm-0",))
    dm(tmp_path, "dm-3", "mpath-36002")
    fc_disk(tmp_path, "sdb")
    assert Sysfs(tmp_path).multipath_maps() == {
        "36001": MapDevice("dm-0", "the backup", ("sdb", "sdc")),
        "36002": MapDevice("dm-3", None, ()),
    }


def test_no_maps_and_no_sysfs_are_two_answers(tmp_path: Path) -> None:
    assert Sysfs(tmp_path).multipath_maps() is None
    (tmp_path / "block").mkdir()
    assert Sysfs(tmp_path).multipath_maps() == {}


def test_attributes_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    dm(tmp_path, "dm-0", "mpath-36001")
    size = tmp_path / "devices/virtual/block/dm-0/size"
    size.unlink()
    size.mkdir()
    assert Sysfs(tmp_path).size_bytes("dm-0") is None


@pytest.mark.skipif(not os.path.isdir("/sys/block"), reason="needs a mounted sysfs")  # noqa: PTH112
def test_this_machines_own_sysfs_can_be_read() -> None:
    sysfs = Sysfs()
    devices = [entry.name for entry in Path("/sys/block").iterdir()]
    assert set(sysfs.ports(devices)) <= set(devices)
    assert sysfs.multipath_maps() is not None
