from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pathfleet.core.render import BASELINE_FILE, OVERRIDES_FILE, DropIns
from pathfleet.system.disk import Disk, DiskTrouble
from pathfleet.system.dropins import Attempt, Files, State


class FailingDisk(Disk):
    """Writes nothing, for this reason."""

    def __init__(self, number: int) -> None:
        self._number = number

    def create(self, directory: int, name: str, mode: int) -> int:  # noqa: ARG002 - as of every disk
        raise OSError(self._number, errno.errorcode[self._number])


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "multipath/conf.d").mkdir(parents=True)
    return Files(tmp_path / "multipath", tmp_path / "state")


def begin(files: Files, digest: str | None = "new") -> None:
    files.begin(Attempt(digest, daemon_ran=True), frozenset(), version="0.9.4")


def test_nothing_was_ever_done_here(files: Files) -> None:
    assert files.journal().digest is None
    assert not files.journal().interrupted
    assert files.on_disk() == DropIns()


def test_an_attempt_is_noted_before_anything_is_changed(files: Files) -> None:
    begin(files)
    assert files.journal().interrupted
    assert files.journal().digest is None
    assert files.journal().version == "0.9.4"
    assert files.on_disk() == DropIns()


def test_only_what_multipathd_reads_after_ours_has_the_last_word(files: Files) -> None:
    for name in ("mine.conf", BASELINE_FILE, OVERRIDES_FILE, "zz-z.conf", "zz-pathfleet-15.conf", "zzz.txt"):
        (files.root / "conf.d" / name).touch()
    assert [Path(path).name for path in files.read_later()] == ["zz-pathfleet-15.conf", "zz-z.conf"]


def test_what_is_in_force_comes_back(files: Files) -> None:
    begin(files)
    files.write("one\n", "two\n")
    files.commit(State("new", "one\n", "two\n"))
    begin(files, "newer")
    files.write("three\n", None)
    assert files.on_disk() == DropIns("three\n")
    assert files.restore() == State("new", "one\n", "two\n")
    files.give_up()
    assert files.on_disk() == DropIns("one\n", "two\n")
    assert files.journal().digest == "new"
    assert not files.journal().interrupted


def test_files_of_a_state_that_was_lost_come_back_too(files: Files) -> None:
    (files.root / "conf.d" / BASELINE_FILE).write_text("unknown\n")
    begin(files)
    files.write(None, "two\n")
    files.restore()
    assert files.on_disk() == DropIns("unknown\n")


def test_what_waits_for_the_daemon_is_what_the_node_has(files: Files) -> None:
    begin(files)
    files.note_attempt(Attempt("new", waits="multipathd is not running"))
    assert files.journal().digest == "new"
    assert not files.journal().interrupted


def test_a_directory_that_was_missing_is_made_and_goes_with_us(files: Files) -> None:
    (files.root / "conf.d").rmdir()
    begin(files)
    files.write("one\n", None)
    assert (files.root / "conf.d").stat().st_mode & 0o777 == 0o755
    files.write(None, None)
    files.forget()
    assert list(files.root.iterdir()) == []
    assert not files.state.exists()


def test_a_directory_that_others_use_stays(files: Files) -> None:
    (files.root / "conf.d").rmdir()
    begin(files)
    (files.root / "conf.d/mine.conf").write_text("mine")
    files.forget()
    assert (files.root / "conf.d/mine.conf").read_text() == "mine"


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(files: Files, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (files.root / "conf.d" / OVERRIDES_FILE).symlink_to(precious)
    (files.root / "conf.d" / f".{BASELINE_FILE}.new").symlink_to(precious)
    files.write("one\n", "two\n")
    assert precious.read_text() == "precious"
    assert files.on_disk() == DropIns("one\n", "two\n")


@pytest.mark.parametrize("name", ["multipath", "multipath/conf.d"])
def test_a_link_in_the_place_of_a_directory_is_refused(files: Files, tmp_path: Path, name: str) -> None:
    (tmp_path / name).rename(tmp_path / "elsewhere")
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DiskTrouble, match="no directory, or a symbolic link, which is not followed"):
        files.write("one\n", None)
    assert not list((tmp_path / "elsewhere").rglob("*.conf"))


def test_a_state_that_others_may_write_is_refused(files: Files) -> None:
    begin(files)
    files.state.chmod(0o777)
    with pytest.raises(DiskTrouble, match="may be written by others"):
        files.journal()


def test_a_journal_that_nobody_understands_is_said_with_its_remedy(files: Files) -> None:
    begin(files)
    (files.state / "journal.json").write_text("{")
    with pytest.raises(DiskTrouble, match=r"journal.json cannot be understood: .*; see that .* then remove it"):
        files.journal()


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.EROFS, "read-only.*remount"), (errno.ENOSPC, "full"), (errno.EACCES, "root")]
)
def test_a_disk_that_takes_nothing_is_said_with_its_remedy(tmp_path: Path, number: int, remedy: str) -> None:
    (tmp_path / "multipath/conf.d").mkdir(parents=True)
    files = Files(tmp_path / "multipath", tmp_path, disk=FailingDisk(number))
    with pytest.raises(DiskTrouble, match=f"{BASELINE_FILE} cannot be written: .*{remedy}"):
        files.write("one\n", None)
    assert list((tmp_path / "multipath/conf.d").iterdir()) == []


def test_only_one_at_a_time(files: Files) -> None:
    with files.locked(), pytest.raises(DiskTrouble, match="another process"), files.locked():
        pass
    with files.locked():
        pass
