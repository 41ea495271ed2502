"""All that the doctor looks for: a finding is one function in one of these modules."""

from __future__ import annotations

from pathfleet.core.findings import Rule
from pathfleet.core.rules import files, luns, lvm, nodes

RULES: tuple[Rule, ...] = (*lvm.RULES, *luns.RULES, *nodes.RULES, *files.RULES)
BY_CODE = {rule.code: rule for rule in RULES}
