"""The LUNs that nodes see: those of the allow-list, and those that could be on it."""

from __future__ import annotations

from pathfleet.api.nodes import forwarded
from pathfleet.api.operation import Call, operation
from pathfleet.cluster import luns
from pathfleet.cluster.access import Role
from pathfleet.cluster.luns import LunsSeen
from pathfleet.core.facts import Disk


@operation(
    "GET",
    "/cluster/multipath/luns",
    needs=Role.AUDITOR,
    summary="All LUNs, allowed or not, with the nodes that see a map or a disk of them",
    tag="config",
)
async def of_cluster(call: Call) -> LunsSeen:
    """Ask every node which disks it has; `silent` says why those of a node are not known."""
    return await luns.seen(call.service.store, lambda node: _disks(call, node))


@operation(
    "GET",
    "/nodes/{node}/disks/luns",
    needs=Role.AUDITOR,
    summary="The disks of a node that have a WWID, whether or not they are paths of a map",
    tag="nodes",
)
async def of_node(call: Call, node: str) -> tuple[Disk, ...]:
    """Return the node's disks; those whose WWID sysfs does not tell are left out."""
    return await _disks(call, node)


async def _disks(call: Call, node: str) -> tuple[Disk, ...]:
    if node != call.service.node:
        return await forwarded(call, node, ("disks", "luns"), tuple[Disk, ...])
    return await call.service.disks()


OPERATIONS = (of_cluster, of_node)
