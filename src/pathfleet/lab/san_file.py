"""Topologies as TOML files: short to write (counts expand, names and addresses follow), and the long form written out.

docs/lab.md describes the file. Reading what `dump` writes gives the same topology again.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources

import msgspec
from msgspec import Struct

from pathfleet.errors import SettingsError
from pathfleet.lab import identity
from pathfleet.lab.topology import (
    Array,
    Controller,
    Host,
    Initiator,
    Lun,
    SanTransport,
    Switch,
    Target,
    Topology,
    Version,
    Zone,
    checked,
)

NEWEST: Version = "0.14.3"
_ISCSI_PORT, _NVME_PORT = 3260, 4420
#: Where the addresses of hosts begin in a fabric, so that an array that grows moves none of them.
_FIRST_HOST_NUMBER = 500


class _Written(Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """What a user writes is held to what there is."""


class _Port(_Written, frozen=True):
    name: str
    switch: str
    address: str = ""
    transport: SanTransport | None = None
    node: str = ""


class _Controller(_Written, frozen=True):
    name: str
    ports: tuple[_Port, ...]


class _Array(_Written, frozen=True):
    name: str
    transport: SanTransport = "fc"
    node: str = ""
    controllers: int | tuple[_Controller, ...] = 2
    ports: int = 2
    vendor: str = "EXAMPLE"
    product: str = "ARRAY"
    revision: str = "1.0"
    alua: bool = True


class _Host(_Written, frozen=True):
    name: str
    count: int | None = None
    version: Version | None = None
    versions: tuple[Version, ...] = ()
    transports: tuple[SanTransport, ...] = ()
    ports: int | tuple[_Port, ...] | None = None


class _Lun(_Written, frozen=True):
    name: str
    size: str | int
    count: int | None = None
    array: str = ""
    controller: str = ""
    wwid: str = ""
    number: int | None = None
    hosts: tuple[str, ...] = ()
    alias: str | None = None
    aliases: tuple[str, ...] = ()
    in_use: bool = True
    listed: bool = True


class _Topology(_Written, frozen=True):
    name: str
    switches: tuple[Switch, ...]
    arrays: tuple[_Array, ...]
    hosts: tuple[_Host, ...]
    luns: tuple[_Lun, ...] = ()
    zones: tuple[Zone, ...] = ()
    defaults: dict[str, str | int] = {}


def load(text: str) -> Topology:
    """Return the topology that a file's text describes. Raises SettingsError that names the place."""
    try:
        written = msgspec.convert(tomllib.loads(text), _Topology)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise SettingsError(f"not a topology: {error}") from error
    return checked(_Expansion(written).topology())


def ready() -> dict[str, str]:
    """Return the text of each topology that comes with pathfleet, by its name."""
    files = resources.files("pathfleet.lab").joinpath("topologies").iterdir()
    return {file.name.removesuffix(".toml"): file.read_text("utf-8") for file in files if file.name.endswith(".toml")}


