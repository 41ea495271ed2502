"""`pathfleet events`: every change of the matrix, a line for each."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
import msgspec

from pathfleet.cli import local, render
from pathfleet.cli.following import following, until_interrupted
from pathfleet.cli.remarks import short
from pathfleet.cli.render import STYLES, Line
from pathfleet.cluster.journal import Event
from pathfleet.core.change import CellChange, Change, LunChange, NodeChange, WarningsChange
from pathfleet.core.matrix import Cell, Document, LunHead, NodeHead, State
from pathfleet.store import Store, open_store

_LOOK_SECONDS = 1.0
_KINDS = {"cell": CellChange, "lun": LunChange, "node": NodeChange, "warnings": WarningsChange}


@click.command()
@click.option("--since-now", is_flag=True, help="Only what changes from now on, not what is wrong already.")
@render.output_option()
@click.pass_context
def events(ctx: click.Context, output: str, *, since_now: bool) -> None:
    """Follow the cluster: what is wrong now, then every change of a LUN on a node, of a LUN, and of a node.

    Goes on through trouble of the store, which is an event, too. JSON is one object on each line. Ends at Ctrl-C.

    Exit code: 0, or 69 when the store cannot be read at the start.
    """
    until_interrupted(_follow(open_store(local.settings(ctx).store_url), output, since_now=since_now))


async def _follow(store: Store, output: str, *, since_now: bool) -> None:
    async with following(store) as followed:
        printer = Printer(followed.document, output)
        last = followed.live.journal.latest
        if not since_now:
            printer.show_present(followed.document)
        while True:
            if not await followed.wait(last, _LOOK_SECONDS):
                continue
            news, last = followed.live.journal.since(last), followed.live.journal.latest
            if news is None:
                click.echo("pathfleet: more has changed than could be told; going on from here", err=True)
                printer.learn(followed.document)
            for event in news or ():
                printer.show(event)


class Printer:
    """Prints changes; knows what the LUNs are called and what nodes and LUNs were before."""

    def __init__(self, document: Document, output: str, clock: Callable[[], float] = time.time) -> None:
        self._output = output
        self._clock = clock
        self.learn(document)

    def learn(self, document: Document) -> None:
        """Take the names, and what is to be compared with, from the whole matrix."""
        self._luns: dict[str, LunHead] = {lun.wwid: lun for lun in document.luns}
        self._nodes: dict[str, NodeHead] = {node.node: node for node in document.nodes}
        self._warnings = document.warnings

    def show_present(self, document: Document) -> None:
        """Print what is wrong already."""
        for lun in document.luns:
            for node, cell in lun.nodes.items():
                if cell.state is not State.OPTIMAL:
                    without_age = Cell(cell.state, cell.paths_active, cell.paths_total, cell.reason, cell.flags)
                    self._put("cell", CellChange(lun.wwid, node, without_age, None, lun.cluster_state))

    def show(self, event: Event) -> None:
        """Print one change."""
        self._put(event.kind, msgspec.json.decode(event.data, type=_KINDS[event.kind]))

    def _put(self, kind: str, change: Change) -> None:
        if self._output == "table":
            render.print_lines([line] if (line := self._line(change)) else [])
        else:
            self._put_object(kind, change)
        if isinstance(change, LunChange):
            _replace(self._luns, change.wwid, change.lun)
        elif isinstance(change, NodeChange):
            _replace(self._nodes, change.node, change.head)
        elif isinstance(change, WarningsChange):
            self._warnings = change.warnings
        sys.stdout.flush()

    def _put_object(self, kind: str, change: Change) -> None:
        document: dict[str, Any] = {"time": int(self._clock()), "kind": kind}
        if isinstance(change, CellChange):
            document["alias"] = self._alias(change.wwid)
        document |= msgspec.to_builtins(change)
        render.put(
            render.json_text(document, indent=None) if self._output == "json" else f"---\n{render.yaml(document)}"
        )

    def _line(self, change: Change) -> Line | None:
        match change:
            case CellChange():
                return self._of_cell(change)
            case LunChange():
                about = self._alias(change.wwid) or change.wwid
                said = "; ".join(_of_lun(self._luns.get(change.wwid), change.lun))
            case NodeChange():
                about = f"node {change.node}"
                said = "; ".join(_of_node(self._nodes.get(change.node), change.head))
            case WarningsChange():
                about, said = "cluster", "; ".join(_news(self._warnings, change.warnings))
        return [(f"{self._now()}  {about}  {said}", "")] if said else None

    def _of_cell(self, change: CellChange) -> Line:
        name = self._alias(change.wwid) or change.wwid
        before, after = change.before.value if change.before else "-", "gone"
        reason = ""
        if change.cell:
            after, reason = change.cell.state.value, f"  {change.cell.reason}"
        return [
            (f"{self._now()}  {name}  {change.node}  ", ""),
            (before, STYLES.get(before, "")),
            (" -> ", ""),
            (after, STYLES.get(after, "")),
            (reason, ""),
        ]

    def _alias(self, wwid: str) -> str | None:
        return self._luns[wwid].alias if wwid in self._luns else None

    def _now(self) -> str:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._clock()))


def _replace(known: dict[str, Any], key: str, head: LunHead | NodeHead | None) -> None:
    if head is None:
        known.pop(key, None)
    else:
        known[key] = head


def _of_lun(before: LunHead | None, after: LunHead | None) -> Iterator[str]:
    """Yield what changed in a row's head; its state is told by its cells."""
    if before is None or after is None:
        yield "the LUN is known from now on" if after else "the LUN is gone"
        return
    for word, old, new in (
        ("alias", before.alias or "-", after.alias or "-"),
        ("size", render.size(before.size), render.size(after.size)),
        ("transport", before.transport or "?", after.transport or "?"),
        ("storages", ", ".join(before.storages) or "-", ", ".join(after.storages) or "-"),
    ):
        if old != new:
            yield f"{word} {old} -> {new}"
    yield from _news(before.warnings, after.warnings)


def _of_node(before: NodeHead | None, after: NodeHead | None) -> Iterator[str]:
    """Yield what changed in a column's head."""
    if before is None or after is None:
        yield f"{_online(after)}, multipathd {after.daemon}" if after else "the node is gone"
        return
    if before.online is not after.online:
        yield f"{_online(before)} -> {_online(after)}"
    if before.daemon != after.daemon:
        yield f"multipathd {before.daemon} -> {after.daemon}"
    if before.reason != after.reason and after.reason:
        yield after.reason
    if before.versions != after.versions:
        tools = before.versions.multipath_tools, after.versions.multipath_tools
        own = before.versions.pathfleet, after.versions.pathfleet
        yield from (
            f"{name} {old or '?'} -> {new or '?'}"
            for name, (old, new) in (("multipath-tools", tools), ("pathfleet", own))
            if old != new
        )
    if before.apply != after.apply and after.apply:
        yield f"configuration: {after.apply.error or short(after.apply.digest) + ' is in force'}"
    yield from _news(before.warnings, after.warnings)


def _news(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[str]:
    """Yield which warnings came, and which went."""
    yield from (f"warning: {warning}" for warning in after if warning not in before)
    yield from (f"no longer: {warning}" for warning in before if warning not in after)


def _online(node: NodeHead) -> str:
    return {True: "online", False: "offline", None: "unknown"}[node.online]
