from __future__ import annotations

import os
from pathlib import Path

import pytest

from pathfleet.errors import SettingsError
from pathfleet.settings import Endpoint, Settings, load


@pytest.fixture(autouse=True)
def _nothing_is_set_on_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pathfleet.settings.DEFAULT_FILE", tmp_path / "absent.toml")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pathfleet.toml"


def test_without_a_file_the_defaults_hold() -> None:
    assert load(None, {}) == Settings()


def test_the_node_is_named_by_its_host_without_the_domain() -> None:
    assert Settings().node == os.uname().nodename.partition(".")[0]


def test_the_store_lies_in_the_state_directory_unless_it_is_set() -> None:
    assert Settings(state_directory="/srv/x").store_url == "sqlite:///srv/x/cluster.db"
    assert Settings(store="sqlite:///y").store_url == "sqlite:///y"


def test_the_file_is_in_kebab_case(file: Path) -> None:
    file.write_text('node = "n1"\nstate-directory = "/srv/x"\nmultipathd-socket = "@abstract"\nlog-level = "debug"\n')
    assert load(file, {}) == Settings("n1", "", "/srv/x", "@abstract", log_level="debug")


def test_the_environment_goes_before_the_file(file: Path) -> None:
    file.write_text('node = "n1"\nlog-level = "error"\n')
    found = load(file, {"PATHFLEET_NODE": "n2", "PATHFLEET_MULTIPATHD_SOCKET": "/run/x", "PATHFLEET_OTHER": "x"})
    assert (found.node, found.multipathd_socket, found.log_level) == ("n2", "/run/x", "error")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('colour = "red"', "unknown field `colour`"),
        ("node = 7", r"`\$.node`"),
        ('node = ""', "node = ''"),
        ('node = "a/b"', "node = 'a/b'"),
        ('node = " a"', "blanks"),
        ('state-directory = "var/lib"', "state-directory = 'var/lib': needs an absolute path"),
        ('log-level = "loud"', "log-level = 'loud': one of debug, info, warning, error"),
        ("node = n1", "is not TOML"),
        ('node = "a"\nnode = "b"', "is not TOML"),
        ('[node]\nname = "a"', r"`\$.node`"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_its_file(file: Path, text: str, reason: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError, match=reason) as caught:
        load(file, {})
    assert str(file) in str(caught.value)


def test_a_variable_that_cannot_be_used_is_named() -> None:
    with pytest.raises(SettingsError, match=r"PATHFLEET_.*log-level = 'loud'"):
        load(None, {"PATHFLEET_LOG_LEVEL": "loud"})


def test_a_file_that_was_asked_for_must_be_there(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"pathfleet\.toml: there is no such file"):
        load(file, {})


def test_a_file_that_is_not_text_is_said_to(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\0")
    with pytest.raises(SettingsError, match="is not TOML"):
        load(file, {})


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load(tmp_path, {})


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Settings().node = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8440", "127.0.0.1", 8440),
        ("[2001:db8::7]:1", "2001:db8::7", 1),
        ("pve-1.example.org:65535", "pve-1.example.org", 65535),
    ],
)
def test_an_endpoint_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    endpoint = Endpoint.parse(text)
    assert (endpoint.host, endpoint.port, str(endpoint)) == (host, port, text)


@pytest.mark.parametrize(
    "text", ["", "8440", ":8440", "host", "host:", "host:65536", "::1:8440", "[:::]:1", "a b:1", "-x:1"]
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        Endpoint.parse(text)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("api-listen", "localhost:8440"),
        ("api-listen", "8440"),
        ("api-address", "https://x:1"),
        ("api-socket", "api.sock"),
        ("api-certificate", "/only/one.crt"),
    ],
)
def test_an_api_setting_that_cannot_be_used_is_refused(file: Path, setting: str, value: str) -> None:
    file.write_text(f'{setting} = "{value}"\n')
    with pytest.raises(SettingsError, match=str(file)):
        load(file, {})


@pytest.mark.parametrize(
    ("listen", "address", "public"),
    [
        ("", "", None),
        ("127.0.0.1:8440", "", None),
        ("[::1]:8440", "", None),
        ("127.0.0.1:8440", "pve1:1", "pve1:1"),
        ("192.0.2.7:8440", "", "192.0.2.7:8440"),
        ("192.0.2.7:8440", "pve1:1", "pve1:1"),
        ("0.0.0.0:8440", "", f"{os.uname().nodename}:8440"),
        ("[::]:8440", "", f"{os.uname().nodename}:8440"),
    ],
)
def test_other_nodes_are_told_an_address_that_they_can_reach(listen: str, address: str, public: str | None) -> None:
    found = Settings(api_listen=listen, api_address=address).api_public
    assert (None if found is None else str(found)) == public


def test_the_api_s_socket_lies_where_systemd_made_room_or_in_the_state_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pathfleet.settings._RUNTIME_DIRECTORY", tmp_path / "run")
    assert Settings(state_directory="/srv/x").api_socket_file == Path("/srv/x/api.sock")
    (tmp_path / "run").mkdir()
    assert Settings(state_directory="/srv/x").api_socket_file == tmp_path / "run/api.sock"
    assert Settings(api_socket="/y").api_socket_file == Path("/y")
