from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.system.disk import DiskTrouble
from pathfleet.system.dropins import Attempt, Files
from pathfleet.system.wwids import HEADER, Wwids, added, entries, without

OTHERS = HEADER + b"/3600others1/\n# a remark\n/3600boot/\n"
WWID = st.text(st.sampled_from("0123456789abcdef."), min_size=1, max_size=8)


class Bench:
    def __init__(self, directory: Path, content: bytes | None = OTHERS) -> None:
        self.root, self.state = directory / "multipath", directory / "state"
        self.root.mkdir()
        self.file = self.root / "wwids"
        if content is not None:
            self.file.write_bytes(content)
            self.file.chmod(0o640)
        Files(self.root, self.state).begin(Attempt("x"), frozenset(), version=None)
        self.wwids = Wwids(self.root, self.state, late_seconds=0)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_is_wanted_is_added_at_the_end_and_all_else_stays_as_it_is(bench: Bench) -> None:
    assert bench.wwids.sync({"3600b", "3600a"}) == {"3600a", "3600b"}
    assert bench.file.read_bytes() == OTHERS + b"/3600a/\n/3600b/\n"
    assert bench.file.stat().st_mode & 0o777 == 0o640
    assert bench.wwids.allow({"3600a", "3600b"})


def test_an_entry_that_was_there_is_never_adopted(bench: Bench) -> None:
    assert bench.wwids.sync({"3600boot", "3600a"}) == {"3600a"}
    bench.wwids.sync(())
    assert bench.file.read_bytes() == OTHERS


def test_an_entry_of_ours_that_somebody_removed_and_made_again_is_theirs(bench: Bench) -> None:
    bench.wwids.sync({"3600a"})
    bench.file.write_bytes(OTHERS)
    bench.wwids.sync({"3600b"})
    bench.file.write_bytes(bench.file.read_bytes() + b"/3600a/\n")
    bench.wwids.sync(())
    assert bench.file.read_bytes() == OTHERS + b"/3600a/\n"


def test_what_was_only_noted_is_ours_when_it_is_there_and_forgotten_when_not(bench: Bench) -> None:
    bench.wwids.sync({"3600a"})
    note = (bench.state / "apply/owned-wwids.json").read_bytes()
    bench.wwids.sync(())
    (bench.state / "apply/owned-wwids.json").write_bytes(note)  # the power went before the file was written
    assert bench.wwids.owned() == frozenset()
    bench.wwids.sync(())
    bench.file.write_bytes(OTHERS + b"/3600a/\n")
    bench.wwids.sync(())
    assert bench.file.read_bytes() == OTHERS + b"/3600a/\n"


def test_a_missing_file_is_made_as_multipath_makes_it_and_goes_with_us(tmp_path: Path) -> None:
    bench = Bench(tmp_path, None)
    bench.wwids.sync({"3600a"})
    assert bench.file.read_bytes() == HEADER + b"/3600a/\n"
    assert bench.file.stat().st_mode & 0o777 == 0o600
    bench.wwids.forget()
    assert not bench.file.exists()
    assert not (bench.state / "apply/owned-wwids.json").exists()


def test_a_file_made_for_us_stays_when_others_wrote_into_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, None)
    bench.wwids.sync({"3600a"})
    bench.file.write_bytes(bench.file.read_bytes() + b"/3600theirs/\n")
    bench.wwids.forget()
    assert bench.file.read_bytes() == HEADER + b"/3600theirs/\n"


@pytest.mark.parametrize(
    "content", [b"", b"# nothing", b"/3600x/", b"\n\n/3600x/\r\n#/3600old/\n", b"\xff\n  /3600x/ \n"]
)
def test_forgetting_brings_back_every_byte(tmp_path: Path, content: bytes) -> None:
    bench = Bench(tmp_path, content)
    bench.wwids.sync({"3600a", "3600b"})
    assert entries(bench.file.read_bytes()) == entries(content) | {"3600a", "3600b"}
    bench.wwids.sync({"3600b"})
    bench.wwids.forget()
    assert bench.file.read_bytes() == content


def test_a_link_in_the_place_of_the_file_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.file.rename(tmp_path / "elsewhere")
    bench.file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DiskTrouble, match=r"wwids cannot be .*symbolic link"):
        bench.wwids.sync({"3600a"})
    assert (tmp_path / "elsewhere").read_bytes() == OTHERS


#: What multipath does: lock the file, however long that takes, and append to it.
_MULTIPATH = """
import fcntl, sys, time
file = open(sys.argv[1], "r+b")
if sys.argv[2] == "waits":
    print("ready", flush=True)
fcntl.lockf(file, fcntl.LOCK_EX)
if sys.argv[2] == "holds":
    print("ready", flush=True)
    sys.stdin.readline()
file.seek(0, 2)
file.write(b"/3600theirs/\\n")
"""


def test_what_multipath_writes_under_its_lock_is_kept(bench: Bench) -> None:
    command = [sys.executable, "-c", _MULTIPATH, str(bench.file), "holds"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as multipath:
        assert multipath.stdout is not None
        assert multipath.stdin is not None
        multipath.stdout.readline()
        multipath.stdin.write(b"\n")
        multipath.stdin.flush()
        bench.wwids.sync({"3600a"})
    assert entries(bench.file.read_bytes()) == entries(OTHERS) | {"3600a", "3600theirs"}
    assert bench.wwids.owned() == {"3600a"}


def test_what_multipath_writes_into_the_file_that_was_just_replaced_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = bench.file.open("ab", buffering=0)  # it opened the file and waits for the lock that we hold
    monkeypatch.setattr("time.sleep", lambda _: opened.write(b"/3600theirs/\n"))
    bench.wwids.sync({"3600a"})
    opened.close()
    assert entries(bench.file.read_bytes()) == entries(OTHERS) | {"3600a", "3600theirs"}
    assert bench.wwids.owned() == {"3600a"}


@given(st.binary(), st.frozensets(WWID))
def test_adding_and_removing_change_only_what_they_name(content: bytes, wwids: frozenset[str]) -> None:
    fresh = sorted(wwids - entries(content))
    more = added(content, fresh)
    assert more.startswith(content)
    assert entries(more) >= entries(content) | set(fresh)
    assert without(more, fresh) in (content, content + b"\n")
    assert not entries(without(more, wwids)) & wwids
