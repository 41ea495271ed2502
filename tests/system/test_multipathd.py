from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pathfleet.errors import CannotTell, NotRunning
from pathfleet.system import multipathd
from pathfleet.system.multipathd import Multipathd, daemon_alive
from tests.fakes import (
    LENGTH,
    Behaviour,
    FakeDaemon,
    closes,
    framed,
    full_queue,
    hangs,
    open_descriptors,
    says,
    sends,
    trickles,
)
from tests.patience import BUSY_SECONDS
from tests.replies import group, map_, path, reply

WWID = "3600a098038314c6c6e3f4b6f4c6c5a30"
GOOD = reply(map_(WWID, group(path("sda"), path("sdb"))))


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "multipathd.socket")


@pytest.fixture(autouse=True)
def _leaks_no_descriptor() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() <= before


async def refused(address: str, *, seconds: float = 5.0) -> str:
    """Return why multipathd at `address` cannot be asked; that must be known well within the deadline."""
    began = time.monotonic()
    with pytest.raises(CannotTell) as caught:
        await Multipathd(address).maps(deadline_seconds=seconds)
    assert time.monotonic() - began < seconds + BUSY_SECONDS
    return str(caught.value)


class TestAnAnswer:
    async def test_is_decoded(self, address: str) -> None:
        async with FakeDaemon(address, GOOD) as daemon:
            (found,) = await Multipathd(address).maps()
        assert found.uuid == WWID
        assert daemon.questions == ["show maps json"]

    async def test_without_maps_is_no_error(self, address: str) -> None:
        async with FakeDaemon(address, reply()):
            assert await Multipathd(address).maps() == ()

    async def test_comes_from_an_abstract_socket_too(self) -> None:
        name = f"@pathfleet-test-{os.getpid()}"
        async with FakeDaemon(name, GOOD):
            assert len(await Multipathd(name).maps()) == 1

    async def test_of_4000_maps_is_read_whole(self, address: str) -> None:
        groups = (group(*(path(f"sd{letter}") for letter in "abcdefgh")),)
        text = reply(*(map_(f"3600a0980{number:023d}", *groups) for number in range(4000)))
        assert len(text) > 10_000_000
        async with FakeDaemon(address, text):
            found = await Multipathd(address).maps()
        assert len({m.uuid for m in found}) == 4000

    async def test_that_comes_byte_by_byte_is_read_whole(self, address: str) -> None:
        async with FakeDaemon(address, b"", trickles(framed(reply()), seconds=0.001)):
            assert await Multipathd(address).maps() == ()

    async def test_without_its_nul_is_taken(self, address: str) -> None:
        async with FakeDaemon(address, b"", sends(LENGTH.pack(len(GOOD)) + GOOD)):
            assert len(await Multipathd(address).maps()) == 1

    async def test_holds_the_version(self, address: str) -> None:
        async with FakeDaemon(address):
            assert await Multipathd(address).version() == "0.9.4"

    async def test_without_a_version_has_none(self, address: str) -> None:
        async with FakeDaemon(address, b"", says(b"fail\n")):
            assert await Multipathd(address).version() is None


FOREVER: tuple[tuple[str, Behaviour, str], ...] = (
    ("closes at once", closes, "closed the connection without an answer|Connection reset|Broken pipe"),
    ("closes after the length", sends(framed(GOOD)[:8]), r"closed the connection after 0 of \d+ bytes"),
    ("closes within the length", sends(b"\1\2\3"), "closed the connection without an answer"),
    ("closes within the reply", sends(framed(GOOD)[:100]), r"closed the connection after 92 of \d+ bytes"),
    ("announces 33 MiB", sends(LENGTH.pack(33 << 20)), "announces a reply of 34603008 bytes"),
    ("announces nothing", sends(LENGTH.pack(0)), "announces a reply of 0 bytes"),
    ("announces all there is", sends(b"\xff" * 8), "announces a reply of 18446744073709551615 bytes"),
    ("speaks HTTP", sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "another program"),
    ("announces less than it sends", sends(LENGTH.pack(50) + GOOD), "cut short after 4. bytes"),
    ("says nothing", says(b""), "empty reply"),
    ("is busy", says(b"timeout\n"), "answered `timeout`"),
    ("fails", says(b"fail\n"), "answered `fail`"),
    ("sends cut JSON", says(GOOD[:200]), "cut short after 200 bytes"),
    ("refuses", says(b"permission deny: need to be root\n"), "run this as root"),
    ("is too old", says(b"multipath-tools v0.4.9\nCLI commands reference:\n"), "does not know the command"),
    ("speaks no UTF-8", says(b"\xff\xfe\x00\x80"), "not an answer of multipathd"),
)
ONCE = ("refuses", "is too old", "speaks no UTF-8")


