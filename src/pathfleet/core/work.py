"""What a node's executor does as root, and nothing else: each task with what it returns.

A task is a JSON document, `{"task": NAME, …}`. How it travels is in `core.reply`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Generic, TypeVar

from msgspec import Meta, Struct

from pathfleet.core.facts import NodeFacts
from pathfleet.core.volumes import DoomedName, Group, GroupName, LogicalVolume, Size, Tag, VolumeName, Wwid

R = TypeVar("R")

#: What a task may take, if its own kind does not say otherwise.
TASK_SECONDS: Final = 45.0


class PathSeen(Struct, frozen=True, rename="kebab"):
    """A path device of a map. `hctl` None: it is no SCSI device. `size` in bytes, None if nobody can tell."""

    device: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]{1,31}$(?!\n)")]
    hctl: Annotated[str, Meta(pattern=r"^[0-9]{1,10}(:[0-9]{1,20}){3}$(?!\n)")] | None
    size: int | None


class Holder(Struct, frozen=True, rename="kebab"):
    """Who uses a device. `kind`: volume, partition, device, mount, swap, process, opened, group, empty-group.

    `on`: which device. A `partition` that nobody uses goes with its map; a `group` with volumes and an `empty-group`
    are there so that nobody forgets them.
    """

    kind: str
    name: str
    on: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} on {self.on}"


class MapUse(Struct, frozen=True, rename="kebab"):
    """A LUN's map on a node, and who uses it. `usable`: its paths, None as unknown.

    `device` None: there is no map; `paths` are its bare disks, and `holders` use those.
    """

    device: str | None
    size: int | None = None
    paths: tuple[PathSeen, ...] = ()
    usable: int | None = None
    holders: tuple[Holder, ...] = ()

    @property
    def users(self) -> tuple[Holder, ...]:
        """Those for whom the map must stay."""
        return tuple(holder for holder in self.holders if holder.kind not in ("group", "empty-group", "partition"))

    @property
    def groups(self) -> tuple[str, ...]:
        """The volume groups on the map, by name, with volumes or without."""
        named = (holder.name for holder in self.holders if holder.kind in ("group", "empty-group"))
        return tuple(name.partition(" ")[0] for name in named)


class Paths(Struct, frozen=True, rename="kebab"):
    """Path devices, and what is odd about them."""

    paths: tuple[PathSeen, ...]
    remarks: tuple[str, ...] = ()


class Sizes(Struct, frozen=True, rename="kebab"):
    """What a size was and is, in bytes; `group`: of a disk, the volume group that it belongs to."""

    before: int
    after: int
    group: str | None = None


class MadeGroup(Struct, frozen=True, rename="kebab"):
    """A group, made now or `adopted`: it was on the map already."""

    group: Group
    adopted: bool


class VolumeList(Struct, frozen=True, rename="kebab"):
    """The volumes of a group."""

    volumes: tuple[LogicalVolume, ...]


class Zeroed(Struct, frozen=True, rename="kebab"):
    """How far a volume has been overwritten with zeros, of how many bytes."""

    done: int
    total: int


class Done(Struct, frozen=True, rename="kebab"):
    """Nothing to tell but that it is done; `remark` where it was so already."""

    remark: str | None = None


class Task(Struct, Generic[R], frozen=True, rename="kebab", forbid_unknown_fields=True, tag_field="task"):
    """Something to do. `answer` is what it returns.

    All of it ends within `deadline_seconds`, of which it waits `turn_seconds` at most for others on the same LUN or
    group: many are asked for under a lock of the store, and nothing may go on after that has ended.
    """

    answer: ClassVar[type]
    deadline_seconds: ClassVar[float] = TASK_SECONDS
    turn_seconds: ClassVar[float] = 5.0


class Holders(Task[MapUse], frozen=True, tag="holders"):
    """Who uses a LUN's map."""

    answer = MapUse
    wwid: Wwid


class Rescan(Task[Paths], frozen=True, tag="rescan"):
    """Let the kernel ask the array anew for the size of every path of a map."""

    answer = Paths
    wwid: Wwid


class ResizeMap(Task[Sizes], frozen=True, tag="resize-map"):
    """Let a map grow to the size of its paths."""

    answer = Sizes
    wwid: Wwid


class ResizeGroupDisk(Task[Sizes], frozen=True, tag="resize-group-disk"):
    """Let LVM use all of a map that has grown."""

    answer = Sizes
    wwid: Wwid


