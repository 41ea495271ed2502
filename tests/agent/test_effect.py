from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pathfleet.agent.effect import Timing, Watch
from pathfleet.core.render import DropIns
from pathfleet.system.multipathd import Multipathd
from tests.agent.apply_bench import FAST
from tests.fakes import FakeDaemon
from tests.replies import group, map_, path, reply

ALIVE = map_("3600a", group(path("sda"), path("sdb")))
DEAD = map_("3600b", group(path("sdc", "failed", "faulty"), path("sdd", "failed", "faulty")), queueing="on")


async def test_a_map_that_only_queues_stays_though_its_lun_is_no_longer_allowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeDaemon(str(tmp_path / "multipathd"), reply(ALIVE, DEAD)) as daemon:
        daemon.replies |= {"show daemon": b"pid 1 idle\n", "reconfigure": b"ok\n", "del map 3600a": b"ok\n"}
        await Watch(Multipathd(daemon.address), FAST).take_effect(1, {}, ("3600a", "3600b"))
        assert [question for question in daemon.questions if question.startswith("del")] == ["del map 3600a"]
    assert "maps-stay names=3600b reason=they have no usable path" in caplog.text


async def test_a_nodes_own_overrides_that_outrank_the_defaults_do_not_stop_the_roll(tmp_path: Path) -> None:
    defaults = "defaults {\n\tno_path_retry 12\n}\n"
    async with FakeDaemon(str(tmp_path / "multipathd"), reply()) as daemon:
        daemon.replies["show config local"] = f"{defaults}overrides {{\n\tno_path_retry queue\n}}\n".encode()
        assert await Watch(Multipathd(daemon.address), FAST).not_in_force(DropIns(defaults)) == ()


class Slow(Multipathd):
    """Takes its time for each map but the first."""

    removed = 0

    async def remove_map(self, name: str) -> bool:  # noqa: ARG002
        if self.removed:
            await asyncio.sleep(60)
        self.removed += 1
        return True


async def test_hundreds_of_maps_that_go_slowly_do_not_hold_up_the_apply(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    maps = [map_(f"3600{number}", group(path("sda"))) for number in range(300)]
    async with FakeDaemon(str(tmp_path / "multipathd"), reply(*maps)) as daemon:
        watch = Watch(Slow(daemon.address), Timing(removed=0.1))
        async with asyncio.timeout(20):
            stay = await watch.remove_maps([f"3600{number}" for number in range(300)])
    assert stay == {f"3600{number}" for number in range(1, 300)}
    assert "reason=multipathd took more than 0.1 s next=trying-again" in caplog.text


async def test_why_maps_stay_is_said_once_and_again_when_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeDaemon(str(tmp_path / "multipathd"), reply(ALIVE)) as daemon:
        daemon.replies |= {"del map 3600a": b"fail\nmap or partition in use\n"}
        watch = Watch(Multipathd(daemon.address), FAST)
        for _ in range(3):
            assert await watch.remove_maps({"3600a"}) == {"3600a"}
        assert caplog.text.count("they are in use") == 1
        daemon.replies |= {"del map 3600a": b"ok\n"}
        assert await watch.remove_maps({"3600a"}) == frozenset()
