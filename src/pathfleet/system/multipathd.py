"""Ask multipathd, over its socket: native `size_t` length, then NUL-terminated text, both ways; no fork.

Reading needs no privilege. Nobody is woken by being asked: where systemd holds the socket (multipathd.socket, on
by default before 0.9.8), connecting would start the daemon, so its process is looked for first.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import socket
import struct
from pathlib import Path

from msgspec import Struct

from pathfleet.core import maps
from pathfleet.core.maps import Map
from pathfleet.errors import CannotTell, NeedsRoot, NotInstalled, NotRunning

#: The pathname socket exists since 0.12.0, the abstract one always (libmpathcmd of multipath-tools).
ADDRESSES = ("/run/multipathd.socket", "@/org/kernel/linux/storage/multipathd")
PID_FILE = Path("/run/multipathd.pid")
PROC = Path("/proc")
#: Where distributions and `make install` put the daemon.
SEARCH_PATH = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"

#: A little more than uxsock_timeout's default of 4 s, so that a busy daemon's own word arrives.
DEADLINE_SECONDS = 6.0
_TRIES = 3
_PAUSE_SECONDS = 0.2
_BUSY_PAUSE_SECONDS = 0.05
#: What libmpathcmd takes at most (MAX_REPLY_LEN).
_REPLY_LIMIT = 32 * 1024 * 1024
_LENGTH = struct.Struct("@N")
_PID_LIMIT = 1 << 22


#: `pid 120 idle`, from 0.10.0 on also `pid 120 configure (pending reconfigure)`.
_STATE = re.compile(r"pid (\d+) (\w+)( \(pending reconfigure\))?")


class DaemonState(Struct, frozen=True):
    """The process, its own word for what it does, and whether it is to read its configuration once more."""

    pid: int
    word: str
    pending: bool = False

    @property
    def configured(self) -> bool:
        """Whether it has read its configuration and works by it (`running`: it checks paths at this moment)."""
        return self.word in ("idle", "running") and not self.pending


class Multipathd:
    """The multipathd of this node, or the one behind `address` (a path, or `@NAME` for an abstract socket)."""

    def __init__(
        self, address: str = "", *, pid_file: Path = PID_FILE, proc: Path = PROC, search_path: str = SEARCH_PATH
    ) -> None:
        self._address = address
        self._last: tuple[tuple[int, int], tuple[Map, ...]] | None = None
        self._pid_file = pid_file
        self._proc = proc
        self._search_path = search_path

    async def maps(self, *, deadline_seconds: float = DEADLINE_SECONDS) -> tuple[Map, ...]:
        """Return all maps: the same tuple again, while multipathd says the same.

        Raises NotRunning; CannotTell after bounded retries inside the deadline.
        """
        end = asyncio.get_running_loop().time() + deadline_seconds
        for tries_left in reversed(range(_TRIES)):
            left = end - asyncio.get_running_loop().time()
            try:
                return self._decoded(await self.ask("show maps json", deadline_seconds=left))
            except CannotTell as error:
                if not error.passing or not tries_left or left < 2 * _PAUSE_SECONDS:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)
        raise AssertionError

    def _decoded(self, reply: bytes) -> tuple[Map, ...]:
        said = len(reply), hash(reply)
        if self._last is None or self._last[0] != said:
            self._last = said, maps.decode(reply)
        return self._last[1]

    async def version(self) -> str | None:
        """Return the version of multipath-tools, None if it does not say."""
        return maps.version_in(await self.ask("help"))

    async def state(self, *, deadline_seconds: float = DEADLINE_SECONDS) -> DaemonState:
        """Return what multipathd is doing; it answers this even while its maps are locked.

        Raises NotRunning or CannotTell.
        """
        reply = await self.ask("show daemon", deadline_seconds=deadline_seconds)
        found = _STATE.match(reply.decode(errors="replace"))
        if found is None:
            raise CannotTell(f"multipathd does not say what it is doing: {reply[:80]!r}")
        return DaemonState(int(found[1]), found[2], pending=found[3] is not None)

    async def reconfigure(self) -> None:
        """Let multipathd read its configuration again; it answers before it has (0.8.8 and newer).

        Raises NeedsRoot, NotRunning or CannotTell.
        """
        reply = (await self.ask("reconfigure")).decode(errors="replace").strip()
        if "permission deny" in reply:
            raise NeedsRoot("multipathd reads its configuration again only for root; run this as root", passing=False)
        # older ones answer when they are done, and `timeout` when that takes longer than a client may wait
        if reply not in ("ok", "timeout", ""):
            raise CannotTell(f"multipathd did not take `reconfigure`, it answered {reply[:80]!r}")

    async def remove_map(self, name: str) -> bool:
        """Let multipathd remove a map; return whether it did: it refuses one that is in use.

        A map stays when its LUN leaves the wwids file; only this takes it away. It goes by the map's name: the WWID
        of one that has an alias is not understood here. Raises NotRunning or CannotTell.
        """
        return (await self.ask(f"del map {named(name)}")).startswith(b"ok")

    async def effective(self) -> str:
        """Return the configuration in force, of the devices and maps that there are. Raises NotRunning, CannotTell."""
        reply = (await self.ask("show config local")).decode(errors="replace")
        if "defaults {" not in reply:
            raise CannotTell(f"multipathd does not say what is in force, it answered {reply[:80]!r}")
        return reply

    async def ask(self, command: str, *, deadline_seconds: float = DEADLINE_SECONDS) -> bytes:
        """Return the reply to one command, without its NUL. Raises NotRunning or CannotTell."""
        addresses = (self._address,) if self._address else self._addresses()
        reached = _Progress()
        try:
            async with asyncio.timeout(max(deadline_seconds, 0.001)):
                with await _connected(addresses) as connection:
                    reached.connected = True
                    return await _exchange(connection, command, reached)
        except TimeoutError:
            raise CannotTell(reached.hung(deadline_seconds), passing=False) from None
        except OSError as error:
            raise self._unreachable(error) from error

    def _addresses(self) -> tuple[str, ...]:
        if not daemon_alive(self._pid_file, self._proc):
            raise self._absence()
        return ADDRESSES

    def _absence(self) -> NotRunning:
        if shutil.which("multipathd", path=self._search_path) is None:
            return NotInstalled("multipath-tools is not installed on this node; install it and start multipathd")
        return NotRunning("multipathd is not running; start it with `systemctl start multipathd`")

    def _unreachable(self, error: OSError) -> NotRunning | CannotTell:
        where = self._address or "its socket"
        if error.errno in (errno.EACCES, errno.EPERM):
            return CannotTell(f"multipathd may not be asked at {where}: {error.strerror}", passing=False)
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
            if self._address:
                return NotRunning(f"nobody listens at {where} ({error.strerror}); is multipathd running?")
            return CannotTell(
                f"multipathd runs, but nobody listens at {where}: it is starting or stopping, "
                "or it lives in another network namespace than this process"
            )
        return CannotTell(f"talking to multipathd at {where} failed: {error.strerror or error}")


class _Progress:
    """How far an exchange came, to say what hangs."""

    connected = False
    received = 0
    announced = 0

    def hung(self, seconds: float) -> str:
        what = (
            f"sent {self.received} of {self.announced} bytes and then nothing more"
            if self.announced
            else "took the question and did not answer"
            if self.connected
            else "did not take the connection, its queue of waiting clients is full"
        )
        return (
            f"multipathd hangs: it {what} within {seconds:.3g} s; "
            "see `systemctl status multipathd` and `ps -C multipathd -o stat,wchan`"
        )


def named(name: str) -> str:
    """Return a map's name as a parameter of a command: multipathd does not understand the WWID of an alias in all."""
    return f'"{name}"' if " " in name else name


