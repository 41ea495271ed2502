"""`pathfleet config import`: a node's own multipath files become the cluster's configuration."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from msgspec import Struct

from pathfleet.cli import local, render
from pathfleet.cli.config_change import print_plan
from pathfleet.cluster import config, drift, importing, preview
from pathfleet.cluster.importing import Import, Rename
from pathfleet.core.drift import Difference
from pathfleet.core.proposal import Left
from pathfleet.errors import Refused
from pathfleet.store import open_store
from pathfleet.system.multipathd import Multipathd


class Imported(Struct, frozen=True, rename="kebab"):
    """What an import does, or with `written` false, would do.

    `nodes` are those that would get the drop-ins. `here` is where this node's multipathd goes by other values now,
    None where it cannot be asked (`here-reason`).
    """

    written: bool
    diff: list[str]
    warnings: tuple[str, ...]
    left: tuple[Left, ...]
    renames: tuple[Rename, ...]
    nodes: list[str]
    here: list[Difference] | None
    here_reason: str | None


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

    Shows first what it makes of them, what it cannot take over and why, which maps would be renamed, and what this
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
        found = _written(found)
    elif output == "table":
        raise Refused("nothing was changed")
    render.show(found, output, lambda: render.print_line("written; see `pathfleet config status`"))


async def _planned(ctx: click.Context, root: Path, without: tuple[str, ...]) -> tuple[Import, Imported]:
    current = local.settings(ctx)
    files = await asyncio.to_thread(importing.node_files, root)
    async with open_store(current.store_url) as store:
        planned = await importing.plan(store, files, without=without)
        nodes = sorted({*(await store.members()).nodes, *await config.versions(store)})
    here, reason = await drift.differences(planned.plan.after, Multipathd(current.multipathd_socket))
    found = Imported(
        False, preview.diff(planned.plan), planned.plan.warnings, planned.left, planned.renames, nodes, here, reason
    )
    return planned, found


async def _write(ctx: click.Context, planned: Import, *, at_once: bool) -> None:
    current = local.settings(ctx)
    async with open_store(current.store_url, node=current.node) as store:
        await config.write(store, planned.plan, at_once=at_once)


def _written(found: Imported) -> Imported:
    return Imported(
        True, found.diff, found.warnings, found.left, found.renames, found.nodes, found.here, found.here_reason
    )


def _print(planned: Import, found: Imported) -> None:
    print_plan(planned.plan, found.diff)
    if found.left:
        left = [(f"{each.file}{f':{each.line}' if each.line else ''}", each.what, each.why) for each in found.left]
        render.print_table("not taken over", ("WHERE", "WHAT", "WHY"), left)
    if found.renames:
        title = "maps that get another name, unless the node's own multipath.conf names them"
        names = [(each.node, each.wwid, each.before, each.after) for each in found.renames]
        render.print_table(title, ("NODE", "WWID", "NOW", "THEN"), names)
    if found.here:
        title = "what this node's multipathd would go by instead"
        here = [(each.section, each.keyword, each.effective or "(not set)", each.wanted) for each in found.here]
        render.print_table(title, ("SECTION", "KEYWORD", "NOW", "THEN"), here)
    elif found.here is None:
        render.print_line(f"what this node's multipathd goes by now is not known: {found.here_reason}")
    if planned.plan.changes:
        render.print_line(f"nodes that get the drop-ins: {' '.join(found.nodes) or 'those whose agents run'}")
