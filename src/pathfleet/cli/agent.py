"""`pathfleet agent`: the daemon of this node, and its API beside it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os

import click

from pathfleet.agent.collect import Snapshot
from pathfleet.agent.loop import Agent, summary
from pathfleet.api.forward import Peers
from pathfleet.api.server import Server
from pathfleet.api.service import Service
from pathfleet.cli import document, local
from pathfleet.cluster.access import Access, new_secret
from pathfleet.cluster.live import Live
from pathfleet.core.answer import Answer, answer_of
from pathfleet.core.health import Facts
from pathfleet.core.node import Daemon
from pathfleet.errors import PathfleetError, StoreError
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
    directory that it may write (see `state-directory` in the settings). Serves the API of this node (see `api-listen`
    in the settings).

    Exit code with --once: as `inspect`; 4 when multipathd is not running; 69 when the store took no report.
    """
    current = local.settings(ctx)
    _log_to_stderr(current)
    if not once:
        asyncio.run(_run(current))
        return
    snapshot, published = asyncio.run(_once(current))
    click.echo(summary(snapshot))
    if not published:
        raise StoreError(f"{current.store_url} did not take the report; the reason is in the log above")
    ctx.exit(document.exit_code(document.answer(snapshot)))


async def _once(current: Settings) -> tuple[Snapshot, bool]:
    store = open_store(current.store_url, node=current.node)
    return await Agent(
        store, local.collector(current), uevents=Uevents, notifier=Notifier.from_environment(os.environ)
    ).once()


async def _run(current: Settings) -> None:
    """Run the agent and its API until a signal ends them."""
    store = open_store(current.store_url, node=current.node)
    live, access = Live(store), Access(store)
    # Of this run only: what other nodes know of it is its hash, which each start publishes anew.
    secret = new_secret()
    peers = Peers(live, f"PathfleetNode {current.node}:{secret}")
    server = Server(current, Service(current.node, store, live, lambda: _answer(daemon), access, peers), secret)
    daemon = Agent(
        store,
        local.collector(current),
        uevents=Uevents,
        notifier=Notifier.from_environment(os.environ),
        on_store={"live": live.run},
        beside={"api-socket": server.serve_socket, "api": server.serve_network},
        introduce=server.introduce,
    )
    with contextlib.suppress(PathfleetError):  # the server tries again, and logs it
        await server.prepare()
    await daemon.run()


def _answer(daemon: Agent) -> Answer:
    """Return what the node's agent found last."""
    found = daemon.snapshot
    if found is None:
        reason = "this node's agent does not look now: it starts, or waits for the store; its log tells more"
        return answer_of(Daemon.CANNOT_TELL, reason, (), Facts())
    return answer_of(found.daemon, found.reason, found.verdicts, found.facts)


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
