from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from pathfleet.agent import supervise
from pathfleet.agent.supervise import for_ever, until_signalled
from pathfleet.errors import StoreUnavailable
from pathfleet.system.notify import Notifier


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "_BACK_OFF_SECONDS", (0.0,))


class Body:
    """Fails with these errors, one each time, and then is done."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = [*errors]

    async def __call__(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


async def test_a_task_is_run_again_until_it_is_done_and_each_trouble_is_told() -> None:
    told: list[str] = []
    await for_ever("x", Body(StoreUnavailable("away"), OSError("broken"), ValueError("a defect")), told.append)
    assert told == ["away", "broken", "a defect"]


async def test_trouble_is_a_line_and_a_defect_has_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    await for_ever("x", Body(StoreUnavailable("away"), ValueError("a defect")))
    trouble, defect = caplog.records
    assert (trouble.levelno, trouble.getMessage()) == (logging.WARNING, "trouble task=x error=away")
    assert (defect.levelno, defect.getMessage()) == (logging.ERROR, "defect task=x")
    assert defect.exc_info
    assert isinstance(defect.exc_info[1], ValueError)


async def test_what_several_tasks_of_a_group_died_of_is_told_whole() -> None:
    told: list[str] = []
    group = ExceptionGroup("", [StoreUnavailable("away"), ExceptionGroup("", [ValueError("a defect")])])
    await for_ever("x", Body(group), told.append)
    assert told == ["away, a defect"]


async def test_a_cancellation_that_nobody_asked_for_is_a_defect_and_ends_nothing() -> None:
    told: list[str] = []
    await for_ever("x", Body(asyncio.CancelledError()), told.append)
    assert told == ["cancelled, though nobody asked for that"]


async def test_a_group_that_fails_leaves_no_cancellation_behind_for_the_next_turn() -> None:
    counts: list[int] = []

    async def body() -> None:
        this = asyncio.current_task()
        assert this is not None
        counts.append(this.cancelling())
        if len(counts) < 3:
            async with asyncio.TaskGroup() as group:
                group.create_task(Body(StoreUnavailable("away"))())

    await for_ever("x", body)
    assert counts == [0, 0, 0]


async def test_only_a_signal_ends_a_process_without_an_error() -> None:
    async def signalled() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    await until_signalled(signalled, Notifier(None))
    with pytest.raises(asyncio.CancelledError):
        await until_signalled(Body(asyncio.CancelledError()), Notifier(None))


async def test_cancellation_ends_it() -> None:
    started = asyncio.Event()

    async def body() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(for_ever("x", body))
    await started.wait()
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
