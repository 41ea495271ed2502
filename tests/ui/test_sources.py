"""Rules of the page's sources that its compiler does not know."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from pathfleet.api import openapi
from pathfleet.api.server import OPERATIONS

UI = Path(__file__).parents[2] / "ui"
COMPONENTS = sorted((UI / "src").rglob("*.svelte"))


def test_the_types_are_those_of_the_api() -> None:
    made = msgspec.json.decode(msgspec.json.encode(openapi.document(OPERATIONS)))
    kept = msgspec.json.decode((UI / "openapi.json").read_bytes())
    assert kept == made, "`.venv/bin/python tools/write_openapi.py` writes ui/openapi.json anew"


@pytest.mark.parametrize("file", COMPONENTS, ids=lambda file: file.relative_to(UI / "src").as_posix())
def test_a_component_has_less_than_150_lines_and_no_text_of_its_own(file: Path) -> None:
    text = file.read_text("utf-8")
    assert text.count("\n") < 150
    assert "{@html" not in text
    assert re.search(r'\sstyle="', text) is None, "the policy takes no style attribute: use style:PROPERTY"
    words = re.findall(r"[^\W\d_]{2,}", _between_tags(text))
    assert words == [], "texts are in lib/texts.ts"


def _between_tags(text: str) -> str:
    """Return what of a component stands outside of scripts, styles, comments, expressions, commands and tags."""
    for pattern in (r"<script.*?</script>", r"<style.*?</style>", r"<code.*?</code>", r"<!--.*?-->"):
        text = re.sub(pattern, "", text, flags=re.DOTALL)
    while (shorter := re.sub(r"\{[^{}]*\}", "", text)) != text:
        text = shorter
    return re.sub(r"<[^>]*>", "", text)
