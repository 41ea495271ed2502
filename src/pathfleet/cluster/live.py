"""The matrix of the whole cluster, kept true from the store's changes; and looked at once, for a command."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

from msgspec.structs import replace

from pathfleet.cluster.journal import Journal
from pathfleet.core import column, storagecfg
from pathfleet.core.change import Change as MatrixChange
from pathfleet.core.change import Matrix, WarningsChange
from pathfleet.core.column import Column, Said
from pathfleet.core.matrix import Document, Lun, matrix
from pathfleet.core.storagecfg import Expectations
from pathfleet.errors import StoreError
from pathfleet.store import Change, File, Members, Store

log = logging.getLogger(__name__)

Values = Mapping[str, Mapping[str, bytes]]

_MEMBERS_SECONDS = 2.0
_JUDGE_SECONDS = 1.0
_PROBLEMS_SHOWN = 10
_UNREAD = "the store has not been read yet: nothing is known of any node"
#: After which a report that was read while it was being written is whole.
_WRITTEN_SECONDS = 0.2


class Live:
    """The matrix, followed while `run` runs.

    Whoever runs that runs it again after a StoreError; meanwhile what was read stays, ages, and is doubted in the end.
    `ready`: everything has been read once. `trouble`: why what is shown may be old, None if it is not.
    """

    def __init__(self, store: Store, *, wall_clock: Callable[[], float] = time.time) -> None:
        self.journal = Journal()
        self.ready = False
        self.trouble: str | None = None
        self._store = store
        self._wall_clock = wall_clock
        self._matrix = Matrix()
        self._online: dict[str, bool | None] = {}
        self._said: dict[str, Said] = {}
        self._of_expectations: tuple[str, ...] = ()
        self._warned: tuple[str, ...] = ()
        # what was read last must be placed last
        self._reading = asyncio.Lock()

    @property
    def columns(self) -> Mapping[str, Column]:
        """Every node's column as of now."""
        self._judge()
        return self._matrix.columns

    def document(self) -> Document:
        """Return the matrix as of now; its warnings say what is wrong with the whole."""
        self._judge()
        unread = () if self.ready or self.trouble else (_UNREAD,)
        return replace(self._matrix.document(self._now()), warnings=unread + self._warnings())

    def lun(self, wwid: str) -> Lun | None:
        """Return one row as of now, None if there is none."""
        self._judge()
        return self._matrix.lun(wwid, self._now())

    async def run(self) -> None:
        """Follow the store until cancelled. Raises StoreError when it is in trouble."""
        self._judge()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_changes(tasks))
                tasks.create_task(self._follow_members())
                tasks.create_task(self._keep_judging())
        except* StoreError as errors:
            trouble = errors
        self._troubled(trouble)

    async def _follow_changes(self, tasks: asyncio.TaskGroup) -> None:
        async for change in self._store.changes():
            if torn := await self._read(change):
                tasks.create_task(self._read_again(torn))
        raise StoreError("the store was closed while it was followed")

    async def _read(self, change: Change) -> list[str]:
        """Read what may have changed; return the nodes whose report was being written."""
        async with self._reading:
            if change == Change():
                return await self._read_all()
            if storagecfg.FILE in change.files:
                self._expect(await self._store.read(storagecfg.FILE))
            return self._take({node: await self._store.values(node) for node in sorted(change.nodes)})

    async def _read_all(self) -> list[str]:
        members, values = await self._store.members(), await self._store.all_values()
        self._expect(await self._store.read(storagecfg.FILE))
        self._join(members)
        torn = self._take({node: values.get(node, {}) for node in sorted({*values, *self._said})})
        self.trouble = None
        self._warn()
        self.ready = self.ready or not torn
        return torn

    async def _read_again(self, nodes: list[str]) -> None:
        await asyncio.sleep(_WRITTEN_SECONDS)
        async with self._reading:
            self._take({node: await self._store.values(node) for node in nodes}, whole=True)
            self.ready = True

    async def _follow_members(self) -> None:
        while True:
            await asyncio.sleep(_MEMBERS_SECONDS)
            async with self._reading:
                self._join(await self._store.members())

    async def _keep_judging(self) -> None:
        while True:
            await asyncio.sleep(_JUDGE_SECONDS)
            self._judge()

    def _expect(self, file: File | None) -> None:
        expectations, self._of_expectations = _expectations(file)
        self._tell(self._matrix.expect(expectations))
        self._warn()

    def _join(self, members: Members) -> None:
        """Take who is there; place the columns of those of whom that is news."""
        before, self._online = self._online, _online(members)
        self._place({node for node, _ in before.items() ^ self._online.items()})

    def _take(self, values: Values, *, whole: bool = False) -> list[str]:
        """Take what nodes say; return those whose report is being written, whose old one stays, unless `whole`."""
        torn, read = [], []
        for node, of_node in values.items():
            said = _said(node, of_node, self._said.get(node))
            if said.torn and not whole:
                torn.append(node)
                continue
            if of_node:
                self._said[node] = said
            else:
                self._said.pop(node, None)
            read.append(node)
        self._place(read)
        return torn

    def _place(self, nodes: Iterable[str]) -> None:
        """Place the columns of these nodes; drop those that the store does not know any more."""
        now, placed, gone = self._now(), [], []
        for node in nodes:
            if node in self._online or node in self._said:
                said = self._said.get(node, Said())
                placed.append(column.judge(node, self._online.get(node, False), said, now))
            else:
                gone.append(node)
        self._tell([*self._matrix.place(*placed), *self._matrix.drop(*gone)])

    def _judge(self) -> None:
        """Judge all columns anew, as time has passed."""
        now = self._now()
        judged = [column.again(each, now) for each in self._matrix.columns.values()]
        self._tell(self._matrix.place(*(each for each in judged if each is not self._matrix.columns[each.node])))

    def _warnings(self) -> tuple[str, ...]:
        return ((self.trouble,) if self.trouble else ()) + self._of_expectations

    def _warn(self) -> None:
        """Tell listeners what is wrong with the whole, if that is news."""
        before, self._warned = self._warned, self._warnings()
        if self._warned != before:
            self._tell([WarningsChange(self._warned)])

    def _tell(self, changes: list[MatrixChange]) -> None:
        """Tell listeners, but not what only the first reading brings to light."""
        if self.ready:
            self.journal.append(changes)
        elif changes:
            self.journal.forget()

    def _troubled(self, errors: ExceptionGroup[StoreError]) -> NoReturn:
        error = errors.exceptions[0]
        if self.trouble is None:
            since = time.strftime("%F %T", time.localtime(self._wall_clock()))
            self.trouble = f"what is shown may be old: the store is in trouble since {since}: {error}"
            self._warn()
        raise error

    def _now(self) -> int:
        return int(self._wall_clock())


