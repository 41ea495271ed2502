"""`pathfleet config lun list`: the LUNs that are allowed, and those that nodes see and that are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import click

from pathfleet.cli import local, render
from pathfleet.cli.agents import Agents
from pathfleet.cluster import luns
from pathfleet.cluster.luns import LunSeen, LunsSeen, LunThere
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

    A LUN that is not allowed has no map. DISKS says how many there are on which nodes, HOLDS what the kernel has on
    them beside a map, so that the disks a node boots from are told from new LUNs; `-` does not prove a LUN empty, `?`
    says that nobody can tell. Other nodes are asked through the agent of this one; `-o json` names every disk.
    """
    found = asyncio.run(_seen(local.settings(ctx)))
    render.show(found, output, lambda: render.print_table(None, _COLUMNS, (_row(lun, found) for lun in found.luns)))
    for reason, nodes in _by_word(found.silent).items():
        click.echo(render.clean(f"warning: the disks of {', '.join(nodes)} are not known: {reason}"), err=True)
    if found.unreported:
        names = ", ".join(found.unreported)
        click.echo(
            render.clean(f"warning: the maps of {names} are not known: no report of theirs can be read"), err=True
        )


async def _seen(current: Settings) -> LunsSeen:
    async with open_store(current.store_url) as store:
        return await luns.seen(store, Agents(current).disks)


def _row(lun: LunSeen, found: LunsSeen) -> tuple[str, ...]:
    return (
        lun.wwid,
        "yes" if lun.allowed else "no",
        lun.alias or "-",
        render.size(lun.size),
        _maps(lun, found),
        " ".join(lun.storages) or "-",
        _on_nodes(lun, found, lambda there: str(len(there.disks or ()) or "")),
        _on_nodes(lun, found, lambda there: " ".join(there.holds)),
    )


def _maps(lun: LunSeen, found: LunsSeen) -> str:
    on = [node for node, there in lun.nodes.items() if there.map]
    # a node that says which disks it has, and has none of this LUN, has no map of it either
    unknown = [node for node in found.unreported if node in lun.nodes or node in found.silent]
    words = [_where(on, found.nodes)] if on else []
    return ", ".join([*words, *([_said("?", unknown, found.nodes)] if unknown else [])]) or "-"


def _on_nodes(lun: LunSeen, found: LunsSeen, word: Callable[[LunThere], str]) -> str:
    """Return on which nodes what a word is for each that has the LUN, `?` for those that cannot be asked."""
    said = {node: word(there) for node, there in lun.nodes.items()} | dict.fromkeys(found.silent, "?")
    words = _by_word({node: said[node] for node in found.nodes if said.get(node)})
    return ", ".join(_said(word, nodes, found.nodes) for word, nodes in words.items()) or "-"


def _by_word(words: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node, word in words.items():
        found.setdefault(word, []).append(node)
    return found


def _said(word: str, nodes: list[str], all_nodes: list[str]) -> str:
    return word if word == "?" and nodes == all_nodes else f"{word} on {_where(nodes, all_nodes)}"


def _where(nodes: list[str], all_nodes: list[str]) -> str:
    if nodes == all_nodes:
        return "all"
    return " ".join(nodes[:_NAMED]) + (f" +{len(nodes) - _NAMED}" if len(nodes) > _NAMED else "")
