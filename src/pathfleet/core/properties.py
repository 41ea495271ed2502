"""The table of properties as a document for operators."""

from __future__ import annotations

from collections.abc import Iterator

from pathfleet.core.schema import PROPERTIES, Property

#: Every property, by name.
SETTABLE: tuple[Property, ...] = tuple(sorted(PROPERTIES, key=lambda row: row.name))

_HEAD = """\
# Properties

What `pathfleet config set` and the API take, and what a node renders into multipath.conf. Made from the table that
checks every value: `pathfleet config properties -o markdown > docs/reference/properties.md`. The words are those of
multipath.conf(5), with `-` for `_`.

*For* says where a property can be set: in the defaults, for a LUN, or both. *Default* is multipath's own where it has
one that does not depend on the device or the release. *Since* is the release of multipath-tools that brought it; a
node with an older one does not get it, and says so.

| property | for | values | default | since |
|---|---|---|---|---|
"""


def scope(row: Property) -> str:
    """Return where a property can be set, in words."""
    words = [word for word, there in (("defaults", row.in_defaults), ("LUN", row.in_wwid)) if there]
    return ", ".join(words)


def reference() -> str:
    """Return the whole document, in Markdown."""
    return _HEAD + "".join(map(_line, SETTABLE)) + "\n" + "\n".join(_helps()) + "\n"


def _line(row: Property) -> str:
    cells = (f"`{row.name}`", scope(row), row.allowed, row.default and f"`{row.default}`", row.since)
    return "| " + " | ".join((cell or "").replace("|", "\\|") for cell in cells) + " |\n"


def _helps() -> Iterator[str]:
    yield "## What they are for\n"
    for row in SETTABLE:
        newer = "".join(f" `{word}` needs {version}." for word, version in row.newer_words.items())
        note = f" Deprecated: {row.deprecated}." if row.deprecated else ""
        fixed = " A cluster can live with one value only, so it cannot be changed." if row.fixed else ""
        yield f"* `{row.name}`: {row.help}{newer}{note}{fixed}"
