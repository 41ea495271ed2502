from __future__ import annotations

import pytest

from pathfleet.core.configuration import combined_digest
from pathfleet.core.wanted import Wanted, wanted
from pathfleet.errors import Refused

CFG = b"defaults: defaults\n\tno-path-retry 7\n\nwwid: 3600a\n\talias db\n"
OVERRIDES = b"overrides {\n\tno_path_retry fail\n}\n"


def test_overrides_that_give_away_the_alias_of_a_lun_are_refused() -> None:
    taken = b"multipaths {\n\tmultipath {\n\t\twwid 3600b\n\t\talias db\n\t}\n}\n"
    with pytest.raises(Refused, match="line 4: db is the alias of 3600a"):
        wanted(CFG, taken, version="0.9.4")


def test_a_node_is_to_have_both_files_and_the_luns() -> None:
    plan = wanted(CFG, OVERRIDES, version="0.9.4")
    assert plan.digest == combined_digest(CFG, OVERRIDES)
    assert plan.wwids == {"3600a"}
    for text, part in ((plan.drop_ins.baseline, "no_path_retry"), (plan.drop_ins.overrides, "no_path_retry fail")):
        assert text is not None
        assert part in text
        assert str(plan.digest) in text


@pytest.mark.parametrize(("cluster", "overrides"), [(b"", b""), (b"\n", b""), (b"", b" \n\n")])
def test_without_a_configuration_nothing_of_ours_is_wanted(cluster: bytes, overrides: bytes) -> None:
    assert wanted(cluster, overrides, version=None) == Wanted()


@pytest.mark.parametrize(
    ("cluster", "overrides", "why"),
    [
        (b"defaults: defaults\n\tpolling-interval 0\n", b"", r"multipath\.cfg, line 2: .*polling-interval"),
        (b"defaults: defaults\n\tno-path-retry \xff\n", b"", r"multipath\.cfg, line 2: this is no UTF-8"),
        (CFG, b'blacklist {\n\tdevnode "^(sd[a"\n}\n', r"multipath-overrides\.conf, line 2: "),
        (CFG, b"defaults {\n\tpolling_interval 0\n}\n", r"multipath-overrides\.conf, line [12]: "),
    ],
)
def test_what_multipathd_would_not_survive_is_refused_with_its_line(
    cluster: bytes, overrides: bytes, why: str
) -> None:
    with pytest.raises(Refused, match=f"{why}.*nothing was applied, correct the file"):
        wanted(cluster, overrides, version="0.11.1")
