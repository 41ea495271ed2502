"""`pathfleet storage`: the cluster's storages, and what is in them on this node."""

from __future__ import annotations

import click
from msgspec import Struct

from pathfleet.cli import local, render
from pathfleet.cli.executors import Executors, in_store, without_option
from pathfleet.cli.storage_luns import grow, retire
from pathfleet.cli.storage_volumes import activate, allocate, content, deactivate, free, path, resize, status
from pathfleet.cluster import storage as cluster_storage
from pathfleet.cluster.storage import Current, Plan
from pathfleet.core import storagechange
from pathfleet.core.storagecfg import Storage


@click.group()
def storage() -> None:
    """LUNs as storage: which storages the cluster has, their volumes, LUNs that grow and LUNs that go.

    What needs root on a node is done by its executor: `pathfleet executor` must run there.
    """


for command in (status, content, path, allocate, resize, free, activate, deactivate, grow, retire):
    storage.add_command(command)


class StorageRow(Struct, frozen=True, rename="kebab"):
    """A storage; `nodes` None: all of them."""

    storage: str
    type: str
    enabled: bool
    nodes: list[str] | None
    base: str | None
    vgname: str | None
    content: list[str]


class Storages(Struct, frozen=True):
    """All storages; a change may name the digest."""

    digest: str
    storages: list[StorageRow]
    problems: list[str]


@storage.command("list")
@render.output_option()
@click.pass_context
def list_(ctx: click.Context, output: str) -> None:
    """Show the storages of the cluster, as storage.cfg in the store has them."""
    current = in_store(ctx, cluster_storage.read, writing=False)
    found = current.storages
    shown = Storages(
        current.digest,
        [_row(each) for each in found.storages.values()],
        [f"line {problem.line}: {problem.message}" for problem in found.problems],
    )
    render.show(shown, output, lambda: _print(shown))


def _row(each: Storage) -> StorageRow:
    nodes = None if each.nodes is None else sorted(each.nodes)
    return StorageRow(each.id, each.kind, not each.disabled, nodes, each.base, each.vgname, sorted(each.content))


def _print(shown: Storages) -> None:
    if not shown.storages:
        render.print_line("there are no storages; `pathfleet storage add multipath ID` makes one of the LUNs")
    else:
        rows = [
            (
                row.storage,
                row.type,
                "yes" if row.enabled else "no",
                "all" if row.nodes is None else " ".join(row.nodes),
                row.base or "-",
                row.vgname or "-",
                ",".join(row.content) or "-",
            )
            for row in shown.storages
        ]
        render.print_table(None, ("STORAGE", "TYPE", "ENABLED", "NODES", "BASE", "GROUP", "CONTENT"), rows)
    for problem in shown.problems:
        render.print_line(f"ignored: storage.cfg, {problem}")


@storage.group()
def add() -> None:
    """Add a storage."""


_nodes = click.option("--nodes", help="Only for these nodes, with commas between them.")
_content = click.option("--content", help="What it is for: images, rootdir, none.")
_digest = click.option("--digest", help="Change nothing unless storage.cfg still has this digest.")


@add.command("multipath")
@click.argument("name", metavar="ID")
@_nodes
@_content
@_digest
@render.output_option()
@click.pass_context
def multipath(
    ctx: click.Context, name: str, *, nodes: str | None, content: str | None, digest: str | None, output: str
) -> None:
    """Add a storage whose volumes are the LUNs: all maps that a node has. Nothing is allocated in it."""
    given = {"content": content or "images"} | ({"nodes": nodes} if nodes else {})
    after = in_store(ctx, lambda store: cluster_storage.add(store, "multipath", name, given, digest=digest))
    if local.settings(ctx).store_url.startswith("pmxcfs:"):
        click.echo(
            "warning: a Proxmox VE without a plugin for the type multipath drops this storage when it next writes"
            " storage.cfg",
            err=True,
        )
    _written(after, name, output, f"storage {name} is added")


@add.command("lvm")
@click.argument("name", metavar="ID")
@click.option("--base", required=True, help="STORAGE:WWID, the LUN that it is made on.")
@click.option("--vgname", required=True, help="The name of its volume group.")
@_nodes
@_content
@click.option("--saferemove", is_flag=True, help="Overwrite volumes with zeros before they are freed.")
@without_option
@_digest
@render.output_option()
@click.pass_context
def lvm(
    ctx: click.Context, name: str, *, base: str, vgname: str, nodes: str | None, content: str | None,
    saferemove: bool, without: tuple[str, ...], digest: str | None, output: str,
) -> None:  # fmt: skip
    """Make a volume group on a LUN, shared by the nodes, and add it as a storage.

    Refused on a LUN that holds data, that any node uses, that is not allowed in the cluster, or that has a single
    path. A group of this name that is on the LUN already is taken as it is.
    """
    current = local.settings(ctx)
    plan = Plan(name, base, vgname, current.node, nodes, content or "images,rootdir", saferemove)
    nodes_ = Executors(current)
    made = in_store(ctx, lambda store: cluster_storage.make(store, nodes_, plan, digest=digest, without=without))
    group = made.group
    word = "was there already and is used" if made.adopted else "is made"
    render.show(
        made,
        output,
        lambda: render.print_line(
            f"group {group.name} of {render.size(group.size)} {word}; storage {name} is added:"
            f" `pathfleet storage allocate {name} SIZE`"
        ),
    )


@storage.command("set")
@click.argument("name", metavar="ID")
@click.argument("assignments", nargs=-1, metavar="PROPERTY=VALUE...")
@click.option("--delete", help="Properties to unset, with commas between them.")
@_digest
@render.output_option()
@click.pass_context
def set_(
    ctx: click.Context, name: str, assignments: tuple[str, ...], *, delete: str | None, digest: str | None, output: str
) -> None:
    """Change a storage: nodes, content, disable, saferemove. What it is made of stays."""
    if any("=" not in each for each in assignments) or not (assignments or delete):
        raise click.UsageError("say PROPERTY=VALUE, or --delete PROPERTY")
    values = dict(each.split("=", 1) for each in assignments)
    gone = [key for key in (delete or "").split(",") if key]
    after = in_store(
        ctx,
        lambda store: cluster_storage.change(
            store, lambda text: storagechange.change(text, name, values, gone), digest=digest
        ),
    )
    _written(after, name, output, f"storage {name} is changed")


@storage.command("remove")
@click.argument("name", metavar="ID")
@_digest
@render.output_option()
@click.pass_context
def remove(ctx: click.Context, name: str, digest: str | None, output: str) -> None:
    """Remove a storage from the configuration; its data stays.

    Refused while it is the base of another one, and for other types than multipath and lvm.
    """
    after = in_store(
        ctx,
        lambda store: cluster_storage.change(store, lambda text: storagechange.remove(text, name), digest=digest),
    )
    _written(after, name, output, f"storage {name} is removed; its data is not touched")


class Written(Struct, frozen=True):
    """A change that was written; the digest is that of afterwards."""

    storage: str
    digest: str


def _written(after: Current, name: str, output: str, sentence: str) -> None:
    render.show(Written(name, after.digest), output, lambda: render.print_line(sentence))