class TestADaemonThat:
    @pytest.mark.parametrize(
        ("behaviour", "reason", "times"),
        [pytest.param(behaviour, reason, 1 if name in ONCE else 3, id=name) for name, behaviour, reason in FOREVER],
    )
    async def test_gives_no_answer_ends_in_its_own_words_and_is_asked_again_only_if_that_may_pass(
        self, address: str, behaviour: Behaviour, reason: str, times: int
    ) -> None:
        async with FakeDaemon(address, GOOD, *[behaviour] * 9) as daemon:
            assert re.search(reason, await refused(address))
        assert daemon.connections == times

    @pytest.mark.parametrize("times", [1, 2])
    async def test_recovers_is_believed(self, address: str, times: int) -> None:
        async with FakeDaemon(address, GOOD, *[says(b"timeout\n")] * times) as daemon:
            assert len(await Multipathd(address).maps()) == 1
        assert daemon.questions == ["show maps json"] * (times + 1)

    async def test_hangs_is_left_at_the_deadline_and_not_asked_again(self, address: str) -> None:
        async with FakeDaemon(address, GOOD, hangs) as daemon:
            reason = await refused(address, seconds=0.3)
        assert "took the question and did not answer within 0.3 s" in reason
        assert daemon.connections == 1

    async def test_hangs_within_its_reply_is_said_to(self, address: str) -> None:
        async with FakeDaemon(address, GOOD, sends(framed(GOOD)[:108], then_hangs=True)):
            reason = await refused(address, seconds=0.3)
        assert f"sent 100 of {len(GOOD) + 1} bytes and then nothing more" in reason

    async def test_trickles_is_left_at_the_deadline(self, address: str) -> None:
        async with FakeDaemon(address, GOOD, trickles(framed(GOOD), seconds=0.01)):
            assert "and then nothing more within 0.3 s" in await refused(address, seconds=0.3)

    async def test_takes_nobody_has_a_full_queue(self, address: str) -> None:
        with full_queue(address):
            assert "did not take the connection" in await refused(address, seconds=0.3)

    async def test_takes_nobody_for_a_while_is_waited_for(self, address: str) -> None:
        with full_queue(address):
            asking = asyncio.create_task(Multipathd(address).maps())
            await asyncio.sleep(0)
            os.rename(address, address + ".old")  # noqa: PTH104 - the queue that is full goes on to be so
            async with FakeDaemon(address, GOOD):
                assert len(await asking) == 1

    async def test_is_left_when_the_one_who_asks_is_cancelled(self, address: str) -> None:
        async with FakeDaemon(address, GOOD, hangs) as daemon:
            asking = asyncio.create_task(Multipathd(address).maps())
            await daemon.asked.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking


