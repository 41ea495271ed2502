"""The socket through which a running lab is broken and mended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pathfleet.errors import SettingsError
from pathfleet.lab import control
from pathfleet.lab.control import Answer, Control, Question, ask
from pathfleet.lab.faults import FAULTS
from pathfleet.lab.san import Applied, San
from tests.fakes import open_descriptors
from tests.lab.bench import Bench

ANSWER_SECONDS = 5


@pytest.fixture
async def address(tmp_path: Path, san: San) -> AsyncIterator[Path]:
    """Where a running lab is controlled."""
    async with Control(san, tmp_path / "control", lambda: None).serving():
        yield tmp_path / "control"


async def told(address: Path, question: Question) -> Answer:
    return await asyncio.to_thread(ask, address, question)


async def raw(address: Path, line: bytes) -> bytes:
    """What the lab says to these bytes until it closes the connection."""
    reader, writer = await asyncio.open_unix_connection(address)
    try:
        writer.write(line)
        async with asyncio.timeout(ANSWER_SECONDS):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_show_tells_every_component_and_no_fault_at_first(address: Path, san: San) -> None:
    answer = await told(address, Question("show"))
    assert (answer.components, answer.faults) == (san.components(), ())
    assert answer.components["switch-a"] == "switch"
    assert answer.components["store"] == "store"


async def test_what_is_broken_is_told_until_it_is_mended(address: Path, san: San) -> None:
    answer = await told(address, Question("break", "switch-a"))
    assert answer.faults == (Applied("break", "switch-a"),)
    answer = await told(address, Question("break", "vm1", "resize", "20G"))
    assert answer.faults == (Applied("break", "switch-a"), Applied("resize", "vm1", "20G"))
    assert san.fabric.broken == {"switch-a"}
    answer = await told(address, Question("mend", "switch-a"))
    assert (answer.faults, san.fabric.broken) == ((Applied("resize", "vm1", "20G"),), set())


async def test_a_timeline_runs_from_now_on(address: Path, san: San) -> None:
    steps = '[[steps]]\nat = 0\nbreak = "switch-a"\n[[steps]]\nat = 1\nmarginal = "switch-b"\n'
    await told(address, Question("run", text=steps))
    async with asyncio.timeout(ANSWER_SECONDS):
        while Applied("marginal", "switch-b") not in san.applied:  # noqa: ASYNC110 - a plain value of the lab
            await asyncio.sleep(0.005)
    assert Applied("break", "switch-a") in san.applied


def controlled(bench: Bench, changes: list[None] | None = None) -> Control:
    return Control(bench.san, Path("nowhere"), lambda: (changes if changes is not None else []).append(None))


def line(question: Question) -> bytes:
    return msgspec.json.encode(question) + b"\n"


def test_mend_all_ends_every_fault() -> None:
    bench = Bench()
    lab = controlled(bench)
    for component, fault, value in (("switch-a", "break", ""), ("vm1", "resize", "20G"), ("pve1", "dead", "")):
        lab.answer(line(Question("break", component, fault, value)))
    assert lab.answer(line(Question("mend-all"))) == Answer(bench.san.components())
    assert (bench.san.fabric.broken, bench.san.node("pve1").daemon.alive) == (set(), True)


def test_mend_all_is_not_stopped_by_a_fault_whose_device_has_gone() -> None:
    bench = Bench()
    lab = controlled(bench)
    lab.answer(line(Question("break", "pve1:sda", "offline")))
    lab.answer(line(Question("break", "pve1-hba0", "logout")))
    lab.answer(line(Question("break", "switch-b", "break")))
    bench.san.applied.remove(Applied("logout", "pve1-hba0"))  # so that the device stays away
    assert lab.answer(line(Question("mend-all"))) == Answer(bench.san.components())
    assert bench.san.fabric.broken == set()


def test_who_serves_the_lab_hears_of_every_change_and_of_nothing_else() -> None:
    changes: list[None] = []
    lab = controlled(Bench(), changes)
    for question, count in (
        (Question("show"), 0),
        (Question("break", "nothing"), 0),
        (Question("break", "switch-a"), 1),
        (Question("mend", "switch-a"), 2),
        (Question("mend-all"), 3),
    ):
        lab.answer(line(question))
        assert len(changes) == count


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (Question("explode"), "a lab cannot 'explode'"),
        (Question("break", "nothing"), "there is no LUN 'nothing'"),
        (Question("break", "switch-a", "boom"), "there is no fault 'boom'"),
        (Question("break", "vm1", "resize"), "say also SIZE"),
        (Question("run", text="[[steps]]\nat = 1"), "step 1: names one fault"),
    ],
)
async def test_what_cannot_be_done_is_refused_in_words(address: Path, question: Question, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        await told(address, question)
    assert (await told(address, Question("show"))).faults == ()


@settings(max_examples=300, deadline=None)
@given(st.binary() | st.text().map(str.encode))
@example(b"")
@example(b"\n")
@example(b"[" * 100_000)
@example(b'{"do":"show"')
@example(b'{"do":"show","x":1}')
@example(b'{"do":"\xff"}')
@example(b'{"do":"\\ud800"}')
def test_no_bytes_make_it_raise(sent: bytes) -> None:
    answer = controlled(Bench()).answer(sent)
    assert (answer.error or "").strip()
    assert answer.components == {}


COMPONENTS = [*sorted(Bench().san.components()), "pve1:sda", "pve1-hba0>array1-ct0-p0", "pve1:", ">", ":", "é\x00\n"]
WORDS = (
    st.sampled_from(["", "20G", "vm2", "array1=standby", "pve1=standby", "nowhere=standby", "pve2", "="]) | st.text()
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.builds(
            Question,
            do=st.sampled_from(["show", "break", "mend", "mend-all", "run"]) | st.text(),
            component=st.sampled_from(COMPONENTS) | st.text(),
            fault=st.sampled_from(sorted(FAULTS)) | st.text(),
            value=WORDS,
            text=st.text(),
        ),
        max_size=6,
    )
)
@example([Question("run", text="a = " + "[" * 100_000)])
@example([Question("run", text="seed = " + "9" * 10_000)])
@example([Question("run", text='[[steps]]\nat = 1e999\nbreak = "switch-a"')])
@example([Question("run", text=f'[[steps]]\nat = 1{"0" * 400}\nbreak = "switch-a"')])
def test_no_sequence_of_questions_makes_it_raise_or_leaves_what_mend_all_does_not_end(
    questions: list[Question],
) -> None:
    bench = Bench()
    lab = controlled(bench)
    for question in questions:
        assert lab.answer(line(question)).components or question.do != "show"
    assert lab.answer(line(Question("mend-all"))) == Answer(bench.san.components())
    assert lab.answer(line(Question("show"))).error is None


async def test_bytes_that_are_no_question_are_answered_with_an_error(address: Path) -> None:
    answer = msgspec.json.decode(await raw(address, b"\xff\xfe\n"), type=Answer)
    assert answer.error
    assert (await told(address, Question("show"))).error is None


async def test_a_client_that_leaves_without_a_question_harms_nobody(address: Path) -> None:
    _, writer = await asyncio.open_unix_connection(address)
    writer.close()
    await writer.wait_closed()
    assert (await told(address, Question("show"))).error is None


async def test_the_socket_is_its_owners_alone(address: Path) -> None:
    assert stat.S_IMODE(address.stat().st_mode) == 0o600
    before = os.umask(0o022)
    os.umask(before)
    assert before != 0o177


async def test_who_says_nothing_is_sent_away_and_keeps_nobody_waiting(
    address: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_DEADLINE_SECONDS", 0.3)
    reader, writer = await asyncio.open_unix_connection(address)
    writer.write(b'{"do":')
    assert (await told(address, Question("show"))).error is None
    async with asyncio.timeout(ANSWER_SECONDS):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_question_without_end_is_sent_away(address: Path) -> None:
    with contextlib.suppress(ConnectionError):  # it may be cut off before it has said all
        assert await raw(address, b" " * (3 << 20)) == b""
    assert (await told(address, Question("show"))).error is None


async def test_who_still_waits_when_it_ends_is_sent_away_at_once(tmp_path: Path, san: San) -> None:
    descriptors = open_descriptors()
    async with asyncio.timeout(ANSWER_SECONDS):
        async with Control(san, tmp_path / "control", lambda: None).serving():
            reader, writer = await asyncio.open_unix_connection(tmp_path / "control")
            await told(tmp_path / "control", Question("show"))  # so that both were taken
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0)
    assert open_descriptors() == descriptors


async def test_a_socket_that_cannot_be_had_is_named(tmp_path: Path, san: San) -> None:
    (tmp_path / "control").touch()
    descriptors = open_descriptors()
    with pytest.raises(SettingsError, match=r"control socket = .*control: there is something else than a socket"):
        async with Control(san, tmp_path / "control", lambda: None).serving():
            pass
    assert open_descriptors() == descriptors


@pytest.mark.parametrize("name", ["absent", "x" * 200])
def test_where_no_lab_is_the_next_step_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"no lab answers at .*; start one with `pathfleet demo`, or name its"):
        ask(tmp_path / name, Question("show"))


def test_a_question_that_no_lab_takes_is_not_sent(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="a lab takes 1048576 bytes at once"):
        ask(tmp_path / "absent", Question("run", text=" " * (1 << 20)))


async def test_an_answer_that_is_none_is_no_lab(tmp_path: Path) -> None:
    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        writer.close()

    async with await asyncio.start_unix_server(say, tmp_path / "control"):
        with pytest.raises(SettingsError, match="no lab answers"):
            await told(tmp_path / "control", Question("show"))
