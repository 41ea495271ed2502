"""The token with which a node joins: one line, a secret, since the node's key is in it."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, Self

import msgspec
from msgspec import Struct

from pathfleet.errors import SettingsError

_LIMIT: Final = 64 * 1024


class Token(Struct, frozen=True):
    """A place in the cluster for one node: its member id, where the others are, and its certificates as PEM.

    `expires` in epoch seconds.
    """

    node: str
    address: str
    ident: str
    endpoints: tuple[str, ...]
    expires: int
    authority: str
    certificate: str
    key: str

    def text(self) -> str:
        """Return the token as one line."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a line says. Raises SettingsError, which does not repeat it."""
        line = text.strip()
        try:
            if len(line) > _LIMIT:
                raise ValueError  # noqa: TRY301 - as wrong as the others
            content = base64.b64decode(line + "=" * (-len(line) % 4), altchars=b"-_", validate=True)
            token = msgspec.json.decode(content, type=cls)
            if not re.fullmatch(r"[0-9]{1,20}", token.ident) or not token.endpoints:
                raise ValueError  # noqa: TRY301
        except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
            raise SettingsError(
                "that is no whole token: copy the one line that `pathfleet cluster token` printed, all of it"
            ) from error
        return token
