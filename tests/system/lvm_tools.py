"""Stand-ins for LVM's and util-linux's programs: what they print by the command, and what they were told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from pathfleet.core.volumes import map_path
from pathfleet.system.program import Ended, NotDone, StillRunning

NOTHING = Ended(0, "", "")


def report(kind: str, *rows: Mapping[str, str]) -> Ended:
    """Return a report of LVM's in JSON."""
    return Ended(0, msgspec.json.encode({"report": [{kind: rows}]}).decode(), "")


def disk(wwid: str, group: str = "vms", size: int = 1 << 30, device_size: int | None = None) -> Mapping[str, str]:
    """Return a row of `pvs`."""
    return {
        "pv_name": map_path(wwid),
        "vg_name": group,
        "pv_size": str(size),
        "dev_size": str(device_size if device_size is not None else size + (1 << 20)),
        "pv_missing": "",
    }


def group(name: str = "vms", size: int = 1 << 30, free: int = 1 << 29, volumes: int = 1) -> Mapping[str, str]:
    """Return a row of `vgs`."""
    return {
        "vg_name": name,
        "vg_uuid": "527Djh",
        "vg_size": str(size),
        "vg_free": str(free),
        "vg_extent_size": str(4 << 20),
        "lv_count": str(volumes),
        "vg_partial": "",
    }


def volume(name: str, size: int = 16 << 20, *, active: bool = False, opened: bool = False) -> Mapping[str, str]:
    """Return a row of `lvs`."""
    return {
        "lv_name": name,
        "lv_size": str(size),
        "lv_active": "active" if active else "",
        "lv_device_open": "open" if opened else "",
        "lv_path": f"/dev/vms/{name}",
        "lv_tags": "",
    }


@dataclass
class Tools:
    """The programs of a node. `ends`: how each ends, by its name, for `lvm` by its command; a list is used up in turn.

    `told` is every command line, without what goes with each of LVM's; `before` is awaited with each one's name.
    """

    ends: dict[str, Ended | list[Ended] | NotDone | StillRunning] = field(default_factory=dict)
    told: list[tuple[str, ...]] = field(default_factory=list)
    configs: list[str] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    before: Callable[[str], Awaitable[None]] | None = None

    async def __call__(
        self, program: str, *arguments: str, deadline_seconds: float, environment: Mapping[str, str] | None = None
    ) -> Ended:
        assert deadline_seconds > 0
        self.deadlines.append(deadline_seconds)
        assert environment is not None
        assert environment["LC_ALL"] == "C"
        words = list(arguments)
        if "--config" in words:
            at = words.index("--config")
            self.configs.append(words[at + 1])
            del words[at : at + 2]
        self.told.append((program, *words))
        name = words[0] if program == "lvm" else program
        if self.before is not None:
            await self.before(name)
        end = self.ends.get(name, NOTHING)
        if isinstance(end, list):
            end = end.pop(0) if len(end) > 1 else end[0]
        if isinstance(end, NotDone | StillRunning):
            raise end
        return end

    @property
    def changes(self) -> list[str]:
        """What LVM was told to change."""
        return [
            " ".join(words[1:]) for words in self.told if words[0] == "lvm" and words[1] not in ("pvs", "vgs", "lvs")
        ]
