"""The reference of the properties is the table itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from pathfleet.core import properties
from pathfleet.core.property import Property

FILE = Path(__file__).parents[2] / "docs/reference/properties.md"


def test_the_reference_is_current() -> None:
    assert FILE.read_text() == properties.reference(), (
        "pathfleet config properties -o markdown > docs/reference/properties.md"
    )


@pytest.mark.parametrize("row", properties.SETTABLE, ids=lambda row: row.name)
def test_every_property_is_there_with_its_values_and_its_purpose(row: Property) -> None:
    (line,) = [line for line in properties.reference().splitlines() if line.startswith(f"| `{row.name}` |")]
    assert row.allowed.replace("|", "\\|") in line
    assert row.help in properties.reference()
