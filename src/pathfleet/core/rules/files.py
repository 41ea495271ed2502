"""Rules about files: a node's own multipath configuration against the cluster's, and the cluster's storages."""

from __future__ import annotations

from collections.abc import Iterator

from pathfleet.core.conf import blacklist, syntax
from pathfleet.core.conf.effective import LISTED, Settings, outranked, settings
from pathfleet.core.conf.lint import lint
from pathfleet.core.conf.syntax import Tree
from pathfleet.core.configuration import FILE as CONFIGURATION_FILE
from pathfleet.core.facts import ConfFile, NodeFacts
from pathfleet.core.findings import Examined, Sighting, listed, rule
from pathfleet.core.reason import shortened
from pathfleet.core.render import BASELINE_FILE, OVERRIDES_FILE, render
from pathfleet.core.storagecfg import FILE as STORAGES_FILE
from pathfleet.core.storagecfg import volume

#: What is an error in the overrides, but lawful in a file of a node's own.
_LAWFUL = frozenset(("defaults-not-here", "fixed-value", "section-too-new"))
#: Not compared: hidden, or what a section is for.
_LEFT_OUT = frozenset(("reservation_key",))
_PROBLEMS_SHOWN = 3


def _name(file: ConfFile) -> str:
    return file.name.rpartition("/")[2]


def _own(facts: NodeFacts) -> list[ConfFile]:
    """Return the files that are the node's own."""
    return [file for file in facts.files if _name(file) not in (BASELINE_FILE, OVERRIDES_FILE)]


@rule(
    "local-config-fights",
    "warning",
    "A file of the node's own outranks the cluster's configuration: the node goes by other values than the others.",
    "Take these lines out of the node's file, then `multipathd reconfigure` on NODE; what all nodes need belongs into "
    "the cluster's configuration (`pathfleet config import` on NODE brings it there).",
)
def local_config_fights(examined: Examined) -> Iterator[Sighting]:
    """A local file that sorts after the cluster's, or whose sections outrank its defaults."""
    for node, facts in examined.facts.items():
        if examined.configuration.empty and not examined.overrides.strip():
            return
        drop_ins = render(examined.configuration, examined.overrides, examined.digest or "", version=facts.version)
        wanted = settings(_tree(drop_ins.baseline)) | settings(_tree(drop_ins.overrides))
        for file in _own(facts):
            fights = [*_fights(file, wanted)]
            if fights:
                yield Sighting("node", node, f"{shortened(file.name, 100)}: {listed(fights)}", (node,))


def _tree(text: str | None) -> Tree:
    return syntax.parse(text or "")


def _fights(file: ConfFile, wanted: Settings) -> Iterator[str]:
    last = "/conf.d/" in file.name and _name(file).encode() > OVERRIDES_FILE.encode()
    for key, value in settings(_tree(file.text)).items():
        keyword = key[-1]
        if value == LISTED or keyword in _LEFT_OUT:
            continue
        place = " ".join(part for part in key[:-1] if part)
        ours = wanted.get(key)
        if ours is not None:
            if last and ours != value:
                yield f"{place} {keyword} {value} is read after the cluster's {ours}"
            continue
        below = outranked(key, wanted)
        if below is not None and below[1] != value:
            yield f"{place} {keyword} {value} outranks the cluster's {below[0]} {keyword} {below[1]}"


@rule(
    "config-lint",
    "error",
    "A file of the node's own has what multipathd misreads, and some of which ends it or makes it hang at its next "
    "start or reconfigure.",
    "Correct the lines; check with `multipath -t` under a `timeout`; then `multipathd reconfigure` on NODE.",
)
def config_lint(examined: Examined) -> Iterator[Sighting]:
    """Errors in a local file."""
    for node, facts in examined.facts.items():
        versions = (facts.version,) if facts.version else ()
        for file in _own(facts):
            wrong = [
                f"line {found.line}: {shortened(found.message)}"
                for found in lint(file.text, versions=versions)
                if found.severity == "error" and found.code not in _LAWFUL
            ]
            if wrong:
                more = f" (and {len(wrong) - _PROBLEMS_SHOWN} more)" if len(wrong) > _PROBLEMS_SHOWN else ""
                seen = f"{shortened(file.name, 100)}, {'; '.join(wrong[:_PROBLEMS_SHOWN])}{more}"
                yield Sighting("node", node, seen, (node,))


@rule(
    "lun-blacklisted",
    "error",
    "A blacklist in the node's own files hides a LUN of the cluster's configuration: the node will not have its map.",
    "Take the line out, or except the LUN (`blacklist_exceptions` with `wwid WWID`), then `multipathd reconfigure` on "
    "NODE.",
)
def lun_blacklisted(examined: Examined) -> Iterator[Sighting]:
    """A LUN on the cluster's list that a node's blacklist hides."""
    luns = tuple(examined.configuration.wwids)
    for node, facts in examined.facts.items():
        own = tuple(section for file in _own(facts) for section in _tree(file.text).sections)
        ours = _tree(examined.overrides).sections
        if not luns or not any(section.name == "blacklist" for section in own):
            continue
        for hidden in blacklist.hidden(Tree(own + ours), luns):
            for wwid in hidden.wwids if hidden.sure else ():
                line = f"blacklist wwid {shortened(hidden.line.value, 100)!r}"
                yield Sighting("lun", wwid, f"hidden on {shortened(node, 100)} by {line}", (node,))


@rule(
    "configuration-problem",
    "error",
    "Lines of the cluster's own files do not count; with a bad multipath.cfg no node applies anything.",
    "Correct the file: `pathfleet config show`, or /etc/pve on Proxmox VE.",
)
def configuration_problem(examined: Examined) -> Iterator[Sighting]:
    """A problem in multipath.cfg or storage.cfg."""
    files = {
        CONFIGURATION_FILE: examined.configuration.problems,
        STORAGES_FILE: examined.storages.problems,
    }
    for name, problems in files.items():
        if problems:
            seen = listed(f"line {problem.line}: {shortened(problem.message)}" for problem in problems)
            yield Sighting("cluster", name, seen)


@rule(
    "storage-lun-not-configured",
    "error",
    "A storage is built on a LUN that the cluster's configuration does not name: nodes keep its map by chance.",
    "`pathfleet config lun add WWID`.",
)
def storage_lun_not_configured(examined: Examined) -> Iterator[Sighting]:
    """A LUN that storages consume and that is not on the allow-list."""
    if examined.configuration.wwids:
        for wwid, expected in examined.expectations.items():
            if wwid not in examined.configuration.wwids:
                yield Sighting("lun", wwid, f"the base of storage {listed(expected.storages)}")


@rule(
    "storage-names-unknown-node",
    "warning",
    "A storage is for a node that the cluster does not know: a node that left, or a name misspelt.",
    "Correct `nodes` of the storage in storage.cfg.",
)
def storage_names_unknown_node(examined: Examined) -> Iterator[Sighting]:
    """A storage whose list of nodes has one that there is not."""
    if not examined.columns:
        return
    storages = examined.storages.storages
    for storage in storages.values():
        base = volume(storage.base) if storage.base else None
        concerns_us = storage.kind == "multipath" or (base is not None and base.storage in storages)
        strangers = sorted((storage.nodes or frozenset()) - {*examined.columns})
        if concerns_us and strangers:
            yield Sighting("storage", storage.id, f"its nodes name {listed(strangers)}")


RULES = (
    local_config_fights,
    config_lint,
    lun_blacklisted,
    configuration_problem,
    storage_lun_not_configured,
    storage_names_unknown_node,
)
