"""`pathfleet node`: one node in full, asked now where it can be, else as the store knows it."""

from __future__ import annotations

import asyncio
import time

import click
from click.shell_completion import CompletionItem
from msgspec import Struct

from pathfleet.cli import document, local, render
from pathfleet.cli.client import Client
from pathfleet.cli.remarks import daemon_of, short
from pathfleet.cluster import live
from pathfleet.core import column
from pathfleet.core.answer import Answer, MapRow
from pathfleet.core.detail import DownPath, MapDetail
from pathfleet.core.health import Health
from pathfleet.core.matrix import Document, NodeRow, State
from pathfleet.errors import NotFound, PathfleetError, StoreError
from pathfleet.settings import Settings
from pathfleet.store import open_store

_COMPLETION_SECONDS = 2.0


class ReportedMap(Struct, frozen=True, rename="kebab"):
    """A map as the node reported it last; `state` is what that is worth now. `down`: its paths that are not usable."""

    wwid: str
    alias: str | None
    state: State
    paths_active: int | None
    paths_total: int | None
    size: int | None
    transport: str | None
    flags: tuple[str, ...]
    reason: str
    down: tuple[DownPath, ...]


class NodeAnswer(Struct, frozen=True, rename="kebab"):
    """All of a node. `node`: its head in the matrix, None if the store does not say.

    `source`: `multipathd` and `agent` were asked now and gave `answer`; from the `store` there is `reported`, and
    `remark` says why only that.
    """

    node: NodeRow | None
    source: str
    remark: str | None = None
    answer: Answer | None = None
    reported: list[ReportedMap] | None = None


class _Known(Struct, frozen=True):
    """What the store has of the node."""

    document: Document
    details: dict[str, MapDetail]


def complete_node(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of the nodes that begin like what was typed."""

    async def known(current: Settings) -> list[str]:
        async with asyncio.timeout(_COMPLETION_SECONDS), open_store(current.store_url) as store:
            return sorted({*(await store.members()).nodes, *await store.all_values()})

    try:
        names = asyncio.run(known(local.settings(ctx)))
    except (PathfleetError, TimeoutError):
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete) and name.isprintable()]


@click.command()
@click.argument("name", shell_complete=complete_node)
@click.option("--paths", is_flag=True, help="Show the paths of all maps, not only of those with something wrong.")
@render.output_option()
@click.pass_context
def node(ctx: click.Context, name: str, output: str, *, paths: bool) -> None:
    """Show one node in full: whether it is there, what runs on it, its maps with their paths, and what to do.

    This node's multipathd is asked now; another node is asked through the agent on this machine. Where that cannot
    be, what the node reported last is shown, and said so.

    Exit code: 0, or 69 when there is no such node, or nothing can be read of it.
    """
    found = asyncio.run(_found(local.settings(ctx), name))
    render.show(found, output, lambda: _print(name, found, paths=paths))


async def _found(current: Settings, name: str) -> NodeAnswer:
    known, trouble = None, None
    try:
        known = await _known(current, name)
    except StoreError as error:
        trouble = str(error)
    row = next((row for row in known.document.nodes if row.node == name), None) if known else None
    if name == current.node:
        snapshot = await local.collector(current).collect()
        return NodeAnswer(row, "multipathd", trouble, document.answer(snapshot))
    if known and row is None:
        names = ", ".join(each.node for each in known.document.nodes) or "none"
        raise NotFound(f"no node {name!r} in the store; its nodes: {names}")
    try:
        maps = await Client(current.api_socket_file).get(("nodes", name, "disks", "multipath"), list[MapRow])
    except PathfleetError as error:
        if known is None:
            raise StoreError(f"{trouble}; and {error}") from error
        return NodeAnswer(row, "store", str(error), reported=_reported(known, name))
    return NodeAnswer(row, "agent", trouble, _answer(maps))


async def _known(current: Settings, name: str) -> _Known:
    async with open_store(current.store_url) as store:
        found = await live.look(store, time.time())
        return _Known(found, dict(column.read(await store.values(name)).details))


def _answer(maps: list[MapRow]) -> Answer:
    return Answer("maps", None, maps) if maps else Answer("no-maps", "multipathd has no maps", [])


def _reported(known: _Known, name: str) -> list[ReportedMap]:
    found = []
    for lun in known.document.luns:
        if (cell := lun.nodes.get(name)) is not None:
            detail = known.details.get(lun.wwid, MapDetail())
            found.append(
                ReportedMap(
                    lun.wwid,
                    lun.alias,
                    cell.state,
                    cell.paths_active,
                    cell.paths_total,
                    lun.size,
                    lun.transport,
                    cell.flags,
                    cell.reason,
                    detail.down,
                )
            )
    return found


def _print(name: str, found: NodeAnswer, *, paths: bool) -> None:
    _print_head(name, found.node)
    if found.remark is not None:
        click.echo(f"pathfleet: {render.clean(found.remark)}", err=True)
    render.put("")
    if found.reported is not None:
        render.print_line("as the store has it, which is what the node reported last:")
        _print_reported(found.reported)
    elif found.answer is not None:
        document.print_maps(found.answer)
        for row in found.answer.maps:
            if paths or row.health is not Health.OPTIMAL or row.flags:
                render.put("")
                document.print_map(row)


def _print_head(name: str, row: NodeRow | None) -> None:
    if row is None:
        render.print_line(f"{name}: the store says nothing of this node")
        return
    online = {True: "online", False: "offline", None: "nobody knows whether it is online"}[row.online]
    age = "has reported nothing" if row.age is None else f"spoke {row.age} s ago"
    render.print_line(f"{name}: {online}, multipathd {daemon_of(row)}, {age}")
    versions = row.versions
    render.print_line(f"  pathfleet {versions.pathfleet or '?'}, multipath-tools {versions.multipath_tools or '?'}")
    if row.apply is not None:
        render.print_line(f"  configuration in force: {short(row.apply.digest)}")
    if row.apply is not None and row.apply.error:
        render.print_line(f"  the wanted one is not: {row.apply.error}")
    for text in (row.reason, *row.warnings):
        if text:
            render.print_line(f"  {text}")


def _print_reported(maps: list[ReportedMap]) -> None:
    rows = [
        (
            row.state.value,
            "-" if row.paths_total is None else f"{row.paths_active}/{row.paths_total}",
            row.alias or "-",
            row.wwid,
            render.size(row.size),
            row.transport or "?",
            ", ".join(row.flags),
            # what is down stands below
            row.reason if row.state in (State.UNKNOWN, State.MISSING) else "",
        )
        for row in maps
    ]
    if not rows:
        render.print_line("no maps are reported")
        return
    render.print_table(None, ("STATE", "PATHS", "LUN", "WWID", "SIZE", "TRANSPORT", "FLAGS", "REASON"), rows)
    down = [
        (row.alias or row.wwid, path.path, path.dm, path.checker, path.initiator or "?", path.target or "?")
        for row in maps
        for path in row.down
    ]
    if down:
        render.put("")
        render.print_table("paths that were down", ("LUN", "PATH", "KERNEL", "CHECKER", "INITIATOR", "TARGET"), down)
