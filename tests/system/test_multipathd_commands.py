"""What is asked of multipathd by who changes its configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pathfleet.errors import CannotTell, NeedsRoot, NotRunning
from pathfleet.system.multipathd import DaemonState, Multipathd
from tests.fakes import FakeDaemon, says


async def told(tmp_path: Path, reply: bytes, ask: Callable[[Multipathd], Awaitable[object]]) -> tuple[object, str]:
    """Ask a multipathd that answers so; return what came of it and what it was asked."""
    async with FakeDaemon(str(tmp_path / "socket"), b"", says(reply)) as daemon:
        return await ask(Multipathd(daemon.address)), daemon.questions[0]


@pytest.mark.parametrize(
    ("reply", "state", "configured"),
    [
        (b"pid 120 idle\n", DaemonState(120, "idle"), True),
        (b"pid 120 running\n", DaemonState(120, "running"), True),
        (b"pid 7 configure\n", DaemonState(7, "configure"), False),
        (b"pid 7 idle (pending reconfigure)\n", DaemonState(7, "idle", pending=True), False),
        (b"pid 7 shutdown\n", DaemonState(7, "shutdown"), False),
        (b"pid 7 hibernate\n", DaemonState(7, "hibernate"), False),
    ],
)
async def test_its_state_is_told_with_its_process(
    tmp_path: Path, reply: bytes, state: DaemonState, *, configured: bool
) -> None:
    assert await told(tmp_path, reply, Multipathd.state) == (state, "show daemon")
    assert state.configured == configured


@pytest.mark.parametrize("reply", [b"", b"timeout\n", b"fail\n", b"pid x idle\n", b"ok\n", b"\xff"])
async def test_a_state_that_is_none_is_not_guessed(tmp_path: Path, reply: bytes) -> None:
    with pytest.raises(CannotTell, match="does not say what it is doing"):
        await told(tmp_path, reply, Multipathd.state)


@pytest.mark.parametrize("reply", [b"ok\n", b"ok", b"", b"timeout\n"])
async def test_reconfigure_is_taken_though_older_ones_time_out_over_it(tmp_path: Path, reply: bytes) -> None:
    assert await told(tmp_path, reply, Multipathd.reconfigure) == (None, "reconfigure")


@pytest.mark.parametrize(
    "reply",
    [b"permission deny: need to be root", b"fail\npermission deny: need to be root\n"],
    ids=["0.8.5", "0.11.1"],
)
async def test_reconfigure_is_only_for_root(tmp_path: Path, reply: bytes) -> None:
    with pytest.raises(NeedsRoot, match="run this as root"):
        await told(tmp_path, reply, Multipathd.reconfigure)


async def test_reconfigure_that_is_not_taken_is_told_with_the_answer(tmp_path: Path) -> None:
    with pytest.raises(CannotTell, match="it answered 'fail'"):
        await told(tmp_path, b"fail\n", Multipathd.reconfigure)


async def test_what_is_in_force_is_returned_as_it_is_said(tmp_path: Path) -> None:
    text = b'defaults {\n\tverbosity 2\n}\nblacklist {\n\twwid "\xff"\n}\n'
    assert await told(tmp_path, text, Multipathd.effective) == (text.decode(errors="replace"), "show config local")


@pytest.mark.parametrize("reply", [b"timeout\n", b"fail\ntimeout\n", b""])
async def test_an_answer_that_is_no_configuration_is_not_taken_for_an_empty_one(tmp_path: Path, reply: bytes) -> None:
    with pytest.raises(CannotTell, match="does not say what is in force"):
        await told(tmp_path, reply, Multipathd.effective)


@pytest.mark.parametrize(
    ("reply", "removed"), [(b"ok\n", True), (b"fail\n", False), (b"fail\nmap or partition in use\n", False)]
)
async def test_a_map_is_removed_or_in_use(tmp_path: Path, reply: bytes, *, removed: bool) -> None:
    assert await told(tmp_path, reply, lambda multipathd: multipathd.remove_map("3600a")) == (removed, "del map 3600a")


async def test_a_wwid_with_blanks_is_one_word(tmp_path: Path) -> None:
    _, question = await told(tmp_path, b"ok\n", lambda multipathd: multipathd.remove_map("SATA a  1"))
    assert question == 'del map "SATA a  1"'


async def test_nobody_there_is_not_running(tmp_path: Path) -> None:
    for ask in (Multipathd.state, Multipathd.reconfigure, Multipathd.effective):
        with pytest.raises(NotRunning):
            await ask(Multipathd(str(tmp_path / "absent")))
