from __future__ import annotations

import os
from pathlib import Path

import pytest

from pathfleet.core.configuration import FILE, combined_digest
from pathfleet.store.sqlite import SQLiteStore
from tests.agent.apply_bench import Host, lab
from tests.cli.commands import Ran, run, run_beside

CFG = b"defaults: defaults\n\tno-path-retry 7\n"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="applying is for root")


async def apply(tmp_path: Path, host: Host, *arguments: str) -> Ran:
    return await run_beside(
        *("config", "apply", "--directory", str(host.etc), *arguments),
        node="pve1",
        state_directory=str(tmp_path),
        multipathd_socket=host.node.multipathd_socket,
    )


async def written(tmp_path: Path, content: bytes) -> None:
    async with SQLiteStore(tmp_path / "cluster.db", node="operator") as store:
        await store.swap(FILE, content, None)


async def test_the_configuration_is_in_force_afterwards_and_its_digest_is_said(tmp_path: Path) -> None:
    await written(tmp_path, CFG)
    async with lab(tmp_path) as (host, *_):
        ran = await apply(tmp_path, host)
        assert (ran.code, ran.out) == (0, f"in force: {combined_digest(CFG, b'')}\n")
        assert "no_path_retry 7" in await host.multipathd.effective()


async def test_without_a_configuration_there_is_nothing_of_ours(tmp_path: Path) -> None:
    async with lab(tmp_path) as (host, *_):
        before = host.tree()
        ran = await apply(tmp_path, host)
        assert (ran.code, host.tree()) == (0, before)
        assert ran.out.startswith("nothing is configured")


async def test_what_is_not_in_force_is_an_error_with_the_reason(tmp_path: Path) -> None:
    await written(tmp_path, b"defaults: defaults\n\tpolling-interval abc\n")
    async with lab(tmp_path) as (host, *_):
        ran = await apply(tmp_path, host)
    assert (ran.code, ran.out) == (69, "")
    assert "pathfleet: node pve1: multipath.cfg, line 2" in ran.err


def test_following_takes_no_options_for_one_time() -> None:
    assert run("config", "apply", "--follow", "--retry").code == 64
