from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from pathfleet.api import metrics
from pathfleet.core.answer import Answer
from pathfleet.core.health import Facts, KernelMap
from pathfleet.core.matrix import Apply, Document, Lun, NodeRow, State
from pathfleet.core.node import Versions
from tests.api.site import LUN1, LUN2, Speech, answer, site
from tests.replies import group, map_, path

GOLDEN = Path(__file__).with_name("metrics.txt")
FOUND = answer(
    map_(LUN1, group(path("sda"), path("sdb", chk="ghost")), name="db", sysfs="dm-0"),
    map_(
        LUN2,
        group(path("sdc", "failed", "faulty"), path("sdd", "active", "faulty")),
        sysfs="dm-1",
        queueing="12 chk",
        dm_st="suspend",
    ),
    facts=Facts(sizes={"dm-0": 1 << 30}),
)
DOCUMENT = Document(
    [Lun(LUN2, None, State.FAILED), Lun(LUN1, "db", State.OPTIMAL)],
    [
        NodeRow("a", True, "running", apply=Apply("12ab", None, 1), versions=Versions("1.0", "0.9.4"), age=3),
        NodeRow("b", None, "unknown"),
        NodeRow("c", False, "not-running", apply=Apply(None, "it did not start", 1), age=500),
    ],
)


def scraped(
    found: Answer = FOUND, document: Document | None = DOCUMENT, *, paths: bool = False, store_up: bool = True
) -> str:
    generate, _ = metrics._format("application/openmetrics-text")
    return generate(metrics.Scrape(found, document, store_up=store_up, paths=paths)).decode()


def samples(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Return all values by the sample's name and its labels' values, in the order of the labels' names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in open_metrics(text):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), f"twice: {sample}"
            found[sample.name][labels] = sample.value
    return found


def test_the_whole_exposition_is_as_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "__version__", "1.0")
    assert scraped(paths=True) == GOLDEN.read_text()


def test_what_nobody_can_tell_has_no_sample() -> None:
    found = samples(scraped(Answer("cannot-tell", "it hangs", []), None, store_up=False))
    assert found["pathfleet_multipathd_state"][("cannot-tell",)] == 1
    assert found["pathfleet_multipathd_state"][("running",)] == 0
    assert found["pathfleet_store_up"][()] == 0
    assert not [name for name in found if "device" in name or "lun" in name or "node" in name]


def test_paths_whose_state_only_root_may_know_are_counted_and_not_judged() -> None:
    unmanaged = answer(map_(LUN1), facts=Facts(kernel={LUN1: KernelMap(4)}))
    found = samples(scraped(unmanaged, None))
    assert found["pathfleet_multipath_device_paths"][(LUN1,)] == 4
    assert "pathfleet_multipath_device_paths_active" not in found
    assert "pathfleet_multipath_device_paths_failed" not in found


def test_a_daemon_of_a_later_version_is_unknown_not_nothing() -> None:
    document = Document([], [NodeRow("a", True, "resting")])
    found = samples(scraped(Answer("resting", None, []), document))
    assert found["pathfleet_multipathd_state"][("unknown",)] == 1
    assert found["pathfleet_node_multipathd_state"][("a", "unknown")] == 1


HOSTILE = 'a"b\\c\nd\re\u2028f\x00{},="} 1\n# EOF\ud800' + "x" * 1000


def test_whatever_a_name_is_it_stays_one_label() -> None:
    row = msgspec.structs.replace(answer(map_("w", group(path("sda")))).maps[0], alias=HOSTILE, vendor=HOSTILE)
    document = Document([Lun(HOSTILE, HOSTILE, State.FAILED)], [NodeRow(HOSTILE, True, HOSTILE, apply=Apply(HOSTILE))])
    text = scraped(Answer("maps", None, [row]), document)
    assert text.count("# EOF\n") == 1
    assert max(map(len, text.splitlines())) < 1000
    assert sum(value for value in samples(text)["pathfleet_lun_state"].values()) == 1


@settings(deadline=None)  # a busy machine is no finding
@given(st.text())
def test_no_name_breaks_the_exposition(name: str) -> None:
    text = scraped(document=Document([Lun(name, name, State.FAILED)], [NodeRow(name, True, name)]))
    assert len(samples(text)["pathfleet_lun_state"]) == len(State)


def test_two_by_one_name_have_one_series_the_worse_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "LABEL_LIMIT", 20)
    document = Document([Lun(LUN2, None, State.FAILED), Lun(LUN1, None, State.OPTIMAL)], [])
    found = samples(scraped(document=document))
    assert found["pathfleet_lun_state"][("", "failed", LUN1[:20])] == 1
    assert found["pathfleet_series_omitted"][("lun",)] == 1
    assert found["pathfleet_luns"][("optimal",)] == 1


def test_series_are_bounded_and_what_is_left_out_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "LIMITS", dict.fromkeys(metrics.LIMITS, 1))
    found = samples(scraped())
    assert list(found["pathfleet_multipath_device_paths"]) == [(LUN2,)]
    omitted = found["pathfleet_series_omitted"]
    assert omitted == {("map",): 1, ("lun",): 1, ("node",): 2}


async def test_it_is_openmetrics_for_who_takes_it_and_the_older_text_for_others() -> None:
    async with site({"a": Speech({LUN1: ("optimal", 2, 2)})}) as here:
        modern = await here.get("/metrics", accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        assert modern.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert list(open_metrics(modern.text))  # type: ignore[no-untyped-call]
        for accept in ("*/*", "text/plain;version=0.0.4", "application/json"):
            older = await here.get("/metrics", accept=accept)
            assert older.headers["content-type"].startswith("text/plain; version=0.0.4")
            assert list(plain_text(older.text))


async def test_the_cluster_and_single_paths_are_there_as_asked() -> None:
    async with site({"a": Speech({LUN1: ("optimal", 2, 2)})}, found=FOUND) as here:
        whole = (await here.get("/metrics")).text
        assert "pathfleet_lun_state" in whole
        assert "pathfleet_multipath_path_state" not in whole
        own = (await here.get("/metrics?cluster=0&paths=1")).text
        assert "pathfleet_lun_state" not in own
        assert "pathfleet_multipath_path_state" in own


async def test_a_node_that_says_garbage_costs_no_other_metrics() -> None:
    async with site({"a": Speech({LUN1: ("optimal", 2, 2)}), "b": Speech()}) as here:
        here.memory.values["b"] = {"multipath": b"\xff", "pathfleet": b"[]", "multipath-apply": b"{"}
        here.memory.values["a"]["multipath-apply"] = b'{"digest":"x","error":null,"time":1}'
        here.memory.stir()
        text = (await here.get("/metrics", accept="application/openmetrics-text")).text
        found = samples(text)
        assert found["pathfleet_node_online"] == {("a",): 1, ("b",): 1}
        assert found["pathfleet_lun_state"][("", "optimal", LUN1)] == 1


async def test_before_the_store_was_read_a_node_has_metrics_of_its_own() -> None:
    async with site() as here:
        here.live.ready = False
        text = (await here.get("/metrics")).text
        assert "pathfleet_store_up 0.0" in text
        assert "pathfleet_multipath_device_paths" in text
        assert "pathfleet_luns" not in text
