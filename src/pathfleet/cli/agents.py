"""What the nodes find on themselves, as the command line learns it: here by looking, elsewhere by the agent."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pathfleet.cli.client import Client
from pathfleet.cluster import drift
from pathfleet.core.drift import Effective
from pathfleet.core.facts import Disk
from pathfleet.settings import Settings
from pathfleet.system import examine_disks
from pathfleet.system.multipathd import Multipathd


class Asking:
    """The nodes as a command on the node that the settings name asks them."""

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
            return await asyncio.to_thread(examine_disks.of_luns, self._sysfs)
        return await self._client.get(("nodes", node, "disks", "luns"), tuple[Disk, ...])
