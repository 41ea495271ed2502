"""`pathfleet doctor`: what is wrong, what that means, and which command helps."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import click
from msgspec import Struct

from pathfleet.cli import local, render
from pathfleet.cli.client import Client
from pathfleet.cli.render import Line
from pathfleet.cluster import doctor as doctoring
from pathfleet.cluster.doctor import Diagnosis
from pathfleet.core.facts import NodeFacts, Unexamined
from pathfleet.core.findings import Finding
from pathfleet.core.mutes import Mute
from pathfleet.core.rules import BY_CODE, RULES
from pathfleet.errors import NotFound, StoreError
from pathfleet.settings import Settings
from pathfleet.store import Store, open_store
from pathfleet.system.examine import examine
from pathfleet.system.multipathd import Multipathd

T = TypeVar("T")

_DAY_SECONDS = 86400
_SUBJECTS = 8
_EXIT = {"warning": 1, "error": 2}
_EXIT_UNEXAMINED = 3
_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class _Facts(Struct, frozen=True):
    """Of what another node answers, what is judged here."""

    facts: NodeFacts


class _Explained(Struct, frozen=True, rename="kebab"):
    code: str
    severity: str
    meaning: str
    remedy: str


@click.group(invoke_without_command=True)
@click.option(
    "--node", "here", is_flag=True, help="Examine this node only; works without an agent, and without a store."
)
@render.output_option()
@click.pass_context
def doctor(ctx: click.Context, output: str, *, here: bool) -> None:
    """Say what is wrong, what that means, and what to do, in the whole cluster.

    This node is examined now, others are asked through the agent on this machine; where that cannot be, only what a
    node published is judged, and it is said so. Changes nothing. LVM needs root.

    Exit code: 0 nothing found (or only infos); 1 warnings; 2 errors; 3 nothing found, but not everything could be
    examined; 69 when the store cannot be read (not with --node).
    """
    if ctx.invoked_subcommand is not None:
        return
    current = local.settings(ctx)
    found = asyncio.run(_this_node(current) if here else _cluster(current))
    render.show(found, output, lambda: render.print_lines(_lines(found)))
    ctx.exit(exit_code(found))


@doctor.command("explain")
@click.argument("code", required=False)
@render.output_option()
def explain_(code: str | None, output: str) -> None:
    """Explain a finding; without CODE, list all that there are."""
    if code is not None and code not in BY_CODE:
        raise NotFound(f"there is no finding {code!r}; `pathfleet doctor explain` lists all")
    rules = [BY_CODE[code]] if code else sorted(RULES, key=lambda rule: rule.code)
    explained = [_Explained(rule.code, rule.severity, rule.meaning, rule.remedy) for rule in rules]
    if code:
        one = explained[0]
        lines = [[(one.severity, _STYLES[one.severity]), (f"  {one.code}", "bold")], *_advice(one.meaning, one.remedy)]
        render.show(one, output, lambda: render.print_lines(lines))
        return
    rows = [(each.severity, each.code, each.meaning) for each in explained]
    render.show(explained, output, lambda: render.print_table(None, ("SEVERITY", "CODE", "MEANING"), rows))


@doctor.command("mute")
@click.argument("code")
@click.option("--subject", help="Only about this node, WWID or storage.")
@click.option("--days", type=click.IntRange(1, 3650), help="For so many days.")
@click.option("--until", metavar="YYYY-MM-DD", help="Until this day.")
@click.option("--reason", required=True, help="Why it may stay so; whoever looks next will read it.")
@click.pass_context
def mute_(
    ctx: click.Context, code: str, *, subject: str | None, days: int | None, until: str | None, reason: str
) -> None:
    """Keep a finding quiet for a while, in the whole cluster: it no longer counts for the exit code."""
    if (days is None) == (until is None):
        raise click.UsageError("say either --days or --until: a mute ends")
    now = int(time.time())
    end = now + days * _DAY_SECONDS if days else _midnight(until or "")
    mute = Mute(code, end, reason, subject)
    asyncio.run(_on(local.settings(ctx), lambda store: doctoring.mute(store, mute, now)))


@doctor.command("unmute")
@click.argument("code")
@click.option("--subject", help="The one that was muted for this node, WWID or storage.")
@click.pass_context
def unmute_(ctx: click.Context, code: str, subject: str | None) -> None:
    """Let a finding be heard again."""
    asyncio.run(_on(local.settings(ctx), lambda store: doctoring.unmute(store, code, subject)))


@doctor.command("mutes")
@render.output_option()
@click.pass_context
def mutes_(ctx: click.Context, output: str) -> None:
    """List what is muted, until when, and why."""
    found = asyncio.run(_on(local.settings(ctx), doctoring.muted))
    rows = [(mute.code, mute.subject or "-", _date(mute.until), mute.reason) for mute in found]
    render.show(found, output, lambda: render.print_table(None, ("CODE", "SUBJECT", "UNTIL", "REASON"), rows))


async def _on(current: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    async with open_store(current.store_url, node=current.node) as store:
        return await work(store)


async def _cluster(current: Settings) -> Diagnosis:
    client = Client(current.api_socket_file)

    async def ask(node: str) -> NodeFacts:
        if node == current.node:
            return await _own_facts(current)
        return (await client.get(("nodes", node, "doctor"), _Facts)).facts

    async with open_store(current.store_url) as store:
        return await doctoring.of_cluster(store, ask, time.time)


async def _this_node(current: Settings) -> Diagnosis:
    facts = await _own_facts(current)
    store = open_store(current.store_url)
    try:
        await store.__aenter__()
    except StoreError as error:
        return await doctoring.of_node(None, facts, time.time(), str(error))
    try:
        return await doctoring.of_node(store, facts, time.time())
    finally:
        await store.__aexit__(None, None, None)


async def _own_facts(current: Settings) -> NodeFacts:
    return await examine(current.node, multipathd=Multipathd(current.multipathd_socket), sysfs=Path(current.sysfs))


def exit_code(found: Diagnosis) -> int:
    """Return what the command ends with."""
    worst = max((_EXIT.get(finding.severity, 0) for finding in found.findings), default=0)
    return worst or (_EXIT_UNEXAMINED if found.unexamined else 0)


def _lines(found: Diagnosis) -> Iterator[Line]:
    for (severity, code), group in groupby(found.findings, key=lambda each: (each.severity, each.code)):
        yield from _of_code(severity, code, list(group))
        yield [("", "")]
    for (what, why), nodes in _not_examined(found.unexamined):
        where = f"on {_some(nodes)}: " if nodes else ""
        yield [("not examined", "magenta"), (f"  {where}{what}: {why}", "")]
    for each in found.muted:
        until = f"until {_date(each.mute.until)}: {each.mute.reason}"
        yield [("muted", "cyan"), (f"  {each.finding.code} {each.finding.subject}, {until}", "")]
    yield [(_summary(found), "")]


def _of_code(severity: str, code: str, findings: list[Finding]) -> Iterator[Line]:
    yield [(severity, _STYLES[severity]), (f"  {code}", "bold")]
    for finding in findings[:_SUBJECTS]:
        kind = "LUN" if finding.kind == "lun" else finding.kind
        subject = "" if finding.subject == finding.kind else f" {finding.subject}"
        subject += f" ({finding.alias})" if finding.alias else ""
        yield [(f"  {kind}{subject}: {finding.seen}", "")]
    if len(findings) > _SUBJECTS:
        yield [(f"  and {len(findings) - _SUBJECTS} more; `pathfleet doctor -o json` has all", "")]
    remedies = {finding.remedy for finding in findings}
    yield from _advice(findings[0].meaning, remedies.pop() if len(remedies) == 1 else BY_CODE[code].remedy)


def _advice(meaning: str, remedy: str) -> Iterator[Line]:
    yield [("  meaning  ", "dim"), (meaning, "")]
    yield [("  remedy   ", "dim"), (remedy, "")]


def _not_examined(unexamined: Iterable[Unexamined]) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Yield what and why once, with all the nodes that it is so on."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in unexamined:
        groups.setdefault((each.what, each.why), []).extend([each.node] if each.node else [])
    yield from groups.items()


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SUBJECTS]) + (f" and {len(names) - _SUBJECTS} more" if len(names) > _SUBJECTS else "")


def _summary(found: Diagnosis) -> str:
    counts = {severity: sum(each.severity == severity for each in found.findings) for severity in _STYLES}
    said = ", ".join(f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts.items() if count)
    nodes = f"{len(found.examined)} node{'' if len(found.examined) == 1 else 's'} examined"
    less = ", but not everything could be examined" if found.unexamined else ""
    return f"{said or 'nothing found'}; {nodes}{less}"


def _midnight(day: str) -> int:
    """Return when a day ends here (epoch seconds)."""
    if not _DATE.fullmatch(day):
        raise click.UsageError(f"--until {day!r}: a day as YYYY-MM-DD")
    try:
        return int(time.mktime(time.strptime(day, "%Y-%m-%d"))) + _DAY_SECONDS
    except (ValueError, OverflowError):
        raise click.UsageError(f"--until {day!r}: there is no such day") from None


def _date(until: int) -> str:
    """Return the last day before `until` (epoch seconds)."""
    try:
        return time.strftime("%Y-%m-%d", time.localtime(until - 1))
    except (OverflowError, ValueError, OSError):  # a peer may have written any number
        return "?"
