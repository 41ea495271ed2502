"""Certificates, made by the `openssl` program: of an etcd cluster's own authority, and one that vouches for itself.

Knows files and names, not etcd. A file is complete or not there; keys are mode 0600.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import secrets
import shutil
import ssl
import tempfile
from collections.abc import Iterable, Iterator, Sequence
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

_SELF_SIGNED_FORM: Final = """\
[req]
distinguished_name = name
x509_extensions = server
prompt = no
[name]
CN = pathfleet
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
subjectAltName = {names}
"""
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")


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
        return fingerprint(self.certificate.read_text("ascii"))[:8]

    async def make(self) -> None:
        """Make the authority, unless it is there. Raises StoreError."""
        if _are_there(self.certificate, self.key):
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


async def self_signed(certificate: Path, key: Path, hosts: Iterable[str]) -> None:
    """Make a server's key and certificate for `hosts` (names and IP addresses), unless they are there.

    Whoever connects is to know it by its fingerprint. Raises StoreError.
    """
    if _are_there(certificate, key):
        return
    names = ", ".join(dict.fromkeys(_subject(host) for host in hosts if _is_ip(host) or _HOST_NAME.fullmatch(host)))
    try:
        with _workshop(certificate.parent) as work:
            form = work / "form"
            form.write_text(_SELF_SIGNED_FORM.format(names=names))
            await _openssl(
                *("req", "-x509", *_new_key(work / "key"), "-config", str(form)),
                *("-days", str(VALID_DAYS), "-out", str(work / "crt")),
            )
            # The certificate last: where it is, the key is too.
            write(key, (work / "key").read_text("ascii"), mode=0o600)
            write(certificate, (work / "crt").read_text("ascii"))
    except OSError as error:
        raise StoreError(f"no certificate can be made in {certificate.parent}: {error.strerror}") from error


def fingerprint(pem: str) -> str:
    """Return the SHA-256 of a certificate, the first of a chain, in hexadecimal. Raises ValueError for no PEM."""
    first = pem[: pem.find(_END) + len(_END)]
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[max(first.find(_BEGIN), 0) :])).hexdigest()


_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"


def _are_there(*files: Path) -> bool:
    return all(file.exists() for file in files)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _subject(host: str) -> str:
    return f"IP:{host}" if _is_ip(host) else f"DNS:{host}"


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
