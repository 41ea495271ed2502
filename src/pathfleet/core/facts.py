"""What only a node itself can find out about its multipathing, as it tells the doctor.

It comes from peers, too: every field may be missing, none is trusted, and what could not be looked at is said.
"""

from __future__ import annotations

import re

from msgspec import Struct

from pathfleet.core.node import Daemon
from pathfleet.core.wire import Bytes, Count, Time


class Holder(Struct, frozen=True, rename="kebab"):
    """A block device that is built on another one. `uuid` is device-mapper's: `LVM-…`, `mpath-WWID`."""

    device: str
    name: str | None = None
    uuid: str | None = None


class Disk(Struct, frozen=True, rename="kebab"):
    """A path device, or a disk that could be one. `map`: the WWID of the map of which it is a path.

    `size` in bytes. `holders` and `mounts` are those of its partitions, too.
    """

    device: str
    wwid: str | None = None
    map: str | None = None
    size: Bytes | None = None
    vendor: str | None = None
    product: str | None = None
    serial: str | None = None
    target: str | None = None
    partitions: tuple[str, ...] = ()
    holders: tuple[Holder, ...] = ()
    mounts: tuple[str, ...] = ()


class MapFacts(Struct, frozen=True, rename="kebab"):
    """A map of multipathd's, of the kernel's, or of both. `listed` None: multipathd could not be asked.

    `slaves` are its path devices in the kernel. `queues`: it holds I/O back for ever once no path is left.
    """

    wwid: str
    name: str
    device: str | None = None
    size: Bytes | None = None
    slaves: tuple[str, ...] = ()
    listed: bool | None = None
    paths_active: Count = 0
    paths_total: Count = 0
    flags: tuple[str, ...] = ()
    queues: bool = False


class LvmDevice(Struct, frozen=True, rename="kebab"):
    """A device that LVM looks at. `pv`: the UUID of the physical volume on it; `duplicate`: LVM uses another copy."""

    device: str
    pv: str | None = None
    group: str | None = None
    duplicate: bool = False


class LvmGroup(Struct, frozen=True, rename="kebab"):
    """A volume group. `autoactivation` None: this LVM does not know such a thing and activates all.

    `volumes` are those that LVM activates by itself if it does so with the group.
    """

    name: str
    autoactivation: bool | None = None
    volumes: tuple[str, ...] = ()


class Lvm(Struct, frozen=True, rename="kebab"):
    """LVM's view. `component_detection` None: it does not say; `filters` as set, empty if none is."""

    devices: tuple[LvmDevice, ...] = ()
    groups: tuple[LvmGroup, ...] = ()
    component_detection: bool | None = None
    filters: tuple[str, ...] = ()


class ConfFile(Struct, frozen=True, rename="kebab"):
    """A file of multipath's configuration; reservation keys in its text are hidden."""

    name: str
    text: str


class Unexamined(Struct, frozen=True, rename="kebab"):
    """What could not be examined on a node (None: in the cluster), and why: it is not known to be healthy."""

    what: str
    why: str
    node: str | None = None


class NodeFacts(Struct, frozen=True, rename="kebab"):
    """All of it. `daemon` is a word of Daemon, `reason` says why it is not `running`.

    `maps` and `disks` None: the block devices cannot be listed. `lvm` None: LVM is not there, or was not examined,
    which `unexamined` then says. `files` in the order in which multipathd reads them; `wwids` None: not readable;
    `effective`: multipathd's answer to `show config local`.
    """

    node: str
    time: Time
    daemon: str = Daemon.CANNOT_TELL.value
    reason: str | None = None
    version: str | None = None
    maps: tuple[MapFacts, ...] | None = None
    disks: tuple[Disk, ...] | None = None
    lvm: Lvm | None = None
    files: tuple[ConfFile, ...] = ()
    wwids: tuple[str, ...] | None = None
    effective: str | None = None
    unexamined: tuple[Unexamined, ...] = ()


#: What stands for a reservation key.
HIDDEN = "hidden"
_KEY = re.compile(r'(\breservation_key[ \t]+)("[^"\n]*"?|[^\s"]+)')


def without_keys(text: str) -> str:
    """Return a text of multipath.conf without its reservation keys: whoever reads facts need not know them."""
    return _KEY.sub(lambda found: found[1] + (found[2] if found[2].strip('"') == "file" else HIDDEN), text)
