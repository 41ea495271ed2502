"""multipathd's human answers: tables by a format of wildcards, raw or in columns, and what `multipath -ll` draws."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from pathfleet.lab.devices import Map, group_priority
from pathfleet.lab.replies import (
    device_word,
    dm_word,
    features,
    group_state,
    hwhandler,
    inquiry,
    size_word,
)

Row = TypeVar("Row")
Words = Mapping[str, Callable[[Row], str]]
_WILDCARD = re.compile(r"%(.)")


def lines(
    text: str, words: Words[Row], known: Sequence[tuple[str, str]], rows: Iterable[Row], *, heading: bool = True
) -> str:
    """Return the rows in the format of `text`, without padding or heading; a wildcard not known is empty."""
    del heading  # raw answers never have one
    letters = {letter for letter, _ in known}
    parts = [
        (literal, words.get(letter) if letter in letters else None)
        for literal, letter in re.findall(r"([^%]*)(?:%(.)|$)", text)
        if literal or letter
    ]
    return "".join("".join(literal + (word(row) if word else "") for literal, word in parts) + "\n" for row in rows)


def table(
    text: str, words: Words[Row], known: Sequence[tuple[str, str]], rows: Iterable[Row], *, heading: bool = True
) -> str:
    """Return the rows in columns under a heading; nothing without rows."""
    names = dict(known)
    columns = [letter for letter in _WILDCARD.findall(text) if letter in names]
    cells = [[words[letter](row) for letter in columns] for row in rows]
    if not cells:
        return ""
    shown = [[names[letter] for letter in columns], *cells] if heading else cells
    width = {place: max(len(line[place]) for line in shown) for place in range(len(columns))}
    known_text = _WILDCARD.sub(lambda match: "%" if match[1] in names else "", text)

    def line(values: Sequence[str]) -> str:
        padded = iter([value.ljust(width[place]) for place, value in enumerate(values)])
        return re.sub("%", lambda _: next(padded), known_text) + "\n"

    return "".join(map(line, shown))


def topology(maps: Iterable[Map]) -> str:
    """Return maps as `multipath -ll` draws them."""
    return "".join(map(_tree, maps))


def _tree(map_: Map) -> str:
    title = map_.name if map_.name == map_.wwid else f"{map_.name} ({map_.wwid})"
    groups = map_.groups if map_.watched else []
    rows = [path for group in groups for path in group]
    wide = [
        max((len(cell(path)) for path in rows), default=0)
        for cell in (lambda p: p.hctl, lambda p: p.name, lambda p: p.dev_t, dm_word, lambda p: p.check)
    ]
    drawn = (
        f"{title} dm-{map_.minor} {','.join(inquiry(map_)[:2])}\n"
        f"size={size_word(map_.size)} features='{features(map_)}' hwhandler='{hwhandler(map_)}' wp=rw\n"
    )
    for number, group in enumerate(groups):
        last = number == len(groups) - 1
        state = group_state(map_, number)
        drawn += f"{'`' if last else '|'}-+- policy='service-time 0' prio={group_priority(group)} status={state}\n"
        for place, path in enumerate(group):
            cells = (path.hctl, path.name, path.dev_t, dm_word(path), path.check)
            padded = " ".join(cell.ljust(width) for cell, width in zip(cells, wide, strict=True))
            branch = "`" if place == len(group) - 1 else "|"
            drawn += f"{' ' if last else '|'} {branch}- {padded} {device_word(path)}\n"
    return drawn
