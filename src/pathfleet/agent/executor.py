"""This node's hands: the tasks of `core.work` as root, asked for over a unix socket by the agent and the command line.

The agent that asks speaks with the network: only these tasks can be had, and none takes away what is in use here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from pathfleet.agent.group_work import GroupWork
from pathfleet.agent.map_work import MapWork
from pathfleet.agent.turns import Turns
from pathfleet.core import reply, volumes, work
from pathfleet.core.facts import NodeFacts
from pathfleet.core.reply import Reply
from pathfleet.core.work import Done, VolumeList, Zeroed
from pathfleet.errors import CannotTell, Malformed, PathfleetError, Refused
from pathfleet.system import budget, unix_socket
from pathfleet.system.lvm import LVM

log = logging.getLogger(__name__)

_READ_SECONDS: Final = 5.0
#: So many at once; others are told to come again.
_CONNECTIONS: Final = 32
#: What a program is given ends so much before its task, so that it is the program that is told of.
_LAST_SECONDS: Final = 2.0
#: A task that has begun has this long to end when the executor is to end.
_GRACE_SECONDS: Final = 60.0


class Executor:
    """The tasks of one node; `examine` is the doctor's look at it."""

    def __init__(self, maps: MapWork, groups: GroupWork, examine: Callable[[], Awaitable[NodeFacts]]) -> None:
        self._maps = maps
        self._groups = groups
        self._examine = examine
        self._turns = Turns()

    async def do(self, task: work.AnyTask) -> object:
        """Do a task and return its answer, or give up in its time. Raises PathfleetError."""
        seconds = task.deadline_seconds
        try:
            async with asyncio.timeout(seconds):
                with budget.within(seconds - _LAST_SECONDS):
                    async with self._turns.of(_subjects(task), task.turn_seconds):
                        return await self._of_map(task)
        except TimeoutError:
            raise CannotTell(
                f"it was not done within {seconds:g} s, and is given up: some of it may be done; see what there is"
                " (`pathfleet maps`, `pathfleet storage status`), then try again"
            ) from None

    async def _of_map(self, task: work.AnyTask) -> object:
        match task:
            case work.Examine():
                return await self._examine()
            case work.Holders():
                return await self._maps.use(task.wwid)
            case work.Rescan():
                return await self._maps.rescan(task.wwid)
            case work.ResizeMap():
                return await self._maps.resize_map(task.wwid)
            case work.ResizeGroupDisk():
                async with self._turns.of(await self._maps.groups(task.wwid), task.turn_seconds):
                    return await self._maps.resize_disk(task.wwid)
            case work.Flush():
                return await self._maps.flush(task.wwid)
            case work.DeletePaths():
                return await self._maps.delete_paths(task.wwid, task.paths)
            case work.ActivateMap():
                return await self._maps.wait_for(task.wwid, task.seconds)
            case _:
                return await self._of_group(task, await self._maps.lvm())

    async def _of_group(self, task: work.AnyGroupTask, lvm: LVM) -> object:
        match task:
            case work.GroupStatus():
                return await lvm.group(task.vgname)
            case work.Volumes():
                return VolumeList(await lvm.volumes(task.vgname))
            case work.CreateGroup():
                return await self._groups.create_group(task.wwid, task.vgname)
            case _:
                return await self._of_volume(task, lvm)

    async def _of_volume(self, task: work.AnyVolumeTask, lvm: LVM) -> object:
        group, name = task.vgname, task.name
        match task:
            case work.CreateVolume():
                volumes.check_names(group, name)
                return await lvm.create_volume(group, name, task.size, task.tags)
            case work.ResizeVolume():
                return await lvm.resize_volume(group, name, task.size)
            case work.Activate():
                return await lvm.activate(group, name)
            case work.ZeroVolume():
                return await self._zeroed(task, lvm)
            case work.RefreshVolume():
                await lvm.refresh(group, name)
            case work.RenameVolume():
                volumes.check_names(group, task.to)
                await self._groups.free_volume(group, name)
                await lvm.rename_volume(group, name, task.to)
            case work.RemoveVolume():
                await self._groups.free_volume(group, name)
                await lvm.remove_volume(group, name)
            case work.Deactivate():
                await self._groups.free_volume(group, name)
        return Done()

    async def _zeroed(self, task: work.ZeroVolume, lvm: LVM) -> Zeroed:
        group = task.vgname
        async with self._turns.of((group,), task.turn_seconds):
            volume = await self._groups.ready_to_zero(task)
        done = await self._groups.zero(group, volume, task.offset)
        if done.done >= done.total:
            async with self._turns.of((group,), task.turn_seconds):
                await lvm.deactivate(group, task.name)
        return done


