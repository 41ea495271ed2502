"""docs/reference/findings.md says what the rules say."""

from pathlib import Path

import pytest

from pathfleet.core.findings import Rule
from pathfleet.core.rules import RULES

TEXT = (Path(__file__).parents[2] / "docs/reference/findings.md").read_text()
FLAT = " ".join(TEXT.split())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_finding_is_in_the_reference_with_its_severity_meaning_and_remedy(rule: Rule) -> None:
    assert f"## `{rule.code}`: {rule.severity}\n" in TEXT
    assert " ".join(rule.meaning.split()) in FLAT
    assert f"Remedy: {' '.join(rule.remedy.split())}" in FLAT


def test_the_reference_has_no_finding_that_there_is_not() -> None:
    headings = {line.split("`")[1] for line in TEXT.splitlines() if line.startswith("## `")}
    assert headings == {rule.code for rule in RULES}
