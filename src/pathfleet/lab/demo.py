"""A whole cluster on one machine: a simulated SAN, and the real agent on each of its hosts, on the embedded store.

`directory` holds all of it: `HOST.toml` are the settings with which every command looks at that host, `store/` the
store, `control` the socket through which `control.ask` breaks and mends things. Each host has its API, on a port of
loopback of its own and with the operations of `panel`, and applies the cluster's configuration to its files in `etc/`;
in a large lab only the first ones have an API, and none applies anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import msgspec

from pathfleet.agent.apply import Applier
from pathfleet.agent.baseline import Baseline
from pathfleet.agent.collect import Collector
from pathfleet.agent.follow import Follower
from pathfleet.agent.loop import Agent
from pathfleet.api.server import OPERATIONS
from pathfleet.cluster.access import Access, Role
from pathfleet.errors import SettingsError
from pathfleet.lab import panel
from pathfleet.lab.control import Control
from pathfleet.lab.node import Node
from pathfleet.lab.san import San
from pathfleet.lab.sysfs_tree import write_sysfs
from pathfleet.lab.topology import Topology
from pathfleet.member import Member
from pathfleet.settings import Settings
from pathfleet.store import open_store
from pathfleet.system.dropins import Files
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.notify import Notifier
from pathfleet.system.wwids import Wwids

#: Up to so many path devices in all, the commands see a sysfs of each host; more take too long to write.
_SHOWN_PATHS = 2_000
#: What a host of a demo may be called: its name becomes that of files.
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
#: Names that the directory has for something else.
_TAKEN = frozenset(("control", "etc", "store", "store.kept", "store.new"))
_MARKER = "this-is-a-pathfleet-lab"
#: A pathname socket's address has room for so many bytes (unix(7): 108 with the closing NUL).
_ADDRESS_LIMIT = 107
#: How soon an agent stops or starts after its host did.
_POWER_SECONDS = 0.2
#: The first host's API is here if it is free, and so on; in a large lab so many hosts have one.
_FIRST_PORT = 8440
_SERVED_IN_LARGE = 2


class Demo:
    """A lab and its agents, in a directory that was made ready: see `prepared`."""

    def __init__(self, topology: Topology, directory: Path) -> None:
        self._directory = directory
        self._store = directory / "store"
        self._ports: dict[str, int] = {}
        #: The secret of a token that may do everything in this lab, once it runs.
        self.secret = ""
        self.san = San(
            topology,
            sockets=lambda host: str(directory / f"{host}.socket"),
            files=directory / "etc",
            on_store=self._on_store,
        )
        self._control = Control(self.san, directory / "control", self._write_sysfs)

    @classmethod
    def prepared(cls, topology: Topology, directory: Path) -> Self:
        """Empty the directory and fill it.

        Raises SettingsError if it holds anything else or a running lab, cannot be written, or a name cannot be used.
        """
        directory = directory.absolute()
        try:
            _check_names(topology, directory)
            _empty(directory)
            demo = cls(topology, directory)
            demo._fill()
        except OSError as error:
            raise SettingsError(
                f"{error.filename or directory} cannot be written: {error.strerror or error}"
            ) from error
        return demo

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run everything inside this context. Raises SettingsError where a socket cannot be had."""
        self._write_sysfs()
        async with self._control.serving(), self.san.running(), asyncio.TaskGroup() as tasks:
            gc.collect()
            gc.freeze()  # the lab stays: to look through it again and again costs seconds where it is large
            hosts = [tasks.create_task(self._member(node)) for node in self.san.nodes.values()]
            if self._is_small:
                hosts += [tasks.create_task(self._follower(node).serve()) for node in self.san.nodes.values()]
            try:
                await self._let_in()
                yield
            finally:
                gc.unfreeze()
                for host in hosts:
                    host.cancel()

    def settings_file(self, host: str) -> Path:
        """Return the file to give to `pathfleet --config` to look at a host."""
        return self._directory / f"{host}.toml"

    def address(self, host: str) -> str | None:
        """Return where a host's API is, None where it has none."""
        return f"http://127.0.0.1:{self._ports[host]}" if host in self._ports else None

    async def _let_in(self) -> None:
        """Make the token of whoever runs the demo."""
        async with open_store(_store_url(self._directory), node=next(iter(self.san.nodes))) as store:
            self.secret = await Access(store).add("demo", Role.ADMIN)

    def _fill(self) -> None:
        self._store.with_suffix(".kept").mkdir()
        self._on_store(lost=False)
        served = list(self.san.nodes)[: None if self._is_small else _SERVED_IN_LARGE]
        self._ports = dict(zip(served, _free_ports(len(served)), strict=True))
        for host in self.san.nodes:
            (self._directory / host).mkdir()
            values = msgspec.to_builtins(self._settings(host))
            # JSON's strings are TOML's
            lines = [f"{name} = {msgspec.json.encode(value).decode()}\n" for name, value in values.items()]
            self.settings_file(host).write_text("".join(lines))

    def _settings(self, host: str) -> Settings:
        own, api = self._directory / host, f"127.0.0.1:{self._ports[host]}" if host in self._ports else ""
        return Settings(
            node=host,
            store=_store_url(self._directory),
            state_directory=str(own),
            multipathd_socket=self.san.nodes[host].multipathd_socket,
            sysfs=str(own / "sys"),
            api_listen=api,
            api_address=api,
            api_socket=f"{own}.api",
            executor_socket=f"{own}.executor",
        )

    @property
    def _is_small(self) -> bool:
        return sum(len(node.kernel.paths) for node in self.san.nodes.values()) <= _SHOWN_PATHS

    def _on_store(self, lost: bool) -> None:
        """Take the store away, or bring it back as it was. Where a directory is only missing, agents make one."""
        _point(self._store, _MARKER if lost else "store.kept")

    def _write_sysfs(self) -> None:
        """Write what the commands are to see of each host's sysfs, and put it in the place of what was there."""
        if not self._is_small:
            return
        for host, node in self.san.nodes.items():
            shown = self._directory / host / "sys"
            before = shown.resolve() if shown.is_symlink() else None
            fresh = self._directory / host / ("sys.a" if before is None or before.name != "sys.a" else "sys.b")
            write_sysfs(node.kernel, fresh)
            _point(shown, fresh.name)
            if before is not None:
                shutil.rmtree(before)

    async def _member(self, node: Node) -> None:
        """Run a host's agent and API while the host is up."""
        while True:
            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(self._of(node).serve())
                await _until(lambda: not node.powered)
                serving.cancel()
            await _until(lambda: node.powered)

    def _follower(self, node: Node) -> Follower:
        """Return what puts the cluster's configuration in force on a host."""
        assert node.directory is not None  # noqa: S101 - the hosts of a demo have files
        state = self._directory / node.name
        files, wwids = Files(node.directory, state), Wwids(node.directory, state)
        applier = Applier(Multipathd(node.multipathd_socket), Unit(node), files, wwids)
        return Follower(open_store(_store_url(self._directory), node=node.name), applier)

    def _of(self, node: Node) -> Agent:
        collector = Collector(
            Multipathd(node.multipathd_socket),
            sysfs=node.sysfs,
            baseline=Baseline(self._directory / node.name),
            kernel_paths=node.kernel_paths,
        )
        settings = self._settings(node.name)
        if node.name in self._ports:
            return Member(
                settings,
                collector,
                uevents=node.uevents,
                notifier=Notifier(None),
                operations=(*OPERATIONS, *panel.operations(self._control, self.san)),
            ).agent
        store = open_store(settings.store_url, node=node.name)
        return Agent(store, collector, uevents=node.uevents, notifier=Notifier(None))


