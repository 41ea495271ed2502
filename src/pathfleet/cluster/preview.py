"""What a planned change of the configuration does to the files that nodes render, line by line; and what it did."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from msgspec import Struct

from pathfleet.cluster.config import Current, Plan
from pathfleet.core.render import BASELINE_FILE, OVERRIDES_FILE

#: This release reads every property that any does; what other nodes leave out is among a plan's warnings.
_EVERYTHING = "0.14.99"
_ALLOW_LIST = "wwids"


class Changed(Struct, frozen=True, rename="kebab"):
    """What a change did, or if not `written`, would do.

    The digests are those of afterwards; `diff` is of what nodes render, line by line.
    """

    written: bool
    digest: str
    overrides_digest: str
    combined_digest: str
    diff: list[str]
    warnings: tuple[str, ...]


def changed(plan: Plan, lines: list[str], *, written: bool) -> Changed:
    """Return what a plan came to; `lines` are its `diff`."""
    after = plan.after
    return Changed(written, after.digest, after.overrides_digest, after.combined_digest, lines, plan.warnings)


def diff(plan: Plan) -> list[str]:
    """Return the unified difference of the drop-ins and of the allow-list; empty where nodes will see none."""
    before, after = _files(plan.before), _files(plan.after)
    return [line for name in before for line in _difference(name, before[name], after[name])]


def _files(current: Current) -> dict[str, list[str]]:
    drop_ins = current.drop_ins(_EVERYTHING)
    # the header has the digest, which changes with everything
    baseline = [line for line in (drop_ins.baseline or "").splitlines() if not line.startswith("#")]
    return {
        BASELINE_FILE: baseline,
        OVERRIDES_FILE: current.overrides.splitlines(),
        _ALLOW_LIST: [f"/{wwid}/" for wwid in current.configuration.wwids],
    }


def _difference(name: str, before: Sequence[str], after: Sequence[str]) -> list[str]:
    return [line.rstrip("\n") for line in difflib.unified_diff(before, after, name, name, lineterm="")]
