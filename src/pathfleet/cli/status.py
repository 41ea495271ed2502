"""`pathfleet status`: every node of the cluster and what it reports."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import click

from pathfleet.cli import local, render
from pathfleet.cluster import view
from pathfleet.cluster.view import NodeView
from pathfleet.settings import Settings
from pathfleet.store import open_store

_WORST_FIRST = ("failed", "unknown", "degraded", "optimal")


@click.command()
@render.output_option()
@click.pass_context
def status(ctx: click.Context, output: str) -> None:
    """Show every node of the cluster: whether it is there, its multipathd, its maps by health, and any doubt.

    Reads the store; any node answers. Exit code: 0, or 69 when the store cannot be read.
    """
    found = asyncio.run(_nodes(local.settings(ctx)))
    render.show(found, output, lambda: _print(found))


async def _nodes(current: Settings) -> list[NodeView]:
    async with open_store(current.store_url) as store:
        return await view.nodes(store, time.time())


def _print(found: list[NodeView]) -> None:
    if not found:
        render.print_line("no node has reported yet; `pathfleet agent` on each node does")
        return
    render.print_table(
        None,
        ("NODE", "ONLINE", "MULTIPATHD", "AGE", "MAPS", "HEALTH", "REMARK"),
        [
            (
                node.node,
                {True: "online", False: "offline", None: "unknown"}[node.online],
                node.daemon or "unknown",
                f"{node.age} s" if node.age is not None else "-",
                str(len(node.maps)) if node.maps is not None else "-",
                _health(node),
                "; ".join(filter(None, (node.doubt or node.reason, *node.warnings))),
            )
            for node in found
        ],
    )


def _health(node: NodeView) -> str:
    """Return the health of all maps in words; what cannot be taken for the present is unknown, with the last word."""
    states = Counter(map_.state for map_ in (node.maps or {}).values())
    words = [f"{states[state]} {state}" for state in sorted(states, key=_severity)]
    text = ", ".join(words) or ("no maps" if node.daemon == "running" else "-")
    return f"unknown (last: {text})" if node.doubt else text


def _severity(state: str) -> int:
    return _WORST_FIRST.index(state) if state in _WORST_FIRST else 1
