"""The cluster's configuration in the store: read, planned, checked, written (specification section 5).

Two files with a digest and a lock each: `multipath.cfg` and `multipath-overrides.conf`. A change is first planned,
which shows what it would do and refuses what multipathd could not take, and then written, if the files are still
what the plan was made from. An emptied file stays, empty: nodes take a store without any for one that has lost it.
What nodes make of it is not decided here: see `agent.apply`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import AsyncExitStack

from msgspec import Struct

from pathfleet.cluster import rolling
from pathfleet.core import arrays, configuration, node, render, storagecfg
from pathfleet.core.conf.advice import QUEUEING, queues_for_ever
from pathfleet.core.conf.lint import Diagnostic, lint
from pathfleet.core.configuration import Configuration
from pathfleet.core.node import NodeInfo
from pathfleet.core.render import DropIns
from pathfleet.errors import BadRequest, Busy, Conflict, Malformed
from pathfleet.store import File, Store, checked_content

#: Returns a changed text of multipath.cfg, or raises why not; those of `core.configuration`, with their arguments.
Edit = Callable[[str], str]
#: What nodes say of themselves: multipath-tools' release, and whose LUNs they have.
Published = dict[str, NodeInfo | None]


class BadOverrides(BadRequest):
    """The overrides have errors: multipathd would misread them, or not survive them. `findings` has all, by line."""

    code = "bad-overrides"

    def __init__(self, findings: tuple[Diagnostic, ...]) -> None:
        errors = [finding for finding in findings if finding.severity == "error"]
        super().__init__(
            {"content": "; ".join(f"line {error.line}: {error.message}" for error in errors)},
            f"the overrides are refused, nothing was changed: {len(errors)} error(s), the first in"
            f" line {errors[0].line}: {errors[0].message}",
        )
        self.findings = findings


class Current(Struct, frozen=True):
    """Both files as they are, or as they would be. A file that is not there is an empty one."""

    content: bytes = b""
    overrides_content: bytes = b""

    @property
    def text(self) -> str:
        """The text of multipath.cfg; bytes that are no UTF-8 survive a change."""
        return self.content.decode(errors="surrogateescape")

    @property
    def overrides(self) -> str:
        """The text of the overrides."""
        return self.overrides_content.decode(errors="replace")

    @property
    def configuration(self) -> Configuration:
        """What multipath.cfg says."""
        return configuration.parse(self.content.decode(errors="replace"))

    @property
    def digest(self) -> str:
        """The digest that a change of multipath.cfg must name."""
        return configuration.digest(self.content)

    @property
    def overrides_digest(self) -> str:
        """The digest that a change of the overrides must name."""
        return configuration.digest(self.overrides_content)

    @property
    def combined_digest(self) -> str:
        """The digest of both: what nodes say that they have in force."""
        return configuration.combined_digest(self.content, self.overrides_content)

    @property
    def wanted_digest(self) -> str | None:
        """The digest that nodes are to have in force; None: nothing is configured, nothing of ours is to be there."""
        return None if self.configuration.empty and not self.overrides.strip() else self.combined_digest

    def drop_ins(self, version: str | None) -> DropIns:
        """Return what a node with this version of multipath-tools renders."""
        return render.render(self.configuration, self.overrides, self.combined_digest, version=version)


class Plan(Struct, frozen=True):
    """What a change would do. `warnings`: what is odd, but not refused.

    `unsaid`: these files are to be there, though empty, and are not.
    """

    before: Current
    after: Current
    warnings: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether it would change anything."""
        return self.before != self.after or bool(self.unsaid)


async def read(store: Store) -> Current:
    """Return both files. Raises StoreError."""
    return Current(
        _content(await store.read(configuration.FILE)), _content(await store.read(configuration.OVERRIDES_FILE))
    )


async def published(store: Store) -> Published:
    """Return what each node has published of itself, None where that is garbage. Raises StoreError."""
    known: Published = {}
    for name, values in sorted((await store.all_values()).items()):
        if node.KEY in values:
            try:
                known[name] = node.decode(values[node.KEY])
            except Malformed:
                known[name] = None
    return known