def _subjects(task: work.AnyTask) -> tuple[str, ...]:
    """Return what a task must have for itself: LVM changes a group as a whole, and overwriting takes long."""
    if isinstance(task, work.READING):
        return ()
    if isinstance(task, work.ZeroVolume):
        return (f"{task.vgname}/{task.name}",)
    return tuple(filter(None, (getattr(task, "wwid", None), getattr(task, "vgname", None))))


class Counter:
    """Where tasks are handed in: a unix socket, one task for each connection, for users that are known."""

    def __init__(self, executor: Executor, users: Collection[int]) -> None:
        self._executor = executor
        self._users = frozenset((0, os.geteuid(), *users))
        self._busy: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self, file: Path, *, group: int | None = None) -> AsyncIterator[None]:
        """Listen at `file`, in a directory made for it if need be, while the body runs. Raises SettingsError.

        Only its owner may write to the socket, or `group` if one is named.
        """
        with contextlib.suppress(OSError):  # the socket's own error says more
            file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with unix_socket.bound("executor-socket", file, group=group) as listening:
            server = await asyncio.start_unix_server(self._begin, sock=listening, limit=reply.TASK_LIMIT + 1)
            log.info("executor-listens socket=%s", file)
            try:
                yield
            finally:
                server.close()
                if self._busy:
                    await asyncio.wait(self._busy, timeout=_GRACE_SECONDS)

    async def _begin(self, reader: StreamReader, writer: StreamWriter) -> None:
        this = asyncio.current_task()
        assert this is not None  # noqa: S101 - asyncio runs this in a task
        self._busy.add(this)
        try:
            answer = await self._answer(reader, writer)
            with contextlib.suppress(OSError, TimeoutError):  # who asked has gone; what was asked is done nevertheless
                writer.write(msgspec.json.encode(answer))
                async with asyncio.timeout(_READ_SECONDS):
                    await writer.drain()
        finally:
            writer.close()
            self._busy.discard(this)

    async def _answer(self, reader: StreamReader, writer: StreamWriter) -> Reply:
        user = unix_socket.peer_user(writer.get_extra_info("socket"))
        try:
            task = await _read(reader)  # also of who may not ask: else they would not hear it
            if user not in self._users:
                raise Refused(f"user {user} may not ask the executor: only root and the agent's user may")
            if len(self._busy) > _CONNECTIONS:
                raise CannotTell(f"the executor has {_CONNECTIONS} tasks at hand: try again when one is done")
            return Reply(await self._done(task, user))
        except PathfleetError as error:
            return reply.failed(error)

    async def _done(self, task: work.AnyTask, user: int) -> object:
        began, name = time.monotonic(), type(task).__name__
        try:
            answer = await self._executor.do(task)
        except PathfleetError as error:
            log.warning("task-not-done task=%s user=%d error=%s", name, user, error)
            raise
        except Exception as error:
            log.exception("defect task=%s user=%d", name, user)
            raise PathfleetError("this is a defect; the executor's log on this node tells more") from error
        level = logging.DEBUG if isinstance(task, work.READING) else logging.INFO
        log.log(level, "task-done task=%s user=%d seconds=%.1f what=%s", name, user, time.monotonic() - began, task)
        return answer


async def _read(reader: StreamReader) -> work.AnyTask:
    try:
        async with asyncio.timeout(_READ_SECONDS):
            document = await reader.read(reply.TASK_LIMIT + 1)
            while piece := await reader.read(reply.TASK_LIMIT + 1 - len(document)):
                document += piece
    except (TimeoutError, OSError) as error:
        raise Malformed(f"the task did not come whole within {_READ_SECONDS:g} s") from error
    if len(document) > reply.TASK_LIMIT:
        raise Malformed(f"a task has {reply.TASK_LIMIT} bytes at most")
    return reply.read(document)
