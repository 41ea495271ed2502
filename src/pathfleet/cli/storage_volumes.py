"""`pathfleet storage content`, `allocate`, `free` …: the volumes of a storage, as this node has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
from msgspec import Struct

from pathfleet.cli import document, local, render
from pathfleet.cli.executors import Executors, in_store, without_option
from pathfleet.cluster import config
from pathfleet.cluster import storage as cluster_storage
from pathfleet.cluster.nodes import Step
from pathfleet.cluster.volumes import Volumes, Wanted
from pathfleet.core import volumes, work
from pathfleet.core.answer import Answer
from pathfleet.core.storagecfg import Storage
from pathfleet.core.volumes import LogicalVolume
from pathfleet.errors import CannotTell, PathfleetError
from pathfleet.settings import Settings
from pathfleet.store import Store

T = TypeVar("T")


class VolumeRow(Struct, frozen=True, rename="kebab"):
    """A volume: a map with its `health` and the `storages` on it, or a logical volume that is `active` here or not."""

    volid: str
    name: str
    size: int | None
    path: str
    health: str | None = None
    storages: list[str] = []
    active: bool | None = None
    vmid: int | None = None


class StatusRow(Struct, frozen=True, rename="kebab"):
    """A storage as this node has it, in bytes; `reason` says why it is not active, or what is not known."""

    storage: str
    type: str
    active: bool
    total: int | None = None
    used: int | None = None
    free: int | None = None
    reason: str | None = None


@click.command()
@click.argument("name", metavar="[STORAGE]", required=False)
@render.output_option()
@click.pass_context
def status(ctx: click.Context, name: str | None, output: str) -> None:
    """Show how the storages are on this node: whether they can be used, and how much is free.

    Exit code: 0; 1 where one cannot be used.
    """
    current = local.settings(ctx)

    async def find(store: Store) -> list[StatusRow]:
        known = (await cluster_storage.read(store)).storages.storages
        chosen = [await cluster_storage.on_node(store, name, current.node)] if name else [*known.values()]
        return [await _status(current, each) for each in chosen if each.kind in ("multipath", "lvm")]

    rows = in_store(ctx, find, writing=False)
    columns = ("STORAGE", "TYPE", "ACTIVE", "TOTAL", "USED", "FREE", "REASON")
    render.show(
        rows,
        output,
        lambda: render.print_table(
            None,
            columns,
            [
                (
                    row.storage,
                    row.type,
                    "yes" if row.active else "no",
                    *(render.size(size) for size in (row.total, row.used, row.free)),
                    row.reason or "",
                )
                for row in rows
            ],
        ),
    )
    ctx.exit(0 if all(row.active for row in rows) else 1)


async def _status(current: Settings, each: Storage) -> StatusRow:
    if each.disabled or (each.nodes is not None and current.node not in each.nodes):
        reason = "it is disabled" if each.disabled else f"it is not for node {current.node}"
        return StatusRow(each.id, each.kind, active=False, reason=reason)
    try:
        if each.kind == "lvm":
            group = await Executors(current).do(current.node, work.GroupStatus(cluster_storage.group_of(each)))
            lack = "disks of the group are missing" if group.partial else None
            return StatusRow(
                each.id, each.kind, not group.partial, group.size, group.size - group.free, group.free, lack
            )
        sizes = [row.size for row in (await _maps(current)).maps]
    except PathfleetError as error:
        return StatusRow(each.id, each.kind, active=False, reason=str(error))
    known = [size for size in sizes if size is not None]
    total = sum(known) if len(known) == len(sizes) else None
    return StatusRow(each.id, each.kind, active=True, total=total, used=total, free=0)


async def _maps(current: Settings) -> Answer:
    """Return this node's maps. Raises CannotTell where nobody knows them."""
    found = document.answer(await local.collector(current).collect())
    if found.answer not in ("maps", "no-maps"):
        raise CannotTell(f"the maps of node {current.node} are not known: {found.reason or found.answer}")
    return found


