"""Everything that can go wrong in a lab, by name: one table, which the command line and timelines go by."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from pathfleet.errors import SettingsError
from pathfleet.lab import identity
from pathfleet.lab.fabric import Access
from pathfleet.lab.san import Applied, San
from pathfleet.lab.server import Manner

#: Kinds of components, as `Fabric.kinds` has them, and those that are not in the fabric: `path` (`HOST:sda`), `store`.
PARTS = ("switch", "array", "controller", "target", "hba", "cable")

Change = Callable[[San, str, str], None]


class Fault(Struct, frozen=True):
    """`applies_to`: kinds of components. `value`: what further must be said, empty if nothing.

    `begin` and `end` do it and undo it, given the lab, the component's name and the value.
    """

    help: str
    applies_to: tuple[str, ...]
    begin: Change
    end: Change
    value: str = ""


def _behave(manner: Manner) -> Change:
    def change(san: San, host: str, _: str) -> None:
        san.node(host).server.behave(manner)
        # a daemon has one manner at a time
        san.applied[:] = [each for each in san.applied if each.component != host or each.fault not in [*Manner]]

    return change


def _restart(san: San, host: str, _: str) -> None:
    if san.node(host).powered:
        san.node(host).start_daemon()


def _resize(san: San, name: str, value: str) -> None:
    san.fabric.resize(name, identity.size_bytes(value))


def _clone(san: San, name: str, value: str) -> None:
    san.fabric.rename(name, san.fabric.lun(value).lun.wwid)


def _hide(san: San, name: str, value: str) -> None:
    san.fabric.hide(name, [san.node(value).name] if value else ())


def _access(san: San, name: str, value: str) -> None:
    where, _, state = value.partition("=")
    if state not in [*Access]:
        raise SettingsError(f"alua {name} {value!r}: PORT=STATE, where STATE is one of {', '.join(Access)}")
    san.fabric.set_access(name, where, Access(state))


def _swap(san: San, name: str, _: str) -> None:
    live = san.fabric.lun(name)
    array = next(array for array in san.fabric.topology.arrays if array.name == live.lun.array)
    for controller in array.controllers:
        state = Access.NON_OPTIMIZED if controller.name == live.lun.controller else Access.OPTIMIZED
        san.fabric.set_access(name, controller.name, state)


def _no_access(san: San, name: str, value: str) -> None:
    san.fabric.set_access(name, value.partition("=")[0] or san.fabric.lun(name).lun.array, None)


def _offline(offline: bool) -> Change:
    def change(san: San, name: str, _: str) -> None:
        node, path = san.path(name)
        node.kernel.set_offline(path, offline=offline)

    return change


def _suspend(suspended: bool) -> Change:
    def change(san: San, name: str, value: str) -> None:
        node = san.node(value)
        map_ = node.kernel.maps.get(san.fabric.lun(name).wwid)
        if map_ is None:
            raise SettingsError(f"host {node.name} has no map of LUN {name!r}")
        node.kernel.suspend(map_, suspended=suspended)

    return change


def _open(is_open: bool) -> Change:
    def change(san: San, name: str, _: str) -> None:
        wwid = san.fabric.lun(name).wwid
        for node in san.nodes.values():
            if wwid in node.kernel.maps:
                node.kernel.maps[wwid].open = is_open

    return change


FAULTS: Mapping[str, Fault] = {
    "break": Fault(
        "nothing goes through it any more; a host is down",
        (*PARTS, "host", "nexus"),
        lambda san, name, _: san.break_(name),
        lambda san, name, _: san.mend(name),
    ),
    "marginal": Fault(
        "loses I/O now and then, so that multipathd calls its paths marginal",
        PARTS,
        lambda san, name, _: san.fabric.make_marginal(name),
        lambda san, name, _: san.fabric.make_sound(name),
    ),
    "logout": Fault(
        "its sessions are taken down, and the kernel removes their devices",
        (*PARTS, "nexus"),
        lambda san, name, _: san.fabric.log_out(name),
        lambda san, name, _: san.fabric.log_in(name),
    ),
    "offline": Fault("the path device is set offline in sysfs", ("path",), _offline(True), _offline(False)),
    "unmap": Fault(
        "the array no longer shows the LUN, to one host if it is named",
        ("lun",),
        _hide,
        lambda san, name, value: san.fabric.show(name, [san.node(value).name] if value else ()),
        "[HOST]",
    ),
    "resize": Fault(
        "the LUN has another size",
        ("lun",),
        _resize,
        lambda san, name, _: san.fabric.resize(name, san.fabric.lun(name).lun.size),
        "SIZE",
    ),
    "clone": Fault(
        "the LUN reports the WWID of another one",
        ("lun",),
        _clone,
        lambda san, name, _: san.fabric.rename(name, None),
        "LUN",
    ),
    "alua": Fault(
        "the LUN's access state at a port, controller or array", ("lun",), _access, _no_access, "PORT=STATE"
    ),
    "swap": Fault("the LUN is optimized at the other controller", ("lun",), _swap, _no_access),
    "suspend": Fault("the LUN's map on a host is suspended", ("lun",), _suspend(True), _suspend(False), "HOST"),
    "unused": Fault("nothing has the LUN's maps open or does I/O", ("lun",), _open(False), _open(True)),
    "dead": Fault(
        "multipathd does not run",
        ("host",),
        lambda san, host, _: san.node(host).daemon.stop(),
        _restart,
    ),
    "hung": Fault(
        "multipathd does nothing more, and answers nothing",
        ("host",),
        lambda san, host, _: san.node(host).daemon.hang(),
        _restart,
    ),
    **{
        manner.value: Fault(help_, ("host",), _behave(manner), _behave(Manner.ANSWERS))
        for manner, help_ in (
            (Manner.DEAF, "multipathd takes no connection"),
            (Manner.SLOW, "multipathd answers after three seconds"),
            (Manner.BUSY, "multipathd answers `timeout`"),
            (Manner.CUTS, "multipathd stops in the middle of its replies"),
            (Manner.CLOSES, "multipathd closes connections unanswered"),
        )
    },
    "store": Fault(
        "the cluster's store is down (for whoever runs the lab to act on)",
        ("store",),
        lambda san, _, __: san.store_lost(lost=True),
        lambda san, _, __: san.store_lost(lost=False),
    ),
}


def inflict(san: San, fault: str, name: str, value: str = "") -> None:
    """Let a fault happen to a component. Raises SettingsError."""
    found = _checked(san, fault, name, value)
    san.clock.catch_up()
    found.begin(san, name, value)
    if Applied(fault, name, value) not in san.applied:
        san.applied.append(Applied(fault, name, value))


def relieve(san: San, fault: str, name: str, value: str = "") -> None:
    """End a fault: as it was said with this value, or all of its kind at this component. Raises SettingsError."""
    there = [
        each for each in san.applied if (each.fault, each.component) == (fault, name) and value in ("", each.value)
    ]
    for each in reversed(there or [Applied(fault, name, value)]):
        found = _checked(san, fault, name, each.value)
        san.clock.catch_up()
        found.end(san, name, each.value)
        san.applied[:] = [other for other in san.applied if other != each]


def _checked(san: San, fault: str, name: str, value: str) -> Fault:
    found = FAULTS.get(fault)
    if found is None:
        raise SettingsError(f"there is no fault {fault!r}; there are {', '.join(FAULTS)}")
    kind = san.kind(name)
    if kind not in found.applies_to:
        raise SettingsError(f"{fault} {name}: that is a {kind}; {fault} is for {', '.join(found.applies_to)}")
    if value and not found.value:
        raise SettingsError(f"{fault} {name}: takes no value, but {value!r} was said")
    if found.value and not found.value.startswith("[") and not value:
        raise SettingsError(f"{fault} {name}: say also {found.value}")
    return found
