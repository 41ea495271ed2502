"""What is allowed in multipath.conf, but not wise in this cluster: its releases, its fixed values, its failovers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from pathfleet.core.conf.diagnostic import Diagnostic, error, warning
from pathfleet.core.conf.keywords import KEYWORDS, SECTION_SINCE, Keyword, Place, canonical
from pathfleet.core.conf.syntax import Assignment, Section

Release = tuple[int, ...]

#: What becomes of I/O that `queues_for_ever`. Nobody can tell here whether something resets a node that hangs.
QUEUEING = (
    "without any path, I/O waits without end: where something resets a node that hangs (fencing, HA), a number of "
    "retries is better, so that I/O fails and what uses it can go elsewhere"
)

_NUMBERS = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){1,3}")


class Cluster(Struct, frozen=True):
    """What there is in the cluster; a release is None where no node tells one."""

    oldest: Release | None = None
    newest: Release | None = None


def releases(versions: Sequence[str]) -> tuple[Release | None, Release | None]:
    """Return the oldest and the newest of some versions, such as "0.9.4-3+deb12u2"; what is none is passed over."""
    known = [release(found[0]) for found in map(_NUMBERS.search, versions) if found]
    return (min(known), max(known)) if known else (None, None)


def release(version: str) -> Release:
    """Return a version such as "0.9.4" so that it compares."""
    return tuple(map(int, [*version.split("."), "0", "0"][:3]))


def queues_for_ever(keyword: str, value: str) -> bool:
    """Whether a value, as multipathd prints it, lets I/O wait without end while there is no path."""
    return (
        (keyword == "no_path_retry" and value == "queue")
        or (keyword == "features" and "queue_if_no_path" in value.split())
        or (keyword == "queue_without_daemon" and value == "yes")
    )


def advice(section: Section, place: Place, cluster: Cluster) -> Iterator[Diagnostic]:
    """Yield what there is to say about a section and its keywords, but not about the sections within it."""
    yield from _section_since(section, place, cluster)
    for entry in section.assignments:
        keyword = KEYWORDS[place].get(entry.keyword)
        if keyword is None:
            continue
        value = canonical(place, keyword.name, entry.value)
        yield from _by_release(entry, keyword, cluster)
        yield from _fixed(entry, place, value)
        if queues_for_ever(keyword.name, value):
            yield warning(entry, "queues-for-ever", QUEUEING)
        if entry.keyword == "reservation_key" and value != "file":
            yield warning(
                entry,
                "key-visible",
                "every local user can read this key, here and from multipathd; `file` keeps it in the prkeys file",
            )


def _section_since(section: Section, place: Place, cluster: Cluster) -> Iterator[Diagnostic]:
    since = SECTION_SINCE.get(place)
    if since is None or (cluster.oldest is not None and cluster.oldest >= release(since)):
        return
    report = warning if cluster.oldest is None else error
    yield report(
        section,
        "section-too-new",
        f"multipath-tools before {since} take what is in {section.name} for a part of {place[0]}; "
        "write it for all, or upgrade those nodes",
    )


def _by_release(entry: Assignment, keyword: Keyword, cluster: Cluster) -> Iterator[Diagnostic]:
    since = keyword.since
    if since is not None and cluster.oldest is not None and cluster.oldest < release(since):
        yield warning(
            entry, "keyword-too-new", f"multipath-tools before {since}, which some nodes have, ignore {keyword.name}"
        )
    newer = keyword.newer_words.get(entry.value)
    if newer is not None and cluster.oldest is not None and cluster.oldest < release(newer):
        yield warning(
            entry,
            "value-too-new",
            f"multipath-tools before {newer}, which some nodes have, do not know {keyword.name} {entry.value}",
        )
    ignored = keyword.ignored
    if ignored is not None and (cluster.newest is None or cluster.newest >= release(ignored)):
        yield warning(
            entry, "keyword-ignored", f"multipath-tools from {ignored} on ignore {keyword.name}; take it out"
        )


def _fixed(entry: Assignment, place: Place, value: str) -> Iterator[Diagnostic]:
    if entry.keyword == "user_friendly_names" and value == "yes":
        device = place == ("devices", "device")
        yield (warning if device else error)(
            entry,
            "user-friendly-names" if device else "fixed-value",
            "each node would name the maps for itself, and rename live ones; give a LUN an alias instead "
            "(`pathfleet config alias`)",
        )
    if entry.keyword == "find_multipaths" and value != "strict":
        yield error(
            entry, "fixed-value", "the cluster decides which LUNs are multipathed: find_multipaths stays strict"
        )
