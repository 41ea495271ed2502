from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core.storagecfg import Expected, Storage, Volume, expectations, parse, volume

A = "36000000000000000000000000000000a"
B = "36000000000000000000000000000000b"
TEXT = f"""\
dir: local
\tpath /var/lib/vz
\tcontent iso,vztmpl backup

iscsi: san1
\tportal 10.0.0.1
\ttarget iqn.2026-01.x:t1
\tcontent none

multipath: san
\tnodes pve1,pve2;pve3 pve4

LVM: vg-a
\tdisable
\tvgname vg_a
\tbase san:{A}
\tshared 1

"""


def test_what_a_storage_configuration_says() -> None:
    found = parse(TEXT)
    assert found.problems == ()
    assert list(found.storages) == ["local", "san1", "san", "vg-a"]
    assert found.storages["local"] == Storage(
        "dir",
        "local",
        content=frozenset({"iso", "vztmpl", "backup"}),
        properties={"path": "/var/lib/vz", "content": "iso,vztmpl backup"},
    )
    assert found.storages["san"].nodes == frozenset({"pve1", "pve2", "pve3", "pve4"})
    assert found.storages["vg-a"] == Storage(
        "lvm",
        "vg-a",
        disabled=True,
        base=f"san:{A}",
        vgname="vg_a",
        properties={"disable": "1", "vgname": "vg_a", "base": f"san:{A}", "shared": "1"},
    )


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("junk\n", 1, "outside"),
        ("dir: x\n", 1, "'x' cannot be the name"),
        ("dir: 1x\n", 1, "cannot be the name"),
        ("dir: x_\n", 1, "cannot be the name"),
        ("dir: ab\n\ndir: ab\n", 1, "line 3"),
        ("multipath: san\n\tdisable yes\n", 2, "`0`, `1`"),
        ("multipath: san\n\tnodes a,b_c\n", 2, "names of nodes"),
        ("multipath: san\n\tnodes\n", 2, "a value"),
        ("multipath: san\n\tcontent images\n\tcontent none\n", 3, "twice"),
        ("lvm: vg\n\tvgname vg\n\tbase nonsense\n", 3, "STORAGE:NAME"),
        ("lvm: vg\n\tshared 1\n", 1, "lacks `vgname`"),
        ("iscsi: san1\n", 1, "lacks `portal`, `target`"),
    ],
)
def test_what_does_not_count_is_told_with_its_line(text: str, line: int, words: str) -> None:
    (problem,) = parse(text).problems
    assert problem.line == line
    assert words in problem.message


@pytest.mark.parametrize(
    ("line", "disabled"), [("disable", True), ("disable 1", True), ("disable 0", False), ("disable yes", False)]
)
def test_a_storage_is_disabled_by_a_bare_word_or_a_one(line: str, disabled: bool) -> None:
    assert parse(f"multipath: san\n\t{line}\n").storages["san"].disabled is disabled


def test_a_storage_that_lacks_what_it_needs_is_none() -> None:
    assert parse("lvm: vg\n\tshared 1\n").storages == {}


def test_names_may_have_capitals_and_the_last_of_one_name_counts() -> None:
    assert parse("lvm: San\n\tvgname a\n\nmultipath: San\n").storages["San"].kind == "multipath"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"san:{A}", Volume("san", A)),
        ("san:eui.1:2", Volume("san", "eui.1:2")),
        ("S-a_n.1:x", Volume("S-a_n.1", "x")),
        ("s:x", None),
        ("san:", None),
        ("san", None),
        ("1an:x", None),
        ("sa n:x", None),
        ("san:x\n", None),
        ("", None),
    ],
)
def test_a_volume_is_a_storage_and_a_name(text: str, found: Volume | None) -> None:
    assert volume(text) == found


def nodes(*lists: str | None) -> Expected | None:
    """What is expected of LUN A with these `nodes` of the `multipath` storage and of the `lvm` storages on it."""
    source, *consumers = [f"\tnodes {names}\n" if names is not None else "" for names in lists]
    text = f"multipath: san\n{source}\n"
    for number, line in enumerate(consumers):
        text += f"lvm: vg{number}\n\tvgname vg{number}\n\tbase san:{A}\n{line}\n"
    return expectations(parse(text)).get(A)


