"""The cluster's configuration as one node is to have it: checked again, rendered, ready to be written."""

from __future__ import annotations

from msgspec import Struct

from pathfleet.core import configuration
from pathfleet.core.conf.lint import lint
from pathfleet.core.configuration import FILE, OVERRIDES_FILE, Configuration, combined_digest
from pathfleet.core.render import DropIns, render
from pathfleet.errors import Refused


class Wanted(Struct, frozen=True):
    """What is to be on a node; `digest` None: nothing of ours, because nothing is configured."""

    digest: str | None = None
    drop_ins: DropIns = DropIns()
    wwids: frozenset[str] = frozenset()


def wanted(cluster: bytes, overrides: bytes, *, version: str | None) -> Wanted:
    """Return what a node with this version of multipath-tools is to have of the two files.

    multipathd dies of some bad values and spins on others, so everything is checked here once more, whoever wrote
    it. Raises Refused with the file, the line and what is wrong.
    """
    configured = configuration.parse(_text(cluster, FILE))
    text = _text(overrides, OVERRIDES_FILE)
    if configured.problems:
        problem = configured.problems[0]
        raise Refused(_refusal(FILE, problem.line, problem.message, len(configured.problems) - 1))
    if configured.empty and not text.strip():
        return Wanted()
    _lint(text, configured, version)
    digest = combined_digest(cluster, overrides)
    return Wanted(digest, render(configured, text, digest, version=version), frozenset(configured.wwids))


def _lint(text: str, configured: Configuration, version: str | None) -> None:
    versions = (version,) if version else ()
    findings = lint(text, versions=versions, aliases=configured.aliases)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise Refused(_refusal(OVERRIDES_FILE, errors[0].line, errors[0].message, len(errors) - 1))


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Refused(_refusal(name, content.count(b"\n", 0, error.start) + 1, "this is no UTF-8 text", 0)) from None


def _refusal(name: str, line: int, message: str, more: int) -> str:
    others = f" (and {more} more)" if more else ""
    return f"{name}, line {line}: {message}{others}; nothing was applied, correct the file"
