"""Writes ui/openapi.json, from which the page's types are made: run it when an operation changed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pathfleet.api import openapi
from pathfleet.api.server import OPERATIONS

if __name__ == "__main__":
    document = msgspec.json.encode(openapi.document(OPERATIONS))
    Path(__file__).parents[1].joinpath("ui", "openapi.json").write_bytes(
        msgspec.json.format(document, indent=1) + b"\n"
    )
