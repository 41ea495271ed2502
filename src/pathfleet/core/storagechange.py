"""Changes of storage.cfg: a text becomes a text in which only what was named differs, as Proxmox VE would write it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Final

from msgspec import Meta

from pathfleet.core import schema, sections, storagecfg, volumes
from pathfleet.core.property import BadValue
from pathfleet.core.storagecfg import REQUIRED, Storage
from pathfleet.errors import BadRequest, NotFound

#: The types that are made and changed here; what others need is not known.
KINDS: Final = ("multipath", "lvm")
#: What can be set later, too. The rest is what the storage is.
SETTABLE: Final = ("content", "disable", "nodes", "saferemove")
_FIXED: Final = ("base", "vgname", "shared")
# `$` alone would let a line's end pass.
_ID: Final = r"^[A-Za-z][A-Za-z0-9_.-]{0,61}[A-Za-z0-9]$(?!\n)"
_NODES: Final = r"^[A-Za-z0-9-]{1,63}(,[A-Za-z0-9-]{1,63})*$(?!\n)"
_CONTENT: Final = r"^(images|rootdir|none)(,(images|rootdir|none))*$(?!\n)"

Id = Annotated[str, Meta(pattern=_ID, description="A storage's name.")]
NodeNames = Annotated[str, Meta(pattern=_NODES, description="Names of nodes, with commas between them.")]
Content = Annotated[str, Meta(pattern=_CONTENT, description="`images`, `rootdir`, `none`, with commas between them.")]


class Unfit(BadRequest):
    """What is asked for is well-formed, and does not fit what there is; `errors` say what, by parameter."""

    code = "unfit"
    status = 409


def add(text: str, kind: str, name: str, properties: Mapping[str, str]) -> str:
    """Return the text with one more storage. Raises BadValue, Unfit."""
    if kind not in KINDS:
        raise BadValue("type", kind, "`multipath`, `lvm`")
    if not re.search(_ID, name):
        raise BadValue("storage", name, "2 to 63 of letters, digits, `-`, `_`, `.`, a letter first")
    known = storagecfg.parse(text).storages
    if name in known:
        raise Unfit({"storage": f"there is a storage {name} already, of type {known[name].kind}; choose another name"})
    if missing := [key for key in REQUIRED[kind] if key not in properties]:
        raise Unfit(dict.fromkeys(missing, "must be given"))
    checked = {key: _check(kind, key, value) for key, value in properties.items()}
    if "base" in checked:
        base_of(known, checked["base"])
    for other in known.values():
        if kind == "lvm" and other.vgname == checked["vgname"]:
            raise Unfit({"vgname": f"group {other.vgname} is that of storage {other.id} already; choose another name"})
    return sections.parse(text, fold=True).add(kind, name, checked, required=REQUIRED[kind]).render()


def change(text: str, name: str, values: Mapping[str, str], delete: Collection[str] = ()) -> str:
    """Return the text with other properties of a storage. Raises BadValue, Unfit, NotFound."""
    storage = _known_kind(storagecfg.parse(text).storages, name)
    for key in (*values, *delete):
        if key not in SETTABLE or (key in values and key in delete):
            raise BadValue(key, values.get(key, ""), f"to set or to delete one of {', '.join(SETTABLE)}")
    changed = sections.parse(text, fold=True)
    for key in delete:
        changed = changed.unset(storage.kind, storage.id, key)
    for key, value in values.items():
        checked = _check(storage.kind, key, value)
        changed = changed.set(storage.kind, storage.id, key, checked, required=REQUIRED[storage.kind])
    return changed.render()


def remove(text: str, name: str) -> str:
    """Return the text without a storage. Raises NotFound; Unfit for another type, or the base of another one."""
    known = storagecfg.parse(text).storages
    storage = _known_kind(known, name)
    if users := [other.id for other in known.values() if _base_storage(other) == storage.id]:
        raise Unfit({"storage": f"{name} is the base of {', '.join(users)}: remove that first"})
    return sections.parse(text, fold=True).remove(storage.kind, storage.id).render()


def found(known: Mapping[str, Storage], name: str) -> Storage:
    """Return a storage by its name. Raises NotFound that names those that there are."""
    if name not in known:
        raise NotFound(f"there is no storage {name[:63]!r}; there are: {', '.join(known) or 'none'}")
    return known[name]


def base_of(known: Mapping[str, Storage], base: str) -> str:
    """Return the WWID of a base, which must be a LUN of a storage of type multipath. Raises Unfit, BadValue."""
    volume = storagecfg.volume(base)
    below = known.get(volume.storage) if volume else None
    if volume is None or below is None or below.kind != "multipath":
        raise Unfit({"base": f"{base[:100]!r} is no LUN of a storage of type multipath (`pathfleet storage list`)"})
    return schema.check_wwid(volume.name)


def _known_kind(known: Mapping[str, Storage], name: str) -> Storage:
    """Return a storage of a type that is made here."""
    storage = found(known, name)
    if storage.kind not in KINDS:
        raise Unfit({"type": f"{name} is of type {storage.kind}: it is changed and removed by what made it"})
    return storage


def _base_storage(storage: Storage) -> str | None:
    base = storagecfg.volume(storage.base) if storage.base else None
    return base.storage if base else None


def _check(kind: str, key: str, value: str) -> str:
    if key not in (*SETTABLE, *_FIXED) or (kind == "multipath" and key not in ("content", "disable", "nodes")):
        raise Unfit({key: f"there is no such property in a storage of type {kind}"})
    if key == "nodes" and not re.search(_NODES, value):
        raise BadValue(key, value, "names of nodes with commas between them")
    if key == "content" and not re.search(_CONTENT, value):
        raise BadValue(key, value, "`images`, `rootdir`, `none`, with commas between them")
    if key in ("disable", "saferemove", "shared") and value not in ("0", "1"):
        raise BadValue(key, value, "`0`, `1`")
    if key == "vgname":
        volumes.check_names(value)
    return value
