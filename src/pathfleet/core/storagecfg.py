"""storage.cfg: the cluster's storages, and which nodes are expected to carry which LUN (specification 4 and 6)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from pathfleet.core import sections
from pathfleet.core.property import BadValue
from pathfleet.core.sections import Problem, Section

#: The file's name in the store.
FILE = "storage.cfg"

_ID = re.compile(r"[a-z][a-z0-9\-_.]*[a-z0-9]", re.IGNORECASE | re.ASCII)
_VOLUME = re.compile(r"([a-z][a-z0-9\-_.]*[a-z0-9]):(.+)", re.IGNORECASE | re.ASCII)
_NODE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?", re.ASCII)
_BETWEEN = re.compile(r"[;,\s\0]+", re.ASCII)
_BOOLEANS = ("disable", "shared", "saferemove", "tagged_only")

#: What a storage of a kind cannot do without. Kinds that are not here are kept and not looked into.
REQUIRED: Mapping[str, tuple[str, ...]] = {"multipath": (), "lvm": ("vgname",), "iscsi": ("portal", "target")}


class Storage(Struct, frozen=True):
    """One storage. `nodes` None: every node. `base` is a volume id. `properties` are all that count, as written."""

    kind: str
    id: str
    nodes: frozenset[str] | None = None
    disabled: bool = False
    base: str | None = None
    vgname: str | None = None
    content: frozenset[str] = frozenset()
    properties: dict[str, str] = {}


class Storages(Struct, frozen=True):
    """What storage.cfg says, by storage in the order of the file."""

    storages: dict[str, Storage]
    problems: tuple[Problem, ...] = ()


class Volume(Struct, frozen=True):
    """A volume id, `STORAGE:NAME`. In a storage of the kind `multipath` the name is the WWID."""

    storage: str
    name: str


class Expected(Struct, frozen=True):
    """The nodes that are expected to carry a LUN (None: every node), and the storages that consume it, by name."""

    nodes: frozenset[str] | None
    storages: tuple[str, ...]


#: By WWID. A LUN that is not in it is expected nowhere.
Expectations = Mapping[str, Expected]


def parse(text: str) -> Storages:
    """Return the storages of the text, whatever it is; what does not count is among the problems."""
    found = sections.parse(text, fold=True)
    problems = list(found.problems)
    known: list[Section] = []
    for section in found.sections:
        if _ID.fullmatch(section.id):
            known.append(section)
        else:
            problems.append(Problem(section.line, f"{section.id[:60]!r} cannot be the name of a storage"))
    counting, replaced = sections.standing(known)
    problems += replaced
    storages: dict[str, Storage] = {}
    for section in counting:
        values, wrong = sections.settle(section, _check)
        problems += wrong
        missing = [key for key in REQUIRED.get(section.kind, ()) if key not in values]
        if missing:
            problems.append(Problem(section.line, f"storage `{section.id}` lacks `{'`, `'.join(missing)}`"))
        else:
            storages[section.id] = _storage(section, values)
    return Storages(storages, tuple(sorted(problems, key=lambda one: one.line)))


def _check(key: str, value: str | None) -> str:
    if key in _BOOLEANS:
        value = "1" if value is None else value
        if value not in ("0", "1"):
            raise BadValue(key, value, "`0`, `1`")
    if value is None:
        raise BadValue(key, "", "a value")
    if key == "nodes" and not all(_NODE.fullmatch(node) for node in _list(value)):
        raise BadValue(key, value, "names of nodes, separated by commas")
    if key == "base" and volume(value) is None:
        raise BadValue(key, value, "a volume, STORAGE:NAME")
    return value


def _list(value: str) -> list[str]:
    return [word for word in _BETWEEN.split(value) if word]


def _storage(section: Section, values: dict[str, str]) -> Storage:
    return Storage(
        kind=section.kind,
        id=section.id,
        nodes=frozenset(_list(values["nodes"])) if "nodes" in values else None,
        disabled=values.get("disable") == "1",
        base=values.get("base"),
        vgname=values.get("vgname"),
        content=frozenset(_list(values.get("content", ""))),
        properties=values,
    )


def volume(text: str) -> Volume | None:
    """Return the volume id that a text is, None if it is none."""
    found = _VOLUME.fullmatch(text)
    return Volume(found[1], found[2]) if found else None


def expectations(storages: Storages) -> dict[str, Expected]:
    """Return who is expected to carry which LUN.

    A LUN is consumed by an `lvm` storage whose base is a volume of a `multipath` storage: on the nodes that both
    have, unless one of them is disabled. A `multipath` storage alone expects nothing.
    """
    expected: dict[str, Expected] = {}
    for consumer in storages.storages.values():
        base = volume(consumer.base) if consumer.kind == "lvm" and consumer.base else None
        source = storages.storages.get(base.storage) if base else None
        if base is None or source is None or source.kind != "multipath" or source.disabled or consumer.disabled:
            continue
        one = Expected(_both(consumer.nodes, source.nodes), (consumer.id,))
        before = expected.get(base.name)
        expected[base.name] = one if before is None else _either(before, one)
    return expected


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _either(one: Expected, other: Expected) -> Expected:
    nodes = None if one.nodes is None or other.nodes is None else one.nodes | other.nodes
    return Expected(nodes, tuple(sorted({*one.storages, *other.storages})))
