"""One member of the cluster in one process: its agent, the live matrix, and the API that answers from both."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from pathfleet.agent.collect import Collector
from pathfleet.agent.loop import Agent, UeventSource
from pathfleet.api.forward import Peers
from pathfleet.api.operation import Operation
from pathfleet.api.server import OPERATIONS, Server
from pathfleet.api.service import Service
from pathfleet.cluster import drift, luns
from pathfleet.cluster.access import Access, new_secret
from pathfleet.cluster.live import Live
from pathfleet.core.answer import Answer, answer_of
from pathfleet.core.drift import Effective
from pathfleet.core.facts import Disk, NodeFacts
from pathfleet.core.health import Facts
from pathfleet.core.node import Daemon
from pathfleet.core.work import Examine
from pathfleet.errors import PathfleetError, Unreachable
from pathfleet.settings import Settings
from pathfleet.store import open_store
from pathfleet.system.examine import examine
from pathfleet.system.executor import Executor
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.notify import Notifier


class Member:
    """The member that the settings name, not yet running. `agent` runs all of it; its API has the `operations`."""

    def __init__(
        self,
        settings: Settings,
        collector: Collector,
        *,
        uevents: Callable[[], AbstractAsyncContextManager[UeventSource]],
        notifier: Notifier,
        operations: Iterable[Operation] = OPERATIONS,
    ) -> None:
        store = open_store(settings.store_url, node=settings.node)
        live, access = Live(store), Access(store)
        # Of this run only: what other nodes know of it is its hash, which each start publishes anew.
        secret = new_secret()
        peers = Peers(live, f"PathfleetNode {settings.node}:{secret}")
        self._settings = settings
        self._executor = Executor(Path(settings.executor_socket))
        service = Service(
            settings.node,
            store,
            live,
            self._maps,
            access,
            peers,
            self._executor,
            self._examine,
            self._effective,
            self._disks,
        )
        self._server = Server(settings, service, secret, operations)
        self.agent = Agent(
            store,
            collector,
            uevents=uevents,
            notifier=notifier,
            on_store={"live": live.run},
            beside={"api-socket": self._server.serve_socket, "api": self._server.serve_network},
            introduce=self._server.introduce,
        )

    async def prepare(self) -> None:
        """Make what the API needs before the node speaks of it."""
        with contextlib.suppress(PathfleetError):  # the server tries again, and logs it
            await self._server.prepare()

    async def _examine(self) -> NodeFacts:
        """Look at this node with the executor's eyes, or where none runs, with this process's, which see less."""
        try:
            return await self._executor.do(Examine())
        except Unreachable:
            multipathd = Multipathd(self._settings.multipathd_socket)
            return await examine(self._settings.node, multipathd=multipathd, sysfs=Path(self._settings.sysfs))

    async def _effective(self) -> Effective:
        """Ask this node's multipathd what it goes by."""
        return await drift.effective(Multipathd(self._settings.multipathd_socket))

    async def _disks(self) -> tuple[Disk, ...]:
        """Look which disks this node has."""
        return await luns.of_this_node(Path(self._settings.sysfs))

    def _maps(self) -> Answer:
        """Return what the node's agent found last."""
        found = self.agent.snapshot
        if found is None:
            reason = "this node's agent does not look now: it starts, or waits for the store; its log tells more"
            return answer_of(Daemon.CANNOT_TELL, reason, (), Facts())
        return answer_of(found.daemon, found.reason, found.verdicts, found.facts)
