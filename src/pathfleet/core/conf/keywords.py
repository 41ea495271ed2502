"""The keywords of multipath.conf(5) of multipath-tools 0.8.5 to 0.15: where each stands, what it takes, since when.

From libmultipath/dict.c. One row for each keyword and kind of value; a new release adds rows or dates here.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from pathfleet.core.conf import values
from pathfleet.core.conf.values import Kind, counted, whole, words

#: The names of the sections around a keyword, the outermost first.
Place = tuple[str, ...]

#: Each place has a letter, for the table.
PLACES: Mapping[str, Place] = {
    "D": ("defaults",),
    "B": ("blacklist",),
    "b": ("blacklist", "device"),
    "E": ("blacklist_exceptions",),
    "e": ("blacklist_exceptions", "device"),
    "-": ("devices",),
    "H": ("devices", "device"),
    "O": ("overrides",),
    "P": ("overrides", "protocol"),
    "=": ("multipaths",),
    "M": ("multipaths", "multipath"),
}
#: Sections that came later than the oldest supported release.
SECTION_SINCE: Mapping[Place, str] = {("overrides", "protocol"): "0.9.0"}
#: Where a keyword may stand more than once.
REPEATABLE = frozenset({("blacklist",), ("blacklist_exceptions",)})
#: What says which LUNs or devices a section is for.
IDENTITY: Mapping[Place, tuple[str, ...]] = {
    ("devices", "device"): ("vendor", "product", "revision"),
    ("blacklist", "device"): ("vendor", "product"),
    ("blacklist_exceptions", "device"): ("vendor", "product"),
    ("multipaths", "multipath"): ("wwid",),
    ("overrides", "protocol"): ("type",),
}
#: Names of long ago, and what they are called now.
RENAMED: Mapping[str, str] = {
    "default_features": "features",
    "default_path_checker": "path_checker",
    "default_path_grouping_policy": "path_grouping_policy",
    "default_selector": "path_selector",
    "default_uid_attribute": "uid_attribute",
    "devnode_blacklist": "blacklist",
}
#: Another name for the same, to this day.
ALIASES: Mapping[str, str] = {"checker": "path_checker"}


class Keyword(Struct, frozen=True):
    """A keyword in the places whose letters stand in `where`.

    `since` is the release that brought it, `ignored` the first that reads it and does nothing; `newer_words` are
    values that came later than the keyword. None and nothing: as in every supported release.
    """

    name: str
    where: str
    kind: Kind
    since: str | None = None
    ignored: str | None = None
    newer_words: Mapping[str, str] = {}


_POLLING = whole(1, 60, harm="0 ends multipathd, and a value that is no number makes it spin for ever")
_SELECTOR = counted(1, "service-time", "round-robin", "queue-length", "historical-service-time")
_FEATURES = counted(0)
_HANDLER = counted(0, "alua", "emc", "hp_sw", "rdac")
_POLICIES = ("failover", "multibus", "group_by_serial", "group_by_prio", "group_by_node_name", "group_by_tpg")
_PRIORITISERS = (
    *("const", "sysfs", "emc", "alua", "ontap", "rdac", "hp_sw", "hds", "random", "weightedpath"),
    *("path_latency", "ana", "datacore", "iet"),
)
_CHECKERS = ("tur", "directio", "rdac", "emc_clariion", "hp_sw", "cciss_tur", "readsector0", "none")
_PROTOCOLS = (
    *("scsi:fcp", "scsi:spi", "scsi:ssa", "scsi:sbp", "scsi:srp", "scsi:iscsi", "scsi:sas", "scsi:adt", "scsi:ata"),
    *("scsi:usb", "scsi:unspec", "ccw", "cciss", "nvme:pcie", "nvme:rdma", "nvme:fc", "nvme:tcp", "nvme:loop"),
    *("nvme:apple-nvme", "nvme:unspec", "undef"),
)
_FIND = words("strict", "off", "on", "greedy", "smart", spellings={"no": "off", "0": "off", "yes": "on", "1": "on"})
_MARGINAL = words("off", "on", "fpin", spellings={"no": "off", "0": "off", "yes": "on", "1": "on"})
_FLUSH = words("always", "unused", "never", spellings={"yes": "always", "1": "always", "no": "unused", "0": "unused"})
_FLUSH_WORDS = {"always": "0.9.9", "unused": "0.9.9", "never": "0.9.9"}

_ROWS = (
    Keyword("verbosity", "D", whole(0, 6)),
    Keyword("polling_interval", "D", _POLLING),
    Keyword("max_polling_interval", "D", whole(1, 3600)),
    Keyword("reassign_maps", "D", values.YES_NO),
    Keyword("path_selector", "DHOM", _SELECTOR),
    Keyword("path_grouping_policy", "DHOM", words(*_POLICIES), newer_words={"group_by_tpg": "0.9.6"}),
    Keyword("uid_attrs", "D", values.UID_ATTRIBUTES),
    Keyword("uid_attribute", "DHO", values.GRAPHIC),
    Keyword("prio", "DHOM", words(*_PRIORITISERS)),
    Keyword("prio_args", "DHOM", values.TEXT),
    Keyword("features", "DHOM", _FEATURES),
    Keyword("path_checker", "DHO", words(*_CHECKERS)),
    Keyword("checker", "DHO", words(*_CHECKERS)),
    Keyword("alias_prefix", "DHO", values.ALIAS),
    Keyword("failback", "DHOM", values.FAILBACK),
    Keyword("rr_min_io", "DHOM", values.FROM_ONE, ignored="0.15.0"),
    Keyword("rr_min_io_rq", "DHOM", values.FROM_ONE, ignored="0.15.0"),
    Keyword("rr_weight", "DHOM", words("uniform", "priorities"), ignored="0.15.0"),
    Keyword("max_fds", "D", whole(1, values.INT_MAX, "max")),
    Keyword("no_path_retry", "DHOM", values.NO_PATH_RETRY),
    Keyword("queue_without_daemon", "D", values.YES_NO),
    Keyword("checker_timeout", "D", values.FROM_ONE),
    Keyword("allow_usb_devices", "D", values.YES_NO),
    Keyword("flush_on_last_del", "DHOM", _FLUSH, newer_words=_FLUSH_WORDS),
    Keyword("user_friendly_names", "DHOM", values.YES_NO),
    Keyword("mode", "DM", values.MODE),
    Keyword("uid", "DM", values.OWNER),
    Keyword("gid", "DM", values.OWNER),
    Keyword("fast_io_fail_tmo", "DHOP", values.OFF_OR_SECONDS),
    Keyword("dev_loss_tmo", "DHOP", values.DEV_LOSS),
    Keyword("eh_deadline", "DHOP", values.OFF_OR_SECONDS, since="0.8.6"),
    Keyword("max_retries", "D", whole(0, 5), since="0.9.7"),
    Keyword("log_checker_err", "D", words("once", "always")),
    Keyword("reservation_key", "DM", values.RESERVATION_KEY),
    Keyword("all_tg_pt", "DHO", values.YES_NO),
    Keyword("retain_attached_hw_handler", "DHO", values.YES_NO),
    Keyword("detect_prio", "DHO", values.YES_NO),
    Keyword("detect_checker", "DHO", values.YES_NO),
    Keyword("detect_pgpolicy", "DHO", values.YES_NO, since="0.9.6"),
    Keyword("detect_pgpolicy_use_tpg", "DHO", values.YES_NO, since="0.9.6"),
    Keyword("force_sync", "D", values.YES_NO),
    Keyword("strict_timing", "D", values.YES_NO),
    Keyword("deferred_remove", "DHOM", values.YES_NO),
    Keyword("partition_delimiter", "D", values.NO_SLASH),
    Keyword("delay_watch_checks", "DHOM", values.OFF_OR_COUNT),
    Keyword("delay_wait_checks", "DHOM", values.OFF_OR_COUNT),
    Keyword("san_path_err_threshold", "DHOM", values.OFF_OR_COUNT),
    Keyword("san_path_err_forget_rate", "DHOM", values.OFF_OR_COUNT),
    Keyword("san_path_err_recovery_time", "DHOM", values.OFF_OR_COUNT),
    Keyword("marginal_path_err_sample_time", "DHOM", whole(120, values.INT_MAX, "no", spellings={"0": "no"})),
    Keyword("marginal_path_err_rate_threshold", "DHOM", values.OFF_OR_COUNT),
    Keyword("marginal_path_err_recheck_gap_time", "DHOM", values.OFF_OR_COUNT),
    Keyword("marginal_path_double_failed_time", "DHOM", values.OFF_OR_COUNT),
    Keyword("find_multipaths", "D", _FIND),
    Keyword("find_multipaths_timeout", "D", whole(-values.INT_MAX)),
    Keyword("uxsock_timeout", "D", whole(4000)),
    Keyword("retrigger_tries", "D", values.COUNT),
    Keyword("retrigger_delay", "D", values.COUNT),
    Keyword("missing_uev_wait_timeout", "D", values.COUNT),
    Keyword("skip_kpartx", "DHOM", values.YES_NO),
    Keyword("purge_disconnected", "DHOM", values.YES_NO, since="0.14.0"),
    Keyword("remove_retries", "D", values.COUNT),
    Keyword("max_sectors_kb", "DHOM", values.FROM_ONE),
    Keyword("ghost_delay", "DHOM", values.OFF_OR_COUNT),
    Keyword("auto_resize", "D", words("never", "grow_only", "grow_shrink"), since="0.9.7"),
    Keyword("enable_foreign", "D", values.REGEX),
    Keyword("marginal_pathgroups", "D", _MARGINAL, newer_words={"fpin": "0.9.0"}),
    Keyword("recheck_wwid", "DHO", values.YES_NO, since="0.8.6"),
    Keyword("multipath_dir", "D", values.TEXT, ignored="0.9.0"),
    Keyword("config_dir", "D", values.TEXT, ignored="0.9.0"),
    Keyword("getuid_callout", "DHO", values.TEXT, ignored="0.9.0"),
    Keyword("pg_timeout", "DHM", values.TEXT, ignored="0.9.0"),
    Keyword("bindings_file", "D", values.PATHNAME, ignored="0.9.7"),
    Keyword("wwids_file", "D", values.PATHNAME, ignored="0.9.7"),
    Keyword("prkeys_file", "D", values.PATHNAME, ignored="0.9.7"),
    Keyword("disable_changed_wwids", "D", values.TEXT, ignored="0.9.7"),
    Keyword("devnode", "BE", values.BLACKLIST_REGEX),
    Keyword("wwid", "BE", values.BLACKLIST_REGEX),
    Keyword("property", "BE", values.BLACKLIST_REGEX),
    Keyword("protocol", "BE", values.BLACKLIST_REGEX),
    Keyword("vendor", "be", values.BLACKLIST_REGEX),
    Keyword("product", "be", values.BLACKLIST_REGEX),
    Keyword("vendor", "H", values.REGEX),
    Keyword("product", "H", values.REGEX),
    Keyword("revision", "H", values.REGEX),
    Keyword("product_blacklist", "H", values.BLACKLIST_REGEX),
    Keyword("hardware_handler", "H", _HANDLER),
    Keyword("vpd_vendor", "H", words("hp3par")),
    Keyword("type", "P", words(*_PROTOCOLS)),
    Keyword("wwid", "M", values.GRAPHIC),
    Keyword("alias", "M", values.ALIAS),
)

#: Every place, and the keywords that it takes by their names.
KEYWORDS: Mapping[Place, Mapping[str, Keyword]] = {
    place: {row.name: row for row in _ROWS if letter in row.where} for letter, place in PLACES.items()
}


def places_of(name: str) -> tuple[Place, ...]:
    """Return where a keyword may stand."""
    return tuple(place for place, keywords in KEYWORDS.items() if name in keywords)


def canonical(place: Place, name: str, value: str) -> str:
    """Return a value as multipathd prints it; as it is where the keyword is not known."""
    keyword = KEYWORDS.get(place, {}).get(name)
    return keyword.kind.canonical(value) if keyword is not None else value
