"""Ask multipathd over its control socket: `ask COMMAND` writes the raw reply to standard output.

Standard library only, Python 3.9 or later: this also asks where the project itself cannot run.
"""

import socket
import struct
import sys

ADDRESS = "\0/org/kernel/linux/storage/multipathd"
REPLY_LIMIT_BYTES = 32 * 1024 * 1024
_LENGTH = struct.Struct("@N")


def ask(command: str, seconds: float = 10.0) -> bytes:
    """Return multipathd's reply without its final NUL.

    Raises OSError when the daemon cannot be reached, is silent for `seconds`, or hangs up early.
    """
    request = command.encode() + b"\0"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        connection.connect(ADDRESS)
        connection.sendall(_LENGTH.pack(len(request)) + request)
        (length,) = _LENGTH.unpack(_receive(connection, _LENGTH.size))
        if length > REPLY_LIMIT_BYTES:
            raise OSError(f"multipathd announces a reply of {length} bytes")
        reply = _receive(connection, length)
    return reply[:-1] if reply.endswith(b"\0") else reply


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise OSError(f"multipathd hung up after {len(received)} of {size} bytes")
        received += part
    return bytes(received)


def main() -> None:
    """Ask the command that the arguments make up; quotation marks within it are multipathd's."""
    try:
        sys.stdout.buffer.write(ask(" ".join(sys.argv[1:])))
    except OSError as error:
        sys.exit(f"ask: {error}")
