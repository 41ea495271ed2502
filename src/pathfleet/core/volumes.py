"""Volumes and what they are made of: their names and paths, and LVM's reports in JSON (lvmreport(7)).

Volume ids are those of Proxmox VE: `STORAGE:WWID` in a storage of type multipath, `STORAGE:NAME` in one of type lvm.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from pathfleet.core.property import BadValue
from pathfleet.errors import CannotTell

#: Where udev has a map by its WWID, on every node and whatever it is called (10-dm.rules, 13-dm-disk.rules).
BY_ID: Final = "/dev/disk/by-id/dm-uuid-mpath-"

# `$` alone would let a line's end pass.
_WWID: Final = r"^[!#-.0-~]{1,127}$(?!\n)"
_GROUP: Final = r"^(?!-)(?!\.{1,2}$)[A-Za-z0-9+_.-]{1,100}$(?!\n)"
_VOLUME: Final = (
    r"^(?!-)(?!\.{1,2}$)(?!snapshot|pvmove)"
    r"(?!.*_(?:cdata|cmeta|corig|cvol|iorig|mimage|mlog|pmspare|rimage|rmeta|tdata|tmeta|vdata|vorigin|wcorig))"
    r"[A-Za-z0-9+_.-]{1,100}$(?!\n)"
)
_SIZE: Final = r"^(?:[1-9][0-9]{0,16}|[1-9][0-9]{0,5}[KMGT])$(?!\n)"
_TAG: Final = r"^[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,99}$(?!\n)"

Wwid = Annotated[str, Meta(pattern=_WWID, description="A LUN's WWID.")]
#: lvm(8), VALID NAMES; together they must fit a device-mapper name of 127 characters, in which each `-` counts twice.
GroupName = Annotated[str, Meta(pattern=_GROUP, description="A volume group's name, as LVM takes it.")]
VolumeName = Annotated[str, Meta(pattern=_VOLUME, description="A logical volume's name, as LVM takes it.")]
#: What Proxmox VE, too, puts before the name of a volume that is to be overwritten before it is freed.
DOOMED: Final = "del-"
DoomedName = Annotated[str, Meta(pattern=_VOLUME.replace("^", "^(?=del-)", 1))]
Tag = Annotated[str, Meta(pattern=_TAG)]
Size = Annotated[int, Meta(ge=512, le=1 << 60, multiple_of=512, description="Bytes, whole sectors of 512.")]
SizeText = Annotated[str, Meta(pattern=_SIZE, description="Bytes, or up to 6 digits with K, M, G or T.")]

_DM_NAME_LIMIT: Final = 127
_OWNER: Final = re.compile(r"vm-([1-9][0-9]{2,8})-\S+")


class Disk(Struct, frozen=True, rename="kebab"):
    """A physical volume. `wwid` None: it lies on no map. `size` is what LVM uses, `device_size` what there is."""

    path: str
    wwid: str | None
    group: str | None
    size: int
    device_size: int
    missing: bool = False


class Group(Struct, frozen=True, rename="kebab"):
    """A volume group, in bytes. `partial`: disks of it are not there."""

    name: str
    uuid: str
    size: int
    free: int
    extent: int
    volumes: int
    partial: bool
    disks: tuple[Disk, ...] = ()


class LogicalVolume(Struct, frozen=True, rename="kebab"):
    """A logical volume, as one node sees it. `open` None: this node cannot tell."""

    name: str
    size: int
    active: bool
    open: bool | None
    path: str
    tags: tuple[str, ...] = ()


def map_path(wwid: str) -> str:
    """Return the path of a LUN's map."""
    return BY_ID + wwid


def wwid_in(path: str) -> str | None:
    """Return the WWID in the path of a map, None if it is another kind of path."""
    return path.removeprefix(BY_ID) if path.startswith(BY_ID) else None


def volume_path(vgname: str, name: str) -> str:
    """Return the path of an active logical volume."""
    return f"/dev/{vgname}/{name}"


def check_names(vgname: str, name: str | None = None) -> None:
    """Refuse what LVM would not take as the names of a group and of a volume in it. Raises BadValue."""
    for what, value, form in (("vgname", vgname, _GROUP), ("volume", name, _VOLUME)):
        if value is not None and not re.search(form, value):
            raise BadValue(what, value, "1 to 100 of A-Z a-z 0-9 + _ . - that lvm(8) calls a valid name")
    if name is not None and len((vgname + name).replace("-", "--")) + 1 > _DM_NAME_LIMIT:
        raise BadValue("volume", name, f"a name that fits, with that of its group, into {_DM_NAME_LIMIT} characters")


