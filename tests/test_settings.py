from __future__ import annotations

import os
from pathlib import Path

import pytest

from pathfleet.errors import SettingsError
from pathfleet.settings import Settings, load


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
