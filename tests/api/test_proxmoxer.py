"""A client that was made for Proxmox VE works here unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from proxmoxer import ProxmoxAPI, ResourceException  # type: ignore[import-untyped] # it has no types

from pathfleet import __version__
from pathfleet.cluster.access import Role
from pathfleet.system import certificates
from tests.api.site import LUN1, LUN2, Speech, site


@asynccontextmanager
async def proxmoxer(directory: Path) -> AsyncIterator[Any]:
    """Give proxmoxer's API object for a node that speaks TLS, with a token."""
    certificate, key = directory / "crt", directory / "key"
    await certificates.self_signed(certificate, key, ["127.0.0.1"])
    said = {"a": Speech({LUN1: ("optimal", 2, 2)}), "b": Speech({LUN1: ("failed", 0, 2)})}
    async with site(said, api_certificate=str(certificate), api_key=str(key)) as here:
        yield ProxmoxAPI(
            here.endpoint.host,
            port=here.endpoint.port,
            user="root@pam",
            token_name="auditor-a",
            token_value=here.tokens[Role.AUDITOR],
            verify_ssl=str(certificate),
            timeout=5,
        )


async def test_proxmoxer_reads_the_cluster_with_a_token(tmp_path: Path) -> None:
    async with proxmoxer(tmp_path) as api:
        assert (await asyncio.to_thread(api.version.get))["version"] == __version__
        kinds = [entry["type"] for entry in await asyncio.to_thread(api.cluster.status.get)]
        assert kinds == ["cluster", "node", "node"]
        status = await asyncio.to_thread(api.cluster.multipath.status.get)
        assert status["luns"][0]["cluster-state"] == "failed"
        problems = await asyncio.to_thread(api.cluster.multipath.status.get, problems=1, node="a")
        assert problems["luns"] == []


async def test_proxmoxer_reads_the_paths_of_a_node(tmp_path: Path) -> None:
    async with proxmoxer(tmp_path) as api:
        maps = await asyncio.to_thread(api.nodes("a").disks.multipath.get)
        assert [each["alias"] for each in maps] == ["db"]
        one = await asyncio.to_thread(api.nodes("a").disks.multipath(LUN1).get)
        assert one == maps[0]


async def test_proxmoxer_shows_why_something_is_refused(tmp_path: Path) -> None:
    async with proxmoxer(tmp_path) as api:
        with pytest.raises(ResourceException) as caught:
            await asyncio.to_thread(api.nodes("a").disks.multipath(LUN2).get)
        assert caught.value.status_code == 404