async def _connected(addresses: tuple[str, ...]) -> socket.socket:
    """Connect to the first address that exists; the caller bounds the time."""
    for place, address in enumerate(addresses):
        name = "\0" + address[1:] if address.startswith("@") else address
        try:
            return await _connect(name)
        except OSError as error:
            if place == len(addresses) - 1 or error.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                raise
    raise AssertionError


async def _connect(name: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        while True:
            try:
                connection.connect(name)
            except BlockingIOError:
                # The queue of a listening unix socket is full. Nothing will wake us when it no longer is; and
                # loop.sock_connect() would take the unconnected socket, which is writable, for a connected one.
                await asyncio.sleep(_BUSY_PAUSE_SECONDS)
            else:
                return connection
    except BaseException:
        connection.close()
        raise


async def _exchange(connection: socket.socket, command: str, reached: _Progress) -> bytes:
    loop = asyncio.get_running_loop()
    question = command.encode() + b"\0"
    await loop.sock_sendall(connection, _LENGTH.pack(len(question)) + question)
    header = await _read(connection, _LENGTH.size, None)
    (length,) = _LENGTH.unpack(header)
    if not 0 < length <= _REPLY_LIMIT:
        raise CannotTell(
            f"multipathd announces a reply of {length} bytes, where 1 to {_REPLY_LIMIT} are possible; "
            "is another program listening on its socket?"
        )
    reached.announced = length
    reply = await _read(connection, length, reached)
    return bytes(memoryview(reply)[:-1]) if reply.endswith(b"\0") else bytes(reply)


async def _read(connection: socket.socket, length: int, reached: _Progress | None) -> bytearray:
    loop = asyncio.get_running_loop()
    buffer = bytearray(length)
    view = memoryview(buffer)
    received = 0
    while received < length:
        count = await loop.sock_recv_into(connection, view[received:])
        if not count:
            raise CannotTell(
                f"multipathd closed the connection after {received} of {length} bytes of its answer"
                if reached
                else "multipathd closed the connection without an answer; is it stopping?"
            )
        received += count
        if reached:
            reached.received = received
    return buffer


def daemon_alive(pid_file: Path = PID_FILE, proc: Path = PROC) -> bool:
    """Whether a multipathd process exists, found without talking to it."""
    pid = _pid_in(pid_file)
    if pid is None:
        return any(_is_multipathd(process) for process in proc.glob("[0-9]*"))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it exists; with hidepid, /proc would not show it
    return _is_multipathd(proc / str(pid), unseen=True)


def _pid_in(pid_file: Path) -> int | None:
    try:
        pid = int(pid_file.read_text("ascii"))
    except (OSError, ValueError):
        return None
    # 0 and below would ask for process groups, and what is above no kernel gives out (PID_MAX_LIMIT)
    return pid if 0 < pid <= _PID_LIMIT else None


def _is_multipathd(process: Path, *, unseen: bool = False) -> bool:
    try:
        return (process / "comm").read_text("utf-8").strip() == "multipathd"
    except OSError:
        return unseen
