"""`pathfleet store`: the cluster's memory, looked at, and rid of a node that is gone."""

from __future__ import annotations

import asyncio

import click

from pathfleet.cli import EXIT_UNAVAILABLE, local, render
from pathfleet.cluster.check import check
from pathfleet.settings import Settings
from pathfleet.store import open_store


@click.group()
def store() -> None:
    """Look at the store in which the cluster remembers; let it forget a node."""


@store.command("check")
@render.output_option()
@click.pass_context
def check_(ctx: click.Context, output: str) -> None:
    """Try everything that a store is for, and say in words what does not work and what to do.

    Writes, changes and removes a file of its own, takes a lock; touches nothing else. Exit code: 0, or 69.
    """
    current = local.settings(ctx)
    steps = asyncio.run(check(open_store(current.store_url, node=current.node)))
    rows = [(step.outcome, step.step, "-" if step.took is None else f"{step.took} ms", step.says) for step in steps]
    render.show(
        {"store": current.store_url, "steps": steps},
        output,
        lambda: _print(current.store_url, rows),
    )
    if any(step.outcome != "ok" for step in steps):
        ctx.exit(EXIT_UNAVAILABLE)


@store.command("forget")
@click.argument("node")
@click.pass_context
def forget_(ctx: click.Context, node: str) -> None:
    """Remove NODE, which is gone for good, from what the cluster remembers: its values, its column in the matrix.

    Refused while it is online. Should its agent run again, it is there again. On Proxmox VE, which has its own list of
    nodes, `pvecm delnode NODE` does this. Exit code: 0, or 69.
    """
    asyncio.run(_forget(local.settings(ctx), node))
    render.print_line(f"node {node} is forgotten; should its agent run again, it is there again")


async def _forget(current: Settings, node: str) -> None:
    async with open_store(current.store_url, node=current.node) as opened:
        await opened.forget(node)


def _print(url: str, rows: list[tuple[str, str, str, str]]) -> None:
    render.print_line(url)
    render.print_table(None, ("OUTCOME", "STEP", "TOOK", "SAYS"), rows)
