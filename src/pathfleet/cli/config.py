"""`pathfleet config`: the configuration of multipathd that the cluster has, and what its nodes make of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import click
from msgspec import Struct

from pathfleet.cli import local, render
from pathfleet.cli.agents import Agents
from pathfleet.cli.config_change import alias as alias_
from pathfleet.cli.config_change import lun, print_text, set_, unset
from pathfleet.cli.config_clear import clear
from pathfleet.cli.config_import import import_
from pathfleet.cli.config_luns import list_
from pathfleet.cli.config_overrides import lint, overrides
from pathfleet.cluster import config as cluster_config
from pathfleet.cluster import drift
from pathfleet.cluster.config import Current
from pathfleet.cluster.drift import ClusterDrift, NodeDrift, Standing
from pathfleet.core import properties
from pathfleet.store import open_store


class _Commands(click.Group):
    """Brings `apply` when it is asked for: with it comes all that an agent needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "apply"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "apply":
            from pathfleet.cli.apply import apply  # noqa: PLC0415 - 130 ms that the other commands need not pay

            return apply
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Commands)
def config() -> None:
    """Show, change and check the cluster's configuration of multipathd, and see what nodes have in force.

    What is written goes to every node: to one first, and when that is well, to the others.
    """


for command in (set_, unset, lun, alias_, overrides, clear, lint, import_):
    config.add_command(command)
lun.add_command(list_)


class LunRow(Struct, frozen=True, rename="kebab"):
    """A LUN of the configuration with its properties."""

    wwid: str
    properties: Mapping[str, str]


class Shown(Struct, frozen=True, rename="kebab"):
    """The whole configuration. A change names the digest of the file that it changes."""

    digest: str
    overrides_digest: str
    combined_digest: str
    defaults: Mapping[str, str]
    wwids: list[LunRow]
    overrides: str
    problems: list[str]


@config.command("show")
@render.output_option()
@click.pass_context
def show(ctx: click.Context, output: str) -> None:
    """Show the configuration: defaults, allowed LUNs, overrides, and the digests that a change names."""
    current = asyncio.run(_read(local.settings(ctx).store_url))
    found = current.configuration
    shown = Shown(
        current.digest,
        current.overrides_digest,
        current.combined_digest,
        found.defaults,
        [LunRow(wwid, properties) for wwid, properties in found.wwids.items()],
        current.overrides,
        [f"line {problem.line}: {problem.message}" for problem in found.problems],
    )
    render.show(shown, output, lambda: _print(shown))


async def _read(url: str) -> Current:
    async with open_store(url) as store:
        return await cluster_config.read(store)


def _print(shown: Shown) -> None:
    if not (shown.defaults or shown.wwids or shown.overrides):
        render.print_line(
            "nothing is configured: nodes go by their own files; see `pathfleet config import` and `config set`"
        )
    if shown.defaults:
        render.print_table(None, ("DEFAULT", "VALUE"), list(shown.defaults.items()))
    if shown.wwids:
        rows = [
            (
                row.wwid,
                row.properties.get("alias", "-"),
                " ".join(f"{name}={value}" for name, value in row.properties.items() if name != "alias") or "-",
            )
            for row in shown.wwids
        ]
        render.print_table(None, ("WWID", "ALIAS", "PROPERTIES"), rows)
    print_text(shown.overrides.splitlines())
    for problem in shown.problems:
        render.print_line(f"ignored: multipath.cfg, {problem}")
    digests = (("multipath.cfg", shown.digest), ("overrides", shown.overrides_digest))
    render.print_table(None, ("FILE", "DIGEST"), digests)


@config.command("properties")
@render.output_option("markdown")
def properties_(output: str) -> None:
    """Show every property that can be set, its values, its default, and the multipath-tools that brought it."""
    if output == "markdown":
        click.echo(properties.reference(), nl=False)
        return
    render.show(
        properties.SETTABLE,
        output,
        lambda: render.print_table(
            None,
            ("PROPERTY", "FOR", "VALUES", "DEFAULT", "SINCE"),
            [
                (row.name, properties.scope(row), row.allowed, row.default or "-", row.since or "-")
                for row in properties.SETTABLE
            ],
        ),
    )


@config.command("diff")
@render.output_option()
@click.pass_context
def diff(ctx: click.Context, output: str) -> None:
    """Show where nodes differ from the configuration, keyword by keyword, as their multipathd says.

    Other nodes are asked through the agent on this machine; of those that cannot be asked, the digest is shown.

    Exit code: 0 where all have it in force; 1 where one does not; 3 where nobody can tell of one.
    """
    found = asyncio.run(_look(ctx, by_keyword=True))
    render.show(found, output, lambda: _print_diff(found))
    ctx.exit(_exit_code(found))


@config.command("status")
@render.output_option()
@click.pass_context
def status(ctx: click.Context, output: str) -> None:
    """Show how far the configuration has come: what each node has in force, and why not the newest.

    Exit code: as of `diff`.
    """
    found = asyncio.run(_look(ctx, by_keyword=False))
    render.show(found, output, lambda: _print_status(found))
    ctx.exit(_exit_code(found))


async def _look(ctx: click.Context, *, by_keyword: bool) -> ClusterDrift:
    current = local.settings(ctx)
    async with open_store(current.store_url) as store:
        return await drift.look(store, Agents(current).effective if by_keyword else None)


def _print_status(found: ClusterDrift) -> None:
    render.print_line(f"wanted: {found.digest or 'nothing: no drop-ins, no allow-list of ours'}")
    if found.nodes:
        render.print_table(None, ("NODE", "STATE", "DIGEST", "AGE", "REMARK"), map(_row, found.nodes))
    else:
        render.print_line("no node has reported yet; `pathfleet agent` on each node does")


def _row(node: NodeDrift) -> tuple[str, ...]:
    age = f"{node.age} s" if node.age is not None else "-"
    return node.node, node.state, node.digest or "-", age, "; ".join(filter(None, (node.error, node.reason)))


def _print_diff(found: ClusterDrift) -> None:
    _print_status(found)
    for node in found.nodes:
        if node.differences:
            rows = [(d.section, d.keyword, d.wanted, d.effective or "(not set)") for d in node.differences]
            render.print_table(f"{node.node}: multipathd goes by", ("SECTION", "KEYWORD", "WANTED", "EFFECTIVE"), rows)
        elif node.differences is not None:
            render.print_line(f"{node.node}: multipathd goes by all of it")
        else:
            render.print_line(f"{node.node}: what multipathd goes by is not known")


def _exit_code(found: ClusterDrift) -> int:
    states = {node.state for node in found.nodes}
    if states & {Standing.BEHIND, Standing.FAILED, Standing.DRIFTED}:
        return 1
    return 3 if Standing.UNKNOWN in states or not states else 0
