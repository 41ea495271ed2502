"""What is wrong, or at least odd, in a text of multipath.conf that is to go to every node: the overrides.

multipathd cannot be trusted with a bad file: of what follows, some ends it, some makes it spin, and most it takes
for something else than was written. An error refuses the text; a warning informs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from pathfleet.core.conf import keywords
from pathfleet.core.conf.advice import Cluster, advice, releases
from pathfleet.core.conf.blacklist import EVERYTHING, Hidden, hidden, hidden_arrays, too_broad
from pathfleet.core.conf.diagnostic import Diagnostic, Severity, error, warning
from pathfleet.core.conf.keywords import IDENTITY, KEYWORDS, PLACES, RENAMED, Keyword, Place
from pathfleet.core.conf.syntax import Assignment, Section, Tree, parse
from pathfleet.core.conf.values import near

__all__ = ["FINDINGS_LIMIT", "SIZE_LIMIT", "Diagnostic", "Severity", "lint"]

#: Bytes of a text; every node parses it, and stores keep it whole.
SIZE_LIMIT = 256 * 1024
#: Findings that are told; errors go before warnings.
FINDINGS_LIMIT = 500


def lint(
    text: str,
    *,
    versions: Sequence[str] = (),
    allow_listed: Collection[str] = (),
    aliases: Mapping[str, str] = {},
    arrays: Mapping[str, str] = {},
) -> tuple[Diagnostic, ...]:
    """Return what is found in the overrides text, by line; never raises.

    `versions` are the cluster's releases of multipath-tools, `allow_listed` the WWIDs that its configuration names;
    by WWID, `aliases` are what it calls them, and `arrays` where they come from, as `core.arrays` tells it.
    """
    if len(text) > SIZE_LIMIT or len(text.encode("utf-8", "surrogatepass")) > SIZE_LIMIT:
        return (Diagnostic("too-big", "error", 1, 1, f"the text has more than {SIZE_LIMIT // 1024} KiB; shorten it"),)
    tree = parse(text)
    found = [Diagnostic(each.code, "error", each.line, each.column, each.message) for each in tree.problems]
    found += _trailing_blanks(text)
    found += _until_enough(_outermost(tree, Cluster(*releases(versions))))
    found += _repeated_aliases(tree, aliases)
    found += _blacklisted(tree, allow_listed, arrays)
    told = sorted(found, key=lambda each: (each.severity, each.line))[:FINDINGS_LIMIT]
    return tuple(sorted(told, key=lambda each: (each.line, each.column, each.severity)))


def _until_enough(findings: Iterator[Diagnostic]) -> Iterator[Diagnostic]:
    """A text with that many errors is refused anyway, and looking for what was meant takes time."""
    errors = 0
    while errors < FINDINGS_LIMIT and (finding := next(findings, None)) is not None:
        errors += finding.severity == "error"
        yield finding


def _trailing_blanks(text: str) -> Iterator[Diagnostic]:
    for number, line in enumerate(text.split("\n"), start=1):
        kept = len(line.rstrip(" \t\r"))
        if kept < len(line):
            yield Diagnostic(
                "trailing-blanks", "warning", number, kept + 1, "blanks at the end of the line are trimmed"
            )


def _outermost(tree: Tree, cluster: Cluster) -> Iterator[Diagnostic]:
    seen: dict[str, int] = {}
    for section in tree.sections:
        if section.name == "defaults":
            yield error(
                section,
                "defaults-not-here",
                "the section defaults is made from the cluster's own settings, and a second one would change them "
                "unseen; use `pathfleet config set`",
            )
        if section.name in seen and section.name:
            yield warning(
                section,
                "section-repeated",
                f"{section.name} has begun on line {seen[section.name]}: multipathd puts both together and complains",
            )
        seen.setdefault(section.name, section.line)
        yield from _section(section, (), cluster)


def _section(section: Section, around: Place, cluster: Cluster) -> Iterator[Diagnostic]:
    place = (*around, section.name)
    if place not in KEYWORDS:
        if section.name:  # a brace without a name is a problem already
            yield _unknown_section(section, around)
        return
    yield from advice(section, place, cluster)
    yield from _identified(section, place)
    lines: dict[str, int] = {}
    identities: dict[tuple[str, ...], int] = {}
    for entry in section.entries:
        if isinstance(entry, Section):
            yield from _repeated(entry, place, identities)
            yield from _section(entry, place, cluster)
        else:
            yield from _assignment(entry, place, lines)


def _unknown_section(section: Section, around: Place) -> Diagnostic:
    name = section.name
    inside = f"in {around[-1]}" if around else "at the outermost level"
    homes = [place[:-1] for place in KEYWORDS if place[-1] == name]
    if name in KEYWORDS.get(around, {}):
        hint = f"{name} is a keyword; write {name} and its value"
    elif homes:
        hint = "it belongs " + (f"into {homes[0][-1]} {{ }}" if homes[0] else "to the outermost level")
    else:
        siblings = tuple(place[-1] for place in PLACES.values() if place[:-1] == around)
        meant = RENAMED.get(name)
        hint = f"it is called {meant}" if meant else near(name, siblings) or "take it out, with all that is in it"
    return error(
        section,
        "unknown-section",
        f"{name!r} is no section {inside}: multipathd reads what is in it as if it stood outside, and takes its }} "
        f"for the end of what is around it; {hint}",
    )


def _assignment(entry: Assignment, place: Place, lines: dict[str, int]) -> Iterator[Diagnostic]:
    keyword = KEYWORDS[place].get(entry.keyword)
    if keyword is None:
        yield _unknown_keyword(entry, place)
        return
    name = keywords.ALIASES.get(keyword.name, keyword.name)
    if name in lines and place not in keywords.REPEATABLE:
        yield error(
            entry,
            "duplicate-keyword",
            f"{entry.keyword} stands on line {lines[name]} of this section already, and the last one wins; keep one",
        )
    lines.setdefault(name, entry.line)
    yield from _value(entry, keyword)


def _value(entry: Assignment, keyword: Keyword) -> Iterator[Diagnostic]:
    why = keyword.kind.why_not(entry.value)
    if why is not None:
        shown = entry.value if len(entry.value) <= 80 else entry.value[:80] + "…"
        yield error(
            entry,
            "bad-value",
            f"{entry.keyword} cannot be {shown!r} ({why}): {keyword.kind.harm}; write {keyword.kind.allowed}",
        )


def _unknown_keyword(entry: Assignment, place: Place) -> Diagnostic:
    name, here = entry.keyword, " ".join(place)
    homes = keywords.places_of(name)
    if any(inner[-1] == name for inner in KEYWORDS):
        return error(entry, "unknown-keyword", f"{name} is a section, and multipathd ignores this; write {name} {{")
    if homes and place != homes[0]:
        return error(
            entry,
            "wrong-section",
            f"multipathd ignores {name} in {here}; it belongs into {' or '.join(' '.join(home) for home in homes)}",
        )
    meant = RENAMED.get(name)
    hint = f"it is called {meant}" if meant in KEYWORDS[place] else near(name, tuple(KEYWORDS[place]))
    return error(
        entry,
        "unknown-keyword",
        f"there is no keyword {name!r} in {here}, and multipathd ignores it; {hint or 'take it out'}",
    )


def _identity(section: Section, place: Place) -> tuple[str, ...]:
    return tuple(section.value(keyword) or "" for keyword in IDENTITY[place])


def _identified(section: Section, place: Place) -> Iterator[Diagnostic]:
    """A section that does not say what it is for."""
    if place not in IDENTITY:
        return
    missing = [keyword for keyword in IDENTITY[place] if keyword != "revision" and section.value(keyword) is None]
    if not missing:
        return
    # a blacklist would do with one of them, but multipathd then forgets a brace when it prints its configuration
    any_text = ' ".*" for any' if place[0] in ("blacklist", "blacklist_exceptions") else ""
    yield error(
        section,
        f"{section.name}-without-{missing[0]}",
        f"{section.name} without {' and '.join(missing)}: multipathd ignores the section, misprints it, or dies of it "
        f"(0.8.5); write {' and '.join(missing)} into it{any_text and f',{any_text}'}",
    )


def _repeated(section: Section, place: Place, identities: dict[tuple[str, ...], int]) -> Iterator[Diagnostic]:
    inner = (*place, section.name)
    if inner not in IDENTITY or not any(_identity(section, inner)):
        return
    identity = (section.name, *_identity(section, inner))
    if identity in identities:
        yield warning(
            section,
            "section-repeated",
            f"line {identities[identity]} has a {section.name} for the same: multipathd puts both together, the "
            "later one wins",
        )
    identities.setdefault(identity, section.line)


def _repeated_aliases(tree: Tree, aliases: Mapping[str, str]) -> Iterator[Diagnostic]:
    luns = [lun for section in tree.sections if section.name == "multipaths" for lun in section.sections]
    renamed = {lun.value("wwid") for lun in luns if lun.value("alias")}
    owners = {alias: wwid for wwid, alias in aliases.items() if wwid not in renamed}
    for lun in luns:
        wwid = lun.value("wwid") or ""
        for entry in lun.assignments:
            if entry.keyword == "alias" and owners.setdefault(entry.value, wwid) != wwid:
                yield error(
                    entry,
                    "alias-repeated",
                    f"{entry.value} is the alias of {owners[entry.value]} too, and multipathd gives it to one of "
                    "them; choose another",
                )


def _blacklisted(tree: Tree, allow_listed: Collection[str], arrays: Mapping[str, str]) -> Iterator[Diagnostic]:
    for each in hidden(tree, allow_listed):
        yield _hides(each, "wwid")
    for each in hidden_arrays(tree, arrays):
        yield _hides(each, "device")
    for broad in too_broad(tree, allow_listed):
        code, of_it = ("hides-everything", "") if broad.what == EVERYTHING else ("hides-all-of-a-kind", " of one")
        message = f"this hides {broad.what}: no map{of_it} is left unless blacklist_exceptions has a {broad.exception}"
        yield warning(broad.line, code, message)


def _hides(found: Hidden, exception: str) -> Diagnostic:
    luns = ", ".join(found.wwids[:3]) + (f" and {len(found.wwids) - 3} more" if len(found.wwids) > 3 else "")
    if found.sure:
        return warning(
            found.line,
            "hides-lun",
            f"this hides {luns}, which the cluster's configuration names; except it by a {exception} in "
            "blacklist_exceptions",
        )
    return warning(
        found.line,
        "hiding-not-judged",
        f"whether this hides {luns} cannot be told here; a simpler pattern could be judged",
    )
