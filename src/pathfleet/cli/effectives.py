"""What multipathd goes by on each node, as the command line learns it: here by asking it, elsewhere by the agent."""

from __future__ import annotations

from pathfleet.cli.client import Client
from pathfleet.cluster import drift
from pathfleet.core.drift import Effective
from pathfleet.settings import Settings
from pathfleet.system.multipathd import Multipathd


class Effectives:
    """The nodes as a command on the node that the settings name asks them."""

    def __init__(self, settings: Settings) -> None:
        self._node = settings.node
        self._multipathd = Multipathd(settings.multipathd_socket)
        self._client = Client(settings.api_socket_file)

    async def ask(self, node: str) -> Effective:
        """Return what a node's multipathd goes by. Raises PathfleetError."""
        if node == self._node:
            return await drift.effective(self._multipathd)
        return await self._client.get(("nodes", node, "multipath", "effective"), Effective)
