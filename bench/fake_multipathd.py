"""A process that speaks multipathd's protocol: `python -m bench.fake_multipathd SOCKET FILE` replies with FILE.

The file is read at each question, so whoever replaces it changes what is true of the maps.
"""

from __future__ import annotations

import socketserver
import struct
import sys
from pathlib import Path

_LENGTH = struct.Struct("@N")
_HELP = b"fail\nmultipath-tools v0.9.4 (12/19, 2022)\nCLI commands reference:\n"


class _Client(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while header := self.rfile.read(_LENGTH.size):
            question = self.rfile.read(_LENGTH.unpack(header)[0])
            known = question == b"show maps json\0"
            reply = Path(sys.argv[2]).read_bytes() if known else _HELP
            self.wfile.write(_LENGTH.pack(len(reply) + 1) + reply + b"\0")


if __name__ == "__main__":
    socketserver.UnixStreamServer(sys.argv[1], _Client).serve_forever()
