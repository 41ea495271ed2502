"""The cluster's configuration of multipathd, as its two files say it (specification section 5)."""

from __future__ import annotations

from msgspec import Struct

from pathfleet.api import configure
from pathfleet.api.operation import Call, operation
from pathfleet.cluster import config
from pathfleet.cluster.access import Role
from pathfleet.core import schema
from pathfleet.core.property import Property
from pathfleet.core.sections import Problem
from pathfleet.errors import NotFound


class Entry(Struct, frozen=True):
    """A resource below this one."""

    name: str


class MultipathIndex(Struct, frozen=True, rename="kebab"):
    """What there is below, and the configuration as a whole.

    `digest` and `overrides-digest` are of the two files, as changes of them must name it; `combined-digest` is what
    nodes apply: see `apply` of the nodes in the status. `problems`: what in the file counts for nothing.
    """

    subdirs: list[Entry]
    defaults: dict[str, str]
    wwids: dict[str, dict[str, str]]
    problems: tuple[Problem, ...]
    digest: str
    overrides_digest: str
    combined_digest: str


class Overrides(Struct, frozen=True):
    """The administrator's own text in the syntax of multipath.conf; `digest` is what a change of it must name."""

    content: str
    digest: str


_NAMES = ("defaults", "doctor", "drift", "events", "luns", "overrides", "properties", "status", "wwid")
_BELOW = tuple(map(Entry, _NAMES))


@operation(
    "GET",
    "/cluster/multipath",
    needs=Role.AUDITOR,
    summary="The whole configuration with its digests, and what there is below",
    tag="config",
)
async def index(call: Call) -> MultipathIndex:
    """Return what multipath.cfg says."""
    current = await config.read(call.service.store)
    said = current.configuration
    return MultipathIndex(
        list(_BELOW),
        said.defaults,
        said.wwids,
        said.problems,
        current.digest,
        current.overrides_digest,
        current.combined_digest,
    )


@operation(
    "GET",
    "/cluster/multipath/defaults",
    needs=Role.AUDITOR,
    summary="The defaults of all LUNs, and the digest that a change must name",
    tag="config",
)
async def defaults(call: Call) -> dict[str, str]:
    """Return the properties of `defaults`, and `digest` among them."""
    current = await config.read(call.service.store)
    return {**current.configuration.defaults, "digest": current.digest}


@operation(
    "GET",
    "/cluster/multipath/wwid",
    needs=Role.AUDITOR,
    summary="The LUNs that are allow-listed or have properties of their own",
    tag="config",
)
async def wwids(call: Call) -> list[dict[str, str]]:
    """Return for each LUN its `wwid`, its properties and the file's `digest`, in the order of the file."""
    current = await config.read(call.service.store)
    return [_lun(wwid, of, current.digest) for wwid, of in current.configuration.wwids.items()]


@operation("GET", "/cluster/multipath/wwid/{wwid}", needs=Role.AUDITOR, summary="One LUN's properties", tag="config")
async def wwid(call: Call, wwid: str) -> dict[str, str]:
    """Return the LUN's `wwid`, its properties and the file's `digest`."""
    current = await config.read(call.service.store)
    properties = current.configuration.wwids.get(wwid)
    if properties is None:
        raise NotFound(f"there is no LUN {wwid!r} in the configuration; GET /cluster/multipath/wwid names all")
    return _lun(wwid, properties, current.digest)


@operation(
    "GET",
    "/cluster/multipath/overrides",
    needs=Role.AUDITOR,
    summary="The administrator's own text, and the digest that a change must name",
    tag="config",
)
async def overrides(call: Call) -> Overrides:
    """Return the text and its own digest."""
    current = await config.read(call.service.store)
    return Overrides(current.overrides, current.overrides_digest)


@operation(
    "GET",
    "/cluster/multipath/properties",
    needs=Role.AUDITOR,
    summary="What can be set for all LUNs and for one, and to what",
    tag="config",
)
async def properties(_: Call) -> tuple[Property, ...]:
    """Return the table of properties: what forms are made of."""
    return schema.PROPERTIES


def _lun(wwid: str, properties: dict[str, str], digest: str) -> dict[str, str]:
    return {"wwid": wwid, **properties, "digest": digest}


OPERATIONS = (index, defaults, wwids, wwid, overrides, properties, *configure.OPERATIONS)
