"""The two ends of a path: the initiator port it leaves from and the target port it arrives at.

Says how ports are named; finding them out is `system.sysfs`'s business.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

#: The words on the wire (specification section 2).
Transport = Literal[
    "iscsi",
    "fc",
    "sas",
    "srp",
    "ata",
    "usb",
    "virtio",
    "nvme-tcp",
    "nvme-rdma",
    "nvme-fc",
    "nvme-pcie",
    "nvme-loop",
    "loop",
]


class Port(Struct, frozen=True):
    """What is known of one path's way through the SAN; None is "not known".

    `initiator` and `target` are only good for comparing paths of one transport: a WWPN (`0x…`) for Fibre Channel,
    the local address and `IQN@ADDRESS:PORT` for iSCSI (two portals of one IQN are two ports), a SAS address, a GID
    for SRP, `ADDRESS:PORT` for NVMe over IP. `hctl` is the SCSI address `H:C:T:L`.
    """

    transport: Transport | None = None
    initiator: str | None = None
    target: str | None = None
    hctl: str | None = None
