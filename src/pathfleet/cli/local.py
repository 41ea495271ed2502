"""This node, as the commands see it: settings, a collector, the store."""

from __future__ import annotations

from pathlib import Path

import click

from pathfleet.agent.baseline import Baseline
from pathfleet.agent.collect import Collector
from pathfleet.settings import Settings, load
from pathfleet.system.multipathd import Multipathd
from pathfleet.system.sysfs import Sysfs


def settings(ctx: click.Context) -> Settings:
    """Return the settings of the file that the command line names. Raises SettingsError."""
    return load(ctx.find_root().params["config_file"])


def baseline(current: Settings) -> Baseline:
    """Return the accepted number of paths of this node."""
    return Baseline(Path(current.state_directory))


def collector(current: Settings) -> Collector:
    """Return what finds out the truth about this node's maps."""
    return Collector(
        Multipathd(current.multipathd_socket), sysfs=Sysfs(Path(current.sysfs)), baseline=baseline(current)
    )
