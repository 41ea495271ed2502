"""`pathfleet status --one-line`: the cluster for monitoring, as one line of a Nagios or Icinga plug-in.

The state is that of the worst LUN: CRITICAL failed or missing, WARNING degraded, UNKNOWN unknown. A node that does not
report is UNKNOWN, unless something is known to be worse; it is always named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from pathfleet.cli.remarks import name_of, number
from pathfleet.cli.render import clean
from pathfleet.core.health import Flag
from pathfleet.core.matrix import WORST_FIRST, Document, Lun, NodeRow, State

OK, WARNING, CRITICAL, UNKNOWN = range(4)
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
#: What is known to be bad counts before what is not known, as in the roll-up of a LUN.
_WORST_FIRST = (CRITICAL, WARNING, UNKNOWN, OK)
_CODES = {
    State.FAILED: CRITICAL,
    State.MISSING: CRITICAL,
    State.DEGRADED: WARNING,
    State.UNKNOWN: UNKNOWN,
    State.OPTIMAL: OK,
}
#: A LUN whose usable paths are all there, but which somebody should look at. `single-domain` is how it was built.
_WARNING_FLAGS = frozenset((Flag.BELOW_EXPECTED, Flag.SUSPENDED, Flag.MARGINAL, Flag.NON_OPTIMAL, Flag.UNMANAGED))
_NAMES = 3
_TEXT_CHARACTERS = 100


class Verdict(Struct, frozen=True):
    """The line, and the plug-in's exit code."""

    code: int
    line: str


class _Finding(Struct, frozen=True):
    code: int
    text: str


def verdict(document: Document) -> Verdict:
    """Return the state of the cluster."""
    findings = [*_of_luns(document), *_of_nodes(document)]
    if not document.nodes:
        findings = [_Finding(UNKNOWN, "no node has reported yet")]
    code = min((finding.code for finding in findings), key=_WORST_FIRST.index, default=OK)
    text = "; ".join(finding.text for finding in findings) or _all_well(document)
    return Verdict(code, f"PATHFLEET {_WORDS[code]} - {text} | {_performance(document)}")


def unreadable(reason: str) -> Verdict:
    """Return the state of a cluster of which nothing can be read."""
    return Verdict(UNKNOWN, f"PATHFLEET UNKNOWN - {_safe(reason, 500)}")


def _all_well(document: Document) -> str:
    luns = f"{number(len(document.luns), 'LUN')} optimal" if document.luns else "no LUNs"
    return f"{luns} on {number(len(document.nodes), 'node')}"


def _of_luns(document: Document) -> Iterator[_Finding]:
    for state in WORST_FIRST[:-1]:
        names = [name_of(lun) for lun in document.luns if lun.cluster_state is state]
        if names:
            yield _Finding(
                _CODES[state], f"{len(names)} of {number(len(document.luns), 'LUN')} {state.value}: {_some(names)}"
            )
    for flag in Flag:
        names = [name_of(lun) for lun in document.luns if flag in _WARNING_FLAGS and _has(lun, flag)]
        if names:
            yield _Finding(WARNING, f"{len(names)} {flag.value}: {_some(names)}")
    if warned := [name_of(lun) for lun in document.luns if lun.warnings]:
        yield _Finding(WARNING, f"nodes do not agree on {_some(warned)}")
    for warning in document.warnings:
        yield _Finding(WARNING, _safe(warning))


def _has(lun: Lun, flag: Flag) -> bool:
    return any(flag in cell.flags for cell in lun.nodes.values() if cell.state is State.OPTIMAL)


def _of_nodes(document: Document) -> Iterator[_Finding]:
    if silent := [node.node for node in document.nodes if _is_silent(node)]:
        yield _Finding(
            UNKNOWN, f"{len(silent)} of {number(len(document.nodes), 'node')} not reporting: {_some(silent)}"
        )
    if stopped := [node.node for node in document.nodes if node.online and node.daemon == "not-running"]:
        yield _Finding(WARNING, f"multipathd not running on {_some(stopped)}")
    if refused := [node.node for node in document.nodes if node.apply and node.apply.error]:
        yield _Finding(WARNING, f"configuration not in force on {_some(refused)}")


def _is_silent(node: NodeRow) -> bool:
    """Whether what a node says cannot be taken for the present, or it says nothing."""
    has_doubt = node.reason is not None and node.daemon not in ("not-running", "not-installed")
    return node.online is not True or node.age is None or has_doubt


def _performance(document: Document) -> str:
    """Return performance data: `label=value;warning;critical;minimum;maximum`."""
    luns, nodes = len(document.luns), len(document.nodes)
    states = Counter(lun.cluster_state for lun in document.luns)
    thresholds = {
        State.FAILED: ";0",
        State.MISSING: ";0",
        State.DEGRADED: "0;",
        State.UNKNOWN: ";",
        State.OPTIMAL: ";",
    }
    words = [f"luns={luns};;;0"]
    words += [f"{state.value}={states[state]};{thresholds[state]};0;{luns}" for state in reversed(WORST_FIRST)]
    online = sum(node.online is True for node in document.nodes)
    return " ".join([*words, f"nodes={nodes};;;0", f"online={online};;;0;{nodes}"])


def _some(names: list[str]) -> str:
    text = ", ".join(_safe(name, 40) for name in names[:_NAMES])
    return text if len(names) <= _NAMES else f"{text} and {len(names) - _NAMES} more"


def _safe(text: str, limit: int = _TEXT_CHARACTERS) -> str:
    """Return what a device or a peer chose without what would end the text or the line."""
    text = clean(text).replace("|", "/")
    return text if len(text) <= limit else f"{text[:limit]}..."
