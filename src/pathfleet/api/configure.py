"""Changes of the cluster's configuration: what a body may hold is the table of properties (specification section 5).

Every change names the digest of what it changes; what it does not name stays as it is.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from pathfleet.api.operation import Call, operation
from pathfleet.cluster import config, preview
from pathfleet.cluster.access import Role
from pathfleet.cluster.config import Current, Plan
from pathfleet.cluster.preview import Changed
from pathfleet.core import configuration, schema
from pathfleet.core.conf.lint import Diagnostic
from pathfleet.core.property import Property

Digest = Annotated[str, Meta(description="The digest that was read with what is changed; another one now is 409.")]
Delete = Annotated[
    str | tuple[str, ...],
    Meta(description="Properties to unset: a list, or a text with commas, semicolons or blanks between them."),
]
AtOnce = Annotated[bool, Meta(description="Let all nodes apply it together, instead of one first.")]
DryRun = Annotated[bool, Meta(description="Change nothing, only tell what would be.")]


class Change(Struct, frozen=True, rename="kebab", kw_only=True, forbid_unknown_fields=True):
    """What every change has."""

    digest: Digest
    at_once: AtOnce = False
    dry_run: DryRun = False


class PropertiesChange(Change, frozen=True, rename="kebab", kw_only=True, forbid_unknown_fields=True):
    """Properties to set, by their names, and to `delete`."""

    delete: Delete = ""

    @property
    def values(self) -> dict[str, str]:
        """The properties that are to be set, as text."""
        found: dict[str, object] = msgspec.to_builtins(self)
        return {
            name: {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
            for name, value in found.items()
            if name in schema.BY_NAME
        }

    @property
    def deleted(self) -> tuple[str, ...]:
        """The properties that are to be unset."""
        if isinstance(self.delete, str):
            return tuple(name for name in re.split(r"[,;\s]+", self.delete) if name)
        return self.delete


class Alias(Change, frozen=True, rename="kebab", kw_only=True, forbid_unknown_fields=True):
    """The name of a LUN's map."""

    alias: Annotated[str, Meta(description=schema.BY_NAME["alias"].help)]


class OverridesChange(Change, frozen=True, rename="kebab", kw_only=True, forbid_unknown_fields=True):
    """A new text of the overrides; an empty one removes them. `digest` is theirs."""

    content: str


class Text(Struct, frozen=True, forbid_unknown_fields=True):
    """A text in the syntax of multipath.conf."""

    content: str


class Removal(Struct, frozen=True, rename="kebab", kw_only=True):
    """How a LUN is taken out. `force`: also where a storage uses it."""

    digest: Digest
    force: bool = False
    at_once: AtOnce = False
    dry_run: DryRun = False


def _field(row: Property) -> tuple[str, Any, Any]:
    """Return a property as the field of a body. What it may be is documented here, and checked by the table."""
    words = [row.fixed] if row.fixed is not None else [*row.words]
    kind: Any = Annotated[str, Meta(extra_json_schema={"enum": words} if words else {})]
    if row.kind == "number":
        limits = {"minimum": row.minimum, "maximum": row.maximum}
        digits = Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9]+$"})]  # as forms send a number
        kind = Annotated[int, Meta(extra_json_schema=limits)] | (kind if words else digits)
    elif row.kind == "boolean" and row.fixed is None:
        kind = bool | kind
    elif row.form is not None:
        kind = str
    text = f"{row.help} Allowed: {row.allowed}." + (f" Deprecated: {row.deprecated}." if row.deprecated else "")
    return row.name.replace("-", "_"), Annotated[kind, Meta(description=text)] | UnsetType, UNSET


def _body(name: str, about: str, rows: Iterable[Property], *more: tuple[str, Any]) -> type[PropertiesChange]:
    made = msgspec.defstruct(
        name,
        [*more, *map(_field, rows)],
        bases=(PropertiesChange,),
        namespace={"__doc__": about},
        module=__name__,
        frozen=True,
        rename="kebab",
        kw_only=True,
        forbid_unknown_fields=True,
    )
    assert issubclass(made, PropertiesChange)  # noqa: S101 - it is its base
    return made


if TYPE_CHECKING:

    class DefaultsChange(PropertiesChange, frozen=True):
        """Properties of all LUNs."""

    class LunChange(PropertiesChange, frozen=True):
        """Properties of a LUN."""

    class NewLun(LunChange, frozen=True, kw_only=True):
        """A LUN that is to have a map, and its properties."""

        wwid: str
