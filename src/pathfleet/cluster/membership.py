"""This node's place in an etcd cluster: found one, let a node in, join, look.

Each step can be made again after a failure. What makes this node a member is its record, written last; a node that
has none is none. A new node comes in as a learner and votes when it has caught up: until then nobody waits for it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from pathfleet.cluster.etcd_members import Cluster, Condition, Member, at
from pathfleet.cluster.machine import Machine, Record, files_in_words
from pathfleet.cluster.token import Token
from pathfleet.errors import SettingsError, StoreError, StoreUnavailable
from pathfleet.store.etcd_gateway import EtcdRefused
from pathfleet.store.etcd_url import Address
from pathfleet.system import certificates
from pathfleet.system.certificates import Pair
from pathfleet.system.etcd_service import PEER_PORT, endpoint, set_aside, url

#: How long a token can be used, in seconds.
TOKEN_SECONDS: Final = 24 * 3600

#: How long etcd may take to be a member that answers: it copies the whole database first.
_READY_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 0.2
_NODE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")

#: Is told each step, for people who wait.
Progress = Callable[[str], None]


class Seen(Struct, frozen=True, rename="kebab"):
    """A member as it is now. `healthy` None: not started; `leader` None: cannot tell."""

    name: str | None
    ident: str
    state: str
    leader: bool | None
    healthy: bool | None
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]


async def init(machine: Machine, node: str, address: str, progress: Progress) -> Record:
    """Found a cluster with this node as its only member. Raises StoreError, SettingsError."""
    address = _check_machine(machine, node, address)
    with files_in_words():
        machine.prepare()
        progress(f"certificates: {machine.directory}")
        await machine.authority.make()
        pair = await machine.authority.sign(node, address)
        machine.install(machine.authority.certificate.read_text("ascii"), pair)
        data = machine.service.data_root / f"pathfleet-{machine.authority.identity}"
        await machine.service.stop()
        if aside := set_aside(data):
            progress(f"an earlier attempt left data: kept as {aside}")
        cluster = f"{node}={url(address, PEER_PORT)}"
        machine.service.configure(node, address, data, machine.files(), cluster=cluster, state="new")
        progress(f"etcd: configured in {machine.service.environment}, starting")
        await machine.service.start()
        here = Cluster(at(machine.address, (endpoint(address),)))
        await _healthy(here)
        mine = (await here.members())[0]
        record = Record(node, address, mine.ident, (endpoint(address),), str(data))
        machine.remember(record)
    return record


async def token(machine: Machine, node: str, address: str, progress: Progress) -> Token:
    """Let node `node` at `address` in, and return what it joins with: a secret. Raises StoreError, SettingsError."""
    record = member_here(machine)
    address = _checked(node, address)
    certificates.program()
    with files_in_words():
        if not machine.authority.key.exists():
            raise StoreError(
                f"{machine.authority.key} is not on this node: make the token where `pathfleet cluster init` ran, or"
                " copy that file here (mode 0600)"
            )
        cluster = cluster_of(machine, record)
        await cluster.check_quorum()
        members = await cluster.members()
        stale = _stale(members, node, url(address, PEER_PORT))
        progress(f"certificate for {node} at {address}")
        pair = await machine.authority.sign(node, address)
        if stale is not None:
            progress("its earlier token ends now")
            await cluster.remove(stale.ident)
        added = await cluster.add(url(address, PEER_PORT))
        record = refreshed(machine, record, members)
        return Token(
            node=node,
            address=address,
            ident=added.ident,
            endpoints=record.endpoints,
            expires=int(time.time()) + TOKEN_SECONDS,
            authority=machine.authority.certificate.read_text("ascii"),
            certificate=pair.certificate,
            key=pair.key,
        )


async def join(machine: Machine, node: str, given: Token, progress: Progress) -> Record:
    """Become the member that the token is for. Raises StoreError, SettingsError."""
    if given.node != node:
        raise SettingsError(
            f"the token is for node {given.node!r}, and this is {node!r}: use it there, or make another"
        )
    _check_machine(machine, node, given.address)
    if given.expires < time.time():
        raise SettingsError(
            f"the token has expired (it is good for {TOKEN_SECONDS // 3600} hours; check the clock, too): make a new"
            f" one with `pathfleet cluster token {node} {given.address}`"
        )
    with files_in_words():
        machine.prepare()
        pair = Pair(given.certificate, given.key)
        certificates.check(given.authority, pair, machine.directory)
        progress(f"asking the cluster at {', '.join(given.endpoints)}")
        members = await _introduced(machine, given)
        data = machine.service.data_root / f"pathfleet-{int(given.ident):x}"
        _check_place(members, given, data)
        progress(f"certificates: {machine.directory}")
        machine.install(given.authority, pair)
        await machine.service.stop()
        cluster = ",".join(f"{_named(member, given)}={peer}" for member in members for peer in member.peers)
        machine.service.configure(node, given.address, data, machine.files(), cluster=cluster, state="existing")
        progress(f"etcd: configured in {machine.service.environment}, starting")
        await machine.service.start()
        progress("waiting until it has caught up")
        others = Cluster(at(machine.address, given.endpoints))
        members = await _caught_up(others, given.ident)
        await _healthy(Cluster(at(machine.address, (endpoint(given.address),))))
        return refreshed(machine, Record(node, given.address, given.ident, given.endpoints, str(data)), members)


async def members(machine: Machine) -> list[Seen]:
    """Return all members and how each is now. Raises StoreError."""
    cluster = cluster_of(machine, member_here(machine))
    found = await cluster.members()
    conditions = await cluster.conditions(found)
    return [_seen(member, conditions[member.ident]) for member in found]


async def looked_up(machine: Machine) -> Record:
    """Return this node's record, which names all members as they are now. Raises StoreError."""
    record = member_here(machine)
    with files_in_words():
        return refreshed(machine, record, await cluster_of(machine, record).members())


