"""Break and mend a running lab over its hosts' API: what the page's panel asks. Only a demo has these operations."""

from __future__ import annotations

from msgspec import Struct

from pathfleet.api.operation import Call, Operation, operation
from pathfleet.cluster.access import Role
from pathfleet.errors import BadRequest, Busy, SettingsError
from pathfleet.lab.control import Control, Question
from pathfleet.lab.faults import FAULTS
from pathfleet.lab.san import Applied, San


class Possible(Struct, frozen=True, rename="kebab"):
    """A fault that there could be, at components of the kinds `applies_to`; `value` is what must be said, `[]` if may.

    The first that applies to a kind is the one that is plainly meant by breaking it.
    """

    name: str
    help: str
    applies_to: tuple[str, ...]
    value: str


class Lab(Struct, frozen=True, rename="kebab"):
    """What the lab has (kind by component name), what can happen to it, and what is wrong with it now, oldest first.

    `node` is the host that answers, and would not once it was broken. `luns`: the WWIDs of LUNs by their names.
    """

    node: str
    components: dict[str, str]
    luns: dict[str, str]
    possible: tuple[Possible, ...]
    faults: tuple[Applied, ...]


class Break(Struct, frozen=True, forbid_unknown_fields=True):
    """A fault that is to happen; `value` as the fault wants it."""

    component: str
    fault: str = "break"
    value: str = ""


class Mend(Struct, frozen=True, forbid_unknown_fields=True):
    """A fault that is to end: with this value, or whatever value it has. Without a component, all end."""

    component: str | None = None
    fault: str = "break"
    value: str = ""


_POSSIBLE = tuple(Possible(name, fault.help, fault.applies_to, fault.value) for name, fault in FAULTS.items())


def operations(control: Control, san: San) -> tuple[Operation, ...]:
    """Return the operations for the lab that `control` is about."""

    def done(call: Call, question: Question) -> Lab:
        try:
            answer = control.do(question)
        except SettingsError as error:
            raise BadRequest({"fault": str(error)}) from error
        luns = {lun.name: lun.wwid for lun in san.topology.luns}
        components = {**answer.components, **dict.fromkeys(luns, "lun")}
        return Lab(call.service.node, components, luns, _POSSIBLE, answer.faults)

    @operation("GET", "/lab", needs=Role.ADMIN, summary="What the lab has, and what is broken", tag="lab")
    async def show(call: Call) -> Lab:
        return done(call, Question("show"))

    @operation("POST", "/lab/break", needs=Role.ADMIN, summary="Let a fault happen", tag="lab")
    async def break_(call: Call, body: Break) -> Lab:
        if (body.fault, body.component) == ("break", call.service.node):
            raise Busy(f"{body.component} answers this, and could not be mended from here; ask another host for it")
        return done(call, Question("break", body.component, body.fault, body.value))

    @operation("POST", "/lab/mend", needs=Role.ADMIN, summary="End a fault, or all of them", tag="lab")
    async def mend(call: Call, body: Mend) -> Lab:
        if body.component is None:
            return done(call, Question("mend-all"))
        return done(call, Question("mend", body.component, body.fault, body.value))

    return (show, break_, mend)