class Unit:
    """What systemd would do for a host's multipathd."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def start(self) -> None:
        """Start it where it does not run."""
        self._node.start_daemon()

    async def kill(self) -> None:
        """End it at once."""
        self._node.daemon.stop()


def _store_url(directory: Path) -> str:
    return f"sqlite://{directory}/store/cluster.db"


def _check_names(topology: Topology, directory: Path) -> None:
    """Refuse what would be found out only when it runs, or write outside the directory."""
    open_store(_store_url(directory))
    if not topology.hosts or not topology.luns:
        raise SettingsError("a demo needs a topology with at least one host and one LUN")
    for host in topology.hosts:
        if not _HOST.fullmatch(host.name) or host.name in _TAKEN:
            raise SettingsError(f"host {host.name!r}: in a demo, letters, digits, `_`, `-` and `.` make a name")
        if len(os.fsencode(directory / f"{host.name}.socket")) > _ADDRESS_LIMIT:
            raise SettingsError(f"{directory} is too long a name for sockets in it; name another --directory")


def _empty(directory: Path) -> None:
    """Leave nothing of an earlier lab; the marker tells that it was one, and not somebody's files."""
    marker = directory / _MARKER
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if directory.is_symlink() or directory.stat().st_uid != os.getuid():
        raise SettingsError(f"{directory} is a link or somebody else's; name another --directory")
    if any(directory.iterdir()) and not marker.exists():
        raise SettingsError(f"{directory} is not empty and no lab's; name another --directory")
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(directory / "control")) == 0:
            raise SettingsError(f"a lab runs in {directory}; end it first, or name another --directory")
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    marker.touch()


def _point(link: Path, target: str) -> None:
    """Let a link point elsewhere, without a moment in which there is none."""
    fresh = link.with_name(f"{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def _free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody has, from the API's own on where that is free."""
    found = []
    with contextlib.ExitStack() as held:
        for wanted in range(_FIRST_PORT, _FIRST_PORT + count):
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                probe.bind(("127.0.0.1", 0))
            found.append(int(probe.getsockname()[1]))
    return found


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - a host's power is a plain value
        await asyncio.sleep(_POWER_SECONDS)
