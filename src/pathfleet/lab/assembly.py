"""How multipathd makes maps of path devices: which LUNs get one, its name, its path groups."""

from __future__ import annotations

from collections.abc import Iterable

from pathfleet.lab.configuration import Configuration
from pathfleet.lab.devices import Map, Path, group_priority
from pathfleet.lab.kernel import Kernel
from pathfleet.lab.queueing import Queueing

_LETTERS = 26


class Assembly:
    """The maps of one daemon, under one configuration."""

    def __init__(
        self, kernel: Kernel, configuration: Configuration, queueing: Queueing, bindings: dict[str, str]
    ) -> None:
        self._kernel = kernel
        self._configuration = configuration
        self._queueing = queueing
        self._bindings = bindings

    def assemble(self) -> None:
        """Make, change and remove maps until they are as configured; a table that fits stays."""
        kernel = self._kernel
        for wwid, paths in list(kernel.by_wwid.items()):
            if paths:
                self.assemble_one(wwid, paths)
        for wwid in [wwid for wwid in kernel.maps if not kernel.by_wwid.get(wwid)]:
            self.regroup(kernel.maps[wwid])
        # what it no longer manages comes last, as it is found in the kernel only after the paths were sorted out
        unwatched = [wwid for wwid, map_ in kernel.maps.items() if not map_.watched]
        for wwid in unwatched:
            kernel.maps[wwid] = kernel.maps.pop(wwid)

    def assemble_one(self, wwid: str, paths: list[Path]) -> None:
        """Make or change the map of one LUN's devices, if it may have one."""
        map_ = self._kernel.maps.get(wwid)
        names = [path.name for path in paths]
        if self._configuration.is_blacklisted(wwid, names):
            if map_ is not None:
                self._give_up(map_)
        elif map_ is not None:
            self._update(map_, paths)
        elif self._configuration.may_have_map(wwid, names):
            groups = self.groups(wwid, paths)
            self._queueing.restore(self._kernel.create(wwid, self.name(wwid), groups))

    def _update(self, map_: Map, paths: list[Path]) -> None:
        map_.watched = True
        name = self.name(map_.wwid)
        if name != map_.name:
            self._kernel.rename(map_, name)
        groups = self.groups(map_.wwid, paths)
        if {frozenset(group) for group in groups} != {frozenset(group) for group in map_.groups}:
            self._kernel.load(map_, groups)
        self._queueing.restore(map_)

    def _give_up(self, map_: Map) -> None:
        """Remove a map, or let it be, unwatched, while it is open."""
        if map_.open:
            map_.watched = False
            map_.changed()
        else:
            self._kernel.remove(map_)

    def regroup(self, map_: Map) -> None:
        """Load a map's table anew from the devices that are there; without any, only an open map stays."""
        paths = self._kernel.by_wwid.get(map_.wwid, [])
        if paths or map_.open:
            self._kernel.load(map_, self.groups(map_.wwid, paths))
        else:
            self._kernel.remove(map_)

    def groups(self, wwid: str, paths: Iterable[Path]) -> list[list[Path]]:
        """Return paths in groups, the best first."""
        policy = self._configuration.of(wwid, "path_grouping_policy")
        by_key: dict[object, list[Path]] = {}
        for path in paths:
            alike = 0 if policy == "multibus" else path if policy == "failover" else path.pri
            by_key.setdefault((alike, path.marginal and self._apart()), []).append(path)
        return sorted(by_key.values(), key=self._rank)

    def _rank(self, group: list[Path]) -> tuple[bool, int]:
        return group[0].marginal and self._apart(), -group_priority(group)

    def is_sorted(self, map_: Map) -> bool:
        """Whether a map's groups are in the order in which they would be loaded now."""
        ranks = [self._rank(group) for group in map_.groups]
        return ranks == sorted(ranks)

    def _apart(self) -> bool:
        return self._configuration.defaults.get("marginal_pathgroups") not in ("off", "no", None)

    def best_group(self, map_: Map) -> int:
        """Return the place of the group that should carry the I/O."""
        return max(range(len(map_.groups)), key=lambda place: (group_priority(map_.groups[place]), -place))

    def name(self, wwid: str) -> str:
        """Return the name that a LUN's map gets."""
        alias = self._configuration.of(wwid, "alias")
        if alias:
            return alias
        if self._configuration.of(wwid, "user_friendly_names") not in ("yes", "1"):
            return wwid
        if wwid not in self._bindings:
            prefix = self._configuration.defaults["alias_prefix"]
            self._bindings[wwid] = f"{prefix}{_letters(len(self._bindings))}"
        return self._bindings[wwid]


def _letters(number: int) -> str:
    letters = ""
    while number >= 0:
        letters = chr(ord("a") + number % _LETTERS) + letters
        number = number // _LETTERS - 1
    return letters