def test_a_lun_is_expected_on_the_nodes_that_both_storages_have() -> None:
    assert nodes("a,b", "b,c") == Expected(frozenset({"b"}), ("vg0",))


def test_a_storage_without_nodes_is_on_every_node() -> None:
    assert nodes(None, None) == Expected(None, ("vg0",))
    assert nodes("a", None) == Expected(frozenset({"a"}), ("vg0",))
    assert nodes(None, "a") == Expected(frozenset({"a"}), ("vg0",))


def test_storages_without_a_node_in_common_consume_a_lun_that_is_expected_nowhere() -> None:
    assert nodes("a", "b") == Expected(frozenset(), ("vg0",))
    assert nodes("a", ",") == Expected(frozenset(), ("vg0",))


def test_a_lun_under_several_storages_is_expected_wherever_one_of_them_is() -> None:
    assert nodes("a,b,c", "a", "b") == Expected(frozenset({"a", "b"}), ("vg0", "vg1"))
    assert nodes(None, "a", None) == Expected(None, ("vg0", "vg1"))
    assert nodes("c", "a", "b") == Expected(frozenset(), ("vg0", "vg1"))


def test_a_multipath_storage_alone_expects_nothing() -> None:
    assert nodes("a") is None


@pytest.mark.parametrize("which", ["multipath: san\n", "lvm: vg\n"])
def test_a_storage_that_is_disabled_anywhere_in_the_chain_expects_nothing(which: str) -> None:
    text = f"multipath: san\n\nlvm: vg\n\tvgname vg\n\tbase san:{A}\n"
    assert A in expectations(parse(text))
    assert expectations(parse(text.replace(which, which + "\tdisable\n"))) == {}


def test_a_disabled_storage_does_not_hide_another_one_on_the_same_lun() -> None:
    text = f"multipath: san\n\nlvm: v0\n\tdisable\n\tvgname v\n\tbase san:{A}\n\nlvm: v1\n\tvgname w\n\tbase san:{A}\n"
    assert expectations(parse(text)) == {A: Expected(None, ("v1",))}


@pytest.mark.parametrize(
    "text",
    [
        f"lvm: vg\n\tvgname vg\n\tbase gone:{A}\n",
        f"iscsi: san\n\tportal p\n\ttarget t\n\nlvm: vg\n\tvgname vg\n\tbase san:{A}\n",
        "multipath: san\n\nlvm: vg\n\tvgname vg\n",
        f"multipath: san\n\ndir: vg\n\tbase san:{A}\n",
        f"multipath: san\n\nlvm: vg\n\tbase san:{A}\n",
    ],
)
def test_what_is_no_chain_expects_nothing(text: str) -> None:
    assert expectations(parse(text)) == {}


def test_each_lun_has_its_own_expectation() -> None:
    text = f"multipath: san\n\nlvm: va\n\tvgname a\n\tbase san:{A}\n\nlvm: vb\n\tvgname b\n\tbase san:{B}\n\tnodes x\n"
    assert expectations(parse(text)) == {A: Expected(None, ("va",)), B: Expected(frozenset({"x"}), ("vb",))}


LINES = st.sampled_from(
    [
        *(
            "multipath: san",
            "MULTIPATH: sam",
            "lvm: va",
            "lvm: vb",
            "iscsi: san",
            "\tvgname v",
            "\tbase san:x",
            "\tbase sam:y",
        ),
        *(
            "\tnodes a",
            "\tnodes a,b",
            "\tnodes _",
            "\tdisable",
            "\tdisable 0",
            "# c",
            "",
            "",
            "",
            "junk",
            "\t",
            "\tcontent",
        ),
    ]
)


@given(st.lists(LINES | st.text(max_size=10), max_size=30).map("\n".join))
def test_any_text_is_read_and_no_expectation_is_wider_than_its_storages(text: str) -> None:
    storages = parse(text)
    for expected in expectations(storages).values():
        consumers = [storages.storages[name] for name in expected.storages]
        assert consumers
        assert not any(consumer.disabled for consumer in consumers)
        if expected.nodes is None:
            assert any(consumer.nodes is None for consumer in consumers)
