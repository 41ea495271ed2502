"""What the operator sets: a TOML file, overridden by environment variables, as one frozen value."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from pathfleet.errors import SettingsError

DEFAULT_FILE = Path("/etc/pathfleet/pathfleet.toml")


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

    def __post_init__(self) -> None:
        """Refuse what cannot be used, by the name it has in the file."""
        if not self.node or "/" in self.node or self.node != self.node.strip():
            raise ValueError(f"node = {self.node!r}: a node needs a name without `/` and blanks around it")
        for setting, path in (("state-directory", self.state_directory), ("sysfs", self.sysfs)):
            if not path.startswith("/"):
                raise ValueError(f"{setting} = {path!r}: needs an absolute path")
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise ValueError(f"log-level = {self.log_level!r}: one of debug, info, warning, error")

    @property
    def store_url(self) -> str:
        """The store's URL, also where none is set."""
        return self.store or f"sqlite://{self.state_directory}/cluster.db"


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
