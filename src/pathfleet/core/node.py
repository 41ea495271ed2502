"""The node key `pathfleet`: who reports, with which versions, and whether multipathd could be asked."""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec import Struct

from pathfleet.core import wire
from pathfleet.core.wire import Content, Time

KEY = "pathfleet"


class Daemon(StrEnum):
    """multipathd as seen from its node. Different answers, everywhere."""

    RUNNING = "running"
    NOT_RUNNING = "not-running"
    NOT_INSTALLED = "not-installed"
    CANNOT_TELL = "cannot-tell"


class Versions(Struct, frozen=True, rename="kebab"):
    """What runs on the node; None for what is not known."""

    pathfleet: str | None = None
    multipath_tools: str | None = None


class NodeInfo(Struct, frozen=True, rename="kebab"):
    """The value without its `time`.

    `multipathd` is a word of Daemon, `reason` says why it is not `running`. `start`: epoch seconds at which the
    agent started. `api`: where other nodes reach its API (`https://HOST:PORT`), None if they cannot.
    `api_certificate` is the SHA-256 of the certificate that they find there, `api_token_hash` that of the secret by
    which they know this node; both in hexadecimal. `arrays`: whose LUNs the node has, as `core.arrays` tells it.
    """

    multipathd: str
    start: Time
    versions: Versions
    reason: str | None = None
    api: str | None = None
    api_certificate: str | None = None
    api_token_hash: str | None = None
    arrays: dict[str, str] = {}


class PublishedNodeInfo(NodeInfo, frozen=True, kw_only=True):
    """The value as it was published, at `time` (epoch seconds of the node's clock)."""

    time: Time


def content(info: NodeInfo) -> Content:
    """Return what the key is to say."""
    body: Content = msgspec.to_builtins(info)
    return body


_info = msgspec.json.Decoder(PublishedNodeInfo)


def decode(value: bytes) -> PublishedNodeInfo:
    """Return what a node published of itself. Raises Malformed."""
    return wire.read(_info, value, KEY)
