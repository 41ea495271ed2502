"""The configuration that a simulated multipathd says it goes by: `show config` and `show config local`."""

from __future__ import annotations

from pathfleet.lab.daemon import Daemon
from pathfleet.lab.dialect import Dialect

#: The section `defaults` in multipathd's order: keyword, built-in value, the release that brought it.
_KEYWORDS = tuple(
    tuple(line.split("|"))
    for line in """verbosity|2|0
polling_interval|5|0
max_polling_interval|20|0
reassign_maps|"no"|0
path_selector|"service-time 0"|0
path_grouping_policy|"failover"|0
uid_attribute|"ID_SERIAL"|0
prio|"const"|0
prio_args|""|0
features|"0"|0
path_checker|"tur"|0
alias_prefix|"mpath"|0
failback|"manual"|0
rr_min_io|1000|0
rr_min_io_rq|1|0
max_fds|"max"|0
rr_weight|"uniform"|0
no_path_retry||0
queue_without_daemon|"no"|0
allow_usb_devices|"no"|0.8.5
flush_on_last_del|"no"|0
user_friendly_names|"no"|0
fast_io_fail_tmo|5|0
dev_loss_tmo||0
eh_deadline||0.8.6
log_checker_err|"always"|0
all_tg_pt|"no"|0
retain_attached_hw_handler|"yes"|0
detect_prio|"yes"|0
detect_checker|"yes"|0
detect_pgpolicy|"yes"|0.9.6
detect_pgpolicy_use_tpg|"no"|0.9.6
force_sync|"no"|0
strict_timing|"no"|0
deferred_remove|"no"|0
delay_watch_checks|"no"|0
delay_wait_checks|"no"|0
san_path_err_threshold|"no"|0
san_path_err_forget_rate|"no"|0
san_path_err_recovery_time|"no"|0
marginal_path_err_sample_time|"no"|0
marginal_path_err_rate_threshold|"no"|0
marginal_path_err_recheck_gap_time|"no"|0
marginal_path_double_failed_time|"no"|0
find_multipaths|"strict"|0
uxsock_timeout|4000|0
retrigger_tries|3|0
retrigger_delay|10|0
missing_uev_wait_timeout|30|0
skip_kpartx|"no"|0
remove_retries|0|0
max_sectors_kb||0
ghost_delay|"no"|0
auto_resize|"never"|0.9.7
find_multipaths_timeout|-10|0
enable_foreign|"NONE"|0
marginal_pathgroups|"off"|0
recheck_wwid|"no"|0.8.6
purge_disconnected|"no"|0.14.0""".splitlines()
)


def config_text(daemon: Daemon, *, local: bool) -> bytes:
    """Return the effective configuration; `local` names the LUNs that have a map."""
    configuration = daemon.configuration
    blacklist = [f'\twwid "{pattern}"' for pattern in configuration.blacklist]
    blacklist += [f'\tdevnode "{pattern}"' for pattern in configuration.blacklisted_devices]
    blacklist.append('\tdevnode "!^(sd[a-z]|dasd[a-z]|nvme[0-9])"')
    wwids = [map_.wwid for map_ in daemon.maps] if local else list(configuration.multipaths)
    parts = (
        _section("defaults", _defaults(configuration.defaults, daemon.dialect)),
        _section("blacklist", blacklist),
        _section("blacklist_exceptions", ['\tproperty "(SCSI_IDENT_|ID_WWN)"']),
        _section("devices", []),
        _section("overrides", [f"\t{keyword} {_quoted(value)}" for keyword, value in configuration.overrides.items()]),
        _section("multipaths", [_multipath(wwid, configuration.multipaths.get(wwid, {})) for wwid in wwids])
        if wwids
        else "",
    )
    return "".join(parts).encode(errors="surrogateescape")


def _section(name: str, lines: list[str]) -> str:
    return f"{name} {{\n" + "".join(f"{line}\n" for line in lines) + "}\n"


def _defaults(values: dict[str, str], dialect: Dialect) -> list[str]:
    shown = []
    for keyword, built_in, since in _KEYWORDS:
        value = values.get(keyword)
        if dialect.knows(since) and (value is not None or built_in):
            shown.append(f"\t{keyword} {built_in if value is None else _quoted(value)}")
    return shown


def _multipath(wwid: str, values: dict[str, str]) -> str:
    settings = "".join(f"\t\t{keyword} {_quoted(value)}\n" for keyword, value in values.items())
    return f'\tmultipath {{\n\t\twwid "{wwid}"\n{settings}\t}}'


def _quoted(value: str) -> str:
    return value if value.lstrip("-").isdigit() else f'"{value}"'
