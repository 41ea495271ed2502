"""The command line `pathfleet`: one module for each group of commands.

Exit codes of all commands: 0 done; 1, 2, 3, 4 where a command gives a verdict (degraded, failed, cannot tell, not
running); 64 used wrongly, 69 not done: something needed is not available, or what is there stands against it; 78 a
setting cannot be used (sysexits.h); 130 interrupted, 141 nobody reads the output any more (as shells count them).
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import click

from pathfleet import __version__
from pathfleet.errors import BadRequest, CannotTell, NotRunning, PathfleetError, SettingsError

EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69
EXIT_SETTINGS = 78
EXIT_CANNOT_TELL = 3
EXIT_NOT_RUNNING = 4

#: Each command, and the module that holds it: only the one that runs is loaded.
_COMMANDS = {
    "agent": "agent",
    "baseline": "baseline",
    "cluster": "cluster",
    "completion": "completion",
    "config": "config",
    "demo": "demo",
    "doctor": "doctor",
    "events": "events",
    "executor": "executor",
    "inspect": "inspect",
    "lab": "lab",
    "maps": "maps",
    "node": "node",
    "status": "status",
    "storage": "storage",
    "store": "store",
    "token": "token",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(f"pathfleet.cli.{_COMMANDS[cmd_name]}"), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 - each module holds the command it is listed with
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pathfleet")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="PATHFLEET_CONFIG",
    help="Settings file, instead of /etc/pathfleet/pathfleet.toml; also from PATHFLEET_CONFIG.",
)
def pathfleet(config_file: Path | None) -> None:
    """dm-multipath for a whole cluster: what every path of every LUN is worth, on this node and on all."""


def main() -> None:
    """Run the command line; errors end it with a sentence and the right exit code."""
    try:
        status = pathfleet(prog_name="pathfleet", standalone_mode=False)
    except click.exceptions.Exit as end:
        status = end.exit_code
    except click.Abort:
        status = 130
    except click.UsageError as error:
        error.show()
        status = EXIT_USAGE
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except SystemExit as end:
        # Completion ends with 0 here; click and rich with 1 when nobody reads on, which must not pass for a verdict.
        status = 141 if end.code == 1 else end.code
    except PathfleetError as error:
        click.echo(f"pathfleet: {error}", err=True)
        status = _exit_code(error)
    sys.exit(status if isinstance(status, int) else 0)


def _exit_code(error: PathfleetError) -> int:
    match error:
        case CannotTell():
            return EXIT_CANNOT_TELL
        case NotRunning():
            return EXIT_NOT_RUNNING
        case BadRequest(status=400):  # another status: it could be used, were it not for what is there
            return EXIT_USAGE
        case SettingsError():
            return EXIT_SETTINGS
        case _:
            return EXIT_UNAVAILABLE
