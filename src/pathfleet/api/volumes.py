"""Volumes of a storage of type lvm: allocated, resized, freed, on a node (specification section 6)."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from pathfleet.api.luns import Names
from pathfleet.api.operation import Call, operation
from pathfleet.api.work import Executors
from pathfleet.cluster import storage as storages
from pathfleet.cluster.access import Role
from pathfleet.cluster.nodes import Step
from pathfleet.cluster.volumes import Volumes, Wanted
from pathfleet.core import volumes
from pathfleet.core.storagechange import Unfit
from pathfleet.core.volumes import LogicalVolume, SizeText, VolumeName


class NewVolume(Struct, frozen=True, forbid_unknown_fields=True):
    """A volume that is to be: `size` as in `32G`, and its name or the guest that it is for."""

    size: SizeText
    filename: VolumeName | UnsetType = UNSET
    vmid: Annotated[int, Meta(ge=100, le=999_999_999)] | UnsetType = UNSET


class NewSize(Struct, frozen=True, forbid_unknown_fields=True):
    """How large a volume is to be, as in `64G`; it never shrinks."""

    size: SizeText
    without: Names | UnsetType = UNSET


class FreeQuery(Struct, frozen=True):
    """`without`: nodes to leave out."""

    without: Names = ()


@operation(
    "POST",
    "/nodes/{node}/storage/{storage}/content",
    needs=Role.OPERATOR,
    summary="Allocate a volume",
    tag="storage",
)
async def allocate(call: Call, node: str, storage: str, body: NewVolume) -> str:
    """Make an empty volume, active nowhere, and return its volume id."""
    wanted = Wanted(volumes.size_in(body.size), body.filename or None, body.vmid or None)
    made = await _volumes(call, node).allocate(storage, wanted)
    return f"{storage}:{made.name}"


@operation(
    "PUT",
    "/nodes/{node}/storage/{storage}/content/{volume}",
    needs=Role.OPERATOR,
    summary="Let a volume grow",
    tag="storage",
)
async def resize(call: Call, node: str, storage: str, volume: str, body: NewSize) -> LogicalVolume:
    """Let it grow, and return it as it is then."""
    here = _volumes(call, node)
    return await here.resize(f"{storage}:{volume}", volumes.size_in(body.size), without=body.without or ())


@operation(
    "DELETE",
    "/nodes/{node}/storage/{storage}/content/{volume}",
    needs=Role.ADMIN,
    summary="Free a volume that is active nowhere",
    tag="storage",
)
async def free(call: Call, node: str, storage: str, volume: str, query: FreeQuery) -> list[Step]:
    """Free it. Where it is to be overwritten before (`saferemove`), that takes longer than a request may."""
    if await _safely_removed(call, storage):
        raise Unfit({"storage": f"{storage} overwrites what is freed: `pathfleet storage free {storage}:{volume}`"})
    steps: list[Step] = []
    await _volumes(call, node).free(f"{storage}:{volume}", steps.append, without=query.without)
    return steps


async def _safely_removed(call: Call, name: str) -> bool:
    known = (await storages.read(call.service.store)).storages.storages
    return name in known and known[name].properties.get("saferemove") == "1"


def _volumes(call: Call, node: str) -> Volumes:
    return Volumes(call.service.store, Executors(call), node)


OPERATIONS = (allocate, resize, free)
