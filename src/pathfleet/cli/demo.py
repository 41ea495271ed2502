"""`pathfleet demo`: a whole simulated cluster on this machine, in a minute."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import signal
import tempfile
from pathlib import Path

import click

from pathfleet.errors import SettingsError
from pathfleet.lab import san_file
from pathfleet.lab.demo import Demo
from pathfleet.lab.topology import Topology


def default_directory() -> Path:
    """Return where a demo lives if nobody says otherwise: this user's own, gone after a reboot."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "pathfleet-demo") if runtime else Path(tempfile.gettempdir(), f"pathfleet-demo-{os.getuid()}")


directory_option = click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_directory,
    show_default="in $XDG_RUNTIME_DIR or /tmp",
    help="Where the simulated cluster keeps its settings, sockets and store.",
)


@click.command()
@click.option(
    "--topology",
    default="demo",
    show_default=True,
    metavar="NAME|FILE",
    help="The SAN: a topology file, or one that pathfleet brings (demo, iscsi, large).",
)
@click.option("--seconds", type=click.FloatRange(min=0), help="End by itself after so long; default: at Ctrl-C.")
@directory_option
def demo(topology: str, seconds: float | None, directory: Path) -> None:
    """Run a simulated SAN with the real agent on each of its hosts, and say what to look at and what to break.

    Touches nothing outside its directory: no device, no multipathd of this machine. Ends at Ctrl-C.
    """
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s %(message)s")
    directory = directory.absolute()
    cluster = Demo.prepared(san_named(topology), directory)
    asyncio.run(_run(cluster, directory, seconds))


def san_named(name: str) -> Topology:
    """Return the topology of a file, or the packaged one of that name. Raises SettingsError that names the file."""
    ready = san_file.ready()
    try:
        return san_file.load(ready[name] if name in ready else Path(name).read_text("utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"no topology {name!r}: name a file, or one of {', '.join(sorted(ready))}") from error
    except (OSError, UnicodeDecodeError, SettingsError) as error:
        raise SettingsError(f"{name}: {error}") from error


async def _run(cluster: Demo, directory: Path, seconds: float | None) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with cluster.running():
        click.echo(_welcome(cluster, directory))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await ended.wait()
    click.echo("the simulated cluster has ended")


def _welcome(cluster: Demo, directory: Path) -> str:
    san = cluster.san
    host = next(iter(san.nodes))
    switch = san.topology.switches[0].name
    where = "" if directory == default_directory() else f" --directory {shlex.quote(str(directory))}"
    return f"""\
A simulated cluster runs: {len(san.nodes)} hosts, {len(san.topology.switches)} switches, \
{len(san.topology.luns)} LUNs. Ctrl-C ends it.

Look, in another terminal:
  export PATHFLEET_CONFIG={shlex.quote(str(cluster.settings_file(host)))}
  pathfleet status                    every LUN on every host
  pathfleet maps                      the maps of {host}; {directory}/HOST.toml are the others
  pathfleet maps {san.topology.luns[0].alias or san.topology.luns[0].wwid}
  pathfleet status --watch            the same, as it changes
{_over_http(cluster, host)}

Break something, and look again:
  pathfleet lab break {switch}{where}
  pathfleet lab show{where}                  what there is to break, and what is broken
  pathfleet lab faults                other ways to break it
  pathfleet lab mend --all{where}

Configure the whole cluster, one host first, then the others; and hear what is wrong anyway:
  pathfleet config set no-path-retry=24 && pathfleet config status
  pathfleet doctor"""


def _over_http(cluster: Demo, host: str) -> str:
    return f"""
Open {cluster.address(host)} in a browser, and sign in with this token; "Lab" there breaks things beside the matrix:
  {cluster.secret}

Any host answers for all of them over HTTP:
  export PATHFLEET_DEMO_TOKEN={cluster.secret}
  curl -H "Authorization: Bearer $PATHFLEET_DEMO_TOKEN" {cluster.address(host)}/api2/json/cluster/multipath/status"""
