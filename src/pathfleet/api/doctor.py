"""The doctor: what is wrong in the cluster, or on one node, which is asked itself."""

from __future__ import annotations

import time

from pathfleet.api.nodes import forwarded
from pathfleet.api.operation import Call, operation
from pathfleet.cluster import doctor
from pathfleet.cluster.access import Role
from pathfleet.cluster.doctor import Diagnosis
from pathfleet.core.facts import NodeFacts


class NodeDiagnosis(Diagnosis, frozen=True, kw_only=True, rename="kebab"):
    """A node's diagnosis, with what it goes by: what only the node itself could find out."""

    facts: NodeFacts


@operation(
    "GET",
    "/cluster/multipath/doctor",
    needs=Role.AUDITOR,
    summary="What is wrong in the cluster, what that means, and what to do",
    tag="cluster",
)
async def of_cluster(call: Call) -> Diagnosis:
    """Ask every node that is there; `unexamined` says of which nobody knows whether they are well."""

    async def ask(node: str) -> NodeFacts:
        if node == call.service.node:
            return await call.service.examine()
        return (await forwarded(call, node, ("doctor",), NodeDiagnosis)).facts

    return await doctor.of_cluster(call.service.store, ask, time.time)


@operation(
    "GET",
    "/nodes/{node}/doctor",
    needs=Role.AUDITOR,
    summary="What is wrong on a node, what that means, and what to do",
    tag="nodes",
)
async def of_node(call: Call, node: str) -> NodeDiagnosis:
    """Return what the node finds on itself now."""
    if node != call.service.node:
        return await forwarded(call, node, ("doctor",), NodeDiagnosis)
    facts = await call.service.examine()
    found = await doctor.of_node(call.service.store, facts, time.time())
    return NodeDiagnosis(found.findings, found.muted, found.unexamined, found.examined, facts=facts)


OPERATIONS = (of_cluster, of_node)
