from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pathfleet.cluster.access import Role
from pathfleet.core.answer import Answer
from pathfleet.core.health import Facts
from pathfleet.errors import Unreachable
from pathfleet.store import File
from tests.api.site import GOOD, LUN1, LUN2, Site, Speech, answer, site
from tests.api.test_work import served
from tests.cluster.hosts import WWID, San, goes_down
from tests.replies import group, map_, path

STORAGES = f"""multipath: san
\tnodes a,b
\tcontent images

multipath: off
\tdisable 1

lvm: vg
\tvgname vg
\tbase san:{LUN1}
\tshared 1

dir: local
\tpath /var/lib/vz
"""
TWO = answer(
    map_(LUN1, group(path("sda")), name="db", sysfs="dm-1"),
    map_(LUN2, group(path("sdb")), sysfs="dm-2"),
    facts=Facts(sizes={"dm-1": 1 << 30, "dm-2": 2 << 30}),
)


def _with_storages(here: Site) -> None:
    here.memory.files["storage.cfg"] = File(STORAGES.encode(), "1")


async def test_storages_have_their_properties_as_written_and_the_files_digest() -> None:
    async with site() as here:
        _with_storages(here)
        storages: Any = await here.data("/storage")
        assert [(each["storage"], each["type"]) for each in storages] == [
            ("san", "multipath"),
            ("off", "multipath"),
            ("vg", "lvm"),
            ("local", "dir"),
        ]
        assert storages[2]["base"] == f"san:{LUN1}"
        assert {len(each["digest"]) for each in storages} == {40}
        assert await here.data("/storage/vg") == storages[2]


async def test_without_a_file_there_are_no_storages() -> None:
    async with site() as here:
        assert await here.data("/storage") == []


async def test_the_volumes_of_a_multipath_storage_are_the_maps_on_the_node() -> None:
    async with site(found=TWO) as here:
        _with_storages(here)
        volumes: Any = await here.data("/nodes/a/storage/san/content")
        assert volumes == [
            {
                "volid": f"san:{LUN2}",
                "name": LUN2,
                "size": 2 << 30,
                "path": f"/dev/disk/by-id/dm-uuid-mpath-{LUN2}",
                "format": "raw",
                "content": "images",
                "health": "optimal",
                "storages": [],
                "active": None,
                "vmid": None,
            },
            {
                "volid": f"san:{LUN1}",
                "name": "db",
                "size": 1 << 30,
                "path": f"/dev/disk/by-id/dm-uuid-mpath-{LUN1}",
                "format": "raw",
                "content": "images",
                "health": "optimal",
                "storages": ["vg"],
                "active": None,
                "vmid": None,
            },
        ]


async def test_the_content_can_be_asked_for_by_its_kind() -> None:
    async with site(found=TWO) as here:
        _with_storages(here)
        assert len(await here.data("/nodes/a/storage/san/content?content=images")) == 2  # type: ignore[arg-type]
        assert await here.data("/nodes/a/storage/san/content?content=iso") == []


async def test_nothing_can_be_allocated_in_a_multipath_storage() -> None:
    async with site(found=TWO) as here:
        _with_storages(here)
        status: Any = await here.data("/nodes/a/storage/san/status")
        assert (status["active"], status["total"], status["used"], status["avail"]) == (True, 3 << 30, 3 << 30, 0)


async def test_where_a_size_is_not_known_the_total_is_not_either() -> None:
    async with site(found=GOOD) as here:
        _with_storages(here)
        status: Any = await here.data("/nodes/a/storage/san/status")
        assert (status["active"], status["total"], status["used"]) == (True, None, None)


async def test_a_storage_whose_maps_nobody_can_tell_is_not_active_and_not_empty() -> None:
    async with site(found=Answer("cannot-tell", "it hangs", [])) as here:
        _with_storages(here)
        status: Any = await here.data("/nodes/a/storage/san/status")
        assert (status["active"], status["total"]) == (False, None)
        assert "it hangs" in status["reason"]
        assert (await here.get("/nodes/a/storage/san/content")).status_code == 503


async def test_a_storage_of_another_type_is_not_removed() -> None:
    async with site() as here:
        _with_storages(here)
        refused = await here.client.delete("/storage/local", headers=here.headers(Role.ADMIN))
        assert (refused.status_code, refused.json()["code"]) == (409, "unfit")
        assert (await here.client.delete("/storage/off", headers=here.headers(Role.ADMIN))).status_code == 200


async def test_a_node_that_is_down_is_left_out_of_what_is_asked_of_all(tmp_path: Path) -> None:
    san = San()
    san.fails["b", "Holders"] = Unreachable("node b is offline")
    volume = "/nodes/a/storage/vms/content/vm-100-disk-0"
    new = {"storage": "vms", "type": "lvm", "base": f"san:{WWID}", "vgname": "vms"}
    async with served(tmp_path, san) as here:
        await here.client.delete("/storage/vms")
        assert (await here.client.post("/storage", json=new)).status_code == 503
        goes_down(here.memory, "b")
        assert (await here.client.post("/storage", json=new | {"without": ["b"]})).status_code == 200
        await here.client.post("/nodes/a/storage/vms/content", json={"size": "1G", "vmid": 100})
        assert (await here.client.put(volume, json={"size": "2G"})).status_code == 503
        assert (await here.client.put(volume, json={"size": "2G", "without": ["b"]})).status_code == 200
        assert (await here.client.delete(volume)).status_code == 503
        assert (await here.client.delete(volume, params={"without": "b"})).status_code == 200


@pytest.mark.parametrize(
    ("path_", "status"),
    [
        ("/storage/nothing", 404),
        ("/nodes/a/storage/nothing/content", 404),
        ("/nodes/a/storage/off/content", 400),
        ("/nodes/c/storage/san/content", 400),
        ("/nodes/a/storage/local/content", 501),
        ("/nodes/a/storage/local/status", 501),
    ],
)
async def test_what_a_node_does_not_have_is_refused_with_a_reason(path_: str, status: int) -> None:
    async with site({"c": Speech()}) as here:
        _with_storages(here)
        refused = await here.get(path_)
        assert refused.status_code == status
        assert refused.json()["message"]
