"""One thing found in a text of multipath.conf, with its place."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pathfleet.core.conf.syntax import Assignment, Section

Severity = Literal["error", "warning"]


class Diagnostic(Struct, frozen=True, rename="kebab"):
    """One thing found: an error refuses the text, a warning informs.

    `code` is stable; lines and columns count from 1, in characters. The message says what happens, and what to write.
    """

    code: str
    severity: Severity
    line: int
    column: int
    message: str


def error(entry: Assignment | Section, code: str, message: str) -> Diagnostic:
    """Return what refuses a text, at the place of an entry."""
    return Diagnostic(code, "error", entry.line, entry.column, message)


def warning(entry: Assignment | Section, code: str, message: str) -> Diagnostic:
    """Return what informs, at the place of an entry."""
    return Diagnostic(code, "warning", entry.line, entry.column, message)
