"""Rules about nodes: what runs there, whether it speaks, and whether it goes by the cluster's configuration."""

from __future__ import annotations

from collections.abc import Iterator

from pathfleet.core import drift, matrix, render
from pathfleet.core.column import Column
from pathfleet.core.conf.advice import release, releases
from pathfleet.core.findings import Examined, Sighting, listed, rule
from pathfleet.core.matrix import State
from pathfleet.core.node import Daemon
from pathfleet.core.reason import shortened
from pathfleet.core.wire import STALE

#: Less is what a report's age and the time of an answer explain.
_SKEW_SECONDS = 30
#: Releases from, and before, with what is wrong in them (multipath-tools, its own history).
_DEFECTS = (
    ("0.0", "0.7.2", "`show maps json` without maps ends multipathd"),
    ("0.8.5", "0.8.6", "a `multipath` section without wwid ends multipathd"),
    ("0.8.8", "0.9.2", "long or slow answers of multipathd are cut or mixed up"),
)


@rule(
    "daemon-not-running",
    "error",
    "multipathd does not run on a node that has maps, or is to have some: no path is checked, none comes back.",
    "On NODE: `systemctl enable --now multipathd`, and `journalctl -u multipathd` for why it ended.",
)
def daemon_not_running(examined: Examined) -> Iterator[Sighting]:
    """multipathd is down where it is needed."""
    for node in examined.nodes:
        daemon, reason = _daemon(examined, node)
        if daemon == Daemon.NOT_RUNNING and (why := _needed(examined, node, reason)):
            yield Sighting("node", node, f"multipathd is not running, and {why}", (node,))


def _daemon(examined: Examined, node: str) -> tuple[str, str]:
    facts, column = examined.facts.get(node), examined.columns.get(node)
    if facts is not None:
        return facts.daemon, facts.reason or ""
    if column is None or not column.online or column.said.info is None:
        return "", ""
    return column.said.info.multipathd, column.said.info.reason or ""


def _needed(examined: Examined, node: str, reason: str) -> str | None:
    facts = examined.facts.get(node)
    if facts is not None and facts.maps:
        return f"the kernel has {len(facts.maps)} map(s)"
    if "the kernel has" in reason:  # the agent's own words
        return shortened(reason.rpartition("; ")[2])
    wanted = [wwid for wwid, each in examined.expectations.items() if each.nodes is None or node in each.nodes]
    return f"storages expect {listed(sorted(wanted))} there" if wanted else None


@rule(
    "daemon-cannot-tell",
    "error",
    "multipathd runs and gives no usable answer: nobody knows how its paths are.",
    "On NODE: `systemctl status multipathd`, `ps -C multipathd -o stat,wchan`; if it hangs, "
    "`systemctl restart multipathd` (I/O goes on meanwhile).",
)
def daemon_cannot_tell(examined: Examined) -> Iterator[Sighting]:
    """multipathd hangs, or answers what nobody understands."""
    for node in examined.nodes:
        daemon, reason = _daemon(examined, node)
        if daemon == Daemon.CANNOT_TELL:
            yield Sighting("node", node, shortened(reason or "it does not say why", 400), (node,))


@rule(
    "version-spread",
    "warning",
    "Nodes run different releases of multipath-tools: they know different keywords, and may treat one array "
    "differently.",
    "Upgrade the older ones, a node at a time.",
)
def version_spread(examined: Examined) -> Iterator[Sighting]:
    """Releases that differ in their first two numbers."""
    minors: dict[tuple[int, ...], dict[str, str]] = {}
    for node, version in _versions(examined):
        newest = releases([version])[1]
        if newest is not None:
            minors.setdefault(newest[:2], {})[node] = version
    if len(minors) > 1:
        seen = "; ".join(
            f"{listed(sorted(set(of.values())))} on {listed(sorted(of))}" for _, of in sorted(minors.items())
        )
        yield Sighting("cluster", "cluster", seen, tuple(sorted(node for of in minors.values() for node in of)))


def _versions(examined: Examined) -> Iterator[tuple[str, str]]:
    for node in examined.nodes:
        facts, column = examined.facts.get(node), examined.columns.get(node)
        info = column.said.info if column else None
        version = (facts.version if facts else None) or (info.versions.multipath_tools if info else None)
        if version:
            yield node, shortened(version, 60)


@rule(
    "version-defects",
    "warning",
    "The release of multipath-tools on the node is known to have a defect; the distribution may have corrected it "
    "without another number.",
    "Upgrade multipath-tools on NODE; where the distribution has the correction, "
    "`pathfleet doctor mute version-defects --subject NODE --days 365 --reason corrected`.",
)
def version_defects(examined: Examined) -> Iterator[Sighting]:
    """A release with a defect that matters here."""
    for node, version in _versions(examined):
        newest = releases([version])[1]
        wrong = [what for since, before, what in _DEFECTS if newest and release(since) <= newest < release(before)]
        if wrong:
            yield Sighting("node", node, f"multipath-tools {version}: {'; '.join(wrong)}", (node,))


