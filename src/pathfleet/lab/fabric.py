"""The live SAN: which ports reach each other now, and what each LUN says of itself at each of them.

It knows components and their state, not what a host makes of it: hosts are told what changed, and look again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Literal

from msgspec import Struct

from pathfleet.errors import SettingsError
from pathfleet.lab.topology import Array, Controller, Host, Initiator, Lun, SanTransport, Target, Topology, named


class Access(StrEnum):
    """A LUN's asymmetric access state at a port (SPC-4, ALUA; NVMe has the same in ANA)."""

    OPTIMIZED = "optimized"
    NON_OPTIMIZED = "non-optimized"
    STANDBY = "standby"
    UNAVAILABLE = "unavailable"


class Nexus:
    """An initiator port and a target port that were cabled and zoned to see each other: the way of one path per LUN.

    `logged_in`: wanted by the host; `connected`: nothing on the way is broken. `instance` and `target_id` are the
    numbers that the host's kernel gives: SCSI host and target, or NVMe controller.
    """

    __slots__ = (
        "array",
        "connected",
        "controller",
        "host",
        "initiator",
        "instance",
        "logged_in",
        "parts",
        "target",
        "target_id",
    )

    def __init__(self, host: Host, initiator: Initiator, array: Array, controller: Controller, target: Target) -> None:
        self.host = host.name
        self.initiator = initiator
        self.array = array
        self.controller = controller.name
        self.target = target
        self.instance = self.target_id = 0
        self.logged_in = self.connected = True
        switches = dict.fromkeys((initiator.switch, target.switch))
        ends = (initiator.name, cable(initiator.name), cable(target.name), target.name, controller.name, array.name)
        self.parts = (*ends, *switches, self.name)

    @property
    def transport(self) -> SanTransport:
        """How I/O goes over it."""
        return self.initiator.transport

    @property
    def name(self) -> str:
        """The name that it has in commands."""
        return f"{self.initiator.name}>{self.target.name}"


class LiveLun:
    """A LUN as its array presents it now. `hidden_from`: hosts that no longer see it; `access`: by target port."""

    __slots__ = ("access", "hidden_from", "lun", "size", "wwid")

    def __init__(self, lun: Lun) -> None:
        self.lun = lun
        self.size = lun.size
        self.wwid = lun.wwid
        self.hidden_from: frozenset[str] = frozenset()
        self.access: dict[str, Access] = {}


class Change(Struct, frozen=True):
    """What a host should look at again: the paths over a nexus, those of a LUN, or (both given) the one path.

    `gone` and `back`: the kernel loses these devices, or finds them; `state`: they answer differently.
    """

    what: Literal["state", "size", "gone", "back"]
    nexus: Nexus | None = None
    lun: LiveLun | None = None


def cable(port: str) -> str:
    """Return the name of the cable at a port."""
    return f"cable:{port}"


