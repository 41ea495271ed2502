"""The LUNs that the cluster allows, and those that it does not but that are seen somewhere."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from pathfleet.cluster import config
from pathfleet.core import report
from pathfleet.errors import Malformed
from pathfleet.store import Store


class LunSeen(Struct, frozen=True, rename="kebab"):
    """A LUN. `maps_on`: nodes that reported a map of it last; `disks_here` None: nobody can tell."""

    wwid: str
    allowed: bool
    alias: str | None
    maps_on: list[str]
    storages: list[str]
    disks_here: tuple[str, ...] | None


async def seen(store: Store, here: Mapping[str, tuple[str, ...]] | None) -> list[LunSeen]:
    """Return all LUNs, those that are allowed first; `here` are the disks of this node by WWID. Raises StoreError."""
    allowed = (await config.read(store)).configuration.wwids
    maps_on = await _maps_on(store)
    storages = await config.consumers(store)
    wwids = [*allowed, *sorted({*maps_on, *storages, *(here or {})} - {*allowed})]
    return [
        LunSeen(
            wwid,
            wwid in allowed,
            allowed.get(wwid, {}).get("alias"),
            maps_on.get(wwid, []),
            storages.get(wwid, []),
            None if here is None else here.get(wwid, ()),
        )
        for wwid in wwids
    ]


async def _maps_on(store: Store) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, values in sorted((await store.all_values()).items()):
        try:
            said = report.decode(values)
        except Malformed:
            continue
        for wwid in said.maps if said else ():
            found.setdefault(wwid, []).append(name)
    return found
