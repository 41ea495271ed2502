"""The agent's API: one unix socket for this machine's root, one TCP port for everybody with a token.

Both go on while the store is down, and say so. Whoever runs them runs them again when they fail: a port that is
taken keeps nobody from publishing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
from starlette.responses import Response

from pathfleet import web
from pathfleet.api import (
    cluster,
    config,
    discovery,
    doctor,
    drift,
    events,
    luns,
    metrics,
    nodes,
    openapi,
    sign_in,
    storage,
    volumes,
    work,
)
from pathfleet.api.application import application
from pathfleet.api.auth import Doorkeeper
from pathfleet.api.envelope import JSONResponse
from pathfleet.api.listener import network_socket, serving
from pathfleet.api.operation import Call, Operation, operation
from pathfleet.api.page import Page
from pathfleet.api.service import Service
from pathfleet.cluster.access import Role, digest
from pathfleet.core.node import NodeInfo
from pathfleet.errors import SettingsError
from pathfleet.settings import Endpoint, Settings
from pathfleet.system import certificates, unix_socket

log = logging.getLogger(__name__)

_CERTIFICATE: Final = "api.crt"
_KEY: Final = "api.key"


@operation("GET", "/openapi.json", needs=Role.AUDITOR, summary="This document", tag="api")
async def document(_: Call) -> Response:
    """Return the OpenAPI document itself, outside of the envelope."""
    return JSONResponse(_document())


@cache
def _document() -> bytes:
    return msgspec.json.encode(openapi.document(OPERATIONS))


#: All operations of an agent.
OPERATIONS: tuple[Operation, ...] = (
    *cluster.OPERATIONS,
    *config.OPERATIONS,
    *doctor.OPERATIONS,
    *discovery.OPERATIONS,
    *drift.OPERATIONS,
    *events.OPERATIONS,
    *luns.OPERATIONS,
    *nodes.OPERATIONS,
    *sign_in.OPERATIONS,
    *storage.OPERATIONS,
    *volumes.OPERATIONS,
    *work.OPERATIONS,
    *metrics.OPERATIONS,
    document,
)


class Server:
    """The API of one node, as its settings have it. `secret` is the node's own, by which it asks other nodes."""

    def __init__(
        self, settings: Settings, service: Service, secret: str, operations: Iterable[Operation] = OPERATIONS
    ) -> None:
        self._settings = settings
        self._secret_hash = digest(secret)
        doorkeeper = Doorkeeper(service.access, lambda: service.live.columns, service.sessions)
        self._application = application(service, operations, doorkeeper, Page(web.files()))
        self._fingerprint: str | None = None
        #: Where the port is, while it is served.
        self.endpoint: Endpoint | None = None

    async def serve_socket(self) -> None:
        """Serve the unix socket until cancelled. Raises SettingsError."""
        file = self._settings.api_socket_file
        with unix_socket.bound("api-socket", file) as listening:
            async with serving(self._application, listening, None):
                log.info("api-listens socket=%s", file)
                await _for_ever()

    async def serve_network(self) -> None:
        """Serve the TCP port until cancelled; done at once if none is wanted. Raises SettingsError, StoreError."""
        endpoint = self._settings.api_endpoint
        if endpoint is None:
            return
        tls = await self._tls() if self._settings.api_has_tls else None
        listening = network_socket(endpoint)
        try:
            async with serving(self._application, listening, tls):
                self.endpoint = Endpoint(endpoint.host, listening.getsockname()[1])
                log.info("api-listens address=%s tls-fingerprint=%s", self.endpoint, self._fingerprint or "none")
                await _for_ever()
        finally:
            self.endpoint = None

    async def prepare(self) -> None:
        """Make the certificate, where one is needed and none is there. Raises SettingsError, StoreError."""
        if self._settings.api_has_tls:
            await self._tls()

    def introduce(self, info: NodeInfo) -> NodeInfo:
        """Return what the node says of itself, with how others reach its API and know its secret."""
        info = msgspec.structs.replace(info, api_token_hash=self._secret_hash)
        public = self._settings.api_public
        if public is None:
            return info
        if not self._settings.api_has_tls:
            return msgspec.structs.replace(info, api=f"http://{public}")
        if self._fingerprint is None:
            return info
        return msgspec.structs.replace(info, api=f"https://{public}", api_certificate=self._fingerprint)

    async def _tls(self) -> ssl.SSLContext:
        certificate, key = await self._files()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            self._fingerprint = certificates.fingerprint(certificate.read_text("ascii"))
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"api-certificate = {certificate} and api-key = {key} cannot be used: {error}"
            ) from error
        return context

    async def _files(self) -> tuple[Path, Path]:
        """Return the files of the certificate and its key, made here if none are set."""
        if self._settings.api_certificate:
            return Path(self._settings.api_certificate), Path(self._settings.api_key)
        directory = Path(self._settings.state_directory)
        certificate, key = directory / _CERTIFICATE, directory / _KEY
        await certificates.self_signed(certificate, key, self._hosts())
        return certificate, key

    def _hosts(self) -> Iterable[str]:
        """Return the names and addresses by which this node's API is asked."""
        listen, public = self._settings.api_endpoint, self._settings.api_public
        yield os.uname().nodename
        if public is not None:
            yield public.host
        if listen is not None and listen.ip is not None and not listen.ip.is_unspecified:
            yield listen.host
        yield from ("localhost", "127.0.0.1", "::1")


async def _for_ever() -> None:
    await asyncio.Event().wait()