else:
    _OF_LUNS = tuple(row for row in schema.PROPERTIES if row.in_wwid)
    DefaultsChange = _body(
        "DefaultsChange", "Properties of all LUNs.", (row for row in schema.PROPERTIES if row.in_defaults)
    )
    LunChange = _body("LunChange", "Properties of a LUN.", _OF_LUNS)
    NewLun = _body("NewLun", "A LUN that is to have a map, and its properties.", _OF_LUNS, ("wwid", str))


@operation(
    "PUT", "/cluster/multipath/defaults", needs=Role.ADMIN, summary="Set and unset defaults of all LUNs", tag="config"
)
async def set_defaults(call: Call, body: DefaultsChange) -> Changed:
    """Change what is named; the rest stays."""
    planned = config.plan(
        call.service.store,
        lambda text: configuration.set_defaults(text, body.values, body.deleted),
        digest=body.digest,
    )
    return await _carried_out(call, planned, body)


@operation("POST", "/cluster/multipath/wwid", needs=Role.ADMIN, summary="Allow a LUN on every node", tag="config")
async def add_wwid(call: Call, body: NewLun) -> Changed:
    """Add a LUN to the allow-list: every node that sees it makes a map of it."""
    planned = config.plan(
        call.service.store,
        lambda text: configuration.add_wwid(text, body.wwid, body.values),
        digest=body.digest,
    )
    return await _carried_out(call, planned, body)


@operation(
    "PUT",
    "/cluster/multipath/wwid/{wwid}",
    needs=Role.ADMIN,
    summary="Set and unset properties of a LUN",
    tag="config",
)
async def set_wwid(call: Call, wwid: str, body: LunChange) -> Changed:
    """Change what is named; the rest stays."""
    planned = config.plan(
        call.service.store,
        lambda text: configuration.set_wwid(text, wwid, body.values, body.deleted),
        digest=body.digest,
    )
    return await _carried_out(call, planned, body)


@operation(
    "DELETE",
    "/cluster/multipath/wwid/{wwid}",
    needs=Role.ADMIN,
    summary="Take a LUN from the allow-list",
    tag="config",
)
async def remove_wwid(call: Call, wwid: str, query: Removal) -> Changed:
    """Allow it no longer. Maps that are open stay until they are closed. Refused where a storage uses it."""
    planned = config.plan_removal(call.service.store, wwid, digest=query.digest, force=query.force)
    return await _carried_out(call, planned, query)


@operation(
    "POST",
    "/cluster/multipath/wwid/{wwid}/alias",
    needs=Role.ADMIN,
    summary="Name a LUN's map on every node",
    tag="config",
)
async def set_alias(call: Call, wwid: str, body: Alias) -> Changed:
    """Set the alias of a LUN that is allowed; a live map is renamed."""
    planned = config.plan(
        call.service.store,
        lambda text: configuration.set_alias(text, wwid, body.alias),
        digest=body.digest,
    )
    return await _carried_out(call, planned, body)


@operation(
    "PUT", "/cluster/multipath/overrides", needs=Role.ADMIN, summary="Replace the administrator's text", tag="config"
)
async def set_overrides(call: Call, body: OverridesChange) -> Changed:
    """Store the text if it has no errors. `digest` is that of the overrides; multipath.cfg is not touched."""
    planned = config.plan_overrides(call.service.store, body.content, digest=body.digest)
    return await _carried_out(call, planned, body)


@operation(
    "POST",
    "/cluster/multipath/overrides/lint",
    needs=Role.AUDITOR,
    summary="What is wrong in a text, by line",
    tag="config",
)
async def lint(call: Call, body: Text) -> tuple[Diagnostic, ...]:
    """Check a text as a change of the overrides would, and change nothing; any `error` would refuse it."""
    store = call.service.store
    current = await config.read(store)
    candidate = Current(current.content, body.content.encode())
    return await asyncio.to_thread(config.check, candidate, await config.published(store))


async def _carried_out(call: Call, prepared: Awaitable[Plan], how: Change | Removal) -> Changed:
    planned = await prepared
    written = planned.changes and not how.dry_run
    if written:
        await config.write(call.service.store, planned, at_once=how.at_once)
    return preview.changed(planned, await asyncio.to_thread(preview.diff, planned), written=written)


OPERATIONS = (set_defaults, add_wwid, set_wwid, remove_wwid, set_alias, set_overrides, lint)
