"""`pathfleet status --watch`: the page of the cluster, drawn again with every change."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable

from pathfleet.cli import render
from pathfleet.cli.following import Followed, following
from pathfleet.cli.overview import Choice, fitted, overview
from pathfleet.cli.render import Line
from pathfleet.store import Store

#: Ages move on: a terminal is drawn again at least this often; and no oftener than the other.
_REDRAW_SECONDS = 1.0
_SPACING_SECONDS = 0.2
_TROUBLE_SECONDS = 0.5


async def watch(store: Store, choice: Choice) -> None:
    """Show the cluster until cancelled: in place on a terminal, else page after page. Raises StoreError at first."""
    async with following(store) as followed:
        if sys.stdout.isatty():
            await _in_place(followed, choice)
        else:
            await _page_after_page(followed, choice)


async def _in_place(followed: Followed, choice: Choice) -> None:
    from rich.console import Console, Group  # noqa: PLC0415 - only where it draws
    from rich.live import Live as Screen  # noqa: PLC0415 - likewise

    console = Console(highlight=False)
    signs = _Signs(followed)
    # what rich puts in the place of stdout has no encoding, by which signs are chosen
    with Screen(
        console=console, auto_refresh=False, vertical_overflow="crop", redirect_stdout=False, redirect_stderr=False
    ) as screen:
        while True:
            last = followed.live.journal.latest
            head = signs.lines()
            page = fitted(followed.document, choice, console.width, console.height - len(head) - 1)
            lines = [render.text_of(line) for line in [*head, *page]]
            for line in lines:
                line.truncate(console.width)
            screen.update(Group(*lines), refresh=True)
            await asyncio.sleep(_SPACING_SECONDS)
            await followed.wait(last, _REDRAW_SECONDS - _SPACING_SECONDS)


async def _page_after_page(followed: Followed, choice: Choice) -> None:
    signs = _Signs(followed)
    while True:
        last, trouble = followed.live.journal.latest, followed.trouble
        render.print_lines([*signs.lines(), *overview(followed.document, choice, None), []])
        sys.stdout.flush()
        while followed.trouble == trouble and not await followed.wait(last, _TROUBLE_SECONDS):
            pass
        await asyncio.sleep(_SPACING_SECONDS)


class _Signs:
    """What stands above the page: when anything changed last, and that it may be old."""

    def __init__(self, followed: Followed, clock: Callable[[], float] = time.time) -> None:
        self._followed = followed
        self._clock = clock
        self._latest = followed.live.journal.latest
        self._since = f"nothing has changed since {_time(clock())}"

    def lines(self) -> list[Line]:
        """Return them as of now."""
        now = _time(self._clock())
        if self._followed.live.journal.latest != self._latest:
            self._latest = self._followed.live.journal.latest
            self._since = f"last change at {now}"
        lines: list[Line] = [[(f"{now}  {self._since}; Ctrl-C ends", "dim")]]
        if self._followed.trouble is not None:
            lines.append([(f"STORE NOT READABLE: {self._followed.trouble}", "bold red")])
        return lines


def _time(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))
