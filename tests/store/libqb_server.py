"""The server's side of libqb's IPC, on a small poll loop: what pmxcfs's own `server.c` is built on."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_int32,
    c_size_t,
    c_ssize_t,
    c_uint32,
    c_void_p,
    string_at,
)
from typing import Any, Protocol

_SHARED_MEMORY = 1  # enum qb_ipc_type

_Dispatch = CFUNCTYPE(c_int32, c_int32, c_int32, c_void_p)
_Job = CFUNCTYPE(None, c_void_p)
_JobAdd = CFUNCTYPE(c_int32, c_int, c_void_p, _Job)
_DispatchAdd = CFUNCTYPE(c_int32, c_int, c_int32, c_int32, c_void_p, _Dispatch)
_DispatchDel = CFUNCTYPE(c_int32, c_int32)
_Accept = CFUNCTYPE(c_int32, c_void_p, c_uint32, c_uint32)
_Created = CFUNCTYPE(None, c_void_p)
_Process = CFUNCTYPE(c_int32, c_void_p, c_void_p, c_size_t)
_Closed = CFUNCTYPE(c_int32, c_void_p)


class _PollHandlers(Structure):
    _fields_ = (("job_add", _JobAdd), ("add", _DispatchAdd), ("modify", _DispatchAdd), ("delete", _DispatchDel))


class _ServiceHandlers(Structure):
    _fields_ = (
        ("accept", _Accept),
        ("created", _Created),
        ("process", _Process),
        ("closed", _Closed),
        ("destroyed", _Created),
    )


class Loop:
    """Calls who registered a descriptor when there is something to do on it."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[int], bool]] = {}
        self._jobs: list[Callable[[], object]] = []
        self._running = True

    def add(self, descriptor: int, events: int, handler: Callable[[int], bool]) -> None:
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, events)

    def remove(self, descriptor: int) -> None:
        if self._handlers.pop(descriptor, None):
            self._poll.unregister(descriptor)

    def soon(self, job: Callable[[], object]) -> None:
        self._jobs.append(job)

    def stop(self) -> bool:
        self._running = False
        return False

    def run(self, tick: Callable[[], object], tick_seconds: float) -> None:
        next_tick = time.monotonic()
        while self._running:
            jobs, self._jobs = self._jobs, []
            for job in jobs:
                job()
            if time.monotonic() >= next_tick:
                tick()
                next_tick = time.monotonic() + tick_seconds
            wait = 0.0 if self._jobs else max(0.0, next_tick - time.monotonic())
            for descriptor, events in self._poll.poll(int(wait * 1000) + 1 if wait else 0):
                handler = self._handlers.get(descriptor)
                if handler and not handler(events):
                    self.remove(descriptor)


class Requests(Protocol):
    """Who answers."""

    def accepts(self, connection: int, uid: int, gid: int) -> bool: ...

    def answer(self, connection: int, request: bytes) -> bytes | None:
        """Return the whole reply; None: end the connection."""

    def ended(self, connection: int) -> None: ...


class Service:
    """An IPC service of this name on the loop, until it is destroyed."""

    def __init__(self, name: str, loop: Loop, requests: Requests) -> None:
        self._library = _library()
        self._loop = loop
        self._requests = requests
        # The library keeps the addresses, so the objects must stay.
        self._poll_handlers = _PollHandlers(
            _JobAdd(self._job_add), _DispatchAdd(self._add), _DispatchAdd(self._modify), _DispatchDel(self._delete)
        )
        self._service_handlers = _ServiceHandlers(
            _Accept(lambda connection, uid, gid: 0 if requests.accepts(connection, uid, gid) else -1),
            _Created(lambda _: None),
            _Process(self._process),
            _Closed(lambda _: 0),
            _Created(requests.ended),
        )
        self._callbacks: dict[int, Any] = {}
        self._service = self._library.qb_ipcs_create(name.encode(), 1, _SHARED_MEMORY, byref(self._service_handlers))
        self._library.qb_ipcs_poll_handlers_set(self._service, byref(self._poll_handlers))
        result = self._library.qb_ipcs_run(self._service)
        if result:
            raise OSError(-result, f"qb_ipcs_run {name}")

    def destroy(self) -> None:
        self._library.qb_ipcs_destroy(self._service)

    def _job_add(self, _priority: int, data: int, function: Callable[[int], None]) -> int:
        self._loop.soon(lambda: function(data))
        return 0

    def _add(self, _priority: int, descriptor: int, events: int, data: int, function: Any) -> int:
        self._loop.add(descriptor, events, lambda revents: function(descriptor, revents, data) >= 0)
        return 0

    def _modify(self, priority: int, descriptor: int, events: int, data: int, function: Any) -> int:
        self._loop.remove(descriptor)
        return self._add(priority, descriptor, events, data, function)

    def _delete(self, descriptor: int) -> int:
        self._loop.remove(descriptor)
        return 0

    def _process(self, connection: int, data: int, size: int) -> int:
        reply = self._requests.answer(connection, string_at(data, size))
        if reply is None or self._library.qb_ipcs_response_send(connection, reply, len(reply)) < 0:
            self._library.qb_ipcs_connection_ref(connection)
            self._loop.soon(lambda: self._disconnect(connection))
        return 0

    def _disconnect(self, connection: int) -> None:
        self._library.qb_ipcs_disconnect(connection)
        self._library.qb_ipcs_connection_unref(connection)


def _library() -> CDLL:
    library = CDLL("libqb.so.100")
    library.qb_ipcs_create.argtypes = (c_char_p, c_int32, c_int, POINTER(_ServiceHandlers))
    library.qb_ipcs_create.restype = c_void_p
    library.qb_ipcs_poll_handlers_set.argtypes = (c_void_p, POINTER(_PollHandlers))
    library.qb_ipcs_run.argtypes = library.qb_ipcs_destroy.argtypes = (c_void_p,)
    for name in ("disconnect", "connection_ref", "connection_unref"):
        getattr(library, f"qb_ipcs_{name}").argtypes = (c_void_p,)
    library.qb_ipcs_response_send.argtypes = (c_void_p, c_char_p, c_size_t)
    library.qb_ipcs_response_send.restype = c_ssize_t
    return library
