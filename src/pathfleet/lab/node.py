"""One simulated host: its kernel, its multipathd on a socket, its uevents, and what its sysfs would say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from pathfleet.core.dmstatus import KernelPath
from pathfleet.core.ports import Port
from pathfleet.errors import CannotTell
from pathfleet.lab import configuration, devices
from pathfleet.lab.clock import Clock
from pathfleet.lab.configuration import DEFAULTS, Configuration
from pathfleet.lab.daemon import Daemon
from pathfleet.lab.dialect import Dialect
from pathfleet.lab.fabric import Fabric
from pathfleet.lab.kernel import Kernel
from pathfleet.lab.server import Server
from pathfleet.lab.topology import Host
from pathfleet.lab.uevents import Channel, LabUevents
from pathfleet.system.sysfs import MapDevice, Sysfs


class LabSysfs(Sysfs):
    """Answers like the real sysfs, from what the simulated kernel has."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self._kernel = kernel
        self._ports: dict[devices.Path, Port] = {}

    def ports(self, devices: Iterable[str]) -> dict[str, Port]:
        """Return the port of each path device that the kernel has."""
        paths = self._kernel.paths
        if len(self._ports) > 2 * len(paths):
            self._ports.clear()
        return {name: self._port_of(path) for name in devices if (path := paths.get(name)) is not None}

    def _port_of(self, path: devices.Path) -> Port:
        port = self._ports.get(path)
        if port is None:
            port = self._ports[path] = port_of(path)
        return port

    def size_bytes(self, dm: str) -> int | None:
        """Return the size of `dm-N`."""
        map_ = self._map(dm)
        return map_.size if map_ else None

    def map_slaves(self, dm: str) -> tuple[str, ...] | None:
        """Return the names of the devices that `dm-N` is made of."""
        map_ = self._map(dm)
        return tuple(sorted(path.name for path in map_.paths)) if map_ else None

    def map_uuid(self, dm: str) -> str | None:
        """Return the device-mapper UUID of `dm-N`."""
        map_ = self._map(dm)
        return f"mpath-{map_.wwid}" if map_ else None

    def multipath_maps(self) -> dict[str, MapDevice] | None:
        """Return every multipath map of the kernel by WWID."""
        return {
            map_.wwid: MapDevice(f"dm-{map_.minor}", map_.name, self.map_slaves(f"dm-{map_.minor}"))
            for map_ in list(self._kernel.maps.values())
        }

    def _map(self, dm: str) -> devices.Map | None:
        return self._kernel.by_minor.get(int(dm[3:])) if dm.startswith("dm-") and dm[3:].isdigit() else None


class Node:
    """A host of the lab. `powered`: it is up; whoever runs an agent on it stops that while it is not.

    `directory` holds its /etc/multipath, if it has files at all. `multipathd_socket` is where its daemon listens.
    """

    def __init__(
        self, fabric: Fabric, host: Host, clock: Clock, *, multipathd_socket: str, directory: Path | None = None
    ) -> None:
        self.name = host.name
        self.host = host
        self.directory = directory
        self.powered = True
        self._clock = clock
        self._base = _base(fabric)
        if directory is not None and not (directory / "wwids").exists():
            configuration.write_wwids(directory / "wwids", self._base.wwids or ())
            (directory / "conf.d").mkdir(exist_ok=True)
        self.channel = Channel()
        self.kernel = Kernel(fabric, host.name, clock, self.channel.send)
        self.daemon = Daemon(self.kernel, host.version, clock, self._configuration)
        self.server = Server(self.daemon, multipathd_socket)
        self.daemon.on_life_change = self.server.follow
        self.sysfs = LabSysfs(self.kernel)

    @property
    def multipathd_socket(self) -> str:
        """The address to give to `system.multipathd.Multipathd`."""
        return self.server.address

    def uevents(self) -> LabUevents:
        """Return a source of this host's uevents."""
        return LabUevents(self.channel)

    async def kernel_paths(self) -> Mapping[str, tuple[KernelPath, ...]]:
        """Return what the kernel has of each map. Raises CannotTell while the host is down."""
        self._clock.catch_up()
        if not self.powered:
            raise CannotTell(f"host {self.name} of the lab is down")
        return self.kernel.kernel_paths()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Let its multipathd serve its socket inside this context."""
        async with self.server.serving():
            yield

    def start_daemon(self) -> None:
        """Start multipathd, where it does not run or hangs."""
        if not self.daemon.works:
            self.daemon.start()

    def power(self, *, on: bool) -> None:
        """Take the host down, or boot it."""
        self.powered = on
        if on:
            self.start_daemon()
        else:
            self.daemon.stop()

    def _configuration(self, dialect: Dialect) -> Configuration:
        return configuration.read(self.directory, dialect, self._base)


def _base(fabric: Fabric) -> Configuration:
    luns = fabric.topology.luns
    aliases = {lun.wwid: {"alias": lun.alias} for lun in luns if lun.alias}
    wwids = frozenset(lun.wwid for lun in luns if lun.listed)
    return Configuration({**DEFAULTS, **fabric.topology.defaults}, aliases, wwids=wwids)


def port_of(path: devices.Path) -> Port:
    """Return both ends of a path, as sysfs tells them."""
    nexus = path.nexus
    if nexus.transport == "fc":
        return Port("fc", nexus.initiator.address, nexus.target.address, path.hctl)
    if nexus.transport == "iscsi":
        return Port("iscsi", nexus.initiator.address, f"{nexus.array.node}@{nexus.target.address}", path.hctl)
    return Port("nvme-tcp", nexus.initiator.address, nexus.target.address)
