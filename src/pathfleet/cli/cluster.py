"""`pathfleet cluster`: found, join and leave an etcd cluster in which pathfleet remembers."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from pathfleet.cli import local, render
from pathfleet.cluster import departure, membership
from pathfleet.cluster.machine import Machine, Record
from pathfleet.cluster.membership import Seen
from pathfleet.cluster.token import Token
from pathfleet.errors import SettingsError, StoreError
from pathfleet.settings import DEFAULT_FILE
from pathfleet.system import certificates

F = TypeVar("F", bound=Callable[..., object])

#: Where things are on this node.
MACHINE = Machine()

#: All that reads the store.
_RESTART = "systemctl restart pathfleet-agent; systemctl try-restart pathfleet-executor pathfleet-apply"

_STORE = re.compile(r"^[ \t]*store[ \t]*=.*$", re.MULTILINE)


def _write_settings(command: F) -> F:
    return click.option(
        "--write-settings", is_flag=True, help="Put the store into the settings file; the rest of the file stays."
    )(command)


@click.group()
def cluster() -> None:
    """Found, join and leave an etcd cluster in which pathfleet remembers (not on Proxmox VE, which has its own)."""


@cluster.command("init")
@click.argument("address")
@_write_settings
@click.pass_context
def init_(ctx: click.Context, address: str, write_settings: bool) -> None:
    """Found an etcd cluster, this node its only member, reached by the others at the IP address ADDRESS.

    Makes the cluster's certificates, sets up and starts Debian's etcd, and prints the line for the settings.
    """
    node = local.settings(ctx).node
    _finish(ctx, asyncio.run(membership.init(MACHINE, node, address, _progress)), write_settings)


@cluster.command("token")
@click.argument("node")
@click.argument("address")
def token_(node: str, address: str) -> None:
    """Let another node in: print the token with which NODE, at the IP address ADDRESS, joins.

    The token is a secret: whoever has it can be that node. It is good for 24 hours, and until the next one for NODE.
    """
    found = asyncio.run(membership.token(MACHINE, node, address, _progress))
    _progress(f"a secret; on {node}: `pathfleet cluster join -`, and paste this line:")
    click.echo(found.text())


@cluster.command("join")
@click.argument("token")
@_write_settings
@click.pass_context
def join_(ctx: click.Context, token: str, write_settings: bool) -> None:
    """Join the cluster that TOKEN is from; `-` reads it from standard input, where no list of processes shows it."""
    node = local.settings(ctx).node
    given = Token.parse(sys.stdin.readline() if token == "-" else token)  # noqa: S105 - a dash
    _finish(ctx, asyncio.run(membership.join(MACHINE, node, given, _progress)), write_settings)


@cluster.command("leave")
@click.argument("member", required=False)
@click.option("--force", is_flag=True, help="Also where the rest could not go on, or cannot be asked.")
def leave_(member: str | None, force: bool) -> None:
    """Take this node out of its cluster and stop its etcd; its data and certificates are kept beside, renamed.

    With MEMBER (a name, id or peer URL as `members` shows it): take out another one, which is gone for good.
    """
    if member is not None:
        asyncio.run(departure.expel(MACHINE, member, _progress, force=force))
        return
    for path in asyncio.run(departure.leave(MACHINE, _progress, force=force)):
        _progress(f"kept: {path}")
        if (path / "ca.key").exists():
            _progress(f"nodes are let in with {path / 'ca.key'}: move it to another member's {MACHINE.directory}")
    _progress(f"now set store in the settings to another one, then: {_RESTART}")


@cluster.command("settings")
@_write_settings
@click.pass_context
def settings_(ctx: click.Context, write_settings: bool) -> None:
    """Name all members, as they are now, in the line for this node's settings: after others joined or left.

    The agent asks the next member in the line when this node's own does not answer.
    """
    _finish(ctx, asyncio.run(membership.looked_up(MACHINE)), write_settings)


@cluster.command("members")
@render.output_option()
def members_(output: str) -> None:
    """Show the members of this node's cluster: who leads, who is healthy, who has not started yet."""
    found = asyncio.run(membership.members(MACHINE))
    columns = ("NAME", "STATE", "LEADER", "HEALTHY", "PEER URL", "CLIENT URL", "ID")
    render.show(found, output, lambda: render.print_table(None, columns, map(_row, found)))


def _row(member: Seen) -> tuple[str, ...]:
    words = {True: "yes", False: "no", None: "-"}
    return (
        member.name or "-",
        member.state,
        "unknown" if member.healthy is False and member.leader is None else words[member.leader],
        words[member.healthy],
        " ".join(member.peer_urls),
        " ".join(member.client_urls) or "-",
        member.ident,
    )


def _progress(text: str) -> None:
    click.echo(f"cluster: {render.clean(text)}", err=True)


def _finish(ctx: click.Context, record: Record, write_settings: bool) -> None:
    """Print the line for the settings, or put it there."""
    file = ctx.find_root().params["config_file"] or DEFAULT_FILE
    url = MACHINE.store_url(record.endpoints)
    if write_settings:
        write_store(file, url)
        _progress(f"written to {file}; now: {_RESTART}")
    else:
        _progress(f"{record.node} is a member; put this line into {file}, then: {_RESTART}")
    render.print_line(f"store = {json.dumps(url)}")


def write_store(file: Path, url: str) -> None:
    """Set `store` in a settings file, whose other lines stay as they are. Raises SettingsError, StoreError."""
    line = f"store = {json.dumps(url)}"
    try:
        text = file.read_text("utf-8") if file.exists() else ""
        fresh, count = _STORE.subn(lambda _: line, text, count=1)
        fresh = fresh if count else f"{line}\n{text}"
        if tomllib.loads(fresh) != tomllib.loads(text) | {"store": url}:
            raise SettingsError(f"{file}: `store` stands there in a way that is left to you; write: {line}")
        certificates.write(file, fresh, mode=file.stat().st_mode & 0o777 if file.exists() else 0o644)
    except OSError as error:
        raise StoreError(f"{file} cannot be written: {error.strerror}; write into it: {line}") from error
    except ValueError as error:
        raise SettingsError(f"{file} is not TOML; write into it: {line}") from error
