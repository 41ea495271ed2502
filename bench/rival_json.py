"""The report as straight Python with the standard library's `json` makes it: dicts all the way."""

from __future__ import annotations

import json
from collections.abc import Mapping

_USABLE = frozenset(("ready", "ghost", "i/o pending"))
_BADNESS = {"optimal": 0, "unknown": 1, "degraded": 2, "failed": 3}


def report(reply: bytes, sizes: Mapping[str, int], transports: Mapping[str, str], now: int) -> bytes:
    """Return the plain form of the report for a reply to `show maps json`."""
    maps: dict[str, dict[str, object]] = {}
    for shown in json.loads(reply)["maps"]:
        wwid = shown["uuid"]
        if not wwid:
            continue
        active = total = 0
        transport = None
        for group in shown["path_groups"]:
            for path in group["paths"]:
                total += 1
                if path["dm_st"] == "active" and path["chk_st"] in _USABLE:
                    active += 1
                if transport is None:
                    transport = transports.get(path["dev"])
        state = "failed" if not active else "optimal" if active == total else "degraded"
        if wwid in maps and _BADNESS[str(maps[wwid]["state"])] >= _BADNESS[state]:
            continue
        entry: dict[str, object] = {"state": state, "paths-active": active, "paths-total": total}
        size = sizes.get(shown["sysfs"])
        if size is not None:
            entry["size"] = size
        if transport is not None:
            entry["transport"] = transport
        maps[wwid] = entry
    return json.dumps({"maps": maps, "time": now}, sort_keys=True, separators=(",", ":")).encode()
