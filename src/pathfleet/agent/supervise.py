"""Keep a task going: run it again whenever it fails, until the process is told to end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator

from pathfleet.errors import PathfleetError
from pathfleet.system.notify import Notifier

log = logging.getLogger(__name__)

Body = Callable[[], Awaitable[None]]

_HELD_SECONDS = 60.0
_BACK_OFF_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0)


async def until_signalled(serve: Body, notifier: Notifier) -> None:
    """Run `serve` until SIGTERM, SIGINT or cancellation; tell systemd that this is the end.

    Only a signal ends it without an error.
    """
    loop = asyncio.get_running_loop()
    this = asyncio.current_task()
    assert this is not None  # noqa: S101 - a coroutine runs in a task
    signalled = False

    def end() -> None:
        nonlocal signalled
        signalled = True
        this.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        await serve()
    except asyncio.CancelledError:
        notifier.stopping()
        if not signalled:
            raise
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def for_ever(name: str, body: Body, on_trouble: Callable[[str], None] = lambda _: None) -> None:
    """Run `body` again whenever it fails, later each time until it holds for a minute; log why.

    `on_trouble` is told the reasons. A body that ends without failing is done.
    """
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        began = loop.time()
        reasons: list[str] = []
        try:
            await _asked_to_end(body)
        except* (PathfleetError, OSError) as troubles:
            reasons += map(str, _single(troubles))
            log.warning("trouble task=%s error=%s", name, ", ".join(reasons))
        except* Exception as defects:  # a defect must not silence the node
            for defect in _single(defects):
                reasons.append(str(defect))
                log.exception("defect task=%s", name, exc_info=defect)
        else:
            return
        failures = 0 if loop.time() - began > _HELD_SECONDS else failures
        on_trouble(", ".join(reasons))
        await asyncio.sleep(_BACK_OFF_SECONDS[min(failures, len(_BACK_OFF_SECONDS) - 1)])
        failures += 1


async def _asked_to_end(body: Body) -> None:
    """Run `body`; only a cancellation that somebody asked for may end the loop around it.

    It gets a task of its own: before Python 3.13 a TaskGroup with a child that failed leaves its task counted as
    cancelled, and up to 3.11.2 no deadline ends with a TimeoutError in such a task.
    """
    this = asyncio.current_task()
    assert this is not None  # noqa: S101 - a coroutine runs in a task
    try:
        await asyncio.ensure_future(body())
    except asyncio.CancelledError as stray:
        if this.cancelling():
            raise
        raise RuntimeError("cancelled, though nobody asked for that") from stray


def _single(error: Exception) -> Iterator[Exception]:
    """Yield the errors of a group, and of the groups in it."""
    if isinstance(error, ExceptionGroup):
        for each in error.exceptions:
            yield from _single(each)
    else:
        yield error
