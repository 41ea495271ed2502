"""Certificates of an etcd cluster's own authority, made by the `openssl` program.

Knows files and names, not etcd. A file is complete or not there; keys are mode 0600.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from pathfleet.errors import StoreError
from pathfleet.system.program import run

#: Ten years: the authority, and each certificate that it signs.
VALID_DAYS: Final = 3650

_DEADLINE_SECONDS: Final = 30.0

# A configuration of our own: the system's openssl.cnf may add extensions that contradict ours.
_AUTHORITY_FORM: Final = """\
[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
# etcd's gateway is a client of its own server, with the server's certificate: it needs both purposes.
_NODE_FORM: Final = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[node]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:{name}, IP:{address}, IP:127.0.0.1
"""


class Pair(Struct, frozen=True):
    """A certificate and its key, as PEM; the key is a secret."""

    certificate: str
    key: str


class Authority(Struct, frozen=True):
    """The files of a cluster's authority; `key` is only where nodes are added from."""

    certificate: Path
    key: Path

    @property
    def identity(self) -> str:
        """Eight digits that tell this authority from any other."""
        der = ssl.PEM_cert_to_DER_cert(self.certificate.read_text("ascii"))
        return hashlib.sha256(der).hexdigest()[:8]

    async def make(self) -> None:
        """Make the authority, unless it is there. Raises StoreError."""
        if self.certificate.exists() and self.key.exists():
            return
        with _workshop(self.certificate.parent) as work:
            form = work / "form"
            form.write_text(_AUTHORITY_FORM.format(name=f"pathfleet etcd {secrets.token_hex(4)}"))
            await _openssl(
                *("req", "-x509", *_new_key(work / "key"), "-config", str(form)),
                *("-days", str(VALID_DAYS), "-out", str(work / "crt")),
            )
            # The certificate last: where it is, the key is too.
            write(self.key, (work / "key").read_text("ascii"), mode=0o600)
            write(self.certificate, (work / "crt").read_text("ascii"))

    async def sign(self, name: str, address: str) -> Pair:
        """Return a new key and certificate for node `name` at the IP address `address`. Raises StoreError."""
        with _workshop(self.certificate.parent) as work:
            form, request = work / "form", work / "csr"
            form.write_text(_NODE_FORM.format(name=name, address=address))
            await _openssl("req", "-new", *_new_key(work / "key"), "-config", str(form), "-out", str(request))
            await _openssl(
                *("x509", "-req", "-in", str(request), "-CA", str(self.certificate), "-CAkey", str(self.key)),
                *("-set_serial", f"0x{secrets.token_hex(15)}", "-days", str(VALID_DAYS)),
                *("-extfile", str(form), "-extensions", "node", "-out", str(work / "crt")),
            )
            pair = Pair((work / "crt").read_text("ascii"), (work / "key").read_text("ascii"))
            check(self.certificate.read_text("ascii"), pair, work)
            return pair


def check(authority: str, pair: Pair, directory: Path) -> None:
    """Raise StoreError unless the PEM texts are certificates and the key belongs to its certificate.

    OpenSSL reads keys from files only: they lie below `directory` for that moment.
    """
    with _workshop(directory) as work:
        write(work / "crt", pair.certificate)
        write(work / "key", pair.key, mode=0o600)
        try:
            context = ssl.create_default_context(cadata=authority)
            context.load_cert_chain(work / "crt", work / "key", password=lambda: "")
        except (OSError, ValueError) as error:
            why = (error.reason if isinstance(error, ssl.SSLError) else None) or type(error).__name__
            raise StoreError(f"the certificates do not belong together or are damaged ({why})") from error


def program() -> str:
    """Return where `openssl` is. Raises StoreError."""
    found = shutil.which("openssl")
    if found is None:
        raise StoreError("there is no program `openssl`, which makes the certificates: apt install openssl")
    return found


def write(file: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file so that it is there whole, with its mode, or not at all; it survives a power failure."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    # Before a secret is in it, nobody else may open it.
    fresh.touch(0o600, exist_ok=False)
    with fresh.open("w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)


@contextmanager
def _workshop(directory: Path) -> Iterator[Path]:
    """Give a directory that nobody else can look into, on the same file system; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=".new-", dir=directory) as work:
        yield Path(work)


def _new_key(file: Path) -> Sequence[str]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(file))


async def _openssl(*arguments: str) -> None:
    await run(
        program(),
        *arguments,
        deadline_seconds=_DEADLINE_SECONDS,
        name=f"openssl {arguments[0]}",
        umask=0o077,
    )
