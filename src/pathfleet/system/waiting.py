"""Calls that wait for a device, each in a thread of its own: what an array lets hang holds up nobody else.

Nothing ends a thread that the kernel lets wait, so their number is bounded, and the process does not wait for them
when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any, Final, TypeVar

from pathfleet.errors import CannotTell

T = TypeVar("T")

#: So many at once, in all and for one LUN or group.
_MOST: Final = 64
_EACH: Final = 16
_under_way: Counter[str] = Counter()
_counting: Final = Lock()


async def waited(where: str, call: Callable[[], T], *, seconds: float) -> T:
    """Return what a call returns; `where` it waits, such as `LUN 3600a`, is counted and named.

    Raises CannotTell if it has not ended by then, or if too many hang there already; and what the call raises.
    """
    with _counting:
        if _under_way[where] >= _EACH or _under_way.total() >= _MOST:
            raise CannotTell(
                f"{where} is blocked: {_under_way[where]} calls wait for it already, {_under_way.total()} in all; see"
                " `pathfleet maps` for what does not answer"
            )
        _under_way[where] += 1

    def counted() -> T:
        try:
            return call()
        finally:
            with _counting:
                _under_way.subtract((where,))
                if not _under_way[where]:
                    del _under_way[where]

    end = begun(counted)
    done, _ = await asyncio.wait((end,), timeout=seconds)
    if not done:
        raise CannotTell(f"{where} is blocked: it did not answer within {seconds:g} s; see `pathfleet maps`")
    return end.result()


def begun(call: Callable[[], T]) -> asyncio.Future[T]:
    """Begin a call in a thread of its own, and return its end; whoever gives up waiting leaves it alone."""
    loop = asyncio.get_running_loop()
    end: asyncio.Future[T] = loop.create_future()
    # else an end that nobody waits for any more would be reported as forgotten
    end.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    def run() -> None:
        result: T | None = None
        failure: Exception | None = None
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - it is for who waits
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_tell, end, result, failure)

    Thread(target=run, daemon=True, name="waiting").start()
    return end


def _tell(end: asyncio.Future[Any], result: object, failure: Exception | None) -> None:
    if end.done():
        return
    if failure is not None:
        end.set_exception(failure)
    else:
        end.set_result(result)
