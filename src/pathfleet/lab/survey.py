"""A topology of the real SAN that this node sees, so that it can be rehearsed.

Ports are known of this node's own paths; what other nodes reported adds them as hosts that see the same LUNs, with
as many ports. Everything else is inferred: ports that a path joins are in one fabric, LUNs that share target ports
are of one array, target ports that are best for the same LUNs are of one controller.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import get_args

import msgspec
from msgspec import Struct

from pathfleet.agent.collect import Snapshot
from pathfleet.core.column import Column
from pathfleet.core.health import Verdict
from pathfleet.errors import SettingsError
from pathfleet.lab import identity
from pathfleet.lab.san_file import NEWEST
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
    checked,
)


class _Seen(Struct, frozen=True):
    """One path of one LUN, between two known ports. `best`: in the path group of the highest priority."""

    wwid: str
    transport: SanTransport
    initiator: str
    target: str
    best: bool


def survey(node: str, snapshot: Snapshot, others: Sequence[Column]) -> Topology:
    """Return the topology. Raises SettingsError if no path's two ports are known."""
    seen = [path for verdict in snapshot.verdicts for path in _paths(verdict, snapshot)]
    if not seen:
        raise SettingsError(
            "no path has two known ports (Fibre Channel, iSCSI or NVMe/TCP, as sysfs tells them): "
            "nothing to make a topology of"
        )
    fabrics = _joined((path.initiator, path.target) for path in seen)
    switches = {port: f"switch-{_letter(fabric)}" for port, fabric in fabrics.items()}
    arrays, controllers = _arrays(seen, snapshot, switches)
    hosts = [_this_host(node, snapshot, seen, switches)]
    hosts += [_other_host(other, hosts[0]) for other in others if other.node != node and other.maps]
    reported = {other.node: set(other.maps) for other in others} | {node: {path.wwid for path in seen}}
    return checked(
        Topology(
            name=node,
            switches=tuple(Switch(name, name.removeprefix("switch-")) for name in sorted(set(switches.values()))),
            arrays=tuple(arrays),
            hosts=tuple(hosts),
            luns=tuple(_luns(snapshot, controllers, [host.name for host in hosts], reported)),
        )
    )