def _seen(member: Member, condition: Condition) -> Seen:
    state = "unstarted" if not member.name else "learner" if member.learner else "started"
    name = member.name or None
    return Seen(name, member.ident, state, condition.leader, condition.healthy, member.peers, member.clients)


def _check_machine(machine: Machine, node: str, address: str) -> str:
    """Return the address in its one form, or raise unless this node can become a member at it."""
    _check_no_proxmox(machine)
    address = _checked(node, address)
    certificates.program()
    with files_in_words():
        machine.service.check()
    if record := machine.record():
        raise StoreError(
            f"this node is a member already ({record.node} at {record.address}): `pathfleet cluster members` shows its"
            " cluster, `pathfleet cluster leave` takes it out"
        )
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            raise SettingsError(
                f"{address} is no address of this node ({error.strerror}): see `ip address`"
            ) from error
    return address


def _check_no_proxmox(machine: Machine) -> None:
    if machine.pve.is_dir():
        raise StoreError("Proxmox VE has its own cluster store; set store = pmxcfs:///etc/pve")


def _checked(node: str, address: str) -> str:
    if not _NODE.fullmatch(node):
        raise SettingsError(f"node {node!r}: etcd's members are named by letters, digits, '.', '_' and '-', up to 63")
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        found = None
    if found is None or found.is_unspecified or found.is_multicast or "%" in address:
        raise SettingsError(f"{address!r} is no IP address by which other nodes could reach a node")
    return str(found)


def member_here(machine: Machine) -> Record:
    """Return this member's record. Raises StoreError when it is none."""
    _check_no_proxmox(machine)
    record = machine.record()
    if record is None:
        raise StoreError(
            f"this node is no member of an etcd cluster that pathfleet made (no {machine.directory / 'node.json'}):"
            " `pathfleet cluster init` founds one, `pathfleet cluster join` joins one"
        )
    return record


def cluster_of(machine: Machine, record: Record) -> Cluster:
    """Return the cluster of which this node is a member."""
    return Cluster(at(machine.address, record.endpoints))


def refreshed(machine: Machine, record: Record, members: tuple[Member, ...]) -> Record:
    """Remember where all members are now: this node's own may be down when it matters."""
    others = tuple(member.endpoint for member in members if member.endpoint is not None)
    own = (endpoint(record.address),)
    record = msgspec.structs.replace(record, endpoints=tuple(dict.fromkeys(own + others)))
    machine.remember(record)
    return record


def _stale(members: tuple[Member, ...], node: str, peer_url: str) -> Member | None:
    """Return the member that the new one replaces: never started. Raises StoreError where it cannot be let in."""
    for member in members:
        if member.name and (member.name == node or peer_url in member.peers):
            raise StoreError(
                f"{node} at {peer_url} is a member already, as {member.label}: `pathfleet cluster leave` there"
            )
        if member.learner and (member.name or peer_url not in member.peers):
            raise StoreError(
                f"{member.label} has not joined yet, and one node joins at a time: finish there with its token, or"
                f" give it up with `pathfleet cluster leave {member.label}`"
            )
    return next((member for member in members if peer_url in member.peers), None)


async def _introduced(machine: Machine, given: Token) -> tuple[Member, ...]:
    """Return the cluster's members, asked with the token's certificates before anything here is changed."""
    with tempfile.TemporaryDirectory(prefix=".new-", dir=machine.directory) as name:
        work = Path(name)
        files = {"ca": given.authority, "cert": given.certificate, "key": given.key}
        for file, text in files.items():
            certificates.write(work / file, text, mode=0o600)
        address = Address(given.endpoints, tls=True, ca=work / "ca", cert=work / "cert", key=work / "key")
        return await Cluster(address).members()


def _check_place(members: tuple[Member, ...], given: Token, data: Path) -> None:
    mine = next((member for member in members if member.ident == given.ident), None)
    again = f"`pathfleet cluster token {given.node} {given.address}`"
    if mine is None:
        raise SettingsError(
            f"the cluster does not know this token any more: it was replaced or given up; make one: {again}"
        )
    if mine.name and not data.exists():
        raise StoreError(
            f"{given.node} has been a member, and its data ({data}) is gone: on another node run `pathfleet cluster"
            f" leave {given.node}`, then {again}"
        )


def _named(member: Member, given: Token) -> str:
    return given.node if member.ident == given.ident else member.name


async def _healthy(cluster: Cluster) -> None:
    """Wait until etcd answers and has a leader."""
    until = time.monotonic() + _READY_SECONDS
    while True:
        try:
            await cluster.check_quorum()
        except StoreError as error:
            if time.monotonic() > until:
                raise StoreError(f"etcd does not become healthy: {error}; see: journalctl -u etcd") from error
            await asyncio.sleep(_AGAIN_SECONDS)
        else:
            return


async def _caught_up(others: Cluster, ident: str) -> tuple[Member, ...]:
    """Wait until the new member has its vote, and return all members."""
    until, trouble = time.monotonic() + _READY_SECONDS, "it has not started"
    while time.monotonic() < until:
        with suppress(StoreUnavailable):
            found = await others.members()
            mine = next((member for member in found if member.ident == ident), None)
            if mine is None:
                raise StoreError("the cluster took this node out while it joined; make a new token")
            if mine.name and not mine.learner:
                return found
            if mine.name:
                try:
                    await others.promote(ident)
                    continue
                except EtcdRefused as error:
                    trouble = str(error)
        await asyncio.sleep(_AGAIN_SECONDS)
    raise StoreError(
        f"etcd has not joined within {_READY_SECONDS:g} s: {trouble}; see: journalctl -u etcd; then try again"
    )