class _Expansion:
    """Fills in what was left out: names, ports in the fabrics by turns, addresses, LUN numbers."""

    def __init__(self, written: _Topology) -> None:
        if not written.switches or not written.arrays:
            raise SettingsError("not a topology: it needs at least one switch and one array")
        self._written = written
        self._fabrics = list(dict.fromkeys(switch.fabric for switch in written.switches))
        self._fabric_of = {switch.name: switch.fabric for switch in written.switches}
        self._addresses: Counter[tuple[str, int]] = Counter()

    def topology(self) -> Topology:
        """Return the whole, not yet checked."""
        written = self._written
        arrays = tuple([self._array(array) for array in written.arrays])
        return Topology(
            written.name,
            written.switches,
            arrays,
            tuple([host for each in written.hosts for host in self._hosts(each)]),
            tuple(self._luns(arrays)),
            written.zones,
            {key: str(value) for key, value in written.defaults.items()},
        )

    def _switch(self, number: int, spread: int) -> str:
        """Return the switch for the `number`th port of a thing: fabrics by turns, `spread` over the fabric's own."""
        fabric = self._fabrics[number % len(self._fabrics)]
        switches = [switch.name for switch in self._written.switches if switch.fabric == fabric]
        return switches[spread % len(switches)]

    def _address(self, name: str, switch: str, transport: SanTransport, first: int = 0) -> str:
        if transport == "fc":
            return identity.wwpn(f"{self._written.name}/{name}")
        fabric = self._fabric_of.get(switch, "")
        number = self._addresses[fabric, first] + first
        self._addresses[fabric, first] += 1
        return identity.ip(self._fabrics.index(fabric) if fabric else 0, number)

    def _array(self, array: _Array) -> Array:
        controllers = array.controllers
        if isinstance(controllers, int):
            names = [f"{array.name}-ct{number}" for number in range(_positive(controllers, array.name, "controllers"))]
            controllers = tuple(
                [_Controller(name, self._ports(name, array.ports, place)) for place, name in enumerate(names)]
            )
        node = array.node or self._array_node(array)
        return Array(
            array.name,
            array.transport,
            node,
            tuple([Controller(c.name, tuple([self._target(port, array) for port in c.ports])) for c in controllers]),
            array.vendor,
            array.product,
            array.revision,
            array.alua,
        )

    def _array_node(self, array: _Array) -> str:
        name = f"{self._written.name}.{array.name}"
        return {"fc": identity.wwnn, "iscsi": identity.iqn, "nvme-tcp": identity.nqn}[array.transport](name)

    def _ports(self, owner: str, count: int, spread: int) -> tuple[_Port, ...]:
        count = _positive(count, owner, "ports")
        return tuple([_Port(f"{owner}-p{number}", self._switch(number, spread)) for number in range(count)])

    def _target(self, port: _Port, array: _Array) -> Target:
        if port.address:
            return Target(port.name, port.switch, port.address)
        address = self._address(port.name, port.switch, array.transport)
        if array.transport != "fc":
            address = f"{address}:{_ISCSI_PORT if array.transport == 'iscsi' else _NVME_PORT}"
        return Target(port.name, port.switch, address)

    def _hosts(self, host: _Host) -> Iterator[Host]:
        names = [host.name] if host.count is None else _numbered(host.name, host.count)
        versions = host.versions or (host.version or NEWEST,)
        transports = host.transports or tuple(dict.fromkeys(array.transport for array in self._written.arrays))
        for place, name in enumerate(names):
            if isinstance(host.ports, tuple):
                ports = [(port, port.transport or transports[0]) for port in host.ports]
            else:
                each = len(self._fabrics) if host.ports is None else _positive(host.ports, host.name, "ports")
                ports = [
                    (_Port(f"{name}-hba{kind * each + number}", self._switch(number, place)), transport)
                    for kind, transport in enumerate(transports)
                    for number in range(each)
                ]
            yield Host(
                name,
                versions[place % len(versions)],
                tuple([self._initiator(port, transport) for port, transport in ports]),
            )

    def _initiator(self, port: _Port, transport: SanTransport) -> Initiator:
        address = port.address or self._address(port.name, port.switch, transport, _FIRST_HOST_NUMBER)
        node = port.node or (identity.wwnn(f"{self._written.name}/{port.name}") if transport == "fc" else "")
        return Initiator(port.name, port.switch, transport, address, node)

    def _luns(self, arrays: Sequence[Array]) -> Iterator[Lun]:
        by_name = {array.name: array for array in arrays}
        next_number: Counter[str] = Counter()
        for lun in self._written.luns:
            array = by_name.get(lun.array or arrays[0].name)
            if array is None:
                raise SettingsError(f"lun {lun.name}: there is no array {lun.array!r}")
            size = identity.size_bytes(lun.size if isinstance(lun.size, str) else str(lun.size))
            for place, name in enumerate([lun.name] if lun.count is None else _numbered(lun.name, lun.count)):
                number = next_number[array.name] if lun.number is None else lun.number + place
                next_number[array.name] = number + 1
                yield Lun(
                    name,
                    lun.wwid or identity.lun_wwid(f"{self._written.name}/{array.name}/{name}", array.transport),
                    array.name,
                    lun.controller or array.controllers[number % len(array.controllers)].name,
                    number,
                    size,
                    lun.hosts,
                    lun.aliases[place] if place < len(lun.aliases) else lun.alias,
                    lun.in_use,
                    lun.listed,
                )


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name}{number}" for number in range(1, _positive(count, name, "count") + 1)]


def _positive(count: int, name: str, what: str) -> int:
    if not 0 < count <= 100_000:
        raise SettingsError(f"{name}: {what} = {count}: at least 1, at most 100000")
    return count


def dump(topology: Topology) -> str:
    """Return the topology as a file's text, nothing left out."""
    plain: dict[str, object] = msgspec.to_builtins(topology)
    lines = [f"name = {_toml(plain['name'])}"]
    if topology.defaults:
        lines += ["", "[defaults]", *(f"{key} = {_toml(value)}" for key, value in topology.defaults.items())]
    for kind in ("switches", "arrays", "hosts", "luns", "zones"):
        tables = plain[kind]
        assert isinstance(tables, list | tuple)  # noqa: S101 - so are the fields declared
        for table in tables:
            lines += ["", f"[[{kind}]]", *(f"{key} = {_toml(value)}" for key, value in _said(table))]
    return "\n".join(lines) + "\n"


def _said(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    return ((key, value) for key, value in table.items() if value is not None)


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in _said(value)) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # JSON's strings, numbers and booleans are TOML's, but for one character (toml.io, v1.0.0, String)
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
