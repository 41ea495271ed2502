"""multipath.cfg: the cluster's configuration of multipathd, read and changed (specification 5).

Reading tells what counts and what is wrong; it never refuses. Changing takes a text and returns a text in which
only what was named differs: properties and sections of newer versions stay, and so does every comment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from msgspec import Struct

from pathfleet.core import schema, sections
from pathfleet.core.property import BadValue
from pathfleet.core.sections import Problem, Section, Sections
from pathfleet.errors import NotFound

#: The files' names in the store.
FILE = "multipath.cfg"
OVERRIDES_FILE = "multipath-overrides.conf"

_DEFAULTS = "defaults"
_WWID = "wwid"


class Configuration(Struct, frozen=True):
    """What multipath.cfg says: properties by name, WWIDs in the order of the file.

    `has_defaults`: there is a section for them, even if nothing in it counts.
    """

    defaults: dict[str, str] = {}
    wwids: dict[str, dict[str, str]] = {}
    problems: tuple[Problem, ...] = ()
    has_defaults: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing at all is configured."""
        return not (self.has_defaults or self.wwids)

    @property
    def aliases(self) -> dict[str, str]:
        """The alias of each LUN that has one, by WWID."""
        return {wwid: properties["alias"] for wwid, properties in self.wwids.items() if "alias" in properties}


def parse(text: str) -> Configuration:
    """Return what the text says, whatever it is; what does not count is among the problems."""
    found = sections.parse(text)
    problems = list(found.problems)
    known: list[Section] = []
    for section in found.sections:
        trouble = _trouble(section)
        if trouble is None:
            known.append(section)
        else:
            problems.append(Problem(section.line, trouble))
    counting, replaced = sections.standing(known)
    problems += replaced
    defaults: dict[str, str] = {}
    wwids: dict[str, dict[str, str]] = {}
    for section in counting:
        values, wrong = _values(section)
        problems += wrong
        if section.kind == _DEFAULTS:
            defaults = values
        else:
            wwids[section.id] = values
    problems += _aliases_of_two(counting, wwids)
    has_defaults = any(section.kind == _DEFAULTS for section in counting)
    return Configuration(defaults, wwids, tuple(sorted(problems, key=lambda one: one.line)), has_defaults)


def _trouble(section: Section) -> str | None:
    """Return why a whole section does not count."""
    if section.kind == _DEFAULTS:
        return None if section.id == _DEFAULTS else f"the section of the defaults is `{_DEFAULTS}: {_DEFAULTS}`"
    if section.kind != _WWID:
        return f"sections of the kind `{section.kind}` are not known and are ignored"
    try:
        schema.check_wwid(section.id)
    except BadValue as error:
        return str(error)
    return None


def _values(section: Section) -> tuple[dict[str, str], list[Problem]]:
    wwid = section.id if section.kind == _WWID else None
    return sections.settle(section, lambda key, value: schema.check(key, value or "", wwid=wwid))


def _aliases_of_two(counting: Collection[Section], wwids: Mapping[str, dict[str, str]]) -> list[Problem]:
    """Take the alias away from all but the first of the LUNs that share it: multipathd would choose one by itself."""
    owners: dict[str, str] = {}
    problems: list[Problem] = []
    for section in counting:
        alias = wwids.get(section.id, {}).get("alias")
        if alias is None:
            continue
        owner = owners.setdefault(alias, section.id)
        if owner != section.id:
            del wwids[section.id]["alias"]
            problems.append(Problem(section.line, f"the alias `{alias}` is already that of {owner}"))
    return problems


def set_defaults(text: str, changes: Mapping[str, str], delete: Collection[str] = ()) -> str:
    """Return the text with other defaults. A section without properties goes away. Raises BadValue."""
    checked = _checked(changes, delete, None)
    merged = {name: value for name, value in {**parse(text).defaults, **checked}.items() if name not in delete}
    schema.check_together(merged, {*changes, *delete})
    found = sections.parse(text)
    if found.find(_DEFAULTS, _DEFAULTS) is None:
        return found.add(_DEFAULTS, _DEFAULTS, checked).render() if checked else text
    changed = _changed(found, _DEFAULTS, _DEFAULTS, checked, delete)
    left = changed.find(_DEFAULTS, _DEFAULTS)
    if delete and left is not None and not left.properties:
        changed = changed.remove(_DEFAULTS, _DEFAULTS)
    return changed.render()


def add_wwid(text: str, wwid: str, properties: Mapping[str, str] | None = None) -> str:
    """Return the text with one more LUN. Raises BadValue, also for one that is there already."""
    schema.check_wwid(wwid)
    found = sections.parse(text)
    if found.find(_WWID, wwid) is not None:
        raise BadValue("wwid", wwid, "a LUN that is not configured yet; change this one instead")
    checked = _checked(properties or {}, (), wwid)
    _refuse_taken_alias(text, wwid, checked)
    return found.add(_WWID, wwid, checked).render()


def set_wwid(text: str, wwid: str, changes: Mapping[str, str], delete: Collection[str] = ()) -> str:
    """Return the text with other properties of a LUN. Raises BadValue; NotFound if the LUN is not configured."""
    found = _with_lun(text, wwid)
    checked = _checked(changes, delete, wwid)
    _refuse_taken_alias(text, wwid, checked)
    return _changed(found, _WWID, wwid, checked, delete).render()


def set_alias(text: str, wwid: str, alias: str) -> str:
    """Return the text with an alias for a LUN. Raises BadValue; NotFound if the LUN is not configured."""
    return set_wwid(text, wwid, {"alias": alias})


def remove_wwid(text: str, wwid: str) -> str:
    """Return the text without a LUN. Raises NotFound if it is not configured."""
    return _with_lun(text, wwid).remove(_WWID, wwid).render()


def _with_lun(text: str, wwid: str) -> Sections:
    found = sections.parse(text)
    if found.find(_WWID, wwid) is None:
        raise NotFound(f"{wwid[:127]!r} is not in the cluster's configuration; add it first")
    return found


def _checked(changes: Mapping[str, str], delete: Collection[str], wwid: str | None) -> dict[str, str]:
    for name in delete:
        schema.settable(name, per_lun=wwid is not None)
        if name in changes:
            raise BadValue(name, changes[name], "to set it or to delete it, not both")
    return {name: schema.check(name, value, wwid=wwid) for name, value in changes.items()}


def _changed(
    found: Sections,
    kind: str,
    name: str,
    changes: Mapping[str, str],
    delete: Collection[str],
) -> Sections:
    for key in delete:
        found = found.unset(kind, name, key)
    for key, value in changes.items():
        found = found.set(kind, name, key, value)
    return found


def _refuse_taken_alias(text: str, wwid: str, changes: Mapping[str, str]) -> None:
    alias = changes.get("alias")
    if alias is None:
        return
    for other, properties in parse(text).wwids.items():
        if other != wwid and alias in (other, properties.get("alias")):
            raise BadValue("alias", alias, f"a name that no other LUN has; this is that of {other}")


def digest(data: bytes) -> str:
    """Return the digest of a file: SHA-1 of its bytes, as Proxmox has it; a file that does not exist is empty."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def combined_digest(configuration: bytes, overrides: bytes) -> str:
    """Return the digest of both files; without overrides it is that of multipath.cfg alone."""
    return digest(configuration + b"\0" + overrides) if overrides else digest(configuration)
