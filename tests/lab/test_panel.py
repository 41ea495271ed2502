"""The operations of a demo's API that break and mend its lab."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pathfleet.api.server import OPERATIONS
from pathfleet.cluster.access import Role
from pathfleet.lab import panel
from pathfleet.lab.control import Control
from pathfleet.lab.faults import FAULTS
from pathfleet.lab.san import Applied
from tests.api.site import Site, site
from tests.lab.bench import Bench


@pytest.fixture
def bench() -> Bench:
    """The lab."""
    return Bench()


@pytest.fixture
async def here(bench: Bench, tmp_path: Path) -> AsyncIterator[Site]:
    """The API of its first host."""
    control = Control(bench.san, tmp_path / "control", lambda: None)
    async with site(name="pve1", operations=(*OPERATIONS, *panel.operations(control, bench.san))) as served:
        yield served


async def told(here: Site, method: str, path: str, **body: str) -> tuple[int, dict[str, object]]:
    """Return the status and the answer that an administrator gets."""
    headers = here.headers(Role.ADMIN)
    response = await here.client.request(method, path, headers=headers, json=body or None)
    return response.status_code, response.json()


async def test_it_shows_every_component_luns_included_and_every_fault(here: Site, bench: Bench) -> None:
    status, answer = await told(here, "GET", "/lab")
    shown = answer["data"]
    assert isinstance(shown, dict)
    assert (status, shown["node"], shown["faults"]) == (200, "pve1", [])
    assert shown["components"] == {**bench.san.components(), "vm1": "lun", "vm2": "lun", "vm3": "lun"}
    assert shown["luns"] == {lun.name: lun.wwid for lun in bench.san.topology.luns}
    assert [each["name"] for each in shown["possible"]] == [*FAULTS]


async def test_what_is_broken_is_broken_until_it_is_mended(here: Site, bench: Bench) -> None:
    assert (await told(here, "POST", "/lab/break", component="switch-a"))[0] == 200
    assert bench.san.applied == [Applied("break", "switch-a")]
    status, answer = await told(here, "POST", "/lab/mend", component="switch-a")
    assert (status, bench.san.applied) == (200, [])
    assert isinstance(answer["data"], dict)
    assert answer["data"]["faults"] == []


async def test_a_fault_of_another_kind_takes_its_value(here: Site, bench: Bench) -> None:
    await told(here, "POST", "/lab/break", component="vm1", fault="resize", value="20G")
    assert bench.san.applied == [Applied("resize", "vm1", "20G")]


async def test_mending_without_a_component_mends_all(here: Site, bench: Bench) -> None:
    await told(here, "POST", "/lab/break", component="switch-a")
    await told(here, "POST", "/lab/break", component="pve2", fault="dead")
    await told(here, "POST", "/lab/mend")
    assert bench.san.applied == []


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"component": "switch-x"}, "switch-x"),
        ({"component": "switch-a", "fault": "resize"}, "resize is for lun"),
        ({"component": "vm1", "fault": "resize"}, "say also SIZE"),
    ],
)
async def test_what_cannot_happen_is_refused_with_the_reason(here: Site, body: dict[str, str], why: str) -> None:
    status, answer = await told(here, "POST", "/lab/break", **body)
    assert status == 400
    assert why in str(answer["errors"])


async def test_the_host_that_answers_is_not_broken_from_its_own_api(here: Site, bench: Bench) -> None:
    status, answer = await told(here, "POST", "/lab/break", component="pve1")
    assert (status, bench.san.applied) == (409, [])
    assert "ask another host" in str(answer["message"])


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR])
async def test_only_an_administrator_may_look_or_break(here: Site, bench: Bench, role: Role) -> None:
    headers = here.headers(role)
    assert (await here.client.get("/lab", headers=headers)).status_code == 403
    broken = await here.client.post("/lab/break", headers=headers, json={"component": "switch-a"})
    assert (broken.status_code, bench.san.applied) == (403, [])


async def test_a_cluster_that_is_no_demo_has_none_of_it() -> None:
    assert not [each.path for each in OPERATIONS if each.path.startswith("/lab")]
    async with site(name="pve1") as real:
        assert (await told(real, "GET", "/lab"))[0] == 404
