"""The power goes at any step of an apply: afterwards there is all of the old or all of the new, and then the new."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pathfleet.core.wanted import Wanted
from pathfleet.system.disk import Disk
from tests.agent.apply_bench import UNLISTED, Host, lab, wanted, wwid


class PowerCut(BaseException):
    """Nothing that runs goes on."""


class MemoryDisk(Disk):
    """Does not wait for the disk: here the power goes only when a test says so."""

    def sync(self, file: int) -> None:
        pass


class CutDisk(MemoryDisk):
    """Loses power before step number `last`, and with it the names that were not synced in some directories.

    `forgets`: which those are, by the end of their path.
    """

    def __init__(self, last: int, *, forgets: tuple[str, ...]) -> None:
        self.left = last
        self._forgets = forgets
        self._undo: list[tuple[Path, Callable[[], object]]] = []

    def _step(self) -> None:
        if not self.left:
            for directory, undo in reversed(self._undo):
                if str(directory).endswith(self._forgets):
                    undo()
            self._undo.clear()
            raise PowerCut
        self.left -= 1

    def create(self, directory: int, name: str, mode: int) -> int:
        self._step()
        file = super().create(directory, name, mode)
        path = _path(directory) / name
        self._undo.append((path.parent, lambda: path.unlink(missing_ok=True)))
        return file

    def write(self, file: int, content: bytes) -> None:
        super().write(file, content[: len(content) // 2])
        self._step()
        super().write(file, content[len(content) // 2 :])

    def sync(self, file: int) -> None:
        self._step()
        self._undo = [(directory, undo) for directory, undo in self._undo if directory != _path(file)]

    def rename(self, directory: int, old: str, new: str) -> None:
        self._step()
        target, source = _path(directory) / new, _path(directory) / old
        before, content = _content(target), source.read_bytes()
        super().rename(directory, old, new)
        self._undo += [(target.parent, lambda: _put(source, content)), (target.parent, lambda: _put(target, before))]

    def unlink(self, directory: int, name: str) -> None:
        self._step()
        path = _path(directory) / name
        before = _content(path)
        super().unlink(directory, name)
        self._undo.append((path.parent, lambda: _put(path, before)))

    def mkdir(self, path: Path, mode: int) -> None:
        self._step()
        super().mkdir(path, mode)

    def rmdir(self, path: Path) -> None:
        self._step()
        super().rmdir(path)


def _path(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _put(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(content)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with lab(tmp_path, UNLISTED) as hosts:
        yield hosts[0]


def visible(host: Host) -> dict[str, bytes | None]:
    """What multipathd reads: files aside are none of its business, nor are directories."""
    return {
        name: text for name, text in host.tree().items() if text is not None and not Path(name).name.startswith(".")
    }


async def _cut_everywhere(host: Host, old: Wanted, new: Wanted, *, forgets: tuple[str, ...]) -> int:
    """Go from old to new with the power cut before each step in turn; return how many steps there are."""
    await host.started_anew(MemoryDisk()).apply(old)
    settled_old = visible(host)
    await host.started_anew(MemoryDisk()).apply(new)
    settled_new = visible(host)
    assert settled_old != settled_new
    for last in range(1000):
        await host.started_anew(MemoryDisk()).apply(old)
        assert visible(host) == settled_old
        disk = CutDisk(last, forgets=forgets)
        with contextlib.suppress(PowerCut):
            await host.started_anew(disk).apply(new)
        host.node.daemon.stop()
        host.node.start_daemon()
        applier = host.started_anew(MemoryDisk())
        await applier.recover()
        assert visible(host) in (settled_old, settled_new), f"cut before step {last}"
        outcome = await applier.apply(new)
        assert (outcome.digest, outcome.error) == (new.digest, None), f"cut before step {last}"
        assert visible(host) == settled_new
        if disk.left:
            return last
    raise AssertionError


@pytest.mark.parametrize(
    "forgets",
    [(), ("",), ("/apply",), ("/multipath", "/conf.d")],
    ids=["nothing is lost", "all that is not synced", "what is ours to remember", "what multipathd reads"],
)
@pytest.mark.parametrize("change", ["first", "change", "empty"])
async def test_a_power_cut_at_any_step_leaves_all_of_the_old_or_of_the_new(
    host: Host, change: str, *, forgets: tuple[str, ...]
) -> None:
    untouched = host.tree()
    a = wanted("defaults {\n\tno_path_retry 7\n}\n", wwid(host, "vm1"), overrides="overrides {\n}\n")
    b = wanted("defaults {\n\tno_path_retry 9\n}\n", wwid(host, "vm2"))
    old, new = {"first": (Wanted(), a), "change": (a, b), "empty": (a, Wanted())}[change]
    steps = await _cut_everywhere(host, old, new, forgets=forgets)
    assert steps > 20
    await host.started_anew(MemoryDisk()).apply(Wanted())
    host.close_maps()
    await host.applier.let_go(Wanted())
    assert host.tree() == untouched
    assert list(host.state.iterdir()) == []
