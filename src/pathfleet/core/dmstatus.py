"""Read the kernel's own account of multipath maps: the text of `dmsetup status --target multipath`.

The format is `multipath_status` of the kernel's drivers/md/dm-mpath.c (STATUSTYPE_INFO): every list is preceded by
its length, so selectors and features that are not known are stepped over, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

# Greedy: a name may itself hold ": 0 8 multipath", the parameters never do.
_LINE = re.compile(r"(?P<name>.+): [0-9]+ [0-9]+ multipath (?P<parameters>.*)")
_DEV_T = re.compile(r"[0-9]+:[0-9]+")
_MANGLED = re.compile(r"(?:\\x[0-9A-Fa-f]{2})+")
# The kernel's own bound of one status is a page or a few; a larger count is nonsense.
_COUNT = re.compile(r"[0-9]{1,5}")


class KernelPath(Struct, frozen=True):
    """A path as the kernel has it: its device number `MAJOR:MINOR`, and whether I/O may use it."""

    dev_t: str
    active: bool


def parse(text: str) -> dict[str, tuple[KernelPath, ...]]:
    """Return each map's paths by its name, mangling undone; a map without paths has an empty tuple.

    A line that is not understood costs its own map: absent means "cannot tell". So do two lines of one name.
    """
    maps: dict[str, tuple[KernelPath, ...] | None] = {}
    for line in text.split("\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        name = unmangled(match["name"])
        maps[name] = None if name in maps else _paths(match["parameters"])
    return {name: paths for name, paths in maps.items() if paths is not None}


def unmangled(name: str) -> str:
    r"""Return a device-mapper name with libdevmapper's `\xNN` undone (dmsetup(8), --manglename).

    To compare a map's name with multipathd's, put both through this: multipathd tells an alias as configured or as
    found in the kernel.
    """
    return _MANGLED.sub(lambda run: _unhex(run[0]), name)


def _unhex(run: str) -> str:
    return bytes.fromhex(run.replace("\\x", "")).decode(errors="replace")


def _paths(parameters: str) -> tuple[KernelPath, ...] | None:
    words = iter(parameters.split())
    try:
        paths = _walk(words)
    except (StopIteration, ValueError):
        return None
    # What is left over means that the counts were not what they seemed.
    return tuple(paths) if next(words, None) is None else None


def _walk(words: Iterator[str]) -> list[KernelPath]:
    _skip(words, _count(words))  # features: I/O waits for a group, runs of pg_init
    _skip(words, _count(words))  # hardware handler
    groups = _count(words)
    _count(words)  # number of the group in use, or next in use
    found = []
    for _ in range(groups):
        _skip(words, 1)  # A, E or D: state of the group
        _skip(words, _count(words))  # arguments of its selector
        paths, arguments = _count(words), _count(words)
        for _ in range(paths):
            found.append(_path(words))
            _skip(words, arguments)
    return found


def _path(words: Iterator[str]) -> KernelPath:
    dev_t, state, _fail_count = next(words), next(words), int(next(words))
    if not _DEV_T.fullmatch(dev_t) or state not in ("A", "F"):
        raise ValueError(f"no path: {dev_t} {state}")
    return KernelPath(dev_t, active=state == "A")


def _count(words: Iterator[str]) -> int:
    word = next(words)
    if not _COUNT.fullmatch(word):
        raise ValueError(f"no count: {word}")
    return int(word)


def _skip(words: Iterator[str], count: int) -> None:
    for _ in range(count):
        next(words)
