"""The page as it was built from `ui/`: files in `static/`, part of every wheel, never in the repository."""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).parent / "static"
#: Says of which sources the page was built (tools/build_ui.py).
_STAMP = "sources.sha256"


def files() -> dict[str, bytes]:
    """Return the page's files by their path below `static/`; none if it was never built."""
    found = (file for file in sorted(STATIC.rglob("*")) if file.is_file() and file.name != _STAMP)
    return {file.relative_to(STATIC).as_posix(): file.read_bytes() for file in found}