class Fabric:
    """A topology, alive. Methods that take a component's name raise SettingsError if there is none."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.kinds = dict(named(topology))
        self.luns = {lun.name: LiveLun(lun) for lun in topology.luns}
        self.broken: set[str] = set()
        self.marginal: set[str] = set()
        self.nexuses = {host.name: _nexuses(topology, host) for host in topology.hosts}
        self._through: dict[str, list[Nexus]] = defaultdict(list)
        for nexuses in self.nexuses.values():
            for nexus in nexuses:
                for part in nexus.parts:
                    self._through[part].append(nexus)
        self.kinds |= {part: "cable" for part in self._through if part.startswith("cable:")}
        self._luns_of: dict[str, dict[str, list[LiveLun]]] = {}
        self._listeners: dict[str, Callable[[Change], None]] = {}

    def listen(self, host: str, listener: Callable[[Change], None]) -> None:
        """Let a host hear of what concerns it."""
        self._listeners[host] = listener

    def luns_over(self, nexus: Nexus) -> list[LiveLun]:
        """Return the LUNs that a nexus leads to, whether or not they are hidden now, by number."""
        by_array = self._luns_of.get(nexus.host)
        if by_array is None:
            by_array = self._luns_of[nexus.host] = defaultdict(list)
            for lun in sorted(self.luns.values(), key=lambda live: live.lun.number):
                if not lun.lun.hosts or nexus.host in lun.lun.hosts:
                    by_array[lun.lun.array].append(lun)
        return by_array[nexus.array.name]

    def reachable(self, nexus: Nexus) -> bool:
        """Whether the two ports can talk to each other now."""
        return nexus.logged_in and nexus.connected

    def access(self, nexus: Nexus, lun: LiveLun) -> Access:
        """Return the LUN's access state at the target port of a nexus."""
        state = lun.access.get(nexus.target.name)
        if state is not None:
            return state
        owned = not nexus.array.alua or nexus.controller == lun.lun.controller
        return Access.OPTIMIZED if owned else Access.NON_OPTIMIZED

    def visible(self, nexus: Nexus, lun: LiveLun) -> bool:
        """Whether the array shows the LUN to the nexus's host."""
        return nexus.host not in lun.hidden_from

    def is_marginal(self, nexus: Nexus) -> bool:
        """Whether a part on the way loses I/O now and then."""
        return bool(self.marginal) and not self.marginal.isdisjoint(nexus.parts)

    def break_(self, name: str) -> None:
        """Break a component: nothing goes through it."""
        self._told(name, self.broken.add)

    def mend(self, name: str) -> None:
        """Mend a component."""
        self._told(name, self.broken.discard)

    def make_marginal(self, name: str) -> None:
        """Let a component lose I/O now and then."""
        self._told(name, self.marginal.add)

    def make_sound(self, name: str) -> None:
        """Let a marginal component be sound again."""
        self._told(name, self.marginal.discard)

    def log_out(self, name: str) -> None:
        """Take the sessions over a component down as an administrator does: the kernel removes their devices."""
        for nexus in self.through(name):
            if nexus.logged_in:
                nexus.logged_in = False
                self._tell(nexus.host, Change("gone", nexus))

    def log_in(self, name: str) -> None:
        """Bring these sessions back; the kernel finds their devices anew."""
        for nexus in self.through(name):
            if not nexus.logged_in:
                nexus.logged_in = True
                self._tell(nexus.host, Change("back", nexus))

    def hide(self, lun: str, hosts: Iterable[str] = ()) -> None:
        """Stop showing a LUN, to these hosts or to all: their devices stay and fail."""
        live = self.lun(lun)
        live.hidden_from |= frozenset(hosts) or frozenset(self.nexuses)
        self._tell_all(Change("state", lun=live))

    def show(self, lun: str, hosts: Iterable[str] = ()) -> None:
        """Show a LUN again, to these hosts or to all."""
        live = self.lun(lun)
        live.hidden_from = live.hidden_from - frozenset(hosts) if hosts else frozenset()
        self._tell_all(Change("state", lun=live))

    def resize(self, lun: str, size: int) -> None:
        """Give a LUN another size (bytes)."""
        live = self.lun(lun)
        live.size = size
        self._tell_all(Change("size", lun=live))

    def rename(self, lun: str, wwid: str | None) -> None:
        """Let a LUN report another WWID, None for its own; hosts identify its devices anew."""
        live = self.lun(lun)
        self._tell_all(Change("gone", lun=live))
        live.wwid = wwid or live.lun.wwid
        self._tell_all(Change("back", lun=live))

    def set_access(self, lun: str, name: str, state: Access | None) -> None:
        """Set a LUN's access state at an array's, a controller's or one target port; None for the usual one."""
        live = self.lun(lun)
        for port in dict.fromkeys(nexus.target.name for nexus in self.through(name)):
            if state is None:
                live.access.pop(port, None)
            else:
                live.access[port] = state
        self._tell_all(Change("state", lun=live))

    def lun(self, name: str) -> LiveLun:
        """Return a LUN by its name, WWID or alias."""
        named = (each for each in self.luns.values() if name in (each.lun.wwid, each.lun.alias))
        live = self.luns.get(name) or next(named, None)
        if live is None:
            raise SettingsError(f"there is no LUN {name!r} in this lab")
        return live

    def through(self, name: str) -> list[Nexus]:
        """Return the nexuses that go through a component; `INITIATOR>TARGET` is a component too."""
        if name not in self.kinds and name not in self._through:
            raise SettingsError(f"there is no component {name!r} in this lab")
        return self._through.get(name, [])

    def _told(self, name: str, change: Callable[[str], None]) -> None:
        nexuses = self.through(name)
        before = [(self.reachable(nexus), self.is_marginal(nexus)) for nexus in nexuses]
        change(name)
        for nexus, was in zip(nexuses, before, strict=True):
            nexus.connected = self.broken.isdisjoint(nexus.parts)
            if (self.reachable(nexus), self.is_marginal(nexus)) != was:
                self._tell(nexus.host, Change("state", nexus))

    def _tell_all(self, change: Change) -> None:
        for host in self._listeners:
            self._tell(host, change)

    def _tell(self, host: str, change: Change) -> None:
        if host in self._listeners:
            self._listeners[host](change)


def _nexuses(topology: Topology, host: Host) -> tuple[Nexus, ...]:
    nexuses = tuple([Nexus(host, *ends) for ends in _pairs(topology, host)])
    next_free = 1
    for number, nexus in enumerate(nexuses):
        before = [other for other in nexuses[:number] if other.initiator is nexus.initiator]
        if nexus.transport == "fc" and before:
            nexus.instance, nexus.target_id = before[0].instance, len(before)
        else:  # a Fibre Channel port is one SCSI host; an iSCSI session and an NVMe connection are one each
            nexus.instance, next_free = next_free, next_free + 1
    return nexuses


def _pairs(topology: Topology, host: Host) -> Iterator[tuple[Initiator, Array, Controller, Target]]:
    fabric_of = topology.fabric_of()
    for initiator in host.ports:
        for array in topology.arrays:
            if array.transport != initiator.transport:
                continue
            for controller in array.controllers:
                for target in controller.ports:
                    seen = fabric_of[initiator.switch] == fabric_of[target.switch]
                    names = {array.name, controller.name, target.name}
                    if seen and _zoned(topology, {host.name, initiator.name}, names):
                        yield initiator, array, controller, target


def _zoned(topology: Topology, initiator: set[str], target: set[str]) -> bool:
    return not topology.zones or any(
        not initiator.isdisjoint(zone.members) and not target.isdisjoint(zone.members) for zone in topology.zones
    )
