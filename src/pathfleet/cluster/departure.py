"""Out of an etcd cluster: this node, or another one that is gone. What was there is kept beside, renamed."""

from __future__ import annotations

from pathlib import Path

from pathfleet.cluster.etcd_members import Cluster, Condition, Member, at
from pathfleet.cluster.machine import Machine, Record, files_in_words
from pathfleet.cluster.membership import Progress, cluster_of, member_here, refreshed
from pathfleet.errors import StoreError, StoreUnavailable
from pathfleet.system.etcd_service import endpoint, set_aside


async def leave(machine: Machine, progress: Progress, *, force: bool = False) -> list[Path]:
    """Take this node out of the cluster, and return where its data and certificates are kept.

    Raises StoreError where the rest could not go on; `force`: go on without asking what becomes of the rest.
    """
    record = member_here(machine)
    with files_in_words():
        try:
            record = await _taken_out(machine, record, force=force)
            progress(f"{record.node} is no member any more")
        except StoreUnavailable as error:
            if not force:
                raise StoreError(f"{error}; --force leaves without telling the cluster") from error
            progress(f"the cluster was not told ({error}); tell it there: pathfleet cluster leave {record.node}")
        await machine.service.stop()
        kept = [set_aside(Path(record.data))]
        machine.service.unconfigure()
        kept.append(set_aside(machine.directory))
    return [path for path in kept if path is not None]


async def expel(machine: Machine, name: str, progress: Progress, *, force: bool = False) -> None:
    """Take another node out, which is gone: by its name, its id or a URL of it. Raises StoreError."""
    record = member_here(machine)
    cluster = cluster_of(machine, record)
    members = await cluster.members()
    found = [member for member in members if name in (member.name, member.ident, *member.peers)]
    if not found:
        raise StoreError(f"no member {name!r}; there are: {', '.join(member.label for member in members)}")
    if found[0].ident == record.ident:
        raise StoreError(f"{name} is this node: `pathfleet cluster leave`, without a name, takes it out")
    conditions = await cluster.conditions(members)
    if conditions[found[0].ident].healthy and not force:
        raise StoreError(f"{name} is alive: run `pathfleet cluster leave` there, or give --force")
    _check_rest(members, conditions, found[0], force=force)
    await cluster.remove(found[0].ident)
    progress(f"{found[0].label} is no member any more")


async def _taken_out(machine: Machine, record: Record, *, force: bool) -> Record:
    """Take this node's member out, unless it is out already."""
    cluster = cluster_of(machine, record)
    found = await cluster.members()
    record = refreshed(machine, record, found)
    mine = next((member for member in found if member.ident == record.ident), None)
    if mine is None:
        return record
    conditions = await cluster.conditions(found)
    _check_rest(found, conditions, mine, force=force)
    # Its own etcd ends with the removal, perhaps before it answers: the others are asked.
    others = tuple(name for name in record.endpoints if name != endpoint(record.address))
    if others:
        await Cluster(at(machine.address, others)).remove(mine.ident)
    return record


def _check_rest(
    members: tuple[Member, ...], conditions: dict[str, Condition], leaving: Member, *, force: bool
) -> None:
    """Raise StoreError if without `leaving` the others could not go on."""
    rest = [member for member in members if member.ident != leaving.ident and not member.learner]
    if force or leaving.learner:
        return
    if not rest:
        raise StoreError(
            f"{leaving.label} is the last member, and the cluster ends with it: give --force (its data is kept)"
        )
    well = sum(conditions[member.ident].healthy is True for member in rest)
    if well < len(rest) // 2 + 1:
        raise StoreError(
            f"without {leaving.label} the cluster has no quorum: {well} of the other {len(rest)} are healthy; bring"
            " them back first, or give --force"
        )
