"""Where a unix socket is made, and what it never takes away."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from pathfleet.errors import SettingsError
from pathfleet.system import unix_socket
from tests.fakes import open_descriptors


def test_a_socket_is_its_owners_only_and_leaves_nothing(tmp_path: Path) -> None:
    descriptors = open_descriptors()
    with unix_socket.bound("x-socket", tmp_path / "s"):
        assert [path.name for path in tmp_path.iterdir()] == ["s"]
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == []
    assert open_descriptors() == descriptors


def test_a_socket_of_a_group_is_writable_for_it(tmp_path: Path) -> None:
    group = os.getegid()
    with unix_socket.bound("x-socket", tmp_path / "s", group=group):
        made = (tmp_path / "s").stat()
        assert (stat.S_IMODE(made.st_mode), made.st_gid) == (0o660, group)


def test_a_socket_that_nobody_listens_at_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    with unix_socket.bound("x-socket", tmp_path / "s") as listening, socket.socket(socket.AF_UNIX) as client:
        listening.listen()
        client.connect(str(tmp_path / "s"))
        assert unix_socket.peer_user(client) == os.geteuid()


def test_a_socket_that_somebody_listens_at_stays_theirs(tmp_path: Path) -> None:
    with unix_socket.bound("x-socket", tmp_path / "s") as listening:
        listening.listen()
        with (
            pytest.raises(SettingsError, match=r"x-socket = .*/s: somebody listens there; stop that one"),
            unix_socket.bound("x-socket", tmp_path / "s"),
        ):
            pass
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))


def test_one_who_listens_but_is_busy_keeps_the_place(tmp_path: Path) -> None:
    with unix_socket.bound("x-socket", tmp_path / "s") as listening, socket.socket(socket.AF_UNIX) as client:
        listening.listen(0)
        client.connect(str(tmp_path / "s"))
        with pytest.raises(SettingsError, match="somebody listens"), unix_socket.bound("x-socket", tmp_path / "s"):
            pass


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "precious"
    if kind == "file":
        place.write_text("x")
    elif kind == "directory":
        place.mkdir()
    else:
        place.symlink_to("elsewhere")
    before = place.lstat()
    with (
        pytest.raises(SettingsError, match="something else than a socket"),
        unix_socket.bound("x-socket", place),
    ):
        pass
    assert place.lstat().st_ino == before.st_ino


@pytest.mark.parametrize("file", ["absent/s", "x" * 200], ids=["absent", "long"])
def test_a_place_where_no_socket_can_be_is_named(tmp_path: Path, file: str) -> None:
    descriptors = open_descriptors()
    with (
        pytest.raises(SettingsError, match=r"x-socket = .*cannot listen there"),
        unix_socket.bound("x-socket", tmp_path / file),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    assert open_descriptors() == descriptors


def test_what_came_to_its_place_meanwhile_stays(tmp_path: Path) -> None:
    with unix_socket.bound("x-socket", tmp_path / "s"):
        (tmp_path / "s").unlink()
        (tmp_path / "s").write_text("another's")
    assert (tmp_path / "s").read_text() == "another's"
