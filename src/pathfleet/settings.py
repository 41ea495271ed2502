"""What the operator sets: a TOML file, overridden by environment variables, as one frozen value."""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import msgspec
from msgspec import Struct

from pathfleet.errors import SettingsError

DEFAULT_FILE = Path("/etc/pathfleet/pathfleet.toml")

#: What systemd makes for the agent (RuntimeDirectory=).
_RUNTIME_DIRECTORY: Final = Path("/run/pathfleet")
_ENDPOINT: Final = re.compile(
    r"(\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]{0,253})?)):(?P<port>[0-9]{1,5})"
)


class Endpoint(Struct, frozen=True):
    """A host, as a name or an IP address, and a TCP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `HOST:PORT` says, an IPv6 address in brackets. Raises ValueError."""
        found = _ENDPOINT.fullmatch(text)
        endpoint = None if found is None else cls(found["v6"] or found["host"], int(found["port"]))
        if endpoint is None or endpoint.port > 65535 or (":" in endpoint.host and endpoint.ip is None):
            raise ValueError(f"{text!r} is not HOST:PORT (an IPv6 address in brackets: [::1]:8440)")
        return endpoint

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host's address, None if it is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Settings(Struct, frozen=True, rename="kebab", forbid_unknown_fields=True):
    """The settings of this node. In the file in kebab-case, in the environment as `PATHFLEET_STATE_DIRECTORY`."""

    #: The node's name in the cluster.
    node: str = msgspec.field(default_factory=lambda: os.uname().nodename.partition(".")[0])
    #: The store's URL; the default lies in the state directory.
    store: str = ""
    #: Where this node keeps what is its own: the accepted number of paths, and the embedded store.
    state_directory: str = "/var/lib/pathfleet"
    #: multipathd's socket: a path, or `@NAME` for an abstract one. Empty: where every version puts it.
    multipathd_socket: str = ""
    #: Where sysfs is mounted.
    sysfs: str = "/sys"
    #: debug, info, warning or error.
    log_level: str = "info"
    #: Where the API listens: IP:PORT, or empty for nowhere but the unix socket.
    api_listen: str = "127.0.0.1:8440"
    #: What other nodes are told to ask: HOST:PORT. Empty: derived from `api_listen`, nothing on loopback.
    api_address: str = ""
    #: The API's unix socket; empty: in /run/pathfleet where that is, else in the state directory.
    api_socket: str = ""
    #: Files of the API's certificate and key; empty: made by itself, in the state directory.
    api_certificate: str = ""
    api_key: str = ""
    #: The unix socket of the executor, which does what needs root.
    executor_socket: str = "/run/pathfleet-executor/executor.sock"

    def __post_init__(self) -> None:
        """Refuse what cannot be used, by the name it has in the file."""
        if not self.node or "/" in self.node or self.node != self.node.strip():
            raise ValueError(f"node = {self.node!r}: a node needs a name without `/` and blanks around it")
        for setting, path in (
            ("state-directory", self.state_directory),
            ("sysfs", self.sysfs),
            ("executor-socket", self.executor_socket),
        ):
            if not path.startswith("/"):
                raise ValueError(f"{setting} = {path!r}: needs an absolute path")
        for setting, path in (
            ("api-socket", self.api_socket),
            ("api-certificate", self.api_certificate),
            ("api-key", self.api_key),
        ):
            if path and not path.startswith("/"):
                raise ValueError(f"{setting} = {path!r}: needs an absolute path, or nothing")
        if bool(self.api_certificate) != bool(self.api_key):
            raise ValueError("api-certificate and api-key: both or none")
        if self.api_listen and Endpoint.parse(self.api_listen).ip is None:
            raise ValueError(f"api-listen = {self.api_listen!r}: needs an IP address and a port, or nothing")
        if self.api_address:
            Endpoint.parse(self.api_address)
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise ValueError(f"log-level = {self.log_level!r}: one of debug, info, warning, error")

    @property
    def store_url(self) -> str:
        """The store's URL, also where none is set."""
        return self.store or f"sqlite://{self.state_directory}/cluster.db"

    @property
    def api_endpoint(self) -> Endpoint | None:
        """Where the API listens, None for nowhere but the unix socket."""
        return Endpoint.parse(self.api_listen) if self.api_listen else None

    @property
    def api_socket_file(self) -> Path:
        """The API's unix socket, also where none is set."""
        if self.api_socket:
            return Path(self.api_socket)
        directory = _RUNTIME_DIRECTORY if _RUNTIME_DIRECTORY.is_dir() else Path(self.state_directory)
        return directory / "api.sock"

    @property
    def api_has_tls(self) -> bool:
        """Whether the API speaks TLS: always beyond loopback, and where others beyond it are told of it."""
        named = Endpoint.parse(self.api_address) if self.api_address else None
        beyond = [place for place in (self.api_endpoint, named) if place and not (place.ip and place.ip.is_loopback)]
        return bool(beyond or self.api_certificate)

    @property
    def api_public(self) -> Endpoint | None:
        """Where other nodes reach the API, None if they cannot; on every address means by the host's name."""
        listen = self.api_endpoint
        if listen is None or listen.ip is None:
            return None
        if self.api_address:
            return Endpoint.parse(self.api_address)
        if listen.ip.is_loopback:
            return None
        return Endpoint(os.uname().nodename, listen.port) if listen.ip.is_unspecified else listen


def load(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of `file` (default: DEFAULT_FILE, which may be absent) and the environment.

    Raises SettingsError that names the file or variable and the setting.
    """
    values = _from_file(file or DEFAULT_FILE, must_exist=file is not None)
    for field in msgspec.structs.fields(Settings):
        variable = "PATHFLEET_" + field.name.upper()
        if variable in environment:
            values[field.encode_name] = environment[variable]
    try:
        return msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{file or DEFAULT_FILE} or PATHFLEET_… in the environment: {error}") from error


def _from_file(file: Path, *, must_exist: bool) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise SettingsError(f"{file}: there is no such file") from None
        return {}
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML: {error}") from error
