"""`pathfleet agent`: the daemon of this node."""

from __future__ import annotations

import asyncio
import logging
import os

import click

from pathfleet.agent.loop import Agent, summary
from pathfleet.cli import document, local
from pathfleet.errors import StoreError
from pathfleet.settings import Settings
from pathfleet.store import open_store
from pathfleet.system.notify import Notifier
from pathfleet.system.uevents import Uevents


@click.command()
@click.option("--once", is_flag=True, help="Collect and publish once, say what was found, and end.")
@click.pass_context
def agent(ctx: click.Context, *, once: bool) -> None:
    """Watch this node's maps and publish their health to the cluster's store.

    Wakes on the kernel's uevents and every 10 seconds; ends on SIGTERM. Only reads: needs no root, but a state
    directory that it may write (see `state-directory` in the settings).

    Exit code with --once: as `inspect`; 4 when multipathd is not running; 69 when the store took no report.
    """
    current = local.settings(ctx)
    _log_to_stderr(current)
    store = open_store(current.store_url, node=current.node)
    daemon = Agent(
        store,
        local.collector(current),
        uevents=Uevents,
        notifier=Notifier.from_environment(os.environ),
    )
    if not once:
        asyncio.run(daemon.run())
        return
    snapshot, published = asyncio.run(daemon.once())
    click.echo(summary(snapshot))
    if not published:
        raise StoreError(f"{current.store_url} did not take the report; the reason is in the log above")
    ctx.exit(document.exit_code(document.answer(snapshot)))


def _log_to_stderr(current: Settings) -> None:
    """Log `LEVEL logger event key=value`; under systemd with the priority that the journal understands."""
    journal = "JOURNAL_STREAM" in os.environ
    handler = logging.StreamHandler()
    handler.setFormatter(_JournalFormatter() if journal else logging.Formatter(_LINE))
    logging.basicConfig(level=current.log_level.upper(), handlers=[handler])
    # a line for each question to etcd is only for who looks for a defect
    for client in ("httpx2", "httpcore2"):
        logging.getLogger(client).setLevel(logging.WARNING if current.log_level != "debug" else logging.DEBUG)


_LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"


class _JournalFormatter(logging.Formatter):
    """Prefixes each line with its syslog priority (sd-daemon(3))."""

    def __init__(self) -> None:
        super().__init__("%(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        priority = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4}.get(record.levelno, 3)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())
