"""Metrics for a monitoring system: this node's maps, and what the cluster's matrix says.

Names follow node_exporter's collector `dmmultipath` (info, active, size, paths) where the meaning is the same. What
nobody can tell has no sample, never a zero; what found no room is counted. Format: https://prometheus.io/docs/specs/om/
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from msgspec import Struct
from prometheus_client import exposition
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from starlette.responses import Response

from pathfleet import __version__
from pathfleet.api.operation import Call, operation
from pathfleet.cluster.access import Role
from pathfleet.core.answer import Answer, MapRow, PathRow
from pathfleet.core.health import Flag, Health
from pathfleet.core.matrix import Document, Lun, NodeRow, State
from pathfleet.core.node import Daemon

T = TypeVar("T")

#: So many of a kind have series, the worst first.
LIMITS: Final = {"map": 2000, "path": 20_000, "lun": 2000, "node": 1000}
#: A label's value is cut to so many characters.
LABEL_LIMIT: Final = 200

_DAEMON_WORDS: Final = (*(word.value for word in Daemon), "no-maps", "unknown")


class MetricsQuery(Struct, frozen=True, rename="kebab"):
    """`paths`: a series for each path, too. `cluster`: the whole cluster, which is the same from every node."""

    paths: bool = False
    cluster: bool = True


@operation(
    "GET",
    "/metrics",
    needs=Role.AUDITOR,
    summary="Metrics of this node's maps and of the cluster, in the text format of OpenMetrics or Prometheus",
    tag="metrics",
    media=("application/openmetrics-text", "text/plain"),
)
async def metrics(call: Call, query: MetricsQuery) -> Response:
    """Return the exposition, OpenMetrics where the client accepts it.

    Of many nodes that are scraped, one or two need `cluster`; the others save its series with `cluster=0`.
    """
    live = call.service.live
    scrape = Scrape(
        call.service.maps(),
        live.document() if query.cluster and live.ready else None,
        store_up=live.ready and live.trouble is None,
        paths=query.paths,
    )
    generate, media = _format(call.request.headers.get("accept", ""))
    # Thousands of series take a second to write: not on the loop.
    return Response(await asyncio.to_thread(generate, scrape), media_type=media)


def _format(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    for kind in accept.split(","):
        if kind.partition(";")[0].strip() == "application/openmetrics-text":
            return openmetrics.generate_latest, openmetrics.CONTENT_TYPE_LATEST
    return exposition.generate_latest, exposition.CONTENT_TYPE_PLAIN_0_0_4


class Scrape(Collector):
    """One answer to one scrape. `document` None: the cluster is not asked for, or not known yet."""

    def __init__(self, answer: Answer, document: Document | None, *, store_up: bool, paths: bool = False) -> None:
        self._answer = answer
        self._document = document
        self._store_up = store_up
        self._paths = paths
        self._omitted: dict[str, int] = {}

    def collect(self) -> Iterator[Metric]:
        """Yield all families; a family without samples is not there."""
        families = [*self._of_this_node()]
        if self._document is not None:
            families += [*self._of_luns(self._document.luns), *self._of_nodes(self._document.nodes)]
        families.append(self._of_omissions())
        return (family for family in families if family.samples)

    def _of_this_node(self) -> Iterator[Metric]:
        yield InfoMetricFamily("pathfleet_build", "What answers.", {"version": __version__})
        yield _gauge("pathfleet_store_up", "Whether this node reads the cluster's store.", value=self._store_up)
        state = _gauge("pathfleet_multipathd_state", "multipathd on this node: 1 for its state.", "state")
        word = self._answer.answer
        yield _states(state, (), Daemon.RUNNING.value if word == "maps" else word, _DAEMON_WORDS)
        maps = self._kept("map", self._answer.maps, lambda row: row.wwid)
        yield from _of_maps(maps)
        if self._paths:
            yield self._of_paths(maps)

    def _of_paths(self, maps: Iterable[MapRow]) -> Metric:
        family = _gauge(
            "pathfleet_multipath_path_state",
            "A path and what it is called: `state` by its meaning, `dm` by the kernel, `checker` by multipathd.",
            *("wwid", "path", "state", "dm", "checker"),
        )
        paths = [(row.wwid, path) for row in maps for path in _paths_of(row)]
        for wwid, path in self._kept("path", paths, lambda of: f"{of[0]} {of[1].path}"):
            _add(family, (wwid, path.path, path.state, path.dm, path.checker), 1)
        return family

    def _of_luns(self, luns: Sequence[Lun]) -> Iterator[Metric]:
        counts = Counter(lun.cluster_state for lun in luns)
        number = _gauge("pathfleet_luns", "LUNs of the cluster by the worst that a node says of them.", "state")
        for state in State:
            _add(number, (state.value,), counts[state])
        yield number
        family = _gauge(
            "pathfleet_lun_state", "The worst that a node says of a LUN: 1 for that state.", "wwid", "alias", "state"
        )
        words = [state.value for state in State]
        for lun in self._kept("lun", luns, lambda lun: lun.wwid):
            _states(family, (lun.wwid, lun.alias or ""), lun.cluster_state.value, words)
        yield family

    def _of_nodes(self, rows: Sequence[NodeRow]) -> Iterator[Metric]:
        info = InfoMetricFamily("pathfleet_node", "What runs on a node.", labels=("node",))
        configuration = InfoMetricFamily(
            "pathfleet_node_configuration", "The configuration that is in force on a node.", labels=("node",)
        )
        online = _gauge("pathfleet_node_online", "Whether a node is online; absent where nobody can tell.", "node")
        age = _gauge("pathfleet_node_report_age_seconds", "How old a node's report is.", "node", unit="seconds")
        daemon = _gauge("pathfleet_node_multipathd_state", "multipathd on a node: 1 for that state.", "node", "state")
        trouble = _gauge("pathfleet_node_apply_error", "Whether a node could not apply the configuration.", "node")
        for row in self._kept("node", rows, lambda row: row.node):
            name, versions = _label(row.node), row.versions
            known = {"version": versions.pathfleet, "multipath_tools": versions.multipath_tools}
            info.add_metric((name,), {label: _label(value or "") for label, value in known.items()})
            _states(daemon, (row.node,), row.daemon, _DAEMON_WORDS)
            if row.online is not None:
                _add(online, (row.node,), row.online)
            if row.age is not None:
                _add(age, (row.node,), row.age)
            if row.apply is not None:
                configuration.add_metric((name,), {"digest": _label(row.apply.digest or "")})
                _add(trouble, (row.node,), row.apply.error is not None)
        return iter((info, online, daemon, age, configuration, trouble))

    def _of_omissions(self) -> Metric:
        family = _gauge(
            "pathfleet_series_omitted", "How many of a kind have no series here: too many, or two by one name.", "kind"
        )
        for kind, count in self._omitted.items():
            _add(family, (kind,), count)
        return family

    def _kept(self, kind: str, rows: Sequence[T], name: Callable[[T], str]) -> list[T]:
        """Return the rows that have series: the first ones, and of two that would have the same series the first."""
        kept: dict[str, T] = {}
        for row in rows:
            if len(kept) < LIMITS[kind]:
                kept.setdefault(_label(name(row)), row)
        self._omitted[kind] = len(rows) - len(kept)
        return list(kept.values())


def _of_maps(maps: Iterable[MapRow]) -> Iterator[Metric]:
    info = InfoMetricFamily("pathfleet_multipath_device", "A map on this node.", labels=("wwid",))
    active = _gauge("pathfleet_multipath_device_active", "Whether a map carries I/O, as opposed to suspended.", "wwid")
    size = _gauge("pathfleet_multipath_device_size_bytes", "Size of a map.", "wwid", unit="bytes")
    total = _gauge("pathfleet_multipath_device_paths", "Paths of a map.", "wwid")
    usable = _gauge(
        "pathfleet_multipath_device_paths_active", "Paths that kernel and checker agree on to be usable.", "wwid"
    )
    failed = _gauge("pathfleet_multipath_device_paths_failed", "Paths that are not usable.", "wwid")
    standby = _gauge("pathfleet_multipath_device_paths_standby", "Usable paths behind a passive port.", "wwid")
    checked = _gauge(
        "pathfleet_multipath_device_checked_paths", "Paths by the word of multipathd's checker.", "wwid", "checker"
    )
    flag = _gauge("pathfleet_multipath_device_flag", "What stands beside a map's health; absent: no.", "wwid", "flag")
    for row in maps:
        info.add_metric((_label(row.wwid),), _info_of(row))
        _add(active, (row.wwid,), Flag.SUSPENDED not in row.flags)
        if row.size is not None:
            _add(size, (row.wwid,), row.size)
        _add(total, (row.wwid,), row.paths_total)
        if row.health is not Health.UNKNOWN:  # else the number says that nobody knows
            _add(usable, (row.wwid,), row.paths_active)
            _add(failed, (row.wwid,), row.paths_total - row.paths_active)
            _add(standby, (row.wwid,), row.paths_standby)
        words = Counter(_label(path.checker) for path in _paths_of(row))
        for word, count in sorted(words.items()):
            _add(checked, (row.wwid, word), count)
        for name in row.flags:
            _add(flag, (row.wwid, name.value), 1)
    return iter((info, active, size, total, usable, failed, standby, checked, flag))


def _info_of(row: MapRow) -> dict[str, str]:
    words = {
        "alias": row.alias,
        "device": row.device,
        "transport": row.transport,
        "vendor": row.vendor,
        "product": row.product,
    }
    return {name: _label(word or "") for name, word in words.items()}


def _paths_of(row: MapRow) -> Iterator[PathRow]:
    for group in row.path_groups:
        yield from group.paths


def _gauge(name: str, meaning: str, *labels: str, unit: str = "", value: float | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value, labels if value is None else None, unit)


def _add(family: GaugeMetricFamily, labels: Sequence[str], value: float) -> None:
    family.add_metric([_label(label) for label in labels], value)


def _states(family: GaugeMetricFamily, labels: Sequence[str], state: str, states: Iterable[str]) -> GaugeMetricFamily:
    """Add a sample for each state: 1 for the one that is, 0 for the others; a word that is none of them is unknown."""
    states = tuple(states)
    state = state if state in states else "unknown"
    for word in states:
        _add(family, (*labels, word), word == state)
    return family


def _label(text: str) -> str:
    """Return a label's value that breaks no line and no parser, whoever named it."""
    text = text[:LABEL_LIMIT]
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


OPERATIONS = (metrics,)