class TestASocketThat:
    async def test_is_not_there_has_no_daemon(self, address: str) -> None:
        with pytest.raises(NotRunning, match=r"nobody listens at .+multipathd\.socket \(No such file"):
            await Multipathd(address).maps()

    async def test_nobody_listens_at_has_no_daemon(self, address: str) -> None:
        with socket.socket(socket.AF_UNIX) as unused:
            unused.bind(address)
            with pytest.raises(NotRunning, match="Connection refused"):
                await Multipathd(address).maps()

    async def test_is_no_socket_has_no_daemon(self, address: str) -> None:
        Path(address).write_text("")
        with pytest.raises(NotRunning, match="Connection refused"):
            await Multipathd(address).maps()

    async def test_has_too_long_a_name_is_said_to(self) -> None:
        assert "too long" in await refused("/" + "x" * 200)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
    async def test_may_not_be_asked_is_said_to(self, address: str) -> None:
        async with FakeDaemon(address, GOOD):
            os.seteuid(65534)  # the directory of the test is root's alone
            try:
                reason = await refused(address)
            finally:
                os.seteuid(0)
        assert "may not be asked" in reason


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[str, str]:
    """Where multipathd is looked for when no setting says where: in place of the node's own sockets."""
    both = (str(tmp_path / "pathname"), f"@pathfleet-abstract-{os.getpid()}")
    monkeypatch.setattr(multipathd, "ADDRESSES", both)
    return both


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    return tmp_path / "multipathd.pid"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[int]:
    """A process that looks like multipathd."""
    program = tmp_path / "multipathd"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as running:
        comm = Path(f"/proc/{running.pid}/comm")
        while comm.read_text() != "multipathd\n":  # between fork and exec
            time.sleep(0.001)
        yield running.pid
        running.kill()


class TestWithoutASetting:
    async def test_the_pathname_is_tried_before_the_abstract_name(
        self, addresses: tuple[str, str], pid_file: Path, process: int
    ) -> None:
        pid_file.write_text(str(process))
        async with FakeDaemon(addresses[0], GOOD) as first, FakeDaemon(addresses[1], GOOD) as second:
            await Multipathd(pid_file=pid_file).maps()
        assert (first.connections, second.connections) == (1, 0)

    @pytest.mark.parametrize("left", [False, True], ids=["absent", "left behind"])
    async def test_the_abstract_name_serves_where_the_pathname_does_not(
        self, addresses: tuple[str, str], pid_file: Path, process: int, *, left: bool
    ) -> None:
        pid_file.write_text(str(process))
        if left:
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(addresses[0])
        async with FakeDaemon(addresses[1], GOOD):
            assert len(await Multipathd(pid_file=pid_file).maps()) == 1

    @pytest.mark.parametrize("written", [None, "", "garbage", "0", "-1", "9" * 30, "dead", "reused", "\xff"])
    async def test_a_dead_daemon_is_not_woken(
        self, addresses: tuple[str, str], pid_file: Path, tmp_path: Path, written: str | None
    ) -> None:
        mine = tmp_path / "proc" / str(os.getpid())
        mine.mkdir(parents=True)
        (mine / "comm").write_text("python3\n")
        with subprocess.Popen(["true"]) as gone:
            pass
        if written is not None:
            text = {"dead": str(gone.pid), "reused": str(os.getpid())}.get(written, written)
            pid_file.write_text(text, "latin-1")
        async with FakeDaemon(addresses[0], GOOD) as first, FakeDaemon(addresses[1], GOOD) as second:
            with pytest.raises(NotRunning, match=r"not running; start it|not installed on this node; install it"):
                await Multipathd(pid_file=pid_file, proc=mine.parent).maps()
        assert (first.connections, second.connections) == (0, 0)

    async def test_a_daemon_that_lives_but_does_not_listen_is_starting_or_stopping(
        self, addresses: tuple[str, str], pid_file: Path, process: int
    ) -> None:
        assert addresses
        pid_file.write_text(str(process))
        with pytest.raises(CannotTell, match="starting or stopping"):
            await Multipathd(pid_file=pid_file).maps(deadline_seconds=0.5)


class TestADaemonIsAlive:
    def test_when_its_pid_file_names_it(self, pid_file: Path, process: int) -> None:
        pid_file.write_text(f"{process}\n")
        assert daemon_alive(pid_file)

    def test_when_it_has_no_pid_file_but_is_found(self, pid_file: Path, process: int) -> None:
        assert process
        assert daemon_alive(pid_file)

    def test_when_proc_hides_it_but_its_pid_is_in_use(self, pid_file: Path, process: int, tmp_path: Path) -> None:
        pid_file.write_text(str(process))
        assert daemon_alive(pid_file, proc=tmp_path / "hidepid")

    def test_not_when_another_process_has_its_pid(self, pid_file: Path) -> None:
        pid_file.write_text(str(os.getpid()))
        assert not daemon_alive(pid_file)
