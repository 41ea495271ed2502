from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core.dmstatus import KernelPath, parse, unmangled


def up(dev_t: str) -> KernelPath:
    return KernelPath(dev_t, active=True)


def down(dev_t: str) -> KernelPath:
    return KernelPath(dev_t, active=False)


@pytest.mark.parametrize(
    ("parameters", "paths"),
    [
        pytest.param(
            "2 0 0 0 2 1 A 0 1 2 65:0 A 0 0 1 E 0 1 2 65:16 F 3 0 1 ",
            (up("65:0"), down("65:16")),
            id="service-time: two groups of one path",
        ),
        pytest.param(
            "2 1 0 0 1 1 E 0 3 0 8:32 A 0 8:48 F 1 8:64 A 12",
            (up("8:32"), down("8:48"), up("8:64")),
            id="round-robin: no arguments per path",
        ),
        pytest.param(
            "2 0 1 0 1 1 D 2 972 0 2 3 259:1 A 0 1024 0 77000 259:2 A 0 990 4 81000 ",
            (up("259:1"), up("259:2")),
            id="historical-service-time: arguments of the selector itself",
        ),
        pytest.param("2 0 0 1 alua 1 1 A 0 1 1 8:16 A 0 0 ", (up("8:16"),), id="a hardware handler with its name"),
        pytest.param("4 0 0 x y 0 1 1 A 0 1 0 8:16 A 0 ", (up("8:16"),), id="more features than are known today"),
        pytest.param("2 0 0 0 0 0 ", (), id="no paths left"),
        pytest.param("0 0 0 0", (), id="never had a path"),
    ],
)
def test_every_layout_of_the_kernels_status_is_read(parameters: str, paths: tuple[KernelPath, ...]) -> None:
    assert parse(f"lun: 0 131072 multipath {parameters}\n") == {"lun": paths}


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param("2 0 0 0 2 1 A 0 1 2 8:0 A 0 0 1 E 0 1 2 8:4", id="cut within a path"),
        pytest.param("2 0 0 0 1 1 A 0 1 0 8:0 A 0 8:16 A 0", id="more than was announced"),
        pytest.param("2 0 0 0 1 1 A 0 1 0 8:0 X 0", id="a state that is none"),
        pytest.param("2 0 0 0 1 1 A 0 1 0 sda A 0", id="a path without a device number"),
        pytest.param("2 0 0 0 -1 1", id="a negative count"),
        pytest.param("999999999999 0 0 0", id="a count beyond reason"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_line_that_is_not_understood_costs_only_its_own_map(parameters: str) -> None:
    text = f"bad: 0 8 multipath {parameters}\ngood: 0 8 multipath 2 0 0 0 1 1 A 0 1 0 8:0 A 0 \n"
    assert parse(text) == {"good": (up("8:0"),)}


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        (r"my\x20lun", "my lun"),
        ("my lun", "my lun"),
        ("a: 0 8 multipath 0 0 0 0: b", "a: 0 8 multipath 0 0 0 0: b"),
        (r"gr\xc3\xbcn", "grün"),
        (r"\xff", "\N{REPLACEMENT CHARACTER}"),
        (r"half\x2", r"half\x2"),
    ],
)
def test_names_may_hold_anything_and_lose_their_mangling(printed: str, name: str) -> None:
    assert list(parse(f"{printed}: 0 8 multipath 0 0 0 0\n")) == [name]


def test_two_lines_of_one_name_leave_neither() -> None:
    line = "lun: 0 8 multipath 2 0 0 0 0 0\n"
    assert parse(line + line + line) == {}


def test_other_targets_and_remarks_are_no_maps() -> None:
    assert parse("No devices found\nroot: 0 8 linear\n\nlun2: 0 8 multipath 0 0 0 0") == {"lun2": ()}


@given(st.text())
def test_no_text_makes_it_fail(text: str) -> None:
    parse(text)
    parse(f"lun: 0 8 multipath {text}")
    assert unmangled(text) is not None


@given(st.text())
def test_mangling_as_libdevmapper_does_it_is_undone(name: str) -> None:
    safe = "".join(char if char.isascii() and (char.isalnum() or char in "#+-.:=@_") else _hex(char) for char in name)
    assert unmangled(safe) == name


def _hex(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode())