async def columns(store: Store, now: float) -> list[Column]:
    """Return every node's column, once. Raises StoreError."""
    members, values = await store.members(), await store.all_values()
    said = {node: _said(node, of_node) for node, of_node in values.items()}
    if any(each.torn for each in said.values()):
        await asyncio.sleep(_WRITTEN_SECONDS)
        said = {node: _said(node, of_node, said.get(node)) for node, of_node in (await store.all_values()).items()}
    online = _online(members)
    return [
        column.judge(node, online.get(node, False), said.get(node, Said()), int(now))
        for node in sorted({*online, *said})
    ]


async def look(store: Store, now: float) -> Document:
    """Return the matrix, once. Raises StoreError."""
    expectations, warnings = _expectations(await store.read(storagecfg.FILE))
    return replace(matrix(await columns(store, now), expectations, int(now)), warnings=warnings)


def _online(members: Members) -> dict[str, bool | None]:
    return {node: member.online for node, member in members.nodes.items()}


def _said(node: str, values: Mapping[str, bytes], before: Said | None = None) -> Said:
    try:
        return column.read(values, before)
    except Exception as error:  # a defect here must not cost the other nodes' columns
        log.exception("values-unreadable node=%s", node)
        return Said(trouble=f"its values cannot be read, by a defect of this program: {error!r}", values=values)


def _expectations(file: File | None) -> tuple[Expectations, tuple[str, ...]]:
    """Return who is expected to carry what, and what is wrong with the file that says so."""
    if file is None:
        return {}, ()
    try:
        storages = storagecfg.parse(file.content.decode("utf-8", "replace"))
        expectations = storagecfg.expectations(storages)
    except Exception as error:  # likewise: it costs the expectations alone
        log.exception("storage-cfg-unreadable")
        return {}, (f"{storagecfg.FILE} cannot be read, so no LUN is known to be missing: {error!r}",)
    return expectations, tuple(
        f"{storagecfg.FILE}, line {problem.line}: {problem.message}" for problem in storages.problems[:_PROBLEMS_SHOWN]
    )