@rule(
    "report-stale",
    "warning",
    "The node is there and has stopped to report: what is shown of it is not the present.",
    "On NODE: `systemctl status pathfleet-agent`, `journalctl -u pathfleet-agent`.",
)
def report_stale(examined: Examined) -> Iterator[Sighting]:
    """A node that is online, with an old report."""
    for node, column in examined.columns.items():
        if column.online and column.spoke_at is not None and examined.now - column.spoke_at > STALE:
            yield Sighting("node", node, f"it spoke last {examined.now - column.spoke_at} s ago", (node,))


@rule(
    "report-unreadable",
    "warning",
    "What the node published cannot be read, in part or at all: another version, or something else writes there.",
    "Upgrade pathfleet on NODE to the version of the others, and restart it: `systemctl restart pathfleet-agent`.",
)
def report_unreadable(examined: Examined) -> Iterator[Sighting]:
    """Values of a node that are not what their keys promise."""
    for node, column in examined.columns.items():
        wrong = [text for text in (column.said.trouble, *column.said.warnings) if text]
        if wrong and not column.said.torn:
            yield Sighting("node", node, "; ".join(shortened(text) for text in wrong), (node,))


@rule(
    "clock-skew",
    "warning",
    "The node's clock is not that of the others: ages of reports are wrong, and one more than 180 s ahead is not "
    "believed at all.",
    "On NODE: `timedatectl`, and see that its time is synchronised (`chronyc tracking`).",
)
def clock_skew(examined: Examined) -> Iterator[Sighting]:
    """A clock that is ahead, or, where the node was asked, behind."""
    for node in examined.nodes:
        facts, column = examined.facts.get(node), examined.columns.get(node)
        spoke = column.spoke_at if column else None
        ahead = facts.time - examined.now if facts else spoke - examined.now if spoke is not None else 0
        if ahead > _SKEW_SECONDS or (facts and -ahead > _SKEW_SECONDS):
            word = "ahead" if ahead > 0 else "behind"
            yield Sighting("node", node, f"its clock is {abs(ahead)} s {word}", (node,))


@rule(
    "config-not-applied",
    "error",
    "The node does not go by the cluster's configuration.",
    "`pathfleet config status` says more; correct what it names, then `pathfleet config apply --retry`. On NODE: "
    "`systemctl status pathfleet-executor`.",
)
def config_not_applied(examined: Examined) -> Iterator[Sighting]:
    """An error of applying, or another digest than the wanted one."""
    for node, column in examined.columns.items():
        if column.doubt is None and examined.digest != "" and (why := _not_applied(column, examined.digest)):
            yield Sighting("node", node, why, (node,))


def _not_applied(column: Column, digest: str | None) -> str | None:
    applied = column.said.applied
    if applied is None:
        if digest is None or column.said.info is None or column.said.info.multipathd == Daemon.NOT_INSTALLED:
            return None
        return "it has never said what it has in force: nothing applies the configuration there"
    if applied.error:
        return shortened(applied.error, 500)
    if applied.digest == digest:
        return None
    return f"it has {_short(applied.digest)} in force, the cluster wants {_short(digest)}; it may be about to apply it"


def _short(digest: str | None) -> str:
    return shortened(digest, 8) if digest else "nothing of the cluster's"


@rule(
    "config-drifted",
    "warning",
    "The node has the cluster's configuration on disk, and its multipathd goes by other values.",
    "See which of the node's own files says so (finding `local-config-fights`); else `multipathd reconfigure` on "
    "NODE.",
)
def config_drifted(examined: Examined) -> Iterator[Sighting]:
    """What is in force is not what the drop-ins say."""
    if not examined.digest:
        return
    for node, facts in examined.facts.items():
        column = examined.columns.get(node)
        applied = column.said.applied if column else None
        if not facts.effective or applied is None or applied.digest != examined.digest:
            continue
        drop_ins = render.render(examined.configuration, examined.overrides, examined.digest, version=facts.version)
        other = [
            str(each)
            for each in drift.differences(drop_ins, facts.effective)
            if each.proven and each.keyword != "reservation_key"
        ]
        if other:
            yield Sighting("node", node, listed(other), (node,))


@rule(
    "storage-expects-missing",
    "error",
    "A storage needs the LUN on a node that does not have it: what is started there will not find its disk.",
    "Map the LUN to NODE on the array, scan for it (`iscsiadm -m session --rescan` or "
    "`echo '- - -' > /sys/class/scsi_host/hostN/scan`), and see that the configuration allows it: `pathfleet config "
    "show`.",
)
def storage_expects_missing(examined: Examined) -> Iterator[Sighting]:
    """A LUN that is expected on a node and not there."""
    missing: dict[str, dict[str, str]] = {}
    for node, column in examined.columns.items():
        for wwid, cell in matrix.cells(column, examined.expectations).items():
            if cell.state is State.MISSING:
                missing.setdefault(wwid, {})[node] = cell.reason
    for wwid, reasons in missing.items():
        reason = next(iter(reasons.values()))
        yield Sighting("lun", wwid, f"not on {listed(sorted(reasons))}: {reason}", tuple(sorted(reasons)))


RULES = (
    daemon_not_running,
    daemon_cannot_tell,
    version_spread,
    version_defects,
    report_stale,
    report_unreadable,
    clock_skew,
    config_not_applied,
    config_drifted,
    storage_expects_missing,
)