def _paths(verdict: Verdict, snapshot: Snapshot) -> Iterable[_Seen]:
    best = max((group.pri for group in verdict.map.path_groups), default=0)
    for group in verdict.map.path_groups:
        for path in group.paths:
            port = snapshot.facts.ports.get(path.dev)
            if port and port.initiator and port.target and port.transport in get_args(SanTransport):
                transport = msgspec.convert(port.transport, SanTransport)
                yield _Seen(verdict.map.uuid, transport, port.initiator, port.target, group.pri == best)


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return the number of the connected part that each name is in, counted as they come."""
    part: dict[str, int] = {}
    for one, other in pairs:
        here, there = part.get(one), part.get(other)
        new = here if here is not None else there if there is not None else len(set(part.values()))
        if here is not None and there is not None and here != there:
            part = {name: here if number == there else number for name, number in part.items()}
        part[one] = part[other] = new
    numbers = {number: place for place, number in enumerate(dict.fromkeys(part.values()))}
    return {name: numbers[number] for name, number in part.items()}


def _arrays(
    seen: Sequence[_Seen], snapshot: Snapshot, switches: Mapping[str, str]
) -> tuple[list[Array], dict[str, tuple[str, str]]]:
    """Return the arrays, and for each WWID its array and owning controller."""
    parts = _joined((path.wwid, path.target) for path in seen)
    vendors = {verdict.map.uuid: (verdict.map.vend.strip(), verdict.map.prod.strip()) for verdict in snapshot.verdicts}
    arrays, owners = [], {}
    for number in sorted(set(parts.values())):
        paths = [path for path in seen if parts[path.wwid] == number]
        name = f"array{number + 1}"
        controllers = [
            Controller(
                f"{name}-ct{place}",
                tuple(
                    Target(f"{name}-ct{place}-p{port}", switches[target], _address(target))
                    for port, target in enumerate(targets)
                ),
            )
            for place, targets in enumerate(_by_controller(paths))
        ]
        best = {path.wwid: _address(path.target) for path in paths if path.best}
        for wwid, target in best.items():
            owner = next(c.name for c in controllers if target in [port.address for port in c.ports])
            owners[wwid] = name, owner
        vendor, product = vendors[paths[0].wwid]
        arrays.append(
            Array(
                name,
                paths[0].transport,
                _node_name(paths[0], name),
                tuple(controllers),
                vendor or "EXAMPLE",
                product or "ARRAY",
                alua=len(controllers) > 1,
            )
        )
    return arrays, owners


def _by_controller(paths: Iterable[_Seen]) -> list[list[str]]:
    """Return the target ports, those together that are best for the same LUNs."""
    luns: dict[str, set[str]] = {}
    for path in paths:
        luns.setdefault(path.target, set()).update({path.wwid} if path.best else set())
    together: dict[Hashable, list[str]] = {}
    for target in sorted(luns):
        together.setdefault(frozenset(luns[target]), []).append(target)
    return list(together.values())


def _address(target: str) -> str:
    return target.rpartition("@")[2]


def _node_name(path: _Seen, array: str) -> str:
    if path.transport == "iscsi":
        return path.target.rpartition("@")[0]
    return identity.wwnn(array) if path.transport == "fc" else identity.nqn(array)


def _this_host(node: str, snapshot: Snapshot, seen: Iterable[_Seen], switches: Mapping[str, str]) -> Host:
    # one network card may carry both iSCSI and NVMe/TCP
    ends = sorted({(path.initiator, path.transport) for path in seen})
    ports = tuple(
        Initiator(f"{node}-hba{number}", switches[initiator], transport, initiator, _initiator_node(node, transport))
        for number, (initiator, transport) in enumerate(ends)
    )
    return Host(node, _nearest(snapshot.version), ports)


def _other_host(other: Column, like: Host) -> Host:
    ports = tuple(
        Initiator(
            f"{other.node}-hba{number}",
            port.switch,
            port.transport,
            identity.wwpn(f"{other.node}-hba{number}") if port.transport == "fc" else _made_up_ip(other.node, number),
            _initiator_node(other.node, port.transport),
        )
        for number, port in enumerate(like.ports)
    )
    return Host(other.node, _nearest(other.said.info.versions.multipath_tools if other.said.info else None), ports)


def _initiator_node(node: str, transport: SanTransport) -> str:
    return identity.wwnn(node) if transport == "fc" else ""


def _made_up_ip(node: str, number: int) -> str:
    return identity.ip(100 + number, sum(node.encode()) % 50_000)


def _nearest(version: str | None) -> Version:
    """Return the newest version that the lab knows and that is not newer than the real one."""
    known: tuple[Version, ...] = get_args(Version)
    if version is None:
        return NEWEST
    older = [each for each in known if _ordered(each) <= _ordered(version)]
    return max(older, key=_ordered, default=known[0])


def _ordered(version: str) -> list[int]:
    """Return what to compare versions by: the numbers it begins with; a peer's may be any text."""
    numbers = re.match(r"[0-9]{1,9}(\.[0-9]{1,9})*", version)
    return [int(part) for part in numbers[0].split(".")] if numbers else []


def _luns(
    snapshot: Snapshot,
    owners: Mapping[str, tuple[str, str]],
    hosts: Sequence[str],
    reported: Mapping[str, set[str]],
) -> Iterable[Lun]:
    numbers: dict[str, int] = {}
    for verdict in sorted(snapshot.verdicts, key=lambda each: each.map.uuid):
        wwid = verdict.map.uuid
        if wwid not in owners:
            continue
        array, controller = owners[wwid]
        numbers[array] = number = numbers.get(array, -1) + 1
        who = tuple(host for host in hosts if wwid in reported.get(host, ()))
        yield Lun(
            name=f"{array}-lun{number}",
            wwid=wwid,
            array=array,
            controller=controller,
            number=number,
            size=verdict.size or 1 << 30,
            hosts=() if len(who) == len(hosts) else who,
            alias=verdict.map.name if verdict.map.name != wwid else None,
        )


def _letter(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else str(number)
