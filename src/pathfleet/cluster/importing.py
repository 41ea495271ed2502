"""A node's own multipath files, brought into the cluster's configuration: read, proposed, and what it would change."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from msgspec import Struct

from pathfleet.cluster import config
from pathfleet.cluster.config import Plan
from pathfleet.core import detail, proposal, report, takeover
from pathfleet.core.proposal import Left, NodeFiles, Proposal, Source
from pathfleet.core.render import BASELINE_FILE, OVERRIDES_FILE
from pathfleet.errors import Malformed, NotFound, SettingsError
from pathfleet.store import Store


class Rename(Struct, frozen=True, rename="kebab"):
    """A map that gets another name on one node."""

    node: str
    wwid: str
    before: str
    after: str


class Import(Struct, frozen=True):
    """What an import would do: the change, what is not taken over, and the maps that would be renamed."""

    plan: Plan
    left: tuple[Left, ...]
    renames: tuple[Rename, ...]


def node_files(root: Path) -> NodeFiles:
    """Return the multipath files of the node whose file system is at `root`, in multipathd's order.

    `root` may also be a copy of its /etc/multipath with multipath.conf in it. What pathfleet itself has rendered does
    not count. Raises NotFound where there is nothing to read, SettingsError for what cannot be read.
    """
    if (root / "etc").is_dir():
        main, directory = root / "etc/multipath.conf", root / "etc/multipath"
    else:
        main, directory = root / "multipath.conf", root
    ours = (BASELINE_FILE, OVERRIDES_FILE)
    # multipathd takes them in the byte order of their names, hidden ones too
    drop_ins = [path for path in (directory / "conf.d").glob("*.conf") if path.name not in ours]
    found = [_source(path, root) for path in (main, *sorted(drop_ins, key=lambda path: path.name.encode()))]
    files = NodeFiles(
        tuple(source for source in found if source is not None),
        _source(directory / "wwids", root),
        _source(directory / "bindings", root),
    )
    if files == NodeFiles():
        raise NotFound(f"{root} has neither {main} nor anything in {directory}: there is nothing to import")
    return files


async def plan(store: Store, files: NodeFiles, *, without: Collection[str] = ()) -> Import:
    """Return what taking these files over would do to the cluster. Raises StoreError, BadOverrides."""
    current = await config.read(store)
    made = proposal.propose(files, without=without)
    merged = takeover.merge(made, current.configuration, current.overrides)
    text = takeover.text(merged, current.text)
    planned = await config.plan_both(store, current, text, merged.overrides)
    names = {node: _names(values) for node, values in (await store.all_values()).items()}
    return Import(planned, merged.left, tuple(_renames(merged, names)))


def _source(path: Path, root: Path) -> Source | None:
    try:
        text = path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}; run this as root, or on a copy") from error
    return Source(f"/{path.relative_to(root)}" if (root / "etc").is_dir() else path.name, text)


def _names(values: Mapping[str, bytes]) -> Mapping[str, str]:
    """Return by WWID the names of the maps that a node reported last: of a map that has no other, the WWID."""
    try:
        said = report.decode(values)
        details = detail.decode(values[detail.KEY]).maps if detail.KEY in values else {}
    except Malformed:
        return {}
    maps = said.maps if said else {}
    return {wwid: details[wwid].name or wwid if wwid in details else wwid for wwid in maps}


def _renames(merged: Proposal, names: Mapping[str, Mapping[str, str]]) -> list[Rename]:
    return [
        Rename(node, wwid, before, after)
        for node, of_node in sorted(names.items())
        for wwid, (before, after) in takeover.renames(merged, of_node).items()
    ]