async def plan(store: Store, edit: Edit, *, digest: str | None = None) -> Plan:
    """Return what an edit of multipath.cfg would do. `digest`: of the file that whoever wants it has read.

    Raises Conflict if the file has another digest, BadRequest for an alias that the overrides give to another LUN,
    and what `edit` raises; StoreError.
    """
    before = await read(store)
    _same(configuration.FILE, before.digest, digest)
    after = Current(edit(before.text).encode(errors="surrogateescape"), before.overrides_content)
    return await asyncio.to_thread(_planned, before, after, await published(store))


async def plan_overrides(store: Store, text: str, *, digest: str | None = None) -> Plan:
    """Return what new overrides would do; blanks at the end of lines and of the text go.

    Raises BadOverrides, Conflict, StoreError.
    """
    before = await read(store)
    _same(configuration.OVERRIDES_FILE, before.overrides_digest, digest)
    known = await published(store)
    after = Current(before.content, _encoded(text))
    return await asyncio.to_thread(_planned, before, after, known, refusing=True)


async def plan_both(store: Store, before: Current, text: str, overrides: str) -> Plan:
    """Return what new texts of both files, made from `before`, would do. Raises BadOverrides, StoreError."""
    known = await published(store)
    after = Current(text.encode(errors="surrogateescape"), _encoded(overrides))
    return await asyncio.to_thread(_planned, before, after, known, refusing=True)


async def plan_removal(store: Store, wwid: str, *, digest: str | None = None, force: bool = False) -> Plan:
    """Return what taking a LUN from the configuration would do.

    Raises Busy if a storage consumes it, unless `force`; NotFound, Conflict, StoreError.
    """
    planned = await plan(store, lambda text: configuration.remove_wwid(text, wwid), digest=digest)
    storages = (await consumers(store)).get(wwid)
    if storages and not force:
        raise Busy(
            f"LUN {wwid} is used by storage {', '.join(storages)}: nodes would lose its map once it is closed;"
            " remove the storage first, or say force"
        )
    return planned


async def plan_clear(store: Store, *, force: bool = False) -> Plan:
    """Return what emptying both files would do. Raises Busy if storages consume a LUN, unless `force`; StoreError."""
    before = await read(store)
    used = await consumers(store)
    storages = sorted({name for wwid in before.configuration.wwids for name in used.get(wwid, ())})
    if storages and not force:
        raise Busy(
            f"storage {', '.join(storages)} uses LUNs of the configuration: nodes would lose their maps once they"
            " are closed; remove the storages first, or say force"
        )
    unsaid = () if await store.read(configuration.FILE) else (configuration.FILE,)
    return Plan(before, Current(), unsaid=unsaid)


async def consumers(store: Store) -> dict[str, list[str]]:
    """Return by WWID the storages, also disabled ones, whose base the LUN is. Raises StoreError."""
    text = _content(await store.read(storagecfg.FILE)).decode(errors="replace")
    storages = storagecfg.parse(text).storages
    found: dict[str, list[str]] = {}
    for storage in storages.values():
        base = storagecfg.volume(storage.base) if storage.base else None
        below = storages.get(base.storage) if base else None
        if base and below and below.kind == "multipath":
            found.setdefault(base.name, []).append(storage.id)
    return found


async def write(store: Store, planned: Plan, *, at_once: bool = False) -> None:
    """Write what was planned. `at_once`: all nodes apply it together, instead of one first and then the others.

    Raises Conflict if what it changes is no longer what the plan was made from, and then nothing was changed;
    StoreError. A plan that changes nothing writes nothing.
    """
    before, after = planned.before, planned.after
    files = [
        # the overrides first: they may hold back what the other file lets in
        (configuration.OVERRIDES_FILE, before.overrides_content, after.overrides_content),
        (configuration.FILE, before.content, after.content),
    ]
    changed = [(name, old, new) for name, old, new in files if old != new or name in planned.unsaid]
    async with AsyncExitStack() as locks:
        for name, _, _ in changed:
            await locks.enter_async_context(store.lock(name))
        found = {name: await store.read(name) for name, _, _ in changed}
        for name, old, _ in changed:
            _same(name, configuration.digest(_content(found[name])), configuration.digest(old))
        for name, _, new in changed:
            file = found[name]
            await store.swap(name, new, file.revision if file else None)
    if changed:
        # not before: what a node finds without it, it rolls out one by one, which is never wrong
        await rolling.begin(store, (await read(store)).wanted_digest, at_once=at_once)


