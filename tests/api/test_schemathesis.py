"""What the OpenAPI document promises, tried on a real server with many made-up requests, always the same ones."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case

from pathfleet.api import auth
from pathfleet.cluster.access import Role
from pathfleet.core import storagecfg
from tests.api.site import LUN1, LUN2, Site, Speech, site
from tests.fakes import Memory, MemoryStore

STORAGE = f"""\
multipath: san
\tshared 1

lvm: vms
\tvgname vms
\tbase san:{LUN1}
\tshared 1
"""

schema = schemathesis.pytest.from_fixture("described")


class Running:
    """A server in a thread of its own, since the client waits for its answers."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self.here: Site | None = None
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    def __enter__(self) -> Site:
        self._thread.start()
        assert self._ready.wait(20)
        assert self.here is not None
        return self.here

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(20)
        self._loop.close()

    async def _serve(self) -> None:
        memory = Memory()
        await Speech({LUN1: ("optimal", 2, 2), LUN2: ("failed", 0, 2)}).say(memory, "a")
        await Speech({LUN1: ("degraded", 1, 2)}).say(memory, "b")
        async with MemoryStore("a", memory) as store:
            await store.swap(storagecfg.FILE, STORAGE.encode(), None)
        async with site(directory=self._directory, memory=memory) as here:
            self.here = here
            self._ready.set()
            await self._ended.wait()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch, Running(tmp_path_factory.mktemp("api")) as found:
        patch.setattr(auth, "FAILURES", 1_000_000)  # wrong secrets are among what is tried
        yield found


@pytest.fixture
def described(here: Site) -> Any:
    headers = here.headers(Role.ADMIN)
    url = f"{here.url}/api2/json"
    found = requests.get(f"{url}/openapi.json", headers=headers, timeout=30).json()
    # a stream has no end that could be waited for; tests/api/test_events.py reads it
    found["paths"].pop("/cluster/multipath/events", None)
    loaded = schemathesis.openapi.from_dict(found)
    loaded.config.update(base_url=url, headers=headers)
    return loaded


@schema.parametrize()
@settings(max_examples=15, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_the_server_does_what_its_document_says(case: Case[Any]) -> None:
    case.call_and_validate(timeout=30)
