"""`pathfleet config overrides` and `lint`: the administrator's own text in multipath.conf's syntax."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import click
from msgspec import Struct

from pathfleet.cli import local, render
from pathfleet.cli.config_change import How, carry_out, change_options, print_text
from pathfleet.cluster import config
from pathfleet.cluster.config import BadOverrides, Current, Plan
from pathfleet.core.conf import lint as linter
from pathfleet.core.conf.lint import Diagnostic
from pathfleet.errors import BadRequest, PathfleetError, SettingsError, StoreError
from pathfleet.store import Store, open_store

_TEMPLATE = """\
# Overrides of the whole cluster, in the syntax of multipath.conf(5): devices, blacklist, blacklist_exceptions,
# overrides (with protocol sections). Defaults and LUNs are set by `pathfleet config set` and `lun`.
"""
_EXIT_ERRORS = 2


@click.group()
def overrides() -> None:
    """The administrator's own text for every node: devices, blacklists, overrides, in multipath.conf's syntax."""


class Shown(Struct, frozen=True):
    """The text, and the digest that a change of it names."""

    content: str
    digest: str


@overrides.command("show")
@render.output_option()
@click.pass_context
def show(ctx: click.Context, output: str) -> None:
    """Show the text."""
    current = asyncio.run(_current(ctx))
    shown = Shown(current.overrides, current.overrides_digest)
    render.show(shown, output, lambda: print_text(shown.content.splitlines()))


@overrides.command("set")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))
@change_options
@click.pass_context
def set_(ctx: click.Context, file: Path, digest: str | None, *, at_once: bool, dry_run: bool, output: str) -> None:
    """Replace the text by that of FILE, or of standard input for `-`. An empty one removes the overrides."""
    try:
        _store(ctx, _text(file), How(digest, at_once, dry_run, output))
    except BadOverrides as error:
        _print_findings(error.findings, err=True)
        raise


@overrides.command("edit")
@change_options
@click.pass_context
def edit(ctx: click.Context, digest: str | None, *, at_once: bool, dry_run: bool, output: str) -> None:
    """Edit the text in $VISUAL or $EDITOR. What has errors goes back to the editor; what cannot be stored is kept."""
    current = asyncio.run(_current(ctx))
    how = How(digest or current.overrides_digest, at_once, dry_run, output)
    text = current.overrides or _TEMPLATE
    while (edited := click.edit(text, extension=".conf")) is not None:
        text = edited
        try:
            _store(ctx, text, how)
        except BadOverrides as error:
            _print_findings(error.findings, err=True)
            if not _confirmed("Edit it again?"):
                raise _kept(text, "it has errors") from error
        except (StoreError, BadRequest) as error:
            raise _kept(text, str(error)) from error
        else:
            return
    render.print_line("nothing was changed: the editor did not save")


def _confirmed(question: str) -> bool:
    try:
        return click.confirm(question, default=True, err=True)
    except click.Abort:  # nobody is there to answer
        return False


def _kept(text: str, why: str) -> PathfleetError:
    """Return the error for a text that was not stored, and keep it."""
    descriptor, name = tempfile.mkstemp(".conf", "pathfleet-overrides-")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return StoreError(
        f"the overrides were not stored: {why}; your text is in {name}: see `pathfleet config overrides set`"
    )


def _store(ctx: click.Context, text: str, how: How) -> None:
    async def prepare(store: Store) -> Plan:
        return await config.plan_overrides(store, text, digest=how.digest)

    carry_out(ctx, prepare, how)


class Linted(Struct, frozen=True):
    """What was found in a text."""

    findings: tuple[Diagnostic, ...]


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))
@render.output_option()
@click.pass_context
def lint(ctx: click.Context, file: Path | None, output: str) -> None:
    """Say what is wrong in FILE (`-`: standard input), or in the overrides as they are; changes nothing.

    Exit code: 0 without errors, 2 with.
    """
    findings = asyncio.run(_linted(ctx, None if file is None else _text(file)))
    render.show(Linted(findings), output, lambda: _print_findings(findings))
    if any(finding.severity == "error" for finding in findings):
        ctx.exit(_EXIT_ERRORS)


async def _linted(ctx: click.Context, text: str | None) -> tuple[Diagnostic, ...]:
    try:
        async with open_store(local.settings(ctx).store_url) as store:
            current = await config.read(store)
            if text is not None:
                current = Current(current.content, text.encode(errors="surrogateescape"))
            return config.check(current, await config.published(store))
    except StoreError as error:
        if text is None:
            raise
        click.echo(f"warning: without the cluster's LUNs and versions: {render.clean(str(error))}", err=True)
        return linter.lint(text)


def _print_findings(findings: Iterable[Diagnostic], *, err: bool = False) -> None:
    for found in findings:
        text = f"{found.line}:{found.column}: {found.severity}: {found.message} [{found.code}]"
        click.echo(render.clean(text), err=err)


async def _current(ctx: click.Context) -> Current:
    async with open_store(local.settings(ctx).store_url) as store:
        return await config.read(store)


def _text(file: Path) -> str:
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return content.decode()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{file}, line {line}: this is no UTF-8 text") from error
