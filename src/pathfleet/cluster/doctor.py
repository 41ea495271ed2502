"""The doctor: what is wrong on a node, or in the whole cluster, and what could not be examined.

It goes by what nodes published, by the cluster's files, and by what is examined on the nodes themselves as far as
these can be asked. Nothing here changes anything but the list of what is muted.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from pathfleet.cluster import config, live
from pathfleet.cluster.nodes import asked
from pathfleet.core import column, mutes, storagecfg
from pathfleet.core.column import Column
from pathfleet.core.facts import NodeFacts, Unexamined
from pathfleet.core.findings import SEVERITIES, Examined, Finding
from pathfleet.core.mutes import Mute
from pathfleet.core.reason import shortened
from pathfleet.core.rules import BY_CODE, RULES
from pathfleet.core.storagechange import Unfit
from pathfleet.errors import BadRequest, Conflict, Malformed, NotFound, StoreError
from pathfleet.store import Store

log = logging.getLogger(__name__)

#: Asks a node for what only it knows. Raises PathfleetError.
Ask = Callable[[str], Awaitable[NodeFacts]]

_TRIES = 5
#: What a node says that it could not examine is cut to so much.
_UNEXAMINED_LIMIT = 50
#: Characters of a mute's reason; so many that all mutes together fit into their file.
REASON_LIMIT = 400
#: Characters of a mute's subject; those of findings are shorter.
SUBJECT_LIMIT = 256


class Muted(Struct, frozen=True, rename="kebab"):
    """A finding that is kept quiet, by which mute: of several, the one that ends last."""

    finding: Finding
    mute: Mute


class Diagnosis(Struct, frozen=True, rename="kebab"):
    """Errors first. `examined`: nodes that were asked themselves; of the others only what they published is known."""

    findings: list[Finding]
    muted: list[Muted]
    unexamined: list[Unexamined]
    examined: list[str]


async def of_cluster(store: Store, ask: Ask, now: Callable[[], float]) -> Diagnosis:
    """Return the diagnosis of the whole cluster. Raises StoreError."""
    columns = {each.node: each for each in await live.columns(store, now())}
    asked, unexamined = await _ask(ask, columns)
    known = await _known(store)
    # judged anew: asking takes its time
    judged = {name: column.judge(name, each.online, each.said, int(now())) for name, each in columns.items()}
    examined = replace(known, now=int(now()), columns=judged, facts=asked)
    return await _diagnosis(store, examined, unexamined)


async def of_node(store: Store | None, facts: NodeFacts, now: float, trouble: str | None = None) -> Diagnosis:
    """Return the diagnosis of one node; without a `store` (for this `trouble`), only what it knows by itself."""
    unexamined: list[Unexamined] = []
    examined = Examined(int(now), digest="")
    try:
        if store is not None:
            examined = await _known(store)
            columns = {each.node: each for each in await live.columns(store, now) if each.node == facts.node}
            examined = replace(examined, columns=columns)
    except StoreError as error:
        store, trouble = None, str(error)
    if store is None:
        unexamined.append(Unexamined("what the cluster wants", trouble or "the store was not asked"))
    examined = replace(examined, now=int(now), facts={facts.node: facts})
    # what a storage's list of nodes has is nothing that one node can judge
    return await _diagnosis(store, examined, unexamined, without=("storage-names-unknown-node",))


async def _known(store: Store) -> Examined:
    """Return what the cluster's files say."""
    current = await config.read(store)
    file = await store.read(storagecfg.FILE)
    storages = storagecfg.parse(file.content.decode(errors="replace") if file else "")
    return Examined(
        0,
        configuration=current.configuration,
        overrides=current.overrides,
        digest=current.wanted_digest,
        storages=storages,
        expectations=storagecfg.expectations(storages),
    )


async def _ask(ask: Ask, columns: Mapping[str, Column]) -> tuple[dict[str, NodeFacts], list[Unexamined]]:
    """Ask every node that is there; what another says is taken for what it says of itself."""
    unexamined: list[Unexamined] = []
    for node, each in columns.items():
        if each.online is not True or each.spoke_at is None:
            why = each.doubt or "it has said nothing yet; `pathfleet agent` there does"
            unexamined.append(Unexamined("the node", why, node))
    found, errors = await asked((node for node, each in columns.items() if each.online is True), ask)
    for node, error in errors.items():
        unexamined.append(Unexamined("what only the node itself knows", shortened(str(error), 400), node))
    return {node: replace(facts, node=node) for node, facts in found.items()}, unexamined


