"""`pathfleet inspect`: the verdict on a saved reply of multipathd."""

from __future__ import annotations

import time as clock
from typing import IO

import click

from pathfleet.agent.collect import Snapshot
from pathfleet.cli import document, render
from pathfleet.core import maps, report
from pathfleet.core.health import Facts, judge
from pathfleet.core.node import Daemon
from pathfleet.errors import CannotTell

#: What multipathd's own clients take at most.
_LIMIT = 32 * 1024 * 1024


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "--time",
    "at",
    type=click.IntRange(min=0),
    metavar="N",
    help="Epoch seconds to put into the wire form; default: now.",
)
@render.output_option("wire")
@click.pass_context
def inspect(ctx: click.Context, file: str, at: int | None, output: str) -> None:
    """Judge a saved reply of multipathd (`multipathd show maps json`); `-` reads standard input.

    The same verdict as on a live node, from what the reply alone says: sizes and transports are not in it.
    `--output wire` prints the plain report exactly as the agent would publish it.

    Exit code of the worst map: 0 optimal or no maps, 1 degraded, 2 failed, 3 cannot tell.
    """
    snapshot = _snapshot(file)
    found = document.answer(snapshot)
    if output != "wire":
        render.show(found, output, lambda: document.print_maps(found))
    elif snapshot.daemon is Daemon.RUNNING:
        value = report.plain(report.summarise(snapshot.verdicts), int(clock.time()) if at is None else at)
        click.echo(value.decode())
    else:
        click.echo(f"pathfleet: nothing would be published: {snapshot.reason}", err=True)
    ctx.exit(document.exit_code(found))


def _snapshot(file: str) -> Snapshot:
    try:
        with click.open_file(file, "rb") as stream:
            found = maps.decode(_read(stream))
    except OSError as error:
        return Snapshot(Daemon.CANNOT_TELL, f"{file} cannot be read: {error.strerror}")
    except CannotTell as error:
        return Snapshot(Daemon.CANNOT_TELL, str(error))
    return Snapshot(Daemon.RUNNING, None, tuple(judge(map_, Facts()) for map_ in found))


def _read(stream: IO[bytes]) -> bytes:
    content = stream.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise CannotTell(f"more than {_LIMIT} bytes: no reply of multipathd is that long")
    return content
