"""Storages of type lvm on LUNs of the array, as an operator makes them."""

import json
from dataclasses import dataclass

from tests.vm.guest import target
from tests.vm_cluster.cluster import Node


@dataclass(frozen=True)
class OnLun:
    """A storage whose group, of the same name, is on a LUN of the array."""

    name: str
    number: int

    @property
    def wwid(self) -> str:
        """The LUN, as the nodes call it."""
        return target.wwid(self.number)

    @property
    def device(self) -> str:
        """The LUN's map, on every node."""
        return f"/dev/disk/by-id/dm-uuid-mpath-{self.wwid}"

    def allow(self, node: Node) -> None:
        """Put its LUN on the cluster's allow-list, with a name."""
        node.pathfleet(f"config lun add {self.wwid} --alias lun-{self.name}")

    def add(self, node: Node, luns: str, *, check: bool = True) -> str:
        """Make it on its LUN of storage `luns`, if that is not refused; return what is said."""
        return node.pathfleet(
            f"storage add lvm {self.name} --base {luns}:{self.wwid} --vgname {self.name}", check=check
        )

    def size(self, node: Node) -> int:
        """Return the size of its group as a node's own LVM sees it, in bytes; 0: there is none."""
        shown = node.guest.run("vgs --reportformat json --units b --nosuffix -o vg_name,vg_size").stdout
        groups = json.loads(shown)["report"][0]["vg"]
        return sum(int(group["vg_size"]) for group in groups if group["vg_name"] == self.name)


#: The one that the tests share.
SHARED = OnLun("vms", 3)


def known(node: Node) -> set[str]:
    """Return the names of the cluster's storages."""
    return {row["storage"] for row in json.loads(node.pathfleet("storage list -o json"))["storages"]}


def allocate(node: Node, storage: OnLun, size: str = "8M") -> str:
    """Return the volume that a node allocates."""
    return node.pathfleet(f"storage allocate {storage.name} {size} --vmid 100").split()[0]


def activate(node: Node, volume: str) -> str:
    """Return the device that a volume has on a node from now on."""
    return node.pathfleet(f"storage activate {volume}").split()[-1]
