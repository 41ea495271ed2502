"""The URL that names an etcd store, checked; no secret is ever in it."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from msgspec import Struct

from pathfleet.errors import SettingsError

PREFIX: Final = "pathfleet"

_FORM: Final = (
    "etcd://HOST:PORT[,HOST:PORT…]/PREFIX?ca=FILE&cert=FILE&key=FILE&user=NAME&password-file=FILE"
    " (all after the first HOST:PORT may be left out; tls=1 instead of ca: the system's authorities)"
)
_FILES: Final = ("ca", "cert", "key", "password-file")
_FLAGS: Final = ("tls", "insecure")

_URL = re.compile(r"etcd://(?P<hosts>[^/?#\s]+)(?:/(?P<prefix>[^?#\s]*))?(?:\?(?P<query>[^#\s]*))?")
_ENDPOINT = re.compile(r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*)|\[[0-9a-fA-F:.]+\]):(?P<port>[1-9][0-9]{0,4})")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")


class Address(Struct, frozen=True):
    """Where an etcd store is: `endpoints` as HOST:PORT, keys below `prefix`, and how to be let in."""

    endpoints: tuple[str, ...]
    prefix: str = PREFIX
    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    user: str | None = None
    password_file: Path | None = None

    @property
    def name(self) -> str:
        """The store's name for people, without parameters."""
        return f"etcd://{','.join(self.endpoints)}/{self.prefix}"

    def base(self, endpoint: str) -> str:
        """Return the URL under which `endpoint` has its gateway (the path is that of etcd >= 3.4)."""
        return f"{'https' if self.tls else 'http'}://{endpoint}/v3/"


def parse(url: str) -> Address:
    """Return what `url` says. Raises SettingsError, which does not repeat the URL: it may have a secret in it."""
    match = _URL.fullmatch(url)
    if match is None or "@" in match["hosts"]:
        raise _wrong("not the URL of an etcd cluster")
    endpoints = tuple(match["hosts"].split(","))
    for endpoint in endpoints:
        found = _ENDPOINT.fullmatch(endpoint)
        if found is None or int(found["port"]) > 65535:
            raise _wrong(f"{endpoint!r} is no HOST:PORT")
    prefix = (match["prefix"] or PREFIX).rstrip("/")
    if not _PREFIX.fullmatch(prefix):
        raise _wrong("the prefix may have letters, digits, '.', '_', '-' and, between them, '/'")
    given = _parameters(match["query"] or "")
    files = {name: _file(name, given) for name in _FILES}
    address = Address(
        endpoints,
        prefix,
        tls="tls" in given or any(files[name] for name in ("ca", "cert", "key")),
        ca=files["ca"],
        cert=files["cert"],
        key=files["key"],
        user=given.get("user") or None,
        password_file=files["password-file"],
    )
    _check(address, insecure="insecure" in given)
    return address


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise _wrong("its parameters are not NAME=VALUE with & between") from error
    given = dict(pairs)
    if len(given) != len(pairs):
        raise _wrong("a parameter is given twice")
    for name in given:
        if name == "password":
            raise _wrong("a password does not belong in a URL, but in a file of its own: password-file=FILE")
        if name not in (*_FILES, *_FLAGS, "user"):
            raise _wrong(f"no parameter {name[:40]!r}")
    for name in _FLAGS:
        if given.get(name, "1") != "1":
            raise _wrong(f"{name} can only be 1; leave it out otherwise")
    return given


def _file(name: str, given: dict[str, str]) -> Path | None:
    if name not in given:
        return None
    if not given[name].startswith("/") or "\0" in given[name]:
        raise _wrong(f"{name} is not an absolute path")
    return Path(given[name])


def _check(address: Address, *, insecure: bool) -> None:
    if (address.cert is None) != (address.key is None):
        raise _wrong("cert and key belong together")
    if (address.user is None) != (address.password_file is None):
        raise _wrong("user and password-file belong together")
    for endpoint in address.endpoints:
        if not (address.tls or insecure or _loopback(endpoint.rpartition(":")[0].strip("[]"))):
            raise _wrong(
                f"{endpoint} is another machine and would be talked to without TLS: whoever is on the way could read"
                " and change everything; give ca=FILE or tls=1 (or insecure=1 to have it so)"
            )


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _wrong(what: str) -> SettingsError:
    return SettingsError(f"store = etcd://…: {what}; write {_FORM}")
