"""A process that answers like pmxcfs: its IPC, its memory, its spreading to the other nodes, its expiry of locks.

    python -m tests.store.pmxcfs_server CONFIGURATION        (JSON: node, id, service, directory, expiry_seconds)

Corosync's part is played by whoever starts it: datagrams to the abstract socket of the service's name tell which
nodes there are (`view`) and ask for the odd failure (`knobs`). A value is with the peers before it is taken here.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.store.libqb_server import Loop, Service

WWW_DATA = 33
#: Who may write; where the tests do not run as root, who runs them.
ROOT = (os.getuid(), os.getgid())
VALUE_LIMIT = 32768

_REQUEST = struct.Struct("=i4xi4x")
_REPLY = struct.Struct("=i4xi4xi4x")

#: Values by key: how often each was set, as seen here, and what it is.
_Values = dict[str, tuple[int, bytes]]


def socket_of(service: str) -> str:
    return f"\0{service}-control"


def replied(message: int, error: int, payload: bytes = b"") -> bytes:
    return _REPLY.pack(message, _REPLY.size + len(payload), -error) + payload


def text_of(field: bytes) -> str:
    """Return the string in a `char[256]` whose last byte pmxcfs overwrites."""
    return field[:255].partition(b"\0")[0].decode()


def store(values: _Values, key: str, value: bytes) -> None:
    if not value:
        values.pop(key, None)
    else:
        values[key] = (values[key][0] + 1 if key in values else 0, value)


class Pmxcfs:
    """What one node's pmxcfs knows and answers."""

    def __init__(self, node: str, service: str, directory: str, expiry_seconds: float) -> None:
        self.node = node
        self.service = service
        self.own: _Values = {}
        self.of_peers: dict[str, _Values] = {}
        self.members: dict[str, Any] = {"nodename": node, "version": 1}
        self.peers: list[str] = []
        self.clinfo = 0
        self.started = time.time_ns() // 1000  # seconds in the real one: tests restart it faster than that
        self.may_write: dict[int, bool] = {}
        self.knobs: dict[str, Any] = {}
        self.requests: list[str] = []
        self.locks = Path(directory, "priv", "lock")
        self.expiry_seconds = expiry_seconds
        self.lock_since: dict[tuple[str, int], float] = {}
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.control.settimeout(1.0)
        self.control.bind(socket_of(service))

    def accepts(self, connection: int, uid: int, gid: int) -> bool:
        if (uid, gid) != ROOT and gid != WWW_DATA:
            return False
        self.may_write[connection] = gid != WWW_DATA
        return True

    def ended(self, connection: int) -> None:
        self.may_write.pop(connection, None)

    def answer(self, connection: int, request: bytes) -> bytes | None:
        self.listen(select.POLLIN)  # what the peers have spread by now
        message, size = _REQUEST.unpack_from(request)
        payload = request[_REQUEST.size : size]
        self.requests.append(f"{message} {payload.hex()}")
        time.sleep(self.knobs.pop("delay", 0.0))
        if self.knobs.pop("drop", False):
            return None
        if "reply" in self.knobs:
            return base64.b64decode(str(self.knobs.pop("reply")))
        answers: dict[int, Callable[[int, bytes], bytes | int]] = {
            1: self._version,
            2: self._members,
            3: self._guests,
            4: self._set_status,
            5: self._get_status,
            6: self._get_config,
        }
        if message not in answers:
            return replied(message, errno.ECHRNG)
        answer = answers[message](connection, payload)
        return replied(message, answer) if isinstance(answer, int) else replied(message, 0, answer)

    def _version(self, _connection: int, payload: bytes) -> bytes | int:
        if payload:
            return errno.EINVAL
        everybody = {self.node: self.own, **self.of_peers}
        counters = {
            node: {key: count for key, (count, _) in values.items()} for node, values in everybody.items() if values
        }
        version = {
            "starttime": self.started,
            "clinfo": self.clinfo,
            "vmlist": 1,
            "storage.cfg": 1,
            "corosync.conf": 1,
            "kvstore": {self.node: {}} | counters,
        }
        return json.dumps(version).encode() + b" " * int(self.knobs.get("padding", 0))

    def _members(self, _connection: int, payload: bytes) -> bytes | int:
        return errno.EINVAL if payload else json.dumps(self.members).encode()

    def _guests(self, _connection: int, payload: bytes) -> bytes | int:
        return errno.EINVAL if payload else b'{"version":1,"ids":{}}'

    def _set_status(self, connection: int, payload: bytes) -> bytes | int:
        if not self.may_write[connection]:
            return errno.EPERM
        if len(payload) < 256:
            return errno.EINVAL
        key, value = text_of(payload[:256]), payload[256:]
        if len(value) > VALUE_LIMIT:
            return errno.EFBIG
        store(self.own, key, value)
        self._spread(key, value)
        return b""

    def _get_status(self, _connection: int, payload: bytes) -> bytes | int:
        if len(payload) < 512:
            return errno.EINVAL
        key, node = text_of(payload[:256]), text_of(payload[256:512])
        values = self.own if node in ("", self.node) else self.of_peers.get(node, {})
        return values[key][1] if key in values else errno.ENOENT

    def _get_config(self, connection: int, payload: bytes) -> bytes | int:
        if not payload:
            return errno.EINVAL
        name = payload[:-1].partition(b"\0")[0].decode()
        if name.startswith("priv/") and not self.may_write[connection]:
            return errno.EPERM
        try:
            return self.locks.parents[1].joinpath(name).read_bytes()
        except OSError as error:
            return error.errno or errno.EIO

    def _spread(self, key: str, value: bytes) -> None:
        told = {"do": "spread", "node": self.node, "key": key, "value": base64.b64encode(value).decode()}
        for peer in self.peers:
            with suppress(OSError):  # fire and forget: SET succeeds even when nothing was sent
                self.control.sendto(json.dumps(told).encode(), socket_of(peer))

    def listen(self, _events: int) -> bool:
        while select.select([self.control], [], [], 0)[0]:
            data, sender = self.control.recvfrom(1 << 20)
            told = json.loads(data)
            reply = getattr(self, f"on_{told.pop('do')}")(**told)
            if reply is not None:
                self.control.sendto(json.dumps(reply).encode(), sender)
        return True

    def on_spread(self, node: str, key: str, value: str) -> None:
        if node in self.members.get("nodelist", {}):
            store(self.of_peers.setdefault(node, {}), key, base64.b64decode(value))

    def on_view(self, members: dict[str, Any], peers: list[str]) -> str:
        """The membership changed: `peers` are the services of those that can be reached."""
        self.clinfo += members != self.members
        self.members, self.peers = members, peers
        self.of_peers = {node: self.of_peers[node] for node in self.of_peers if node in members.get("nodelist", {})}
        return "ok"

    def on_sync(self) -> str:
        for key, (_, value) in self.own.items():
            self._spread(key, value)
        return "ok"

    def on_knobs(self, **knobs: Any) -> str:
        self.knobs |= knobs
        return "ok"

    def on_dump(self) -> Any:
        values = [
            [node, key, base64.b64encode(value).decode()]
            for node, values in {"": self.own, **self.of_peers}.items()
            for key, (_, value) in values.items()
        ]
        requests, self.requests = self.requests, []
        return {"values": values, "connections": len(self.may_write), "requests": requests}

    def on_load(self, values: list[list[str]]) -> str:
        for node, key, value in values:
            store(self.of_peers.setdefault(node, {}) if node else self.own, key, base64.b64decode(value))
        return "ok"

    def expire_locks(self) -> None:
        """Remove locks that stayed the same for too long and that somebody asked to unlock (times of 0)."""
        now, there = time.monotonic(), {}
        with suppress(OSError):
            for entry in os.scandir(self.locks):
                status = entry.stat()
                since = there[entry.name, status.st_ino] = self.lock_since.get((entry.name, status.st_ino), now)
                if now - since > self.expiry_seconds and status.st_mtime == 0:
                    Path(entry.path).rmdir()
        self.lock_since = there


def main() -> None:
    settings = json.loads(sys.argv[1])
    loop = Loop()
    pmxcfs = Pmxcfs(settings["node"], settings["service"], settings["directory"], settings["expiry_seconds"])
    service = Service(settings["service"], loop, pmxcfs)
    loop.add(pmxcfs.control.fileno(), select.POLLIN, pmxcfs.listen)
    loop.add(sys.stdin.fileno(), select.POLLIN, lambda _: loop.stop())  # closed when who started it is gone
    print("ready", flush=True)
    loop.run(pmxcfs.expire_locks, 0.05)
    service.destroy()


if __name__ == "__main__":
    main()
