from __future__ import annotations

from pathlib import Path

import pytest

from pathfleet.agent.effect import Watch
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
