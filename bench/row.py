"""One line of the table: what was measured, the figure, and what it should be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct


class Row(Struct, frozen=True, rename="kebab"):
    """`best` and `median` of many runs; a figure that has no spread is `best` alone. `skipped` says why there is none.

    The target, if any, is for `best`. For a ratio `best` is the ratio of the two bests, `median` of the two medians.
    """

    what: str
    best: float | None = None
    median: float | None = None
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    skipped: str | None = None

    @property
    def target(self) -> str:
        """The target in words with its outcome, empty if there is none."""
        if self.best is None or (self.at_most is None and self.at_least is None):
            return ""
        if self.at_most is not None:
            return f"<= {self.at_most:g} {'met' if self.best <= self.at_most else 'MISSED'}"
        assert self.at_least is not None
        return f">= {self.at_least:g} {'met' if self.best >= self.at_least else 'MISSED'}"


def table(title: str, rows: Iterable[Row]) -> Iterator[str]:
    """Return the lines of the table in Markdown."""
    yield f"| {title} | best | median | unit | target |"
    yield "|---|---:|---:|---|---|"
    for row in rows:
        if row.skipped:
            yield f"| {row.what} | | | | skipped: {row.skipped} |"
        else:
            yield f"| {row.what} | {_number(row.best)} | {_number(row.median)} | {row.unit} | {row.target} |"


def _number(figure: float | None) -> str:
    if figure is None:
        return ""
    if figure >= 1000:
        return f"{figure:,.0f}"
    return f"{figure:.3g}" if figure < 100 else f"{figure:.0f}"
