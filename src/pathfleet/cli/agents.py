"""The agents of all nodes, as the command line asks them: others through this node's, and here it looks itself."""

from __future__ import annotations

from pathlib import Path

from pathfleet.cli.client import Client
from pathfleet.cluster import drift, luns
from pathfleet.core.drift import Effective
from pathfleet.core.facts import Disk
from pathfleet.settings import Settings
from pathfleet.system.multipathd import Multipathd


class Agents:
    """What there is on each node, for a command on the node that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self._node = settings.node
        self._multipathd = Multipathd(settings.multipathd_socket)
        self._sysfs = Path(settings.sysfs)
        self._client = Client(settings.api_socket_file)

    async def effective(self, node: str) -> Effective:
        """Return what a node's multipathd goes by. Raises PathfleetError."""
        if node == self._node:
            return await drift.effective(self._multipathd)
        return await self._client.get(("nodes", node, "multipath", "effective"), Effective)

    async def disks(self, node: str) -> tuple[Disk, ...]:
        """Return the disks of a node that have a WWID. Raises PathfleetError."""
        if node == self._node:
            return await luns.of_this_node(self._sysfs)
        return await self._client.get(("nodes", node, "disks", "luns"), tuple[Disk, ...])