@click.command()
@click.argument("name", metavar="STORAGE")
@render.output_option()
@click.pass_context
def content(ctx: click.Context, name: str, output: str) -> None:
    """Show the volumes of a storage: the LUNs with their health and consumers, or the logical volumes."""
    current = local.settings(ctx)

    async def find(store: Store) -> list[VolumeRow]:
        place = await cluster_storage.on_node(store, name, current.node)
        if place.kind == "lvm":
            task = work.Volumes(cluster_storage.group_of(place))
            return [_volume(name, each) for each in (await Executors(current).do(current.node, task)).volumes]
        if place.kind != "multipath":
            cluster_storage.group_of(place)
        consumers = await config.consumers(store)
        return [
            VolumeRow(
                f"{name}:{row.wwid}",
                row.alias or row.wwid,
                row.size,
                volumes.map_path(row.wwid),
                health=row.health,
                storages=consumers.get(row.wwid, []),
            )
            for row in (await _maps(current)).maps
            if row.wwid
        ]

    rows = in_store(ctx, find, writing=False)
    columns = ("VOLUME", "NAME", "SIZE", "STATE", "STORAGES", "PATH")
    render.show(rows, output, lambda: render.print_table(None, columns, map(_cells, rows)))


def _volume(storage: str, each: LogicalVolume) -> VolumeRow:
    owner = volumes.owner_in(each.name)
    return VolumeRow(f"{storage}:{each.name}", each.name, each.size, each.path, active=each.active, vmid=owner)


def _cells(row: VolumeRow) -> tuple[str, ...]:
    state = row.health or ("active" if row.active else "not active")
    return row.volid, row.name, render.size(row.size), state, " ".join(row.storages) or "-", row.path


@click.command()
@click.argument("volume")
@click.pass_context
def path(ctx: click.Context, volume: str) -> None:
    """Print the path of a volume, STORAGE:WWID or STORAGE:NAME: the same on every node that has it."""

    async def find(store: Store) -> str:
        return cluster_storage.path_of((await cluster_storage.read(store)).storages.storages, volume)

    render.print_line(in_store(ctx, find, writing=False))


@click.command()
@click.argument("name", metavar="STORAGE")
@click.argument("size")
@click.option("--name", "volume", help="What the volume is called, instead of vm-ID-disk-N.")
@click.option("--vmid", type=click.IntRange(100, 999_999_999), help="The guest that it is for.")
@render.output_option()
@click.pass_context
def allocate(ctx: click.Context, name: str, size: str, *, volume: str | None, vmid: int | None, output: str) -> None:
    """Allocate a volume of SIZE (as in 32G) in a storage of type lvm; it is empty, and active nowhere."""
    wanted = Wanted(volumes.size_in(size), volume, vmid)
    made = _on_volumes(ctx, lambda here: here.allocate(name, wanted))
    row = _volume(name, made)
    render.show(row, output, lambda: render.print_line(f"{row.volid} has {render.size(row.size)}"))


@click.command()
@click.argument("volume")
@click.argument("size")
@without_option
@render.output_option()
@click.pass_context
def resize(ctx: click.Context, volume: str, size: str, without: tuple[str, ...], output: str) -> None:
    """Let a volume grow to SIZE (as in 64G), wherever it is active; it never shrinks."""
    grown = _on_volumes(ctx, lambda here: here.resize(volume, volumes.size_in(size), without=without))
    row = _volume(volume.partition(":")[0], grown)
    render.show(row, output, lambda: render.print_line(f"{row.volid} has {render.size(row.size)}"))


@click.command()
@click.argument("volume")
@without_option
@render.output_option()
@click.pass_context
def free(ctx: click.Context, volume: str, without: tuple[str, ...], output: str) -> None:
    """Free a volume that is active on no node. In a storage with saferemove it is overwritten with zeros first.

    Overwriting that was interrupted is finished by freeing the volume del-NAME.
    """
    steps: list[Step] = []

    def tell(step: Step) -> None:
        steps.append(step)
        if output == "table":
            render.print_line(step.what)

    _on_volumes(ctx, lambda here: here.free(volume, tell, without=without))
    render.show(steps, output, lambda: None)


@click.command()
@click.argument("volume")
@click.pass_context
def activate(ctx: click.Context, volume: str) -> None:
    """Make a volume available on this node, waiting for its LUN; prints its path."""
    render.print_line(_on_volumes(ctx, lambda here: here.activate(volume)))


@click.command()
@click.argument("volume")
@click.pass_context
def deactivate(ctx: click.Context, volume: str) -> None:
    """Take a volume from this node. Refused while it is in use, and by whom is said. The map of a LUN stays."""
    _on_volumes(ctx, lambda here: here.deactivate(volume))


def _on_volumes(ctx: click.Context, work: Callable[[Volumes], Awaitable[T]]) -> T:
    current = local.settings(ctx)
    return in_store(ctx, lambda store: work(Volumes(store, Executors(current), current.node)))
