"""Who may change a volume group, or what lies on a LUN: one at a time in the whole cluster.

LVM without a daemon of its own locks on one node only, so locks of the store stand for the others; LVM reads its
metadata anew under them. Whoever needs both takes that of the LUN first.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from pathfleet.core import storagecfg
from pathfleet.core.work import TASK_SECONDS
from pathfleet.errors import Conflict, LockBusy
from pathfleet.store import LEASE_SECONDS, Store

#: LVM takes its time, and whoever has the lock may keep it for so long.
_TURN_SECONDS: Final = 60.0
_PART_LIMIT: Final = 56


class Held:
    """Locks, and since when they are held: a lock of the store lasts for `LEASE_SECONDS`, whatever its holder does."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def begin(self) -> None:
        """Raise LockBusy where a task that begins now might end after the lock did, beside that of another node."""
        passed = time.monotonic() - self._since
        if passed > LEASE_SECONDS - TASK_SECONDS:
            raise LockBusy(
                f"it took the nodes {passed:.0f} s to say how things stand, of the {LEASE_SECONDS:.0f} s that the lock"
                " lasts; nothing was changed: try again when they answer faster"
            )


@asynccontextmanager
async def of_group(store: Store, vgname: str) -> AsyncIterator[Held]:
    """Hold what a volume group is changed under: the lock `storage-ID` of every storage of type lvm that it is of.

    On Proxmox VE these are the locks that its own tools take. A group that no storage has is locked by its name.
    Raises Conflict where that changed before the locks were there; StoreError.
    """
    names = await _names(store, vgname)
    async with AsyncExitStack() as stack:
        held: Held | None = None
        for name in names:
            await stack.enter_async_context(store.lock(name, wait_seconds=_TURN_SECONDS))
            held = held or Held()
        if held is None or await _names(store, vgname) != names:
            raise Conflict(f"{storagecfg.FILE}: the storages on group {vgname} were changed just now; try again")
        yield held


@asynccontextmanager
async def of_lun(store: Store, wwid: str) -> AsyncIterator[Held]:
    """Hold the lock under which a volume group comes onto a LUN. Raises StoreError."""
    async with store.lock(f"lun-{_part(wwid)}", wait_seconds=_TURN_SECONDS):
        yield Held()


async def storages_of(store: Store, vgname: str) -> list[str]:
    """Return the storages of type lvm, also disabled ones, that a volume group is of. Raises StoreError."""
    file = await store.read(storagecfg.FILE)
    known = storagecfg.parse(file.content.decode(errors="replace") if file else "").storages
    # the id as it is written: to Proxmox VE, too, upper and lower case are two
    return [each.id for each in known.values() if each.kind == "lvm" and each.vgname == vgname]


async def _names(store: Store, vgname: str) -> list[str]:
    having = await storages_of(store, vgname)
    return sorted({f"storage-{name}"[:200] for name in having}) or [f"group-{_part(vgname)}"]


def _part(name: str) -> str:
    """Return a name as one of a lock may be. Two that become one only wait for each other."""
    return re.sub(r"[^a-z0-9]", "-", name.lower())[-_PART_LIMIT:]