class Flush(Task[Paths], frozen=True, tag="flush"):
    """Take a map away that nobody uses; returns the paths that it had."""

    answer = Paths
    wwid: Wwid


class DeletePaths(Task[Paths], frozen=True, tag="delete-paths"):
    """Take the path devices of a LUN away from the kernel, those that are named and those that are found.

    Returns those that went, and a remark on each other. A device that does not say itself which LUN it is goes only
    if this executor has flushed the map that it was a path of.
    """

    answer = Paths
    wwid: Wwid
    paths: Annotated[tuple[PathSeen, ...], Meta(max_length=1024)] = ()


class CreateGroup(Task[MadeGroup], frozen=True, tag="create-group"):
    """Make a volume group on a map that holds no data."""

    answer = MadeGroup
    wwid: Wwid
    vgname: GroupName


class GroupStatus(Task[Group], frozen=True, tag="group-status"):
    """How much of a group is free, and its disks."""

    answer = Group
    vgname: GroupName


class Volumes(Task[VolumeList], frozen=True, tag="volumes"):
    """The volumes of a group, as this node sees them."""

    answer = VolumeList
    vgname: GroupName


class CreateVolume(Task[LogicalVolume], frozen=True, tag="create-volume"):
    """Make a volume, empty and not active."""

    answer = LogicalVolume
    vgname: GroupName
    name: VolumeName
    size: Size
    tags: Annotated[tuple[Tag, ...], Meta(max_length=16)] = ()


class ResizeVolume(Task[LogicalVolume], frozen=True, tag="resize-volume"):
    """Let a volume grow."""

    answer = LogicalVolume
    vgname: GroupName
    name: VolumeName
    size: Size


class RefreshVolume(Task[Done], frozen=True, tag="refresh-volume"):
    """Let a volume that is active here be as another node has made it."""

    answer = Done
    vgname: GroupName
    name: VolumeName


class RenameVolume(Task[Done], frozen=True, tag="rename-volume"):
    """Give a volume that is not active another name."""

    answer = Done
    vgname: GroupName
    name: VolumeName
    to: VolumeName


class ZeroVolume(Task[Zeroed], frozen=True, tag="zero-volume"):
    """Overwrite a volume with zeros from `offset` on, for some seconds; whoever wants it all asks again.

    Only one that was renamed to be removed: see DOOMED. Not under a lock of the store.
    """

    answer = Zeroed
    deadline_seconds = 90.0
    turn_seconds = 20.0
    vgname: GroupName
    name: DoomedName
    offset: Annotated[int, Meta(ge=0, le=1 << 60, multiple_of=512)] = 0


class RemoveVolume(Task[Done], frozen=True, tag="remove-volume"):
    """Free a volume that is not in use here."""

    answer = Done
    vgname: GroupName
    name: VolumeName


class Activate(Task[LogicalVolume], frozen=True, tag="activate"):
    """Make a volume available on this node."""

    answer = LogicalVolume
    vgname: GroupName
    name: VolumeName


class Deactivate(Task[Done], frozen=True, tag="deactivate"):
    """Take a volume that nobody uses from this node. Not under a lock of the store."""

    answer = Done
    deadline_seconds = 60.0
    turn_seconds = 20.0
    vgname: GroupName
    name: VolumeName


class ActivateMap(Task[MapUse], frozen=True, tag="activate-map"):
    """Wait for a LUN's map to be there with a usable path. Not under a lock of the store."""

    answer = MapUse
    deadline_seconds = 60.0
    wwid: Wwid
    seconds: Annotated[float, Meta(ge=0, le=40)] = 20.0


class Examine(Task[NodeFacts], frozen=True, tag="examine"):
    """Look for what the doctor goes by and only the node itself knows."""

    answer = NodeFacts


AnyVolumeTask = (
    CreateVolume | ResizeVolume | RefreshVolume | RenameVolume | ZeroVolume | RemoveVolume | Activate | Deactivate
)
AnyGroupTask = AnyVolumeTask | CreateGroup | GroupStatus | Volumes
AnyTask = AnyGroupTask | Holders | Rescan | ResizeMap | ResizeGroupDisk | Flush | DeletePaths | ActivateMap | Examine

#: Those that change nothing, and so wait for no turn.
READING = (Holders, GroupStatus, Volumes, ActivateMap, Examine)
#: Those that take nothing away: they read, or let something grow or come to be on what is there for it.
GROWING = (*READING, Rescan, ResizeMap, ResizeGroupDisk, CreateVolume, ResizeVolume, RefreshVolume)