def check(current: Current, known: Published) -> tuple[Diagnostic, ...]:
    """Return what is found in the overrides, given the LUNs, and what nodes say of themselves."""
    configured = current.configuration
    return lint(
        current.overrides,
        versions=sorted({version for version in _versions(known).values() if version}),
        allow_listed=tuple(configured.wwids),
        aliases=configured.aliases,
        arrays=_arrays(configured, known),
    )


def _versions(known: Published) -> dict[str, str | None]:
    return {name: info.versions.multipath_tools if info else None for name, info in known.items()}


def _arrays(configured: Configuration, known: Published) -> dict[str, str]:
    """Return by WWID from which array a LUN is; one node's word for it is enough."""
    told: dict[str, str] = {}
    for info in known.values():
        told = {**(info.arrays if info else {}), **told}
    named = {wwid: arrays.array_of(wwid, told) for wwid in configured.wwids}
    return {wwid: array for wwid, array in named.items() if array}


def trimmed(text: str) -> str:
    """Return a text without blanks at the ends of its lines and without empty lines at its end."""
    body = "\n".join(line.rstrip() for line in text.split("\n")).rstrip()
    return f"{body}\n" if body else ""


def _encoded(overrides: str) -> bytes:
    try:
        return trimmed(overrides).encode()
    except UnicodeEncodeError as error:
        raise BadRequest({"content": f"character {error.start + 1} is none that a file can have"}) from error


def _planned(before: Current, after: Current, known: Published, *, refusing: bool = False) -> Plan:
    for content in (after.content, after.overrides_content):
        checked_content(content)
    findings = check(after, known)
    if refusing and any(finding.severity == "error" for finding in findings):
        raise BadOverrides(findings)
    _refuse_taken_alias(findings, before, known)
    warnings = [f"overrides, line {found.line}: {found.message}" for found in findings]
    warnings += [
        f"{configuration.FILE}, line {problem.line}: {problem.message}; no node applies it until that is corrected"
        for problem in after.configuration.problems
    ]
    warnings += _queueing(before.configuration, after.configuration)
    versions = _versions(known)
    for version in sorted({*versions.values()}, key=lambda version: version or ""):
        names = ", ".join(name for name in versions if versions[name] == version)
        warnings += [f"{sentence} (on {names})" for sentence in after.drop_ins(version).left_out]
    return Plan(before, after, tuple(warnings))


def _refuse_taken_alias(findings: Collection[Diagnostic], before: Current, known: Published) -> None:
    """Refuse an alias for which no node would apply anything any more: the overrides give it to another LUN."""
    taken = [found for found in findings if found.code == "alias-repeated"]
    # what was so before is no reason to refuse what does not touch it
    old = check(before, known) if taken else ()
    for found in taken:
        if found not in old:
            raise BadRequest({"alias": f"overrides, line {found.line}: {found.message}"})


def _queueing(before: Configuration, after: Configuration) -> Iterator[str]:
    """Yield what is now set, and lets I/O wait without end."""
    new = sorted(_queues(after) - _queues(before))
    for name, value in dict.fromkeys((name, value) for name, value, _ in new):
        places = [place for *setting, place in new if setting == [name, value]]
        shown = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
        yield f"{configuration.FILE}, {name} {value} of {shown}: {QUEUEING}"


def _queues(configured: Configuration) -> set[tuple[str, str, str]]:
    """Return the properties that let I/O wait without end: name, value, and of what."""
    places = {"the defaults": configured.defaults, **configured.wwids}
    return {
        (name, value, place)
        for place, properties in places.items()
        for name, value in properties.items()
        if queues_for_ever(name.replace("-", "_"), value)
    }


def _content(file: File | None) -> bytes:
    return file.content if file else b""


def _same(name: str, digest: str, expected: str | None) -> None:
    if expected is not None and expected != digest:
        raise Conflict(
            f"{name} was changed since it was read: its digest is {digest}, not {expected}; nothing was changed:"
            " read it again, merge, retry"
        )
