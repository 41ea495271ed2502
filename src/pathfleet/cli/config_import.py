"""`pathfleet config import`: a node's own multipath files become the cluster's configuration."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from msgspec import Struct
from msgspec.structs import replace

from pathfleet.cli import local, render
from pathfleet.cli.agents import Agents
from pathfleet.cli.config_change import print_plan
from pathfleet.cluster import config, drift, importing, preview
from pathfleet.cluster.importing import Import, Rename
from pathfleet.core.drift import Difference
from pathfleet.core.proposal import Left
from pathfleet.errors import Refused
from pathfleet.store import open_store


class NodeChange(Struct, frozen=True, rename="kebab"):
    """Where a node's multipathd goes by other values now; None where it cannot be asked, for this reason."""

    node: str
    differences: list[Difference] | None
    reason: str | None = None


class Imported(Struct, frozen=True, rename="kebab"):
    """What an import does, or with `written` false, would do.

    `nodes`: this one, and all others of the cluster, each of which gets it.
    """

    written: bool
    diff: list[str]
    warnings: tuple[str, ...]
    left: tuple[Left, ...]
    renames: tuple[Rename, ...]
    nodes: list[NodeChange]


@click.command("import")
@click.option(
    "--node-files",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path("/"),
    show_default=True,
    help="Where the node's file system is, or a copy of its /etc/multipath with multipath.conf in it.",
)
@click.option(
    "--without", multiple=True, metavar="WWID", help="Leave this LUN out, such as one that the node boots from."
)
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.option("--at-once", is_flag=True, help="Let all nodes apply it together, not one first.")
@render.output_option()
@click.pass_context
def import_(
    ctx: click.Context, node_files: Path, without: tuple[str, ...], *, yes: bool, at_once: bool, output: str
) -> None:
    """Take over what this node's multipath.conf, conf.d, wwids and bindings say, for the whole cluster.

    Shows first what it makes of them, what it cannot take over and why, which maps would be renamed, and what each
    node's multipathd would go by instead; writes after a yes, or with --yes. The node's own files stay as they are.
    What the cluster has already stays. With --output json or yaml it writes with --yes only.
    """
    planned, found = asyncio.run(_planned(ctx, node_files, without))
    if output == "table":
        _print(planned, found)
    if not planned.plan.changes:
        render.show(found, output, lambda: render.print_line("nothing to take over: the cluster has all of it"))
        return
    if yes or (output == "table" and click.confirm("Write this for the whole cluster?", err=True)):
        asyncio.run(_write(ctx, planned, at_once=at_once))
        found = replace(found, written=True)
    elif output == "table":
        raise Refused("nothing was changed")
    render.show(found, output, lambda: render.print_line("written; see `pathfleet config status`"))


async def _planned(ctx: click.Context, root: Path, without: tuple[str, ...]) -> tuple[Import, Imported]:
    current = local.settings(ctx)
    files = await asyncio.to_thread(importing.node_files, root)
    async with open_store(current.store_url) as store:
        planned = await importing.plan(store, files, without=without)
        nodes = sorted({current.node, *(await store.members()).nodes, *await config.published(store)})
    compared = await drift.compare(planned.plan.after, nodes, Agents(current).effective)
    changes = [_change(node, compared[node]) for node in nodes]
    found = Imported(False, preview.diff(planned.plan), planned.plan.warnings, planned.left, planned.renames, changes)
    return planned, found


def _change(node: str, found: list[Difference] | str) -> NodeChange:
    return NodeChange(node, None, found) if isinstance(found, str) else NodeChange(node, found)


async def _write(ctx: click.Context, planned: Import, *, at_once: bool) -> None:
    current = local.settings(ctx)
    async with open_store(current.store_url, node=current.node) as store:
        await config.write(store, planned.plan, at_once=at_once)


def _print(planned: Import, found: Imported) -> None:
    print_plan(planned.plan, found.diff)
    if found.left:
        left = [(f"{each.file}{f':{each.line}' if each.line else ''}", each.what, each.why) for each in found.left]
        render.print_table("not taken over", ("WHERE", "WHAT", "WHY"), left)
    if found.renames:
        title = "maps that get another name, unless the node's own multipath.conf names them"
        names = [(each.node, each.wwid, each.before, each.after) for each in found.renames]
        render.print_table(title, ("NODE", "WWID", "NOW", "THEN"), names)
    for node in found.nodes:
        _print_node(node)


def _print_node(node: NodeChange) -> None:
    if node.differences:
        rows = [(each.section, each.keyword, each.effective or "(not set)", each.wanted) for each in node.differences]
        render.print_table(f"{node.node}: multipathd would go by", ("SECTION", "KEYWORD", "NOW", "THEN"), rows)
    elif node.differences is not None:
        render.print_line(f"{node.node}: multipathd goes by all of it already")
    else:
        render.print_line(f"{node.node}: what multipathd goes by now is not known: {node.reason}")
