"""`pathfleet config set`, `unset`, `lun`, `alias`: changes of multipath.cfg, shown before they are written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import click
from click.shell_completion import CompletionItem
from msgspec import Struct

from pathfleet.cli import local, render
from pathfleet.cli.maps import complete_wwid
from pathfleet.cluster import config, preview
from pathfleet.cluster.config import Edit, Plan
from pathfleet.cluster.preview import Changed
from pathfleet.core import configuration, properties
from pathfleet.store import Store, open_store

F = TypeVar("F", bound=Callable[..., object])

Prepare = Callable[[Store], Awaitable[Plan]]


class How(Struct, frozen=True):
    """How a change is to be made."""

    digest: str | None
    at_once: bool
    dry_run: bool
    output: str


def change_options(command: F) -> F:
    """Add the options that every change has, given to the command as `digest`, `at_once`, `dry_run`, `output`."""
    options = (
        click.option("--digest", help="Change nothing unless the file still has this digest."),
        click.option("--at-once", is_flag=True, help="Let all nodes apply it together, not one first."),
        click.option("--dry-run", is_flag=True, help="Show what nodes would render, and change nothing."),
        render.output_option(),
    )
    for option in reversed(options):
        command = option(command)
    return command


def carry_out(ctx: click.Context, prepare: Prepare, how: How) -> None:
    """Show what a change does, and unless it is only to be shown, write it. Raises what `prepare` does; StoreError."""
    outcome = asyncio.run(_carry_out(ctx, prepare, how))
    render.show(outcome, how.output, lambda: _print_outcome(outcome, how))


async def _carry_out(ctx: click.Context, prepare: Prepare, how: How) -> Changed:
    current = local.settings(ctx)
    # a plan alone needs no right to write
    async with open_store(current.store_url, node=None if how.dry_run else current.node) as store:
        plan = await prepare(store)
        lines = preview.diff(plan)
        if how.output == "table":
            print_plan(plan, lines)
        if plan.changes and not how.dry_run:
            await config.write(store, plan, at_once=how.at_once)
    return preview.changed(plan, lines, written=plan.changes and not how.dry_run)


def print_plan(plan: Plan, lines: Iterable[str]) -> None:
    """Print what a plan does, and on standard error what is odd about it."""
    print_text(lines)
    for warning in plan.warnings:
        click.echo(f"warning: {render.clean(warning)}", err=True)


def print_text(lines: Iterable[str]) -> None:
    """Print lines of a file, tabs and all, without what would steer a terminal."""
    for line in lines:
        click.echo("\t".join(map(render.clean, line.split("\t"))))


def _print_outcome(outcome: Changed, how: How) -> None:
    if outcome.written:
        order = "all nodes apply it now" if how.at_once else "one node applies it first, then the others"
        render.print_line(f"written, digest {outcome.combined_digest}; {order}: see `pathfleet config status`")
    else:
        render.print_line("nothing was changed" if how.dry_run else "nothing to change: it is so already")


def complete_property(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the properties that begin like what was typed, and behind `=` their words."""
    per_lun = ctx.params.get("wwid") is not None
    name, equals, value = incomplete.partition("=")
    rows = [row for row in properties.SETTABLE if (row.in_wwid if per_lun else row.in_defaults)]
    if equals:
        return [
            CompletionItem(f"{name}={word}")
            for row in rows
            if row.name == name
            for word in row.words
            if word.startswith(value)
        ]
    return [CompletionItem(row.name, help=row.help) for row in rows if row.name.startswith(name)]