def owner_in(name: str) -> int | None:
    """Return the guest whose volume this is by its name, `vm-ID-…`, as Proxmox VE names them; None if nobody's."""
    found = _OWNER.fullmatch(name)
    return int(found[1]) if found else None


def free_name(vmid: int, taken: frozenset[str]) -> str:
    """Return the next name for a disk of a guest, `vm-ID-disk-N`."""
    return next(name for number in range(len(taken) + 1) if (name := f"vm-{vmid}-disk-{number}") not in taken)


def size_in(text: str) -> int:
    """Return the bytes of a size such as `32G`, in powers of 1024, rounded up to whole MiB. Raises BadValue."""
    if not re.search(_SIZE, text):
        raise BadValue("size", text, "a number of bytes, or up to 6 digits with K, M, G or T")
    power = " KMGT".find(text[-1])
    size = int(text.rstrip("KMGT")) << 10 * max(power, 0)
    return -(-size // 1048576) * 1048576


def volume_of_dm(name: str) -> str:
    """Return GROUP/NAME of an LVM device by its device-mapper name, in which each `-` of the two is doubled."""
    group, dash, volume = re.sub(r"(?<!-)((?:--)*)-(?!-)", r"\1/", name, count=1).partition("/")
    return f"{group}{dash}{volume}".replace("--", "-")


class _Pv(Struct):
    pv_name: str
    vg_name: str = ""
    pv_size: str = "0"
    dev_size: str = "0"
    pv_missing: str = ""


class _Vg(Struct):
    vg_name: str
    vg_uuid: str
    vg_size: str
    vg_free: str
    vg_extent_size: str
    lv_count: str
    vg_partial: str = ""


class _Lv(Struct):
    lv_name: str
    lv_size: str
    lv_active: str = ""
    lv_device_open: str = ""
    lv_path: str = ""
    lv_tags: str = ""


class _Part(Struct):
    pv: tuple[_Pv, ...] = ()
    vg: tuple[_Vg, ...] = ()
    lv: tuple[_Lv, ...] = ()


class _Report(Struct):
    report: tuple[_Part, ...]


#: What is asked for, of each kind of report.
DISK_FIELDS: Final = ",".join(_Pv.__struct_fields__)
GROUP_FIELDS: Final = ",".join(_Vg.__struct_fields__)
VOLUME_FIELDS: Final = ",".join(_Lv.__struct_fields__)

_reports = msgspec.json.Decoder(_Report)


def disks(text: str) -> tuple[Disk, ...]:
    """Return the disks of a report of `pvs`. Raises CannotTell, as all of these do."""
    rows = [row for part in _parts(text) for row in part.pv]
    return tuple(
        Disk(
            row.pv_name, wwid_in(row.pv_name), row.vg_name or None, _bytes(row.pv_size), _bytes(row.dev_size),
            row.pv_missing != "",
        )
        for row in rows
    )  # fmt: skip


def groups(text: str) -> tuple[Group, ...]:
    """Return the groups of a report of `vgs`, without their disks."""
    rows = [row for part in _parts(text) for row in part.vg]
    return tuple(
        Group(
            row.vg_name, row.vg_uuid, _bytes(row.vg_size), _bytes(row.vg_free), _bytes(row.vg_extent_size),
            _bytes(row.lv_count), row.vg_partial != "",
        )
        for row in rows
    )  # fmt: skip


def volumes(text: str) -> tuple[LogicalVolume, ...]:
    """Return the volumes of a report of `lvs`, by name."""
    rows = [row for part in _parts(text) for row in part.lv]
    found = [
        LogicalVolume(
            row.lv_name, _bytes(row.lv_size), row.lv_active == "active",
            None if row.lv_device_open == "unknown" else row.lv_device_open == "open",
            row.lv_path, tuple(filter(None, row.lv_tags.split(","))),
        )
        for row in rows
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda volume: volume.name))


def _parts(text: str) -> tuple[_Part, ...]:
    try:
        return _reports.decode(text.encode()).report
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise CannotTell(f"LVM's report is not the JSON it should be: {error}", passing=False) from error


def _bytes(text: str) -> int:
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > 20:
        raise CannotTell(f"LVM reports {text[:40]!r} where a number of bytes belongs", passing=False)
    return int(digits)
