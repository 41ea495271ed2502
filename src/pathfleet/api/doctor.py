"""The doctor: what is wrong in the cluster, or on one node, which is asked itself; and what of it stays quiet."""

from __future__ import annotations

import time
from typing import Annotated

from msgspec import Meta, Struct

from pathfleet.api.nodes import forwarded
from pathfleet.api.operation import Call, operation
from pathfleet.cluster import doctor
from pathfleet.cluster.access import Role
from pathfleet.cluster.doctor import Diagnosis
from pathfleet.core.facts import NodeFacts
from pathfleet.core.mutes import Mute
from pathfleet.core.rules import BY_CODE
from pathfleet.core.wire import Time

Code = Annotated[str, Meta(description="A finding's code.", extra_json_schema={"enum": sorted(BY_CODE)})]
Reason = Annotated[
    str,
    Meta(
        description="Why it may stay so, for whoever looks next.",
        extra_json_schema={"maxLength": doctor.REASON_LIMIT, "pattern": r"\S"},
    ),
]
Subject = Annotated[
    str,
    Meta(
        description="A node, WWID or storage; without one, any.",
        extra_json_schema={"minLength": 1, "maxLength": doctor.SUBJECT_LIMIT},
    ),
]


class NodeDiagnosis(Diagnosis, frozen=True, kw_only=True, rename="kebab"):
    """A node's diagnosis, with what it goes by: what only the node itself could find out."""

    facts: NodeFacts


class NewMute(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Findings that are to be quiet in the whole cluster.

    What it may hold is documented here, and checked by `doctor.mute`, which says in words what is wrong.
    """

    code: Code
    until: Annotated[Time, Meta(description="When they are heard again (epoch seconds).")]
    reason: Reason
    subject: Subject | None = None


class MuteQuery(Struct, frozen=True):
    """Which mute of a code: the one about `subject`, or the one about any."""

    subject: Subject | None = None


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


@operation(
    "GET",
    "/cluster/multipath/doctor/mutes",
    needs=Role.AUDITOR,
    summary="What is muted, until when, and why",
    tag="cluster",
)
async def mutes(call: Call) -> tuple[Mute, ...]:
    """Return all mutes, also those that are over and not yet forgotten."""
    return await doctor.muted(call.service.store)


@operation(
    "POST",
    "/cluster/multipath/doctor/mutes",
    needs=Role.OPERATOR,
    summary="Keep findings quiet for a while",
    tag="cluster",
)
async def mute(call: Call, body: NewMute) -> None:
    """Mute them on every node. A mute of the same code and subject is replaced."""
    new = Mute(body.code, body.until, body.reason, body.subject)
    await doctor.mute(call.service.store, new, int(time.time()))


@operation(
    "DELETE",
    "/cluster/multipath/doctor/mutes/{code}",
    needs=Role.OPERATOR,
    summary="Let findings be heard again",
    tag="cluster",
)
async def unmute(call: Call, code: str, query: MuteQuery) -> None:
    """End the mute of this code and `subject`. Without one, the mute about any subject ends, and no other."""
    await doctor.unmute(call.service.store, code, query.subject)


OPERATIONS = (of_cluster, of_node, mutes, mute, unmute)
