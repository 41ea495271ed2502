"""The whole cluster on one page: a headline, the matrix, the nodes, and what is wrong in words."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from pathfleet.cli import render
from pathfleet.cli.grid import ASCII, Glyphs, grid
from pathfleet.cli.remarks import daemon_of, needs_attention, number, remarks, short
from pathfleet.cli.render import STYLES, Line
from pathfleet.core.matrix import WORST_FIRST, Document, Lun, NodeRow, is_calm

#: Up to so many LUNs or nodes are all shown; of more, so many of those that need somebody's attention.
_ROWS = 30


class Choice(Struct, frozen=True):
    """What of the cluster is shown: `everything`, all `problems` and only those, or a page. `limit`: LUNs at most."""

    everything: bool = False
    problems: bool = False
    limit: int | None = None


def overview(document: Document, choice: Choice, width: int | None) -> Iterator[Line]:
    """Yield the lines of the page. `width` None: lines may be any long."""
    if not document.nodes:
        yield _plain("no node has reported yet; `pathfleet agent` on each node does")
        return
    yield _headline(document)
    yield _plain("")
    yield from _matrix(document, choice, width)
    yield from _nodes(document.nodes, choice)
    yield from _wrong(document, width)


def fitted(document: Document, choice: Choice, width: int, height: int) -> list[Line]:
    """Return the page in at most `height` lines: with fewer LUNs, and if that is not enough, cut."""
    lines = list(overview(document, choice, width))
    if len(lines) <= height:
        return lines
    shown = len(_chosen(document.luns, choice))
    # one more for the line that counts those which are not shown
    fewer = msgspec.structs.replace(choice, limit=max(1, shown - (len(lines) - height) - 1))
    lines = list(overview(document, fewer, width))
    if len(lines) <= height:
        return lines
    rest = len(lines) - height + 1
    return [*lines[: height - 1], _plain(f"{rest} more lines; `pathfleet status` has them", "dim")]


def tally(luns: Sequence[Lun]) -> str:
    """Return how many LUNs are in which state, the worst first."""
    states = Counter(lun.cluster_state for lun in luns)
    return ", ".join(f"{states[state]} {state.value}" for state in WORST_FIRST if states[state])


def _plain(text: str, style: str = "") -> Line:
    return [(text, style)]


def _headline(document: Document) -> Line:
    nodes, luns = document.nodes, document.luns
    online = sum(node.online is True for node in nodes)
    there = number(online, "node") if online == len(nodes) else f"{online} of {number(len(nodes), 'node')}"
    text = f"{number(len(luns), 'LUN')}: {tally(luns)}" if luns else "no LUNs"
    worst = luns[0].cluster_state.value if luns else ""
    return _plain(f"{text}; {there} online", f"bold {STYLES.get(worst, '')}".replace("bold bold", "bold").strip())


def _matrix(document: Document, choice: Choice, width: int | None) -> Iterator[Line]:
    shown = _chosen(document.luns, choice)
    known = {lun.wwid for lun in shown}
    hidden = [lun for lun in document.luns if lun.wwid not in known]
    if shown:
        glyphs = Glyphs() if render.is_unicode() else ASCII
        table = grid(shown, [node.node for node in document.nodes], glyphs, width)
        yield from table.lines
        if table.legend:
            yield _plain(table.legend, "dim")
        if table.left_out:
            yield _plain(_left_out(len(table.left_out)), "dim")
        elif table.in_words:
            yield _plain("too many nodes for columns; wider, or `pathfleet status --all | less -S`, has them", "dim")
    if hidden:
        yield _plain(_not_shown(hidden), "dim")
    if document.luns:
        yield _plain("")


def _chosen(luns: Sequence[Lun], choice: Choice) -> list[Lun]:
    limit = len(luns) if choice.limit is None else choice.limit
    if choice.everything or (len(luns) <= _ROWS and not choice.problems):
        return list(luns[:limit])
    return [lun for lun in luns if not is_calm(lun)][: limit if choice.problems else min(limit, _ROWS)]


def _left_out(count: int) -> str:
    return (
        f"{number(count, 'more node')}, with nothing wrong here; `pathfleet status --all | less -S` has every column"
    )


def _not_shown(hidden: Sequence[Lun]) -> str:
    option = "--all" if all(map(is_calm, hidden)) else "--problems"
    return f"{number(len(hidden), 'more LUN')}: {tally(hidden)}; `pathfleet status {option}` shows {_THESE[option]}"


_THESE = {"--all": "them", "--problems": "those with problems, --all all"}


def _nodes(nodes: Sequence[NodeRow], choice: Choice) -> Iterator[Line]:
    shown = list(nodes)
    if choice.problems or (len(nodes) > _ROWS and not choice.everything):
        shown = [node for node in nodes if needs_attention(node)]
    if shown:
        heads = ("NODE", "ONLINE", "MULTIPATHD", "AGE", "APPLIED", "TOOLS", "PATHFLEET")
        rows = [[(head, "bold") for head in heads], *map(_node_row, shown)]
        yield from render.columns(rows, right=[3])
    if rest := len(nodes) - len(shown):
        yield _plain(f"{number(rest, 'more node')}: online, with nothing to say", "dim")


def _node_row(node: NodeRow) -> Line:
    online = {True: "online", False: "offline", None: "unknown"}[node.online]
    applied = "-" if node.apply is None else "failed" if node.apply.error else short(node.apply.digest)
    words = (
        node.node,
        online,
        daemon_of(node),
        f"{node.age} s" if node.age is not None else "-",
        applied,
        node.versions.multipath_tools or "?",
        node.versions.pathfleet or "?",
    )
    return [(render.cut(word, 40, "~"), STYLES.get(word, "") if place else "") for place, word in enumerate(words)]


def _wrong(document: Document, width: int | None) -> Iterator[Line]:
    found = remarks(document)
    if found:
        yield _plain("")
        yield _plain("what is wrong:", "bold")
    columns = max((len(remark.word) for remark in found), default=0)
    for remark in found:
        word = remark.word.ljust(columns)
        for line in _wrapped(render.clean(remark.text), width, 2 + len(word) + 1):
            yield [("  ", ""), (word, STYLES.get(remark.word, "")), (" ", ""), (line, "")]
            word = " " * len(word)


def _wrapped(text: str, width: int | None, indent: int) -> list[str]:
    if width is None:
        return [text]
    return textwrap.wrap(text, max(width - indent, 30), break_on_hyphens=False) or [""]
