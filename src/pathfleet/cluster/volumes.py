"""Volumes of a storage: allocated, resized, freed, activated, on whichever node, one change at a time in the cluster.

Each change of a group is made under its locks, see `cluster.locks`.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from pathfleet.cluster import locks, storage
from pathfleet.cluster.nodes import Nodes, Step, Stopped, Tell, ask, names, refuse_silent
from pathfleet.cluster.retire import InUse
from pathfleet.core import volumes, work
from pathfleet.core.storagecfg import Storage
from pathfleet.core.storagechange import Unfit
from pathfleet.core.volumes import DOOMED, Group, LogicalVolume
from pathfleet.core.work import MapUse, Zeroed
from pathfleet.errors import PathfleetError, Refused
from pathfleet.store import Store

_MIB = 1024 * 1024


class Wanted(Struct, frozen=True):
    """A volume to be allocated: its bytes, its name or the guest that it is for."""

    size: int
    name: str | None = None
    vmid: int | None = None

    def named(self, taken: Iterable[str]) -> tuple[str, tuple[str, ...]]:
        """Return its name and tags. Raises Unfit where the name is not one of the guest's."""
        tags = () if self.vmid is None else (f"pve-vm-{self.vmid}",)
        if self.name is None:
            if self.vmid is None:
                raise Unfit({"name": "a volume needs a name, or the number of the guest that it is for"})
            return volumes.free_name(self.vmid, frozenset(taken)), tags
        if self.vmid is not None and volumes.owner_in(self.name) != self.vmid:
            raise Unfit({"name": f"a volume of guest {self.vmid} is called vm-{self.vmid}-…, not {self.name}"})
        if self.name.startswith(DOOMED):
            raise Unfit({"name": f"{self.name}: a volume called {DOOMED}… is one that is being overwritten"})
        return self.name, tags


