"""`pathfleet lab`: break and mend a running simulated SAN, and make one of a real one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from pathfleet.agent.collect import Snapshot
from pathfleet.cli import local, render
from pathfleet.cli.demo import default_directory, directory_option
from pathfleet.cluster import live
from pathfleet.core.column import Column
from pathfleet.errors import CannotTell, PathfleetError, SettingsError, StoreError
from pathfleet.lab import san_file
from pathfleet.lab.control import Answer, Question, ask
from pathfleet.lab.faults import FAULTS
from pathfleet.lab.survey import survey
from pathfleet.settings import Settings
from pathfleet.store import open_store


@click.group()
def lab() -> None:
    """Break and mend the SAN of a running `pathfleet demo`, by command or by script."""


def _complete_component(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    directory = ctx.params.get("directory") or default_directory()
    try:
        there = ask(directory / "control", Question("show")).components
    except PathfleetError:
        return []
    return [CompletionItem(name, help=kind) for name, kind in there.items() if name.startswith(incomplete)]


_fault_option = click.option(
    "--fault",
    type=click.Choice([*FAULTS]),
    default="break",
    show_default=True,
    help="What goes wrong; `pathfleet lab faults` explains each.",
)
_component = click.argument("component", shell_complete=_complete_component)
_value = click.argument("value", default="")


@lab.command("break")
@_component
@_value
@_fault_option
@directory_option
def break_(component: str, value: str, fault: str, directory: Path) -> None:
    """Let something go wrong with a component; some faults need a VALUE."""
    _say(ask(directory / "control", Question("break", component, fault, value)))


@lab.command("mend")
@click.argument("component", default="", shell_complete=_complete_component)
@_value
@_fault_option
@click.option("--all", "everything", is_flag=True, help="End every fault there is.")
@directory_option
def mend(component: str, value: str, fault: str, directory: Path, *, everything: bool) -> None:
    """End a fault of a component."""
    if bool(component) == everything:
        raise click.UsageError("name the component to mend, or give --all")
    question = Question("mend-all") if everything else Question("mend", component, fault, value)
    _say(ask(directory / "control", question))


@lab.command("run")
@click.argument("timeline", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@directory_option
def run(timeline: Path, directory: Path) -> None:
    """Let the steps of a timeline file happen, from now; returns at once."""
    try:
        text = timeline.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{timeline} cannot be read: {error}") from error
    ask(directory / "control", Question("run", text=text))
    click.echo(f"the steps of {timeline} happen from now on; `pathfleet lab show` says what is broken")


@lab.command("show")
@render.output_option()
@directory_option
def show(output: str, directory: Path) -> None:
    """Show the components of the running lab, and every fault there is now."""
    answer = ask(directory / "control", Question("show"))
    faulty: dict[str, list[str]] = {}
    for fault in answer.faults:
        faulty.setdefault(fault.component, []).append(f"{fault.fault} {fault.value}".strip())
    rows = [(name, kind, ", ".join(faulty.pop(name, ()))) for name, kind in answer.components.items()]
    rows += [(name, "", ", ".join(those)) for name, those in faulty.items()]
    render.show(answer, output, lambda: render.print_table(None, ("COMPONENT", "KIND", "FAULT"), rows))


@lab.command("faults")
@render.output_option()
def faults(output: str) -> None:
    """Show everything that can go wrong, with what, and what it needs to be told."""
    document = [
        {"fault": name, "applies-to": fault.applies_to, "value": fault.value or None, "help": fault.help}
        for name, fault in FAULTS.items()
    ]
    rows = [(name, ", ".join(fault.applies_to), fault.value, fault.help) for name, fault in FAULTS.items()]
    render.show(document, output, lambda: render.print_table(None, ("FAULT", "OF", "VALUE", "MEANS"), rows))


@lab.command("import")
@click.option(
    "--to", type=click.Path(dir_okay=False, path_type=Path), help="Write there; default: to standard output."
)
@click.pass_context
def import_(ctx: click.Context, to: Path | None) -> None:
    """Make a topology file of the real SAN that this node sees, to rehearse it with `pathfleet demo --topology FILE`.

    Ports are known of this node's own paths; other nodes in the store become hosts that see what they reported.
    """
    current = local.settings(ctx)
    snapshot, others = asyncio.run(_this_node_and_others(current))
    if not snapshot.verdicts:
        raise CannotTell(snapshot.reason or "multipathd has no maps: nothing to make a topology of")
    topology = survey(current.node, snapshot, others)
    text = san_file.dump(topology)
    if to is None:
        click.echo(text, nl=False)
        return
    try:
        to.write_text(text, "utf-8")
    except OSError as error:
        raise SettingsError(f"{to} cannot be written: {error.strerror}") from error
    click.echo(f"{to}: {len(topology.luns)} LUNs; rehearse with `pathfleet demo --topology {to}`")


async def _this_node_and_others(current: Settings) -> tuple[Snapshot, list[Column]]:
    snapshot = await local.collector(current).collect()
    try:
        async with open_store(current.store_url) as store:
            return snapshot, await live.columns(store, time.time())
    except StoreError as error:
        click.echo(f"pathfleet: only this node is known: {error}", err=True)
        return snapshot, []


def _say(answer: Answer) -> None:
    if not answer.faults:
        click.echo("nothing is broken")
    for fault in answer.faults:
        render.print_line(f"now: {fault.fault} {fault.component} {fault.value}".rstrip())
