"""The properties of multipathd that the cluster configuration sets: one row of a table each (multipath.conf(5)).

A value is allowed only if every supported multipath-tools reads it as what it says. Some of them divide by a zero,
spin on a word where a number belongs, cap, or guess: none of that gets past `check`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from functools import partial

from pathfleet.core.property import BadValue, Property

__all__ = [
    "BY_NAME",
    "OLDEST",
    "PROPERTIES",
    "BadValue",
    "Property",
    "check",
    "check_together",
    "check_wwid",
    "settable",
    "unknown_to",
]

#: The oldest multipath-tools that the rendered configuration is for.
OLDEST = "0.8.5"

_YES_NO = ("yes", "no")
_LARGE = 2**31 - 1
_switch = partial(Property, kind="boolean", words=_YES_NO)
_number = partial(Property, kind="number")
# What multipath.conf(5) turns off with `no`; the rest are positive numbers.
_limit = partial(Property, kind="number", words=("no",), minimum=1, maximum=_LARGE, default="no", in_wwid=True)

PROPERTIES: tuple[Property, ...] = (
    Property(
        "alias",
        "The name of the LUN's device under /dev/mapper, the same on every node.",
        kind="alias",
        form="1 to 127 of the characters A-Z a-z 0-9 # + - . : = @ _, not beginning with - or ., and not "
        "looking like the WWID of another LUN",
        in_defaults=False,
        in_wwid=True,
    ),
    Property(
        "path-grouping-policy",
        "Which paths share a group, and so carry I/O at the same time.",
        words=("failover", "multibus", "group_by_serial", "group_by_prio", "group_by_node_name", "group_by_tpg"),
        newer_words={"group_by_tpg": "0.9.6"},
        default="failover",
        in_wwid=True,
    ),
    Property(
        "path-selector",
        "How the I/O of a group is spread over its paths.",
        words=("service-time 0", "round-robin 0", "queue-length 0", "historical-service-time 0"),
        default="service-time 0",
        in_wwid=True,
    ),
    Property(
        "prio",
        "Where the priority of a path comes from; the group with the highest priority is used.",
        words=(
            *("const", "sysfs", "alua", "ana", "emc", "ontap", "rdac", "hp_sw", "hds"),
            *("random", "weightedpath", "path_latency", "datacore", "iet"),
        ),
        default="const",
        in_wwid=True,
    ),
    Property(
        "prio-args",
        "Arguments for those prioritizers that need some: `weightedpath`, `path_latency`, `datacore`, `iet`, `alua`.",
        kind="text",
        pattern=r"[!-~](?:[ -~]{0,253}[!-~])?",
        form="up to 255 printable ASCII characters",
        in_wwid=True,
    ),
    _number(
        "failback",
        "When I/O returns to the best group once that works again: at once, never by itself, or after a while.",
        words=("immediate", "manual", "followover"),
        minimum=1,
        maximum=86400,
        unit="seconds",
        default="manual",
        in_wwid=True,
    ),
    _number(
        "no-path-retry",
        "How often the paths are checked after the last one is lost before I/O fails; `queue` lets it wait for ever.",
        words=("fail", "queue"),
        minimum=0,
        maximum=100_000,
        unit="checks",
        in_wwid=True,
    ),
    Property(
        "features",
        "Features of the kernel's multipath target, behind the number of their words.",
        kind="features",
        form="`0`, or the number of words and then queue_if_no_path, retain_attached_hw_handler, pg_init_retries N, "
        "pg_init_delay_msecs N, queue_mode bio|rq|mq",
        default="0",
        in_wwid=True,
    ),
    _number(
        "polling-interval",
        "How long after a check a path is checked again; it grows up to max-polling-interval while all is well.",
        minimum=1,
        maximum=60,
        unit="seconds",
        default="5",
    ),
    _number(
        "max-polling-interval",
        "The longest time between two checks of a path, so the longest that a failure without I/O goes unseen.",
        minimum=1,
        maximum=3600,
        unit="seconds",
        default="20",
    ),
    Property(
        "path-checker",
        "How a path is found to work.",
        words=("tur", "directio", "rdac", "emc_clariion", "hp_sw", "cciss_tur", "readsector0", "none"),
        default="tur",
    ),
    _number(
        "checker-timeout",
        "How long a check may take before the path counts as failed.",
        minimum=1,
        maximum=3600,
        unit="seconds",
    ),
    _switch("detect-checker", "Let multipathd choose the checker where the device says how.", default="yes"),
    _switch("detect-prio", "Let multipathd choose the prioritizer where the device says how.", default="yes"),
    _switch(
        "detect-pgpolicy",
        "Let multipathd group by priority where the device has ALUA.",
        default="yes",
        since="0.9.6",
    ),
    _switch(
        "detect-pgpolicy-use-tpg",
        "Group by target port group, not by priority, where the grouping is detected.",
        default="no",
        since="0.9.6",
    ),
    _number(
        "fast-io-fail-tmo",
        "How long after the loss of a remote port its I/O fails over; must be shorter than dev-loss-tmo.",
        words=("off",),
        minimum=0,
        maximum=_LARGE - 1,
        unit="seconds",
        default="5",
    ),
    _number(
        "dev-loss-tmo",
        "How long after the loss of a remote port its devices are removed.",
        words=("infinity",),
        minimum=1,
        maximum=_LARGE,
        unit="seconds",
    ),
    _number(
        "eh-deadline",
        "How long the kernel's SCSI error handling may take before it resets the whole host adapter.",
        words=("off",),
        minimum=0,
        maximum=_LARGE // 1000,
        unit="seconds",
        since="0.8.6",
    ),
    _number(
        "max-retries",
        "How often the kernel tries a command of a SCSI path again.",
        minimum=0,
        maximum=5,
        unit="times",
        since="0.9.7",
    ),
    _switch(
        "flush-on-last-del",
        "Fail the I/O that waits when the last path is removed, even while the map is in use.",
        default="no",
        in_wwid=True,
    ),
    _switch("queue-without-daemon", "Let I/O go on waiting for paths while multipathd is stopped.", default="no"),
    _switch(
        "deferred-remove", "Remove a map whose last path is gone once nobody uses it.", default="no", in_wwid=True
    ),
    _switch("reassign-maps", "Put maps in place of single paths in the tables of devices above.", default="no"),
    _switch(
        "retain-attached-hw-handler",
        "Keep the hardware handler that the kernel attached to a path.",
        default="yes",
    ),
    _switch("user-friendly-names", "Names like mpatha, which differ between nodes.", default="no", fixed="no"),
    Property(
        "find-multipaths",
        "Which devices become maps: `strict` takes those that are allow-listed, nothing else.",
        words=("strict",),
        default="strict",
        fixed="strict",
    ),
    _switch("allow-usb-devices", "Take USB devices as paths too.", default="no"),
    _switch(
        "recheck-wwid",
        "Read a path's WWID again when it returns; drop it if it is another.",
        default="no",
        since="0.8.6",
    ),
    _switch(
        "purge-disconnected",
        "Remove paths whose LUN the target has taken away.",
        default="no",
        since="0.14.0",
        in_wwid=True,
    ),
    _switch("marginal-pathgroups", "Put marginal paths into groups that are used last.", default="no"),
    _limit(
        "marginal-path-err-sample-time",
        "How long a path that failed is watched for errors; the other marginal-path properties are needed too.",
        minimum=120,
        unit="seconds",
    ),
    _limit(
        "marginal-path-err-rate-threshold",
        "The share of failed I/O from which on a path counts as marginal.",
        maximum=1000,
        unit="per mille",
    ),
    _limit(
        "marginal-path-err-recheck-gap-time",
        "How long a marginal path stays marginal before it is watched again.",
        unit="seconds",
    ),
    _limit(
        "marginal-path-double-failed-time",
        "A path that fails twice within this time begins to be watched.",
        unit="seconds",
    ),
    _limit("san-path-err-threshold", "How many failures make a path unreliable.", unit="failures"),
    _limit("san-path-err-forget-rate", "After how many good checks one failure is forgotten.", unit="checks"),
    _limit("san-path-err-recovery-time", "How long an unreliable path is kept out of use.", unit="seconds"),
    _limit(
        "delay-watch-checks",
        "How many checks a path that came back is watched for.",
        unit="checks",
        deprecated="the san-path-err properties stand in for it",
    ),
    _limit(
        "delay-wait-checks",
        "How many good checks a path needs that failed while it was watched.",
        unit="checks",
        deprecated="the san-path-err properties stand in for it",
    ),
    _limit("ghost-delay", "How long a map with standby paths alone waits for an active one.", unit="seconds"),
    Property(
        "reservation-key",
        "The key of persistent reservations; `file` keeps one for each node, as fencing needs it.",
        kind="text",
        words=("file",),
        pattern=r"0x(?!0+(?::|$))[0-9a-fA-F]{1,16}(?::aptpl)?",
        form="0x and 1 to 16 hexadecimal digits, not all 0; `:aptpl` behind it for a key that outlives a power cut",
        in_wwid=True,
    ),
    _switch("all-tg-pt", "Register reservation keys for all target ports at once.", default="no"),
    _switch("skip-kpartx", "Make no devices for the partitions of a map.", default="no", in_wwid=True),
    _number(
        "max-sectors-kb",
        "The largest request that goes to a path.",
        minimum=4,
        maximum=1024 * 1024,
        unit="KiB",
        in_wwid=True,
    ),
    Property(
        "auto-resize",
        "Whether a map follows the size of its paths.",
        words=("never", "grow_only", "grow_shrink"),
        default="never",
        since="0.9.7",
    ),
    _number(
        "remove-retries",
        "How often the removal of a map that is in use is tried again.",
        minimum=0,
        maximum=1000,
        unit="times",
        default="0",
    ),
    _number(
        "uxsock-timeout",
        "How long a question to multipathd may wait for its answer.",
        minimum=4000,
        maximum=600_000,
        unit="milliseconds",
        default="4000",
    ),
    _number(
        "retrigger-tries",
        "How often udev is asked again for a WWID that it did not give.",
        minimum=0,
        maximum=1000,
        unit="times",
        default="3",
    ),
    _number(
        "retrigger-delay",
        "How long to wait before udev is asked again.",
        minimum=0,
        maximum=3600,
        unit="seconds",
        default="10",
    ),
    _number(
        "missing-uev-wait-timeout",
        "How long after its creation a map may lack udev's event before paths are added to it anyhow.",
        minimum=0,
        maximum=3600,
        unit="seconds",
        default="30",
    ),
    _switch("force-sync", "Check the paths one after the other.", default="no"),
    _switch("strict-timing", "Check the paths in each second that is due, not a second late.", default="no"),
    Property(
        "log-checker-err",
        "Whether a checker's error is logged each time or once.",
        words=("always", "once"),
        default="always",
    ),
    _number("verbosity", "How much multipathd logs.", minimum=0, maximum=4, default="2"),
    _number(
        "max-fds",
        # up to less than the kernel's own limit, for which multipathd prints `max`
        "How many files multipathd may have open.",
        words=("max",),
        minimum=1024,
        maximum=1_000_000,
        unit="files",
        default="max",
    ),
    Property(
        "mode",
        "The permissions of the map's device.",
        kind="text",
        pattern=r"0[0-7]{3}",
        form="an octal mode such as `0660`",
        in_wwid=True,
    ),
    _number("uid", "The numeric owner of the map's device.", minimum=0, maximum=2**32 - 2, in_wwid=True),
    _number("gid", "The numeric group of the map's device.", minimum=0, maximum=2**32 - 2, in_wwid=True),
    Property(
        "rr-weight",
        "How paths of unlike priority shared a group.",
        words=("uniform", "priorities"),
        default="uniform",
        in_wwid=True,
        deprecated="ignored since 0.15.0",
        until="0.15.0",
    ),
    _number(
        "rr-min-io",
        "How much I/O went to a path before the next one, on kernels before 2.6.31.",
        minimum=1,
        maximum=_LARGE,
        unit="requests",
        default="1000",
        in_wwid=True,
        deprecated="ignored since 0.15.0",
        until="0.15.0",
    ),
    _number(
        "rr-min-io-rq",
        "How much I/O went to a path before the next one.",
        minimum=1,
        maximum=_LARGE,
        unit="requests",
        default="1",
        in_wwid=True,
        deprecated="ignored since 0.15.0",
        until="0.15.0",
    ),
)

BY_NAME: dict[str, Property] = {row.name: row for row in PROPERTIES}

_WWID = re.compile(r"[!#-.0-~]{1,127}")


def check(name: str, value: str, *, wwid: str | None = None) -> str:
    """Return the value as it is written, for the LUN `wwid` or, without one, for the defaults. Raises BadValue."""
    return settable(name, value, per_lun=wwid is not None).read(value, wwid=wwid)


def settable(name: str, value: str = "", *, per_lun: bool) -> Property:
    """Return the property of that name, for a LUN or for the defaults. Raises BadValue if there is none."""
    row = BY_NAME.get(name)
    if row is not None and (row.in_wwid if per_lun else row.in_defaults):
        return row
    where = "a LUN" if per_lun else "the defaults"
    names = [row.name for row in PROPERTIES if (row.in_wwid if per_lun else row.in_defaults)]
    alike = difflib.get_close_matches(name[:80], names, n=1)
    hint = f"; did you mean `{alike[0]}`?" if alike else ""
    raise BadValue(name, value, f"the properties of {where}, and this is none of them{hint}")


def check_wwid(value: str) -> str:
    """Return the value if it can be a LUN's WWID, as maps and multipath's list of WWIDs carry it. Raises BadValue."""
    if value == "defaults" or not _WWID.fullmatch(value):
        raise BadValue(
            "wwid", value, '1 to 127 printable ASCII characters without blanks, `"` and `/`; not `defaults`'
        )
    return value


def check_together(values: Mapping[str, str], changed: Collection[str]) -> None:
    """Refuse changed defaults that multipathd would not follow together with the others. Raises BadValue."""
    for low, high, equal in (("polling-interval", "max-polling-interval", 1), ("fast-io-fail-tmo", "dev-loss-tmo", 0)):
        first, last = values.get(low, BY_NAME[low].default or ""), values.get(high, "")
        touched = low in changed or high in changed
        if touched and first.isdigit() and last.isdigit() and int(first) >= int(last) + equal:
            allowed = f"{'at least' if equal else 'more than'} {low}, which is {first} {BY_NAME[low].unit}"
            raise BadValue(high, last, allowed)


def unknown_to(version: str | None, row: Property, value: str) -> str | None:
    """Return why multipath-tools of a version (None, or not readable: the oldest) have no use for a value."""
    found = _numbers(version or OLDEST)
    since = row.newer_words.get(value, row.since)
    if since is not None and found < _numbers(since):
        return f"it came with multipath-tools {since}"
    if row.until is not None and found >= _numbers(row.until):
        return f"it went with multipath-tools {row.until}"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"v?([0-9]{1,6}(?:\.[0-9]{1,6})*)", version)
    return tuple(int(number) for number in found[1].split(".")) if found else _numbers(OLDEST)
