"""Texts of multipath.conf for hypothesis: right ones out of the table of keywords, and hostile ones."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st

from pathfleet.core.conf.keywords import IDENTITY, KEYWORDS, REPEATABLE, Keyword, Place
from pathfleet.core.conf.syntax import Assignment, Section, Tree, render

#: At least one of these is right for every keyword.
SAMPLES = (
    "/dev/null",
    *(
        "yes",
        "no",
        "0",
        "1",
        "5",
        "150",
        "4000",
        "off",
        "fail",
        "queue",
        "infinity",
        "manual",
        "max",
        "strict",
        "never",
    ),
    *("service-time 0", "1 alua", "2 pg_init_retries 50", "failover", "tur", "alua", "uniform", "once", "hp3par"),
    *(
        "scsi:fcp",
        "^(sd|nvme)[a-z0-9]+$",
        "!^ram",
        'AC""ME',
        "Array [0-9]{2,4}",
        "sd:ID_SERIAL",
        "0x1f:aptpl",
        "grow_only",
    ),
)

_TOP = tuple(place[0] for place in KEYWORDS if len(place) == 1)
_INNER = {place[0]: place[1] for place in KEYWORDS if len(place) == 2}


def right_values(keyword: Keyword) -> list[str]:
    return [value for value in SAMPLES if keyword.kind.why_not(value) is None]


def assignments(place: Place) -> st.SearchStrategy[Assignment]:
    def of(name: str) -> st.SearchStrategy[Assignment]:
        return st.builds(
            Assignment, st.just(name), st.sampled_from(right_values(KEYWORDS[place][name])), quoted=st.booleans()
        )

    return st.sampled_from(sorted(KEYWORDS[place])).flatmap(of)


def entries(place: Place) -> st.SearchStrategy[list[Assignment]]:
    if not KEYWORDS[place]:
        return st.just([])
    unique = None if place in REPEATABLE else lambda entry: entry.keyword.removeprefix("path_")
    return st.lists(assignments(place), max_size=6, unique_by=unique)


@st.composite
def sections(draw: st.DrawFn) -> Section:
    name = draw(st.sampled_from(_TOP))
    within: list[Assignment | Section] = list(draw(entries((name,))))
    if name in _INNER:
        for _ in range(draw(st.integers(0, 3))):
            inner = (name, _INNER[name])
            found = draw(entries(inner))
            missing = set(IDENTITY[inner]) - {"revision"} - {entry.keyword for entry in found}
            found += [Assignment(keyword, right_values(KEYWORDS[inner][keyword])[0]) for keyword in sorted(missing)]
            within.append(Section(_INNER[name], tuple(found)))
    return Section(name, tuple(within))


def trees() -> st.SearchStrategy[Tree]:
    return st.builds(Tree, st.lists(sections(), max_size=4).map(tuple))


_PIECES = st.sampled_from(
    [
        *("\n", "\n", "\n", " ", "\t", '"', '""', "{", "}", "#", "!", "\r", "\0", "\x0b", "é", "\u2028", "\ud800"),
        *("defaults", "devices", "device", "blacklist", "multipaths", "multipath", "overrides", "protocol", "type"),
        *("vendor", "product", "wwid", "alias", "devnode", "polling_interval", "no_path_retry", "features", "prio"),
        *(" {\n", "}\n", " alua\n", ' "x y"\n', "^(sd[a", "a{1999}", "(((((", "[[:alpha:]", "x" * 1024),
    ]
)


def hostile() -> st.SearchStrategy[str]:
    return st.lists(st.one_of(_PIECES, st.text(max_size=5)), max_size=60).map("".join)


@st.composite
def nearly_right(draw: st.DrawFn) -> str:
    """A right text in which a few things were changed by hand."""
    text = render(draw(trees()))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        gone = draw(st.sampled_from([0, 0, 1, 2, 20]))
        text = text[:at] + draw(st.one_of(st.just(""), _PIECES)) + text[at + gone :]
    return text


def flat(tree: Tree) -> list[tuple[Place, str, str]]:
    """Every assignment with the sections around it."""

    def of(section: Section, around: Place) -> Iterator[tuple[Place, str, str]]:
        place = (*around, section.name)
        for entry in section.entries:
            if isinstance(entry, Section):
                yield from of(entry, place)
            else:
                yield place, entry.keyword, entry.value

    return [each for section in tree.sections for each in of(section, ())]


def without_places(tree: Tree) -> Tree:
    def of(entry: Assignment | Section) -> Assignment | Section:
        if isinstance(entry, Section):
            return Section(entry.name, tuple(map(of, entry.entries)))
        return Assignment(entry.keyword, entry.value, quoted=entry.quoted)

    found = (of(section) for section in tree.sections)
    return Tree(tuple(section for section in found if isinstance(section, Section)))
