from __future__ import annotations

import json
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.cli import render

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_yaml_is_read_as_what_was_written(value: object) -> None:
    assert yaml.safe_load(render.yaml(value)) == value


@pytest.mark.parametrize(
    "word", ["yes", "No", "NULL", "true", "1", "1e5", "0x1f", "-", "~", "", " a", "a: b", "#", "=", "2001-01-01"]
)
def test_yaml_quotes_what_could_be_taken_for_something_else(word: str) -> None:
    assert yaml.safe_load(render.yaml({word: [word]})) == {word: [word]}
    assert render.yaml(word).startswith('"')


def test_yaml_leaves_plain_words_plain() -> None:
    assert render.yaml({"maps": [{"alias": "data", "paths": [1, 2]}, []]}) == (
        "maps:\n  - alias: data\n    paths:\n      - 1\n      - 2\n  - []\n"
    )


@given(VALUES)
def test_json_is_read_as_what_was_written_and_does_not_steer_a_terminal(value: object) -> None:
    text = render.json_text(value)
    assert json.loads(text) == value
    assert all(char.isprintable() or char == "\n" for char in text)


@given(TEXT)
def test_what_is_cleaned_does_not_steer_a_terminal(text: str) -> None:
    cleaned = render.clean(text)
    assert cleaned.isprintable()
    assert len(cleaned) == len(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (None, "?"), (0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (34359738368, "32 GiB"),
        (3 << 39, "1.5 TiB"), (1 << 60, "1024 PiB"),
    ],
)  # fmt: skip
def test_a_size_is_in_binary_units(size_bytes: int | None, text: str) -> None:
    assert render.size(size_bytes) == text


@pytest.mark.parametrize("wwid", ["3600a098038314c6c6e3f4b6f4c6c5a30", "nvme.1b96-" + "5a" * 57 + "-0"])
def test_a_wwid_is_never_cut_on_a_narrow_terminal_and_whole_where_half_a_line_holds_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wwid: str
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    row = [wwid, "no", "-", "240 GiB", "-", "-", "1 on pve1", "sda1 sda2 /boot on pve1"]
    render.print_table(None, ("WWID", "ALLOWED", "ALIAS", "SIZE", "MAP ON", "STORAGES", "DISKS", "HOLDS"), [row])
    lines = capsys.readouterr().out.splitlines()
    lines = lines[next(at for at, line in enumerate(lines) if line.startswith(wwid[:4])) :]
    assert "".join(line.partition("  ")[0] for line in lines if not line.startswith(" ")) == wwid
    assert lines[0].startswith(wwid) is (len(wwid) <= 40)
    assert "\N{HORIZONTAL ELLIPSIS}" not in "".join(lines)
