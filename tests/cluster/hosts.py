"""Nodes of a cluster with one LUN on each, as their executors tell of them, and a store in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pathfleet.cluster.nodes import Step
from pathfleet.core import work
from pathfleet.core.volumes import Disk, Group, LogicalVolume, map_path
from pathfleet.core.work import Holder, MapUse, PathSeen, Task
from pathfleet.errors import Busy, NotFound, PathfleetError
from pathfleet.store import File
from tests.fakes import Memory, MemoryStore

R = TypeVar("R")

WWID = "3600a"
GIB = 1 << 30
#: What the configuration says: the LUN is allowed, and lies below a storage of type lvm.
CONFIGURATION = f"wwid: {WWID}\n\talias db\n\n"
STORAGES = f"multipath: san\n\tcontent images\n\nlvm: vms\n\tvgname vms\n\tbase san:{WWID}\n\tshared 1\n\n"


@dataclass
class Host:
    """What a node has: the sizes of the LUN's paths and map, whoever uses it, the volumes that are active."""

    paths: dict[str, int] = field(default_factory=lambda: {"sda": GIB, "sdb": GIB})
    map: int | None = GIB
    usable: int = 2
    holders: tuple[Holder, ...] = ()
    active: set[str] = field(default_factory=set)

    @property
    def seen(self) -> tuple[PathSeen, ...]:
        return tuple(PathSeen(name, "0:0:0:1", size) for name, size in self.paths.items())


@dataclass
class San:
    """The LUN on the array, the group on it with its volumes, and the nodes; `fails` is raised by task and node."""

    hosts: dict[str, Host] = field(default_factory=lambda: {"a": Host(), "b": Host()})
    size: int = GIB
    disk: int | None = GIB
    volumes: dict[str, int] = field(default_factory=dict)
    fails: dict[tuple[str, str], PathfleetError] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)
    before: Callable[[str, Task[Any]], None] = lambda _, __: None
    more_disks: tuple[Disk, ...] = ()
    partial: bool = False

    async def do(self, node: str, task: Task[R]) -> R:
        answer: R = self.answer(node, task)
        return answer

    def answer(self, node: str, task: Any) -> Any:
        """Return what a node's executor answers."""
        name = type(task).__name__
        self.before(node, task)
        self.told.append((node, name))
        if error := self.fails.get((node, name)):
            raise error
        return self._done(node, self.hosts[node], task)

    def steps(self, *names: str) -> list[tuple[str, str]]:
        """What was done of these tasks, in order."""
        return [(node, name) for node, name in self.told if name in names]

    def _done(self, node: str, host: Host, task: Any) -> Any:  # noqa: C901 - one line for each task
        match task:
            case work.Holders():
                if host.map is None:
                    return MapUse(None, paths=host.seen)
                active = tuple(Holder("volume", f"vms/{name}", "dm-3") for name in sorted(host.active))
                group = self._groups(task.wwid)
                return MapUse("dm-3", host.map, host.seen, host.usable, (*host.holders, *active, *group))
            case work.Rescan():
                host.paths = dict.fromkeys(host.paths, self.size)
                return work.Paths(host.seen)
            case work.ResizeMap():
                before, host.map = host.map or 0, min(host.paths.values())
                return work.Sizes(before, host.map)
            case work.ResizeGroupDisk():
                if self.disk is None:
                    return work.Sizes(0, 0)
                before, self.disk = self.disk, host.map or 0
                return work.Sizes(before, self.disk, "vms")
            case work.Flush():
                host.map = None
                return work.Paths(host.seen)
            case work.DeletePaths():
                gone, host.paths = host.seen, {}
                return work.Paths(gone)
            case work.CreateGroup():
                return work.MadeGroup(self._group(), adopted=False)
            case work.GroupStatus():
                if self.disk is None or task.vgname != "vms":
                    raise NotFound(f"there is no group {task.vgname}")
                return self._group(host.map or 0)
            case work.ActivateMap():
                return MapUse("dm-3", host.map, host.seen, host.usable)
        return self._of_volume(node, host, task)

    def _of_volume(self, node: str, host: Host, task: Any) -> Any:  # noqa: C901 - likewise
        if isinstance(task, work.Volumes):
            return work.VolumeList(tuple(self._volume(host, name) for name in sorted(self.volumes)))
        if isinstance(task, work.CreateVolume):
            assert task.name not in self.volumes
            self.volumes[task.name] = task.size
            return self._volume(host, task.name)
        if task.name not in self.volumes:
            raise NotFound(f"there is no volume {task.name}")
        match task:
            case work.ResizeVolume():
                self.volumes[task.name] = task.size
            case work.Activate():
                host.active.add(task.name)
            case work.Deactivate():
                host.active.discard(task.name)
            case work.ZeroVolume():
                total = self.volumes[task.name]
                return work.Zeroed(min(task.offset + GIB, total), total)
            case work.RenameVolume():
                self.volumes[task.to] = self.volumes.pop(task.name)
                return work.Done()
            case work.RemoveVolume():
                if task.name in host.active:
                    raise Busy(f"volume {task.name} is in use on {node}")
                del self.volumes[task.name]
                return work.Done()
        return work.Done() if isinstance(task, work.Deactivate | work.RefreshVolume) else self._volume(host, task.name)

    def _volume(self, host: Host, name: str) -> LogicalVolume:
        return LogicalVolume(name, self.volumes[name], name in host.active, None, f"/dev/vms/{name}")

    def _groups(self, wwid: str) -> tuple[Holder, ...]:
        if self.disk is None or wwid != WWID:
            return ()
        count = len(self.volumes)
        return (Holder("group", f"vms ({count} volumes)", "dm-3") if count else Holder("empty-group", "vms", "dm-3"),)

    def _group(self, device_size: int = GIB) -> Group:
        disk = Disk(map_path(WWID), WWID, "vms", self.disk or 0, device_size)
        disks = (disk, *self.more_disks)
        return Group("vms", "uuid", self.disk or 0, GIB, 4 << 20, len(self.volumes), partial=self.partial, disks=disks)


@dataclass
class Told:
    """The steps of some work, as they are told."""

    steps: list[Step] = field(default_factory=list)

    def __call__(self, step: Step) -> None:
        self.steps.append(step)

    @property
    def failed(self) -> list[str | None]:
        return [step.node for step in self.steps if step.failed]


def goes_down(memory: Memory, node: str) -> None:
    """Let a node have been silent for so long that it is offline."""
    memory.seen[node] = -1e9


@asynccontextmanager
async def opened(
    san: San, *, storages: str = STORAGES, configuration: str = CONFIGURATION
) -> AsyncIterator[MemoryStore]:
    """Open the store of a cluster with these nodes, as node `a`."""
    memory = Memory()
    memory.files["storage.cfg"] = File(storages.encode(), "s")
    memory.files["multipath.cfg"] = File(configuration.encode(), "m")
    for name in san.hosts:
        async with MemoryStore(name, memory) as other:
            await other.alive()
    async with MemoryStore("a", memory) as store:
        yield store
