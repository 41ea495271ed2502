"""`pathfleet token`: who may ask the API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
from msgspec import Struct

from pathfleet.cli import local, render
from pathfleet.cluster.access import Access, Role
from pathfleet.settings import Settings
from pathfleet.store import open_store

T = TypeVar("T")

_DAY_SECONDS = 86400


class Row(Struct, frozen=True, rename="kebab"):
    """A token as it is shown: never its secret, which nobody has, nor its hash. Times in epoch seconds."""

    name: str
    role: str
    created: int
    expires: int | None
    expired: bool
    comment: str | None


@click.group()
def token() -> None:
    """Let programs and people ask the API: add, list and remove tokens, for all nodes at once."""


@token.command("add")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="auditor reads; operator also allocates volumes, and enlarges them and LUNs; admin does everything.",
)
@click.option("--expires", metavar="DAYS", type=click.IntRange(1, 36500), help="Refuse it after so many days.")
@click.option("--comment", help="A word on what it is for.")
@click.pass_context
def add_(ctx: click.Context, name: str, role: str, expires: int | None, comment: str | None) -> None:
    """Add a token and print its secret, the only time that it can be seen; how to use it goes to standard error."""
    until = int(time.time()) + expires * _DAY_SECONDS if expires else None
    current = local.settings(ctx)
    secret = asyncio.run(_on(current, lambda access: access.add(name, Role(role), expires=until, comment=comment)))
    click.echo(secret)
    click.echo(_usage(current, name), err=True)


@token.command("list")
@render.output_option()
@click.pass_context
def list_(ctx: click.Context, output: str) -> None:
    """Show all tokens: name, role, and until when they count."""
    found = asyncio.run(_on(local.settings(ctx), lambda access: access.tokens()))
    now = time.time()
    rows = [
        Row(
            name, item.role, item.created, item.expires, item.expires is not None and item.expires <= now, item.comment
        )
        for name, item in sorted(found.items())
    ]
    columns = ("NAME", "ROLE", "CREATED", "EXPIRES", "COMMENT")
    render.show(rows, output, lambda: render.print_table(None, columns, map(_words, rows)))


@token.command("remove")
@click.argument("name")
@click.pass_context
def remove_(ctx: click.Context, name: str) -> None:
    """Remove a token; every node refuses its secret within a second."""
    asyncio.run(_on(local.settings(ctx), lambda access: access.remove(name)))


async def _on(current: Settings, work: Callable[[Access], Awaitable[T]]) -> T:
    async with open_store(current.store_url, node=current.node) as store:
        return await work(Access(store))


def _usage(current: Settings, name: str) -> str:
    where = current.api_public or current.api_endpoint or f"{current.node}:8440"
    trust = (
        "" if current.api_certificate or not current.api_has_tls else f"--cacert {current.state_directory}/api.crt "
    )
    url = f"{'https' if current.api_has_tls else 'http'}://{where}/api2/json/cluster/status"
    return f"""\
The secret above is not stored and cannot be shown again. With it in the variable SECRET:
  curl --header "Authorization: Bearer $SECRET" {trust}{url}
Clients of Proxmox VE send it as an API token of any user:
  Authorization: PVEAPIToken=root@pam!{name}=$SECRET
"""


def _words(row: Row) -> tuple[str, ...]:
    expires = "-" if row.expires is None else _date(row.expires)
    return (
        row.name,
        row.role,
        _date(row.created),
        f"{expires} (over)" if row.expired else expires,
        row.comment or "-",
    )


def _date(epoch: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(epoch))