class Volumes:
    """The volumes of storages, as asked for on node `here`.

    All raise NotFound, BadRequest, Refused and its kinds, StoreError, and what the executors raise.
    """

    def __init__(self, store: Store, nodes: Nodes, here: str) -> None:
        self._store = store
        self._nodes = nodes
        self._here = here

    async def allocate(self, name: str, wanted: Wanted) -> LogicalVolume:
        """Make a volume; it is empty, and active nowhere."""
        place = await storage.on_node(self._store, name, self._here)
        group = storage.group_of(place)
        async with locks.of_group(self._store, group) as held:
            taken = await self._nodes.do(self._here, work.Volumes(group))
            chosen, tags = wanted.named(volume.name for volume in taken.volumes)
            volumes.check_names(group, chosen)
            held.begin()
            return await self._nodes.do(self._here, work.CreateVolume(group, chosen, wanted.size, tags))

    async def resize(self, volid: str, size: int, *, without: tuple[str, ...] = ()) -> LogicalVolume:
        """Let a volume grow, on the node where it is active, and let other such nodes see it."""
        place, name = await self._found(volid)
        group = storage.group_of(place)
        async with locks.of_group(self._store, group) as held:
            active = await self._active_on(group, name, without)
            held.begin()
            there = self._here if self._here in active or not active else active[0]
            grown = await self._nodes.do(there, work.ResizeVolume(group, name, size))
            for node in active:
                if node != there:
                    await self._nodes.do(node, work.RefreshVolume(group, name))
            return grown

    async def free(self, volid: str, tell: Tell, *, without: tuple[str, ...] = ()) -> None:
        """Free a volume that is active nowhere; with `saferemove`, overwrite it first.

        It is renamed before, so what is interrupted is finished by freeing `del-NAME`.
        """
        place, name = await self._found(volid)
        group = storage.group_of(place)
        async with locks.of_group(self._store, group) as held:
            if active := [node for node in await self._active_on(group, name, without) if node != self._here]:
                raise InUse(
                    f"volume {volid} is active on node {', '.join(active)}; nothing was changed: deactivate it there",
                    dict.fromkeys(active, ()),
                    (),
                )
            held.begin()
            if place.properties.get("saferemove") != "1":
                await self._nodes.do(self._here, work.RemoveVolume(group, name))
                tell(Step(self._here, f"volume {name} is freed"))
                return
            doomed = name if name.startswith(DOOMED) else f"{DOOMED}{name}"
            if doomed != name:
                await self._nodes.do(self._here, work.RenameVolume(group, name, doomed))
                tell(Step(self._here, f"volume {name} is called {doomed} until it is overwritten"))
        try:
            await self._overwrite(group, doomed, tell)
            async with locks.of_group(self._store, group):
                await self._nodes.do(self._here, work.RemoveVolume(group, doomed))
        except PathfleetError as error:
            raise Stopped(f"{error}; go on with `pathfleet storage free {place.id}:{doomed}`") from error
        tell(Step(self._here, f"volume {name} is overwritten and freed"))

    async def _overwrite(self, group: str, name: str, tell: Tell) -> None:
        reached = Zeroed(0, 1)
        while reached.done < reached.total:
            before = reached
            reached = await self._nodes.do(self._here, work.ZeroVolume(group, name, before.done))
            if reached.done <= before.done:
                raise Refused(f"volume {name} is not overwritten any further than {before.done} bytes")
            tell(Step(self._here, f"overwritten: {reached.done // _MIB} of {reached.total // _MIB} MiB"))

    async def activate(self, volid: str) -> str:
        """Make a volume available on this node, waiting for its LUN; return its path.

        Raises Refused for one that is being freed. Locked, as another node asks before it frees who has it active.
        """
        place, name = await self._found(volid)
        if place.kind == "multipath":
            await self._nodes.do(self._here, work.ActivateMap(name))
            return volumes.map_path(name)
        if name.startswith(DOOMED):
            raise Refused(f"volume {volid} is being overwritten: finish that with `pathfleet storage free {volid}`")
        group = storage.group_of(place)
        known = (await storage.read(self._store)).storages.storages
        for wwid in await storage.luns_below(self._nodes, known, place, self._here):
            await self._nodes.do(self._here, work.ActivateMap(wwid))
        async with locks.of_group(self._store, group):
            return (await self._nodes.do(self._here, work.Activate(group, name))).path

    async def deactivate(self, volid: str) -> None:
        """Take a volume from this node. A LUN's map stays, as nobody uses it. Raises Busy with who uses the volume."""
        place, name = await self._found(volid)
        if place.kind != "multipath":
            await self._nodes.do(self._here, work.Deactivate(storage.group_of(place), name))
            return
        use = await self._nodes.do(self._here, work.Holders(name))
        if use.users:
            raise InUse(
                f"LUN {name} is in use on node {self._here}: {', '.join(map(str, use.users))}; end that first",
                {self._here: use.users},
                (),
            )

    async def _found(self, volid: str) -> tuple[Storage, str]:
        known = (await storage.read(self._store)).storages.storages
        place, name = storage.split(known, volid)
        return await storage.on_node(self._store, place.id, self._here), name

    async def _active_on(self, group: str, name: str, without: tuple[str, ...]) -> list[str]:
        """Return the nodes on which a volume is active. Raises Unreachable where one does not say; Refused.

        The kernel is asked what is built on the group's LUNs: LVM does not see a LUN whose paths are all down. Every
        node is asked: a guest may run where the storage is no longer meant to be.
        """
        found = await self._nodes.do(self._here, work.GroupStatus(group))
        where = await names(self._store, without)
        active: set[str] = set()
        for wwid in _all_luns(found, self._here):
            answers, errors = await ask(self._nodes, where, work.Holders(wwid))
            refuse_silent("whether the volume is active there", errors)
            active |= {node for node, use in answers.items() if _holds(use, f"{group}/{name}")}
        return sorted(active)


def _all_luns(group: Group, node: str) -> list[str]:
    """Return the LUNs of a group. Raises Refused unless they are all known: a volume may lie on any of them only."""
    luns = [disk.wwid for disk in group.disks if disk.wwid is not None and not disk.missing]
    if group.partial or not luns or len(luns) < len(group.disks):
        raise Refused(
            f"not all disks of group {group.name} are LUNs that node {node} has, so nobody can tell where the volume"
            " is active; nothing was changed: bring back what is missing (`pathfleet maps`, `pvs`)"
        )
    return luns


def _holds(use: MapUse, volume: str) -> bool:
    return any(holder.kind == "volume" and holder.name == volume for holder in use.holders)
