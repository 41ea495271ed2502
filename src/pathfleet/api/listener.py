"""Sockets and connections: HTTP/1.1 by uvicorn's protocol, in this process's loop, until the context ends.

A client that is too slow loses its connection, and there are only so many: the agent's own work goes first.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

import h11
import msgspec
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from pathfleet.api.envelope import Failure
from pathfleet.errors import SettingsError
from pathfleet.settings import Endpoint
from pathfleet.system import unix_socket

#: So many connections at once, on each socket.
CONNECTIONS: Final = 1000
#: A request must have come whole within this time, from its first byte or the connection's start on.
REQUEST_SECONDS: Final = 30.0
#: An idle connection is kept this long for the next request.
IDLE_SECONDS: Final = 15
_HANDSHAKE_SECONDS: Final = 5.0
#: At the end, a request has this long to be answered; a stream of events is cut off.
_GRACE_SECONDS: Final = 1.0
#: What was sent and not taken for this long ends the connection (TCP_USER_TIMEOUT of tcp(7), in milliseconds).
_UNSENT_MILLISECONDS: Final = 60_000
_BACKLOG: Final = 128

log = logging.getLogger(__name__)


class Connection(H11Protocol):
    """One connection. On a unix socket, who is at its other end is `peer-uid` in the scope's state."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        peer = transport.get_extra_info("socket")
        if peer.family == socket.AF_UNIX:
            self.app_state = {**self.app_state, "peer-uid": unix_socket.peer_user(peer)}
        self._mind_the_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_the_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        super().data_received(data)
        self._mind_the_time()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._mind_the_time()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the form of every error, if an answer can still be given."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = msgspec.json.encode(Failure(message=msg, code="malformed"))
            headers = [
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _mind_the_time(self) -> None:
        """Run the clock exactly while a request is waited for."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # uvicorn declares it before there is one
        waits = cycle is None or cycle.response_complete or cycle.more_body
        if self.transport.is_closing() or not waits:
            self._stop_the_clock()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _stop_the_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


@asynccontextmanager
async def serving(app: ASGIApp, listening: socket.socket, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    """Serve `app` on a bound socket for as long as the body runs, and close the socket."""
    config = uvicorn.Config(
        app,
        http=Connection,
        interface="asgi3",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # anybody can send what is no HTTP: that is not worth a line
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
    )
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(config, state, {}),
        sock=listening,
        ssl=tls,
        ssl_handshake_timeout=_HANDSHAKE_SECONDS if tls else None,
        ssl_shutdown_timeout=_GRACE_SECONDS if tls else None,
        backlog=_BACKLOG,
    )
    try:
        yield
    finally:
        server.close()
        await _emptied(state)


async def _emptied(state: ServerState) -> None:
    """End all connections: idle ones at once, the others when they are answered or the grace is over."""
    loop = asyncio.get_running_loop()
    for connection in list(state.connections):
        with contextlib.suppress(h11.LocalProtocolError):  # it is closing already
            connection.shutdown()
    until = loop.time() + _GRACE_SECONDS
    while state.connections and loop.time() < until:  # noqa: ASYNC110 - uvicorn tells nobody that one ended
        await asyncio.sleep(0.02)
    for connection in list(state.connections):
        connection.transport.abort()  # then its request sees that the client has gone
    if state.tasks:
        _, stuck = await asyncio.wait([*state.tasks], timeout=_GRACE_SECONDS)
        for task in stuck:
            task.cancel()


def network_socket(endpoint: Endpoint) -> socket.socket:
    """Return a socket that listens at an IP address and port. Raises SettingsError that names both."""
    ip = endpoint.ip
    family = socket.AF_INET6 if ip is not None and ip.version == 6 else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY; without, each answer's body waits for an ACK, 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNSENT_MILLISECONDS)
        if listening.family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind((endpoint.host, endpoint.port))
    except OSError as error:
        listening.close()
        remedy = "stop what listens there, or set another port" if error.errno == errno.EADDRINUSE else "set another"
        raise SettingsError(f"api-listen = {endpoint}: cannot listen there ({error.strerror}); {remedy}") from error
    return listening
