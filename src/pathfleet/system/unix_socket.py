"""Unix sockets: one to listen at, there whole or not at all, and who is at the other end of a connection."""

from __future__ import annotations

import errno
import os
import socket
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pathfleet.errors import SettingsError

_PATH_BYTES: Final = 107  # unix(7), without the closing NUL
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid: unix(7)


@contextmanager
def bound(setting: str, file: Path, *, group: int | None = None) -> Iterator[socket.socket]:
    """Have a socket bound to `file` while the body runs: mode 0660 and of `group`, or 0600 where that is None.

    One that nobody listens at any more is replaced. Who serves the socket closes it. Raises SettingsError, which names
    the setting and the file.
    """
    try:
        _check_free(file)
        listening = socket.socket(socket.AF_UNIX)
        try:
            identity = _bind(listening, file, group)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise SettingsError(f"{setting} = {file}: cannot listen there ({error.strerror or error})") from error
    except _Taken as error:
        raise SettingsError(f"{setting} = {file}: {error}") from None
    try:
        yield listening
    finally:
        listening.close()
        if file.exists() and file.stat().st_ino == identity:
            file.unlink()


def peer_user(connection: socket.socket) -> int:
    """Return the id of the user who connected, or who listens, at the other end of a unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(credentials)
    return int(user)


class _Taken(Exception):
    """There is something at the place that is not ours to replace."""


def _bind(listening: socket.socket, file: Path, group: int | None) -> int:
    """Bind the socket and return its file's inode."""
    # In a directory of our own, nobody can connect before owner and mode are right; the move puts it there whole.
    with tempfile.TemporaryDirectory(prefix=".", dir=file.parent) as private:
        fresh = Path(private) / "s"
        listening.bind(str(fresh))
        if group is not None:
            os.chown(fresh, -1, group)
        fresh.chmod(0o600 if group is None else 0o660)
        identity = fresh.stat().st_ino
        fresh.replace(file)
    return identity


def _check_free(file: Path) -> None:
    """Raise _Taken where somebody listens or what is there is no socket, OSError where nobody could ever connect."""
    if len(os.fsencode(file)) > _PATH_BYTES:
        raise OSError(errno.ENAMETOOLONG, f"a socket's path has {_PATH_BYTES} bytes at most")
    if not os.path.lexists(file):
        return
    if not file.is_socket() or file.is_symlink():
        raise _Taken("there is something else than a socket; remove it, or set another")
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        try:
            client.connect(str(file))
        except ConnectionRefusedError:
            return
        except BlockingIOError:  # who listens is busy
            pass
    raise _Taken("somebody listens there; stop that one, or set another")
