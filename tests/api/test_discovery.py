from __future__ import annotations

from pathfleet.core.facts import Disk, Holder
from tests.api.site import Speech, info, site
from tests.fakes import Memory

LUN = "3600a098038314c6c6e3f4b6f4c6c5a30"


async def test_a_lun_of_which_only_another_node_has_a_disk_is_found_with_what_is_on_it() -> None:
    memory = Memory()
    disk = Disk("sdb", LUN, size=1 << 30, product="LUN C-Mode", holders=(Holder("dm-0", "vg-root", "LVM-x"),))
    async with site(name="b", memory=memory, disks=(disk,), secret="b's") as b:
        await Speech({}, info(api=f"http://{b.endpoint}", secret="b's")).say(memory, "b")
        async with site(name="a", memory=memory, secret="a's") as a:
            await Speech({}, info(secret="a's")).say(memory, "a")
            said = await a.data("/cluster/multipath/luns")
            assert await a.data("/nodes/a/disks/luns") == []
    assert isinstance(said, dict)
    assert said["silent"] == {}
    (lun,) = said["luns"]
    assert (lun["wwid"], lun["allowed"], lun["size"], lun["product"]) == (LUN, False, 1 << 30, "LUN C-Mode")
    assert lun["nodes"] == {"b": {"map": None, "disks": ["sdb"], "holds": ["vg-root"]}}
    assert said["unreported"] == ["a", "b"]


async def test_a_node_that_cannot_be_asked_is_named_with_the_reason() -> None:
    memory = Memory()
    await Speech({}, info(api="http://127.0.0.1:1", secret="b's")).say(memory, "b")
    async with site(name="a", memory=memory) as a:
        said = await a.data("/cluster/multipath/luns")
    assert isinstance(said, dict)
    assert list(said["silent"]) == ["b"]
    assert "127.0.0.1:1" in said["silent"]["b"]
