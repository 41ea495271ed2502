"""What a SAN consists of, as plain values: switches, arrays, hosts, LUNs, zones.

How they are written down is `san_file`'s business, what happens to them `fabric`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from pathfleet.errors import SettingsError

SanTransport = Literal["fc", "iscsi", "nvme-tcp"]
Version = Literal["0.8.5", "0.9.4", "0.11.1", "0.14.3"]


class Switch(Struct, frozen=True):
    """Switches of one fabric are connected to each other; fabrics are not."""

    name: str
    fabric: str


class Target(Struct, frozen=True):
    """A port of an array. `address`: a WWPN, or `IP:PORT`."""

    name: str
    switch: str
    address: str


class Controller(Struct, frozen=True):
    """One of an array's controllers: its LUNs are optimized at its own ports."""

    name: str
    ports: tuple[Target, ...]


class Array(Struct, frozen=True, rename="kebab"):
    """`node` is the WWNN, IQN or NQN that its ports share; without `alua` all its ports are equal."""

    name: str
    transport: SanTransport
    node: str
    controllers: tuple[Controller, ...]
    vendor: str = "EXAMPLE"
    product: str = "ARRAY"
    revision: str = "1.0"
    alua: bool = True

    def ports(self) -> Iterator[Target]:
        """Yield its ports, controller by controller."""
        for controller in self.controllers:
            yield from controller.ports


class Initiator(Struct, frozen=True):
    """A port of a host. `address`: a WWPN, or an IP address; `node`: its WWNN for Fibre Channel, else empty."""

    name: str
    switch: str
    transport: SanTransport
    address: str
    node: str = ""


class Host(Struct, frozen=True):
    """A cluster node, and the version of multipath-tools that it has."""

    name: str
    version: Version
    ports: tuple[Initiator, ...]


class Lun(Struct, frozen=True, rename="kebab"):
    """`size` in bytes. `hosts`: who sees it (empty: everybody). `listed`: in the hosts' wwids files.

    `in_use`: something has it open and does I/O, which finds a dead path at once.
    """

    name: str
    wwid: str
    array: str
    controller: str
    number: int
    size: int
    hosts: tuple[str, ...] = ()
    alias: str | None = None
    in_use: bool = True
    listed: bool = True


class Zone(Struct, frozen=True):
    """Ports that see each other: named one by one, or by host, array or controller."""

    name: str
    members: tuple[str, ...]


class Topology(Struct, frozen=True):
    """A whole SAN. Without zones everything in a fabric sees everything.

    `defaults`: what the section of this name in every host's multipath.conf says.
    """

    name: str
    switches: tuple[Switch, ...]
    arrays: tuple[Array, ...]
    hosts: tuple[Host, ...]
    luns: tuple[Lun, ...]
    zones: tuple[Zone, ...] = ()
    defaults: dict[str, str] = {}

    def fabric_of(self) -> dict[str, str]:
        """Return the fabric of each switch."""
        return {switch.name: switch.fabric for switch in self.switches}


def checked(topology: Topology) -> Topology:
    """Return the topology if its parts fit together. Raises SettingsError that names the part."""
    switches, hosts = topology.fabric_of(), {host.name for host in topology.hosts}
    controllers = {array.name: {c.name for c in array.controllers} for array in topology.arrays}
    _refuse_doubles(topology)
    for name, switch in _plugs(topology):
        if switch not in switches:
            raise SettingsError(f"port {name}: there is no switch {switch!r}")
    for lun in topology.luns:
        if lun.controller not in controllers.get(lun.array, ()):
            raise SettingsError(f"lun {lun.name}: there is no controller {lun.controller!r} in an array {lun.array!r}")
        for host in lun.hosts:
            if host not in hosts:
                raise SettingsError(f"lun {lun.name}: there is no host {host!r}")
    members = {name for name, _ in named(topology)}
    for zone in topology.zones:
        for member in zone.members:
            if member not in members:
                raise SettingsError(f"zone {zone.name}: there is no {member!r}")
    return topology


def named(topology: Topology) -> Iterator[tuple[str, str]]:
    """Yield the name and kind of every component."""
    for switch in topology.switches:
        yield switch.name, "switch"
    for array in topology.arrays:
        yield array.name, "array"
        for controller in array.controllers:
            yield controller.name, "controller"
            for target in controller.ports:
                yield target.name, "target"
    for host in topology.hosts:
        yield host.name, "host"
        for initiator in host.ports:
            yield initiator.name, "hba"
    for lun in topology.luns:
        yield lun.name, "lun"


def _plugs(topology: Topology) -> Iterator[tuple[str, str]]:
    for array in topology.arrays:
        yield from ((target.name, target.switch) for target in array.ports())
    for host in topology.hosts:
        yield from ((port.name, port.switch) for port in host.ports)


def _refuse_doubles(topology: Topology) -> None:
    for what, names in (
        ("name", [name for name, _ in named(topology)]),
        ("wwid", [lun.wwid for lun in topology.luns]),
        ("LUN number of array", [f"{lun.array} {lun.number}" for lun in topology.luns]),
        ("alias", [lun.alias for lun in topology.luns if lun.alias]),
    ):
        for name, count in Counter(names).items():
            if count > 1:
                raise SettingsError(f"the {what} {name!r} is given {count} times")
