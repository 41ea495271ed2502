"""Replies of multipathd, printed as the daemon prints them: one field on a line, strings raw, never escaped.

`reply(map_("3600…", group(path("sda"), path("sdb", "failed", "faulty"))))` is what `show maps json` says. Any
field can be given by its own name: `path("sda", host_wwpn="0x21…")`. A byte that is not UTF-8 is written as its
surrogate: "\\udcff".
"""

from __future__ import annotations

from collections.abc import Sequence

Fields = dict[str, "str | int | list[Fields]"]

#: The keys of `show maps json` that came after 0.6.2, and the version that brought them.
_SINCE = {"marginal_st": (0, 8, 3), "lun_hex": (0, 8, 9)}


def path(dev: str, dm: str = "active", chk: str = "ready", **fields: str | int) -> Fields:
    """One path of an iSCSI LUN; `dm` is the kernel's word, `chk` the checker's."""
    return {
        "dev": dev,
        "dev_t": "8:0",
        "dm_st": dm,
        "dev_st": "running",
        "chk_st": chk,
        "checker": "tur",
        "pri": 50,
        "host_wwnn": "[undef]",
        "target_wwnn": "iqn.2026-01.org.example:array",
        "host_wwpn": "[undef]",
        "target_wwpn": "[undef]",
        "host_adapter": "192.0.2.1",
        "lun_hex": "0x0000000000000000",
        "marginal_st": "normal",
        **fields,
    }


def group(*paths: Fields, pri: int = 50, dm: str = "active", **fields: str | int) -> Fields:
    """A path group, by default the one in use."""
    return {
        "selector": "service-time 0",
        "pri": pri,
        "dm_st": dm,
        "marginal_st": "normal",
        "group": 1,
        **fields,
        "paths": list(paths),
    }


def map_(wwid: str, *groups: Fields, **fields: str | int) -> Fields:
    """A map named by its WWID. `paths` is the daemon's count of paths whose check succeeds, not of all."""
    paths = [each for group in groups if isinstance(group["paths"], list) for each in group["paths"]]
    inquiry = ("EXAMPLE", "LUN", "1.0") if paths else ("##", "##", "##")
    return {
        "name": wwid,
        "uuid": wwid,
        "sysfs": "dm-0",
        "failback": "-",
        "queueing": "-",
        "paths": sum(each["chk_st"] in ("ready", "ghost") for each in paths),
        "write_prot": "rw",
        "dm_st": "active",
        "features": "0",
        "hwhandler": "1 alua",
        "action": "",
        "path_faults": 0,
        **dict(zip(("vend", "prod", "rev"), inquiry, strict=True)),
        "switch_grp": 0,
        "map_loads": 1,
        "total_q_time": 0,
        "q_timeouts": 0,
        **fields,
        "path_groups": [{**group, "group": number} for number, group in enumerate(groups, 1)],
    }


def reply(*maps: Fields, version: str = "0.9.4") -> bytes:
    """The answer to `show maps json`."""
    return _document(f'"maps": {_list(maps, 1, _missing_in(version))}')


def reply_for_one(map_: Fields, version: str = "0.9.4") -> bytes:
    """The answer to `show map WWID json`."""
    return _document(f'"map": {{\n{_object(map_, 2, _missing_in(version))}\n   }}')


def help_text(version: str = "0.9.4", command: str = "nonsense") -> bytes:
    """The beginning of the answer to a command that multipathd does not know."""
    fail = "fail\n" if _numbers(version) >= (0, 9, 8) else ""
    banner = f"multipath-tools v{version} (12/19, 2022)\nCLI commands reference:\n"
    return f"{fail}{command}: not found\n{banner} list|show daemon\n list|show maps|multipaths json\n".encode()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _missing_in(version: str) -> frozenset[str]:
    return frozenset(key for key, since in _SINCE.items() if _numbers(version) < since)


def _document(body: str) -> bytes:
    head = '{\n   "major_version": 0,\n   "minor_version": 1,\n   '
    return f"{head}{body}\n}}\n".encode(errors="surrogateescape")


def _object(fields: Fields, depth: int, missing: frozenset[str]) -> str:
    return ",\n".join(
        "   " * depth + _field(key, value, depth, missing) for key, value in fields.items() if key not in missing
    )


def _field(key: str, value: str | int | list[Fields], depth: int, missing: frozenset[str]) -> str:
    if isinstance(value, list):
        return f'"{key}": {_list(value, depth, missing)}'
    return f'"{key}" : "{value}"' if isinstance(value, str) else f'"{key}" : {value}'


def _list(objects: Sequence[Fields], depth: int, missing: frozenset[str]) -> str:
    if not objects:
        return "[]"
    indent = "   " * depth
    inner = f"\n{indent}}},{{\n".join(_object(fields, depth + 1, missing) for fields in objects)
    return f"[{{\n{inner}\n{indent}}}]"
