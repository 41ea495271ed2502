"""Whether a pattern is found in a text, in time that no pattern can stretch: all ways are gone at once."""

from __future__ import annotations

from pathfleet.core.conf.ere import Anchor, Characters, Choice, Node, Repeat, Sequence, parse

#: Places held in the memory of one search.
_REMEMBERED = 100_000
_START = 0


class Searcher:
    """A pattern made ready, as `regexec(3)` without REG_NEWLINE: found anywhere in the text.

    `work` counts what it has cost so far, in places laid out and looked at. Raises BadPatternError.
    """

    def __init__(self, pattern: str) -> None:
        node = parse(pattern)
        #: False if the pattern asks for a word's edge, which is not looked for here.
        self.sure = True
        self._free: list[list[tuple[int, str | None]]] = [[]]
        self._steps: list[tuple[Characters, int] | None] = [None]
        self._end = self._add(node, _START)
        self.work = len(self._steps)
        self._known: dict[tuple[frozenset[int], str, bool], frozenset[int]] = {}
        self._held = 0

    def finds(self, text: str) -> bool:
        """Whether the pattern is found in the text. Meaningless unless `sure`."""
        self.work += len(text)
        places = self._spread({_START}, at_start=True, at_end=not text)
        for number, character in enumerate(text, start=1):
            if self._end in places:
                return True
            key = (places, character, number == len(text))
            if key not in self._known:
                self._remember(key, self._step(*key))
            places = self._known[key]
        return self._end in places

    def _remember(self, key: tuple[frozenset[int], str, bool], places: frozenset[int]) -> None:
        self._held += len(places)
        if self._held > _REMEMBERED:
            self._known.clear()
            self._held = len(places)
        self._known[key] = places

    def _step(self, places: frozenset[int], character: str, at_end: bool) -> frozenset[int]:
        taken = {_START}
        for place in places:
            step = self._steps[place]
            if step is not None and step[0].take(character):
                taken.add(step[1])
        return self._spread(taken, at_start=False, at_end=at_end)

    def _spread(self, places: set[int], *, at_start: bool, at_end: bool) -> frozenset[int]:
        """Return these places and all that are reached from them without a character."""
        holds = {None: True, "start": at_start, "end": at_end}
        waiting = list(places)
        while waiting:
            for target, condition in self._free[waiting.pop()]:
                if target not in places and holds.get(condition, False):
                    places.add(target)
                    waiting.append(target)
        self.work += len(places)
        return frozenset(places)

    def _place(self) -> int:
        self._free.append([])
        self._steps.append(None)
        return len(self._free) - 1

    def _add(self, node: Node, start: int) -> int:
        """Lay out a node from a place on; return the place where it has been matched."""
        match node:
            case Characters():
                end = self._place()
                self._steps[start] = (node, end)
                # a place takes one character: what comes next begins at a place of its own
                return self._after(end)
            case Anchor(at):
                self.sure = self.sure and at != "word"
                end = self._place()
                self._free[start].append((end, at))
                return self._after(end)
            case Sequence(parts):
                for part in parts:
                    start = self._add(part, start)
                return start
            case Choice(options):
                end = self._place()
                for option in options:
                    self._free[self._add(option, self._after(start))].append((end, None))
                return end
            case Repeat():
                return self._add_repeat(node, start)

    def _add_repeat(self, node: Repeat, start: int) -> int:
        for _ in range(node.least):
            start = self._add(node.part, start)
        end = self._place()
        if node.most is None:
            again = self._after(start)
            self._free[self._add(node.part, self._after(again))].append((again, None))
            self._free[again].append((end, None))
            return end
        for _ in range(node.most - node.least):
            self._free[start].append((end, None))
            start = self._add(node.part, self._after(start))
        self._free[start].append((end, None))
        return end

    def _after(self, place: int) -> int:
        new = self._place()
        self._free[place].append((new, None))
        return new
