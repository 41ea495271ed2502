from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pathfleet.agent.kernel import Kernel
from pathfleet.core import maps
from pathfleet.core.dmstatus import KernelPath
from pathfleet.core.health import KernelMap
from pathfleet.errors import CannotTell
from pathfleet.system.sysfs import Sysfs
from tests.replies import group, map_, path, reply

WWID = "3600a098038314c6c6e3f4b6f4c6c5a30"
TWO = maps.decode(reply(map_(WWID, group(path("sda"), path("sdb")))))
PATHLESS = maps.decode(reply(map_(WWID, name="data")))


def device(root: Path, dm: str, wwid: str = WWID, *, slaves: tuple[str, ...] = ()) -> None:
    directory = root / "block" / dm
    (directory / "dm").mkdir(parents=True)
    (directory / "dm" / "uuid").write_text(f"mpath-{wwid}\n")
    (directory / "size").write_text("67108864\n")
    for slave in slaves:
        (directory / "slaves" / slave).mkdir(parents=True)


async def nothing() -> Mapping[str, tuple[KernelPath, ...]]:
    return {}


def kernel(root: Path, *, settle_seconds: float = 0) -> Kernel:
    return Kernel(Sysfs(root), kernel_paths=nothing, settle_seconds=settle_seconds)


async def test_sizes_are_those_of_the_devices_of_the_listed_maps(tmp_path: Path) -> None:
    device(tmp_path, "dm-0")
    facts, forgotten = await kernel(tmp_path).look(TWO)
    assert (facts.sizes, forgotten) == ({"dm-0": 32 << 30}, ())


async def test_sysfs_is_read_again_only_for_other_maps_or_an_expected_change(tmp_path: Path) -> None:
    device(tmp_path, "dm-0")
    looked_at = kernel(tmp_path)
    await looked_at.look(TWO)
    (tmp_path / "block/dm-0/size").write_text("2\n")
    assert (await looked_at.look(TWO))[0].sizes == {"dm-0": 32 << 30}
    assert (await looked_at.look((*TWO, *TWO)))[0].sizes == {"dm-0": 1024}
    (tmp_path / "block/dm-0/size").write_text("4\n")
    looked_at.expect_change()
    assert (await looked_at.look(TWO))[0].sizes == {"dm-0": 2048}


async def test_a_map_that_is_not_listed_for_a_while_is_forgotten_and_has_its_paths_from_the_kernel(
    tmp_path: Path,
) -> None:
    device(tmp_path, "dm-0", slaves=("sda", "sdb"))
    facts, (forgotten,) = await kernel(tmp_path).look(())
    assert (forgotten.uuid, forgotten.sysfs, forgotten.path_groups) == (WWID, "dm-0", ())
    assert facts.kernel == {WWID: KernelMap(2)}


async def test_a_map_that_is_missed_only_now_may_be_about_to_be_listed(tmp_path: Path) -> None:
    device(tmp_path, "dm-0")
    looked_at = kernel(tmp_path, settle_seconds=3600)
    for _ in range(2):
        assert await looked_at.look(()) == (await looked_at.look(()))
        assert (await looked_at.look(()))[1] == ()
        looked_at.expect_change()


async def test_a_map_that_is_listed_again_is_forgotten_no_more(tmp_path: Path) -> None:
    device(tmp_path, "dm-0")
    looked_at = kernel(tmp_path)
    assert len((await looked_at.look(()))[1]) == 1
    assert (await looked_at.look(TWO))[1] == ()


async def test_device_mapper_is_asked_only_for_maps_without_paths(tmp_path: Path) -> None:
    asked = []

    async def paths() -> Mapping[str, tuple[KernelPath, ...]]:
        asked.append(True)
        return {"data": (KernelPath("8:0", active=True),)}

    looked_at = Kernel(Sysfs(tmp_path), kernel_paths=paths)
    assert (await looked_at.look(TWO))[0].kernel == {}
    assert asked == []
    assert (await looked_at.look(PATHLESS))[0].kernel == {WWID: KernelMap(1, (KernelPath("8:0", active=True),))}


async def test_a_kernel_that_may_not_be_asked_still_has_its_number_of_paths(tmp_path: Path) -> None:
    async def refused() -> Mapping[str, tuple[KernelPath, ...]]:
        raise CannotTell("needs root", passing=False)

    device(tmp_path, "dm-0", slaves=("sda", "sdb"))
    facts, _ = await Kernel(Sysfs(tmp_path), kernel_paths=refused).look(PATHLESS)
    assert facts.kernel == {WWID: KernelMap(2)}


@pytest.mark.parametrize("count", [0, 2])
async def test_the_maps_of_the_kernel_can_be_counted(tmp_path: Path, count: int) -> None:
    for number in range(count):
        device(tmp_path, f"dm-{number}", f"wwid{number}")
    assert await kernel(tmp_path).map_count() == count
