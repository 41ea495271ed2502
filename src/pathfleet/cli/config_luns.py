"""`pathfleet config lun list`: the LUNs that are allowed, and those that nodes see and that are not."""

from __future__ import annotations

import asyncio
from typing import Final

import click

from pathfleet.cli import local, render
from pathfleet.cli.asking import Asking
from pathfleet.cluster import luns
from pathfleet.cluster.luns import LunSeen, LunsSeen
from pathfleet.settings import Settings
from pathfleet.store import open_store

_COLUMNS = ("WWID", "ALLOWED", "ALIAS", "SIZE", "MAP ON", "STORAGES", "DISKS", "HOLDS")
#: Of more nodes, the others are counted.
_NAMED: Final = 4


@click.command("list")
@render.output_option()
@click.pass_context
def list_(ctx: click.Context, output: str) -> None:
    """Show the LUNs that are allowed, and those that are not but are seen as a map or as a disk of any node.

    A LUN that is not allowed has no map. DISKS says how many there are on which nodes, HOLDS what is on them already,
    so that the disks a node boots from are told from new LUNs. Other nodes are asked through the agent of this one;
    `-o json` names every disk.
    """
    found = asyncio.run(_seen(local.settings(ctx)))
    render.show(
        found, output, lambda: render.print_table(None, _COLUMNS, (_row(lun, found.nodes) for lun in found.luns))
    )
    for reason in dict.fromkeys(found.silent.values()):
        nodes = ", ".join(node for node, why in found.silent.items() if why == reason)
        click.echo(f"warning: the disks of {nodes} are not known: {reason}", err=True)


async def _seen(current: Settings) -> LunsSeen:
    async with open_store(current.store_url) as store:
        return await luns.seen(store, Asking(current).disks)


def _row(lun: LunSeen, all_nodes: list[str]) -> tuple[str, ...]:
    disks: dict[str, list[str]] = {}
    for node, there in lun.nodes.items():
        disks.setdefault("?" if there.disks is None else str(len(there.disks)), []).append(node)
    disks.pop("0", None)
    return (
        lun.wwid,
        "yes" if lun.allowed else "no",
        lun.alias or "-",
        render.size(lun.size),
        _where([node for node, there in lun.nodes.items() if there.map], all_nodes),
        " ".join(lun.storages) or "-",
        ", ".join(f"{count} on {_where(nodes, all_nodes)}" for count, nodes in disks.items()) or "-",
        ", ".join(f"{' '.join(there.holds)} on {node}" for node, there in lun.nodes.items() if there.holds) or "-",
    )


def _where(nodes: list[str], all_nodes: list[str]) -> str:
    if nodes and nodes == all_nodes:
        return "all"
    return " ".join(nodes[:_NAMED]) + (f" +{len(nodes) - _NAMED}" if len(nodes) > _NAMED else "") or "-"
