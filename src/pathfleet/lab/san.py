"""A whole lab: a fabric with its hosts on one clock. `faults` says what can happen to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from msgspec import Struct

from pathfleet.errors import SettingsError
from pathfleet.lab import devices
from pathfleet.lab.clock import Clock
from pathfleet.lab.fabric import Fabric
from pathfleet.lab.node import Node
from pathfleet.lab.topology import Topology


class Applied(Struct, frozen=True):
    """A fault that there is now, with the value that was said."""

    fault: str
    component: str
    value: str = ""


class San:
    """A topology, running. `nodes` by name.

    `sockets` says where each host's multipathd listens; `files` is the directory that has each host's /etc/multipath
    in `HOST/multipath`, None if hosts have no files. `on_store` hears that the store is to be lost or regained.
    `applied`: the faults there are now, in the order in which they came.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        sockets: Callable[[str], str],
        files: Path | None = None,
        clock: Clock | None = None,
        on_store: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.topology = topology
        self.clock = clock or Clock()
        self.fabric = Fabric(topology)
        self.applied: list[Applied] = []
        self._on_store = on_store
        self.nodes = {
            host.name: Node(
                self.fabric,
                host,
                self.clock,
                multipathd_socket=sockets(host.name),
                directory=files and files / host.name / "multipath",
            )
            for host in topology.hosts
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let time pass and every multipathd serve its socket inside this context.

        Raises SettingsError where a socket cannot be had. A defect in the lab ends the context, not just the clock.
        """
        async with AsyncExitStack() as stack:
            for node in self.nodes.values():
                await stack.enter_async_context(node.serving())
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            clock = tasks.create_task(self.clock.run())
            try:
                yield
            finally:
                clock.cancel()

    def node(self, name: str) -> Node:
        """Return a host. Raises SettingsError."""
        if name not in self.nodes:
            raise SettingsError(f"there is no host {name!r} in this lab; it has {', '.join(self.nodes)}")
        return self.nodes[name]

    def path(self, name: str) -> tuple[Node, devices.Path]:
        """Return a path device by `HOST:sda`. Raises SettingsError."""
        host, _, device = name.partition(":")
        node = self.node(host)
        if device not in node.kernel.paths:
            raise SettingsError(f"host {host} has no path device {device!r}")
        return node, node.kernel.paths[device]

    def kind(self, name: str) -> str:
        """Return what a name stands for. Raises SettingsError."""
        kinds = self.fabric.kinds
        if name in kinds:
            return kinds[name]
        if name == "store":
            return "store"
        if ">" in name and self.fabric.through(name):
            return "nexus"
        host, colon, _ = name.partition(":")
        if colon and host in self.nodes:
            return "path"
        self.fabric.lun(name)
        return "lun"

    def components(self) -> dict[str, str]:
        """Return the kind of every component by its name, for listings and completion."""
        return {**self.fabric.kinds, "store": "store"}

    def break_(self, name: str) -> None:
        """Break a component, or take a host down."""
        if name in self.nodes:
            self.nodes[name].power(on=False)
        else:
            self.fabric.break_(name)

    def mend(self, name: str) -> None:
        """Mend a component, or boot a host."""
        if name in self.nodes:
            self.nodes[name].power(on=True)
        else:
            self.fabric.mend(name)

    def store_lost(self, *, lost: bool) -> None:
        """Tell whoever runs the store."""
        self._on_store(lost)