def complete_configured(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the LUNs of the configuration that begin like what was typed."""

    async def wwids() -> list[str]:
        async with open_store(local.settings(ctx).store_url) as store:
            return [*(await config.read(store)).configuration.wwids]

    try:
        return [CompletionItem(wwid) for wwid in asyncio.run(wwids()) if wwid.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - a completion that fails completes nothing
        return []


def _pairs(assignments: Iterable[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{assignment!r}: write PROPERTY=VALUE")
        if name in pairs:
            raise click.UsageError(f"{name} is given twice")
        pairs[name] = value
    return pairs


def _edited(ctx: click.Context, edit: Edit, how: How) -> None:
    async def prepare(store: Store) -> Plan:
        return await config.plan(store, edit, digest=how.digest)

    carry_out(ctx, prepare, how)


_wwid_option = click.option(
    "--wwid", is_eager=True, shell_complete=complete_configured, help="Of this LUN, instead of the defaults."
)


@click.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="PROPERTY=VALUE...", shell_complete=complete_property)
@_wwid_option
@change_options
@click.pass_context
def set_(
    ctx: click.Context, assignments: tuple[str, ...], wwid: str | None, digest: str | None, *,
    at_once: bool, dry_run: bool, output: str,
) -> None:  # fmt: skip
    """Set properties, of the defaults or of one LUN; what is not named stays."""
    values = _pairs(assignments)
    _edited(ctx, lambda text: _set(text, wwid, values, ()), How(digest, at_once, dry_run, output))


@click.command("unset")
@click.argument("names", nargs=-1, required=True, metavar="PROPERTY...", shell_complete=complete_property)
@_wwid_option
@change_options
@click.pass_context
def unset(
    ctx: click.Context, names: tuple[str, ...], wwid: str | None, digest: str | None, *,
    at_once: bool, dry_run: bool, output: str,
) -> None:  # fmt: skip
    """Unset properties, of the defaults or of one LUN: multipath's own value counts again."""
    _edited(ctx, lambda text: _set(text, wwid, {}, names), How(digest, at_once, dry_run, output))


def _set(text: str, wwid: str | None, values: dict[str, str], delete: tuple[str, ...]) -> str:
    if wwid is None:
        return configuration.set_defaults(text, values, delete)
    return configuration.set_wwid(text, wwid, values, delete)


@click.group()
def lun() -> None:
    """Which LUNs become maps, on every node; all others stay untouched."""


@lun.command("add")
@click.argument("wwid")
@click.option("--alias", "name", help="The name of its map, the same on every node.")
@change_options
@click.pass_context
def add(
    ctx: click.Context, wwid: str, name: str | None, digest: str | None, *,
    at_once: bool, dry_run: bool, output: str,
) -> None:  # fmt: skip
    """Allow a LUN: every node that sees it makes a map of it."""
    values = {} if name is None else {"alias": name}
    _edited(ctx, lambda text: configuration.add_wwid(text, wwid, values), How(digest, at_once, dry_run, output))


@lun.command("set")
@click.argument("wwid", shell_complete=complete_configured)
@click.argument("assignments", nargs=-1, required=True, metavar="PROPERTY=VALUE...", shell_complete=complete_property)
@change_options
@click.pass_context
def lun_set(
    ctx: click.Context, wwid: str, assignments: tuple[str, ...], digest: str | None, *,
    at_once: bool, dry_run: bool, output: str,
) -> None:  # fmt: skip
    """Set properties of a LUN; what is not named stays."""
    values = _pairs(assignments)
    _edited(ctx, lambda text: configuration.set_wwid(text, wwid, values), How(digest, at_once, dry_run, output))


@lun.command("remove")
@click.argument("wwid", shell_complete=complete_configured)
@click.option("--force", is_flag=True, help="Also where a storage uses it.")
@change_options
@click.pass_context
def remove(
    ctx: click.Context, wwid: str, digest: str | None, *, force: bool, at_once: bool, dry_run: bool, output: str
) -> None:
    """Allow a LUN no longer. Maps that are open stay until they are closed; the LUN's data is not touched."""

    async def prepare(store: Store) -> Plan:
        return await config.plan_removal(store, wwid, digest=digest, force=force)

    carry_out(ctx, prepare, How(digest, at_once, dry_run, output))


@click.command()
@click.argument("wwid", shell_complete=complete_wwid)
@click.argument("alias")
@change_options
@click.pass_context
def alias(
    ctx: click.Context, wwid: str, alias: str, digest: str | None, *,
    at_once: bool, dry_run: bool, output: str,
) -> None:  # fmt: skip
    """Name a LUN that is allowed: its map is called so on every node. A live map is renamed."""
    _edited(ctx, lambda text: configuration.set_alias(text, wwid, alias), How(digest, at_once, dry_run, output))
