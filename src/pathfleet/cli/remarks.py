"""What is wrong in a cluster, in words: each reason once, with how many LUNs and nodes it is the reason for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from pathfleet.core import glossary
from pathfleet.core.health import Flag
from pathfleet.core.matrix import WORST_FIRST, Document, Lun, NodeRow, State
from pathfleet.core.reason import gist

#: So many reasons of one kind are told; a defect that has a reason of its own for each LUN does not fill the screen.
_REASONS = 8
_NAMES = 3


class Remark(Struct, frozen=True):
    """One line: `word` is a state, a flag or what it is about, `text` the rest."""

    word: str
    text: str


class _Where(Struct):
    """What shares a reason; dicts as ordered sets. `reasons` in full, with what is of one LUN or node only."""

    luns: dict[str, None] = {}
    nodes: dict[str, None] = {}
    reasons: dict[str, None] = {}

    def add(self, lun: str, node: str, reason: str) -> None:
        self.luns[lun] = None
        self.nodes[node] = None
        self.reasons[reason] = None

    def __str__(self) -> str:
        return f"{counted(self.luns, 'LUN')} on {counted(self.nodes, 'node')}"


def name_of(lun: Lun) -> str:
    """Return what an operator calls a LUN."""
    return lun.alias or lun.wwid


def counted(names: Iterable[str], what: str) -> str:
    """Return a few names, or how many there are (`12 LUNs`)."""
    names = list(names)
    return ", ".join(names) if len(names) <= _NAMES else f"{len(names)} {what}s"


def number(count: int, what: str) -> str:
    """Return how many there are (`1 LUN`, `12 LUNs`)."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def needs_attention(node: NodeRow) -> bool:
    """Whether there is anything to say of a node but that it is there and well."""
    return (
        node.online is not True
        or node.daemon in ("not-running", "cannot-tell")
        or node.age is None
        or bool(node.warnings)
        or (node.daemon != "not-installed" and node.reason is not None)
        or bool(node.apply and node.apply.error)
    )


def daemon_of(node: NodeRow) -> str:
    """Return multipathd's state in words; what cannot be taken for the present is past."""
    has_doubt = node.reason is not None and node.daemon in ("running", "no-maps")
    return f"was {node.daemon}" if (node.online is not True or has_doubt) and node.daemon != "unknown" else node.daemon


def remarks(document: Document) -> list[Remark]:
    """Return everything that is wrong, the worst first."""
    reasons: defaultdict[State, defaultdict[str, _Where]] = defaultdict(lambda: defaultdict(_Where))
    flags: defaultdict[str, _Where] = defaultdict(_Where)
    for lun in document.luns:
        for node, cell in lun.nodes.items():
            if cell.state is not State.OPTIMAL:
                reasons[cell.state][gist(cell.reason)].add(name_of(lun), node, cell.reason)
                continue
            for flag in cell.flags:
                flags[flag].add(name_of(lun), node, cell.reason)
    found = [remark for state in WORST_FIRST if state in reasons for remark in _of_state(state, reasons[state])]
    found += [Remark(flag, f"{where}: {_meaning(flag)}") for flag, where in sorted(flags.items())]
    found += [remark for node in document.nodes for remark in _of_node(node, _told(reasons[State.UNKNOWN], node))]
    found += _of_configurations(document.nodes)
    found += [Remark("LUN", f"{name_of(lun)}: {warning}") for lun in document.luns for warning in lun.warnings]
    found += [Remark("cluster", warning) for warning in document.warnings]
    return found


def _of_state(state: State, reasons: dict[str, _Where]) -> Iterator[Remark]:
    most_first = sorted(reasons.items(), key=lambda item: (-len(item[1].luns), str(item[1])))
    for reason, where in most_first[:_REASONS]:
        yield Remark(state.value, f"{where}: {reason if len(where.reasons) > 1 else next(iter(where.reasons))}")
    if rest := most_first[_REASONS:]:
        luns = {lun for _, where in rest for lun in where.luns}
        nodes = {node for _, where in rest for node in where.nodes}
        yield Remark(
            state.value,
            f"{counted(luns, 'LUN')} on {counted(nodes, 'node')}: {len(rest)} more reasons; "
            "`pathfleet node NAME` tells those of a node",
        )


def _meaning(flag: str) -> str:
    if flag not in set(Flag):
        return "this version does not know what that means"
    meaning = glossary.FLAGS[Flag(flag)]
    return f"{meaning.says}; {meaning.remedy}" if meaning.remedy else meaning.says


def _told(unknown: dict[str, _Where], node: NodeRow) -> bool:
    """Whether the node's doubt already stands there as the reason of its cells."""
    return any(node.node in where.nodes and reason.startswith(node.reason or "") for reason, where in unknown.items())


def _of_node(node: NodeRow, told: bool) -> Iterator[Remark]:
    if needs_attention(node) and node.reason and not told:
        yield Remark("node", f"{node.node}: {node.reason}")
    elif node.age is None and node.online and not told:
        yield Remark("node", f"{node.node}: it has said nothing yet; `pathfleet agent` there does")
    if node.apply and node.apply.error:
        yield Remark("node", f"{node.node}: the configuration is not in force: {node.apply.error}")
    for warning in node.warnings:
        yield Remark("node", f"{node.node}: {warning}")


def _of_configurations(nodes: Sequence[NodeRow]) -> Iterator[Remark]:
    by_digest: defaultdict[str, list[str]] = defaultdict(list)
    for node in nodes:
        if node.online and node.apply:
            by_digest[short(node.apply.digest)].append(node.node)
    if len(by_digest) > 1:
        commonest = Counter({digest: len(names) for digest, names in by_digest.items()}).most_common()
        text = "; ".join(f"{digest} on {counted(by_digest[digest], 'node')}" for digest, _ in commonest)
        yield Remark("nodes", f"not all have the same configuration in force: {text}")


def short(digest: str | None) -> str:
    """Return as much of a digest as tells it from others."""
    return digest[:8] if digest else "none"
