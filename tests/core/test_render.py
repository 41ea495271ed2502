from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core.conf import syntax
from pathfleet.core.conf.syntax import Section
from pathfleet.core.configuration import Configuration, parse
from pathfleet.core.property import BadValue
from pathfleet.core.render import BASELINE_FILE, OVERRIDES_FILE, DropIns, render
from pathfleet.core.schema import BY_NAME, check, check_wwid

DATA = Path(__file__).parent.parent / "data/config"
DIGEST = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("version", ["0.8.5", "0.11.1", "0.15.0"])
def test_the_drop_ins_of_a_release(version: str) -> None:
    configuration = parse((DATA / "multipath.cfg").read_text())
    found = render(configuration, (DATA / "multipath-overrides.conf").read_text(), DIGEST, version=version)
    assert found.baseline == (DATA / f"baseline-{version}.conf").read_text()
    assert found.overrides == (DATA / "overrides.conf").read_text()


def test_what_a_release_does_not_read_is_left_out_and_told() -> None:
    configuration = parse(
        "defaults: defaults\n\trr-weight uniform\n\nwwid: 36001\n\tpath-grouping-policy group_by_tpg\n"
    )
    (told,) = render(configuration, "", DIGEST, version="0.9.4").left_out
    why = "it came with multipath-tools 0.9.6, and this node has 0.9.4"
    assert told == f"36001: `path-grouping-policy group_by_tpg` is left out: {why}"
    assert render(configuration, "", DIGEST, version="0.15.0").left_out == (
        "defaults: `rr-weight uniform` is left out: it went with multipath-tools 0.15.0, and this node has 0.15.0",
    )


def test_a_node_of_an_unknown_version_gets_what_the_oldest_reads() -> None:
    configuration = parse((DATA / "multipath.cfg").read_text())
    unknown, oldest = (render(configuration, "", DIGEST, version=version) for version in (None, "0.8.5"))
    assert unknown.baseline == oldest.baseline
    assert unknown.left_out[0].endswith("and this node's version is not known")


@pytest.mark.parametrize("overrides", ["", "\n", " \t\r\n\n"])
def test_nothing_configured_is_no_file(overrides: str) -> None:
    assert render(Configuration(), overrides, DIGEST) == DropIns(None, None)


def test_overrides_alone_make_no_baseline() -> None:
    found = render(Configuration(), "blacklist {\n}\n\n\n", DIGEST)
    assert found.baseline is None
    assert found.overrides is not None
    assert found.overrides.endswith(f"# digest: {DIGEST}\nblacklist {{\n}}\n")


@pytest.mark.parametrize("text", ["wwid: 36001\n", "defaults: defaults\n\tof-a-newer-version 7\n"])
def test_what_a_cluster_cannot_do_without_is_always_said(text: str) -> None:
    baseline = render(parse(text), "", DIGEST).baseline
    assert baseline is not None
    assert 'defaults {\n\tuser_friendly_names "no"\n\tfind_multipaths "strict"\n}\n' in baseline
    assert "multipaths {" not in baseline


def test_the_files_are_read_last_and_the_overrides_after_the_baseline() -> None:
    others = ["00-local.conf", "multipath.conf", "zfs.conf", "z.conf"]
    assert sorted([OVERRIDES_FILE, *others, BASELINE_FILE])[-2:] == [BASELINE_FILE, OVERRIDES_FILE]


PRINTABLE = st.characters(min_codepoint=32, max_codepoint=126)


def assignments(section: Section) -> Iterator[tuple[str, str]]:
    for entry in section.entries:
        if isinstance(entry, Section):
            yield from assignments(entry)
        else:
            yield entry.keyword, entry.value


def read_back(text: str) -> list[tuple[str, str]]:
    tree = syntax.parse(text)
    assert tree.problems == ()
    return [found for section in tree.sections for found in assignments(section)]


def valid(wwid: str, properties: dict[str, str]) -> bool:
    try:
        return all(check(name, value, wwid=check_wwid(wwid)) == value for name, value in properties.items())
    except BadValue:
        return False


LUNS = st.dictionaries(
    st.text(PRINTABLE, min_size=1, max_size=127),
    st.fixed_dictionaries({"prio-args": st.text(PRINTABLE, min_size=1, max_size=255)}),
    min_size=1,
    max_size=4,
)


@given(LUNS)
def test_what_is_rendered_reads_back_as_the_same_values(luns: dict[str, dict[str, str]]) -> None:
    luns = {wwid: properties for wwid, properties in luns.items() if valid(wwid, properties)}
    baseline = render(Configuration({"prio": "alua"}, luns, has_defaults=True), "", DIGEST).baseline
    assert baseline is not None
    expected = [("prio", "alua"), ("user_friendly_names", "no"), ("find_multipaths", "strict")]
    for wwid, properties in luns.items():
        expected += [("wwid", wwid), *((BY_NAME[name].keyword, value) for name, value in properties.items())]
    assert read_back(baseline) == expected


def test_the_longest_line_is_one_that_multipathd_reads_whole() -> None:
    longest = '"' * 255
    baseline = render(Configuration({"prio-args": longest}, {}, has_defaults=True), "", DIGEST).baseline
    assert baseline is not None
    assert check("prio-args", longest) == longest
    assert max(map(len, baseline.split("\n"))) < 1023
