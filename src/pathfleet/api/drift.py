"""What multipathd goes by on the nodes, against what the cluster's configuration means it to."""

from __future__ import annotations

from pathfleet.api.nodes import forwarded
from pathfleet.api.operation import Call, operation
from pathfleet.cluster import drift
from pathfleet.cluster.access import Role
from pathfleet.cluster.drift import ClusterDrift
from pathfleet.core.drift import Effective
from pathfleet.core.facts import without_keys


@operation(
    "GET",
    "/cluster/multipath/drift",
    needs=Role.AUDITOR,
    summary="Which configuration each node has in force, and where its multipathd goes by something else",
    tag="config",
)
async def of_cluster(call: Call) -> ClusterDrift:
    """Ask every node; where one cannot be asked, `differences` is null and `reason` says why."""
    return await drift.look(call.service.store, lambda node: _effective(call, node))


@operation(
    "GET",
    "/nodes/{node}/multipath/effective",
    needs=Role.AUDITOR,
    summary="The configuration in force on a node, as its multipathd tells it",
    tag="nodes",
)
async def of_node(call: Call, node: str) -> Effective:
    """Return multipathd's answer to `show config local`; reservation keys are hidden."""
    return await _effective(call, node)


async def _effective(call: Call, node: str) -> Effective:
    if node != call.service.node:
        return await forwarded(call, node, ("multipath", "effective"), Effective)
    found = await call.service.effective()
    return Effective(without_keys(found.text), found.version)


OPERATIONS = (of_cluster, of_node)
