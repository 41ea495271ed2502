"""Any sequence of writes by two nodes leaves what a plain dictionary would hold."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pathfleet.errors import Conflict
from pathfleet.store import Store
from tests.store.engines import Cluster, SQLiteCluster

KEYS = st.sampled_from(["multipath", "multipath.1", "multipath-apply"])
NAMES = st.sampled_from(["multipath.cfg", "priv/tokens"])
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20).map(str.encode)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("ab"), KEYS, TEXTS),
        st.tuples(st.just("clear"), st.sampled_from("ab"), KEYS, st.none()),
        st.tuples(st.just("swap"), st.sampled_from("ab"), NAMES, st.none() | st.binary(max_size=20)),
        st.tuples(st.just("stale swap"), st.sampled_from("ab"), NAMES, st.none() | st.binary(max_size=20)),
    ),
    max_size=25,
)
Steps = list[tuple[str, str, str, bytes | None]]


class Model:
    """The same operations on dictionaries; a file's revisions are those that the store gave."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, bytes]] = {"a": {}, "b": {}}
        self.files: dict[str, tuple[bytes, str]] = {}

    async def follow(self, store: Store, kind: str, name: str, content: bytes | None) -> None:
        """Do one step on the store and here, and compare what can be compared at once."""
        own = self.values[store.node or ""]
        match kind:
            case "put":
                assert content is not None
                await store.put(name, content)
                own[name] = content
            case "clear":
                await store.clear(name)
                own.pop(name, None)
            case "swap":
                revision = await store.swap(name, content, self.files.get(name, (b"", None))[1])
                self.files.pop(name, None)
                if content is not None:
                    assert revision is not None
                    self.files[name] = content, revision
            case _:
                try:
                    await store.swap(name, content, "0")
                except Conflict:
                    return
                raise AssertionError("a revision that never was did not conflict")


async def compare(cluster: Cluster, steps: Steps) -> None:
    model = Model()
    async with cluster.store("a") as a, cluster.store("b") as b:
        for kind, node, name, content in steps:
            await model.follow(a if node == "a" else b, kind, name, content)
        for store in (a, b):
            assert {node: values for node, values in model.values.items() if values} == await store.all_values()
            for name in ("multipath.cfg", "priv/tokens"):
                file = await store.read(name)
                assert (None if file is None else (file.content, file.revision)) == model.files.get(name)


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_any_sequence_of_writes_leaves_what_dictionaries_would_hold(steps: Steps) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(compare(SQLiteCluster(Path(directory)), steps))
