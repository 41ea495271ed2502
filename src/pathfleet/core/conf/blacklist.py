"""Which LUNs a blacklist would hide: its patterns, tried on WWIDs, and none of them may take for ever."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Literal

from msgspec import Struct

from pathfleet.core.conf.ere import BadPatternError
from pathfleet.core.conf.search import Searcher
from pathfleet.core.conf.syntax import Assignment, Tree

#: How much work all searching together may be (`Searcher.work`): a second or two. Honest blacklists need far less.
WORK_LIMIT = 3_000_000
#: A longer WWID is none (multipath-tools, WWID_SIZE).
_WWID_LIMIT = 127
#: What a pattern that hides everything hides, by the keyword.
_EVERYTHING = {
    "wwid": ("360000000000000000e00000000010001", "eui.0025385b71b00a01", "naa.5000c500a1b2c3d4", "1ATA_disk"),
    "devnode": ("sda", "sdzz", "nvme0n1", "dasda"),
}

_Verdict = Literal["yes", "no", "unsure"]


class Hidden(Struct, frozen=True):
    """LUNs that a line of the blacklist hides; with `sure` False, LUNs of which nobody can tell here."""

    line: Assignment
    wwids: tuple[str, ...]
    sure: bool = True


def hidden(tree: Tree, wwids: Collection[str]) -> Iterator[Hidden]:
    """Yield each `wwid` line of the blacklist that hides some of these LUNs, exceptions considered.

    Lines with a bad pattern are passed over. Where searching has cost too much, the rest of the lines is not judged,
    and the first of them stands for all.
    """
    search = _Search()
    names = tuple(wwids)
    excepted: dict[str, _Verdict] = dict.fromkeys(names, "no")
    for line in _lines(tree, "blacklist_exceptions", "wwid"):
        if search.exhausted:
            excepted = {name: "yes" if verdict == "yes" else "unsure" for name, verdict in excepted.items()}
            break
        for name, verdict in zip(names, search.verdicts(line, names), strict=True):
            if verdict == "yes" or excepted[name] == "no":
                excepted[name] = verdict
    kept = tuple(name for name in names if excepted[name] != "yes")
    for line in _lines(tree, "blacklist", "wwid"):
        if search.exhausted and kept:
            yield Hidden(line, kept, sure=False)
            return
        found: dict[bool, list[str]] = {True: [], False: []}
        for name, verdict in zip(kept, search.verdicts(line, kept), strict=True):
            if verdict != "no":
                found[verdict == "yes" and excepted[name] == "no"].append(name)
        yield from (Hidden(line, tuple(luns), sure) for sure, luns in found.items() if luns)


def hide_everything(tree: Tree) -> Iterator[Assignment]:
    """Yield the lines that hide every LUN or every device, while nothing of their kind is excepted."""
    search = _Search()
    for keyword, samples in _EVERYTHING.items():
        if not _lines(tree, "blacklist_exceptions", keyword):
            for line in _lines(tree, "blacklist", keyword):
                if set(search.verdicts(line, samples)) == {"yes"}:
                    yield line


def _lines(tree: Tree, name: str, keyword: str) -> list[Assignment]:
    sections = (section for section in tree.sections if section.name == name)
    return [entry for section in sections for entry in section.assignments if entry.keyword == keyword]


class _Search:
    """All searching in one text."""

    def __init__(self) -> None:
        self._work = 0

    @property
    def exhausted(self) -> bool:
        """Whether nothing is searched for any more."""
        return self._work > WORK_LIMIT

    def verdicts(self, line: Assignment, texts: Sequence[str]) -> list[_Verdict]:
        """Return of each text whether the line matches it."""
        inverted = line.value.startswith("!")
        if self.exhausted:
            return ["unsure"] * len(texts)
        try:
            searcher = Searcher(line.value.removeprefix("!"))
        except BadPatternError:
            return ["no"] * len(texts)
        found: list[_Verdict] = []
        for text in texts:
            if not searcher.sure or len(text) > _WWID_LIMIT or self._work + searcher.work > WORK_LIMIT:
                found.append("unsure")
            else:
                found.append("yes" if searcher.finds(text) != inverted else "no")
        self._work += searcher.work
        return found