async def _diagnosis(
    store: Store | None, examined: Examined, unexamined: Iterable[Unexamined], *, without: Collection[str] = ()
) -> Diagnosis:
    findings, more = look(examined, without=without)
    unexamined = [*unexamined, *more]
    for node, facts in sorted(examined.facts.items()):
        unexamined += [replace(each, node=node) for each in facts.unexamined[:_UNEXAMINED_LIMIT]]
    try:
        known = await muted(store) if store is not None else ()
    except (Malformed, StoreError) as error:
        known = ()
        unexamined.append(Unexamined("what is muted", str(error)))
    loud, quiet = [], []
    for finding in findings:
        covering = (each for each in known if each.covers(finding, examined.now))
        mute = max(covering, key=lambda each: each.until, default=None)
        if mute is None:
            loud.append(finding)
        else:
            quiet.append(Muted(finding, mute))
    return Diagnosis(loud, quiet, unexamined, sorted(examined.facts))


def look(examined: Examined, *, without: Collection[str] = ()) -> tuple[list[Finding], list[Unexamined]]:
    """Return all findings, errors first, and which rules failed by a defect of this program."""
    findings: list[Finding] = []
    failed: list[Unexamined] = []
    aliases = examined.aliases()
    for rule in RULES:
        if rule.code in without:
            continue
        try:
            findings += rule.findings(examined, aliases)
        except Exception as error:  # a defect in one rule must not cost the findings of the others
            log.exception("rule-failed code=%s", rule.code)
            failed.append(Unexamined(f"rule {rule.code}", f"a defect of this program: {error!r}"))
    findings.sort(key=lambda each: (SEVERITIES.index(each.severity), each.code, each.subject, each.nodes))
    return findings, failed


async def muted(store: Store) -> tuple[Mute, ...]:
    """Return what is muted, also what is no longer. Raises Malformed, StoreError."""
    file = await store.read(mutes.FILE)
    return mutes.decode(file.content if file else None)


async def mute(store: Store, new: Mute, now: int) -> None:
    """Keep findings quiet for a while. Raises BadRequest, Unfit, Malformed, StoreError."""
    if new.code not in BY_CODE:
        raise BadRequest({"code": f"there is no finding {new.code!r}; `pathfleet doctor explain` lists all"})
    if new.until <= now:
        raise Unfit({"until": "this time is over already"})
    if not new.reason.strip() or len(new.reason) > REASON_LIMIT:
        raise BadRequest({"reason": f"say in up to {REASON_LIMIT} characters why it may stay so"})
    if new.subject is not None and not 0 < len(new.subject) <= SUBJECT_LIMIT:
        raise BadRequest({"subject": f"a node, WWID or storage, of up to {SUBJECT_LIMIT} characters"})

    def change(known: tuple[Mute, ...]) -> tuple[Mute, ...]:
        changed = mutes.with_one(known, new, now)
        if len(changed) > mutes.LIMIT:
            raise Unfit({"code": f"there are {mutes.LIMIT} mutes already; `pathfleet doctor unmute` some"})
        return changed

    await _change(store, change)


async def unmute(store: Store, code: str, subject: str | None) -> None:
    """Let findings be heard again. Raises NotFound if they were not muted; Malformed, StoreError."""

    def change(known: tuple[Mute, ...]) -> tuple[Mute, ...]:
        changed = mutes.without(known, code, subject)
        if changed == known:
            about = f" about {subject!r}" if subject else ""
            raise NotFound(f"{code!r}{about} is not muted; `pathfleet doctor mutes` lists what is")
        return changed

    await _change(store, change)


async def _change(store: Store, change: Callable[[tuple[Mute, ...]], tuple[Mute, ...]]) -> None:
    for tries_left in reversed(range(_TRIES)):
        file = await store.read(mutes.FILE)
        fresh = change(mutes.decode(file.content if file else None))
        try:
            await store.swap(mutes.FILE, mutes.encode(fresh), file.revision if file else None)
        except Conflict:
            if not tries_left:
                raise
        else:
            return
