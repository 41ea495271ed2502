"""What the nodes say of one LUN, what is taken of it, and where they disagree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from msgspec import Struct

from pathfleet.core.column import Column
from pathfleet.core.reason import shortened
from pathfleet.core.storagecfg import Expected

V = TypeVar("V", int, str)

#: By alias, the WWIDs that some node knows by it.
Aliases = Mapping[str, Collection[str]]

_NODES_SHOWN = 4


class Told(Struct, frozen=True):
    """Each answer with the nodes that give it; a node that does not say is in none."""

    names: dict[str, list[str]]
    sizes: dict[int, list[str]]
    transports: dict[str, list[str]]
    arrays: dict[str, list[str]]


def told(wwid: str, nodes: Iterable[str], columns: Mapping[str, Column]) -> Told:
    """Return what these nodes say of a LUN. Those in doubt count only where nobody else says anything."""
    sure, doubted = Told({}, {}, {}, {}), Told({}, {}, {}, {})
    for node in nodes:
        column = columns[node]
        report = column.said.report
        map_ = report.maps.get(wwid) if report else None
        if map_ is None:
            continue
        answers = doubted if column.doubt else sure
        if map_.size is not None:
            answers.sizes.setdefault(map_.size, []).append(node)
        if map_.transport:
            answers.transports.setdefault(map_.transport, []).append(node)
        detail = column.said.details.get(wwid)
        if detail and detail.name:
            answers.names.setdefault(detail.name, []).append(node)
        # the first that says so will do: a LUN comes from one array, and there are 64,000 cells to ask
        if not answers.arrays and (array := column.array_of(wwid)):
            answers.arrays[array] = [node]
    return Told(
        sure.names or doubted.names,
        sure.sizes or doubted.sizes,
        sure.transports or doubted.transports,
        sure.arrays or doubted.arrays,
    )


def taken(answers: Mapping[V, list[str]]) -> V | None:
    """Return the answer that most nodes give, of several such the least; None if there is none."""
    if len(answers) < 2:
        return next(iter(answers), None)
    return min(answers, key=lambda answer: (-len(answers[answer]), answer))


def warnings(
    wwid: str, said: Told, expected: Expected | None, nodes: Collection[str], aliases: Aliases
) -> tuple[str, ...]:
    """Return what an operator should look at: disagreement, an alias of two LUNs, a node that is none.

    `nodes` are those of the cluster.
    """
    found = []
    if len(said.sizes) > 1:
        found.append(
            f"nodes disagree on its size: {_answers({f'{size} bytes': who for size, who in said.sizes.items()})}"
        )
    if len(said.names) > 1:
        found.append(
            f"nodes name it differently: {_answers({_quoted(name): who for name, who in said.names.items()})}"
        )
    for name in sorted(said.names):
        twins = aliases.get(name, ())
        if len(twins) > 1:
            other = min(twin for twin in twins if twin != wwid)
            more = f" and {len(twins) - 2} more" if len(twins) > 2 else ""
            found.append(f"its alias {_quoted(name)} also stands for {shortened(other, 100)}{more}")
    strangers = sorted(expected.nodes.difference(nodes)) if expected and expected.nodes else []
    if strangers:
        found.append(f"expected on {_listed(strangers)}, which the cluster does not know")
    return tuple(found)


def _answers(answers: Mapping[str, list[str]]) -> str:
    return "; ".join(
        f"{answer} on {_listed(sorted(answers[answer]))}"
        for answer in sorted(answers, key=lambda answer: (-len(answers[answer]), answer))
    )


def _listed(nodes: list[str]) -> str:
    more = len(nodes) - _NODES_SHOWN
    return ", ".join(nodes[:_NODES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _quoted(name: str) -> str:
    return repr(shortened(name, 128))
