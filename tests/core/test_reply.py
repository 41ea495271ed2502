from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathfleet.core import reply, work
from pathfleet.core.property import BadValue
from pathfleet.core.reply import Reply
from pathfleet.core.work import Holder, MapUse, PathSeen
from pathfleet.errors import (
    BadRequest,
    Busy,
    CannotTell,
    Malformed,
    NeedsRoot,
    NotFound,
    NotInstalled,
    PathfleetError,
    Refused,
    Unreachable,
)

TASKS = (
    work.Holders("3600a"),
    work.DeletePaths("3600a", (PathSeen("sda", "0:0:0:1", 1),)),
    work.CreateGroup("3600a", "vms"),
    work.CreateVolume("vms", "vm-100-disk-0", 1 << 20, ("pve-vm-100",)),
    work.ZeroVolume("vms", "del-a", 512),
    work.ActivateMap("3600a", 1.5),
)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_a_task_arrives_as_it_was_sent(task: work.AnyTask) -> None:
    assert reply.read(msgspec.json.encode(task)) == task


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b'{"task":"format-everything"}',
        b'{"task":"holders","wwid":"3600a","more":1}',
        b'{"task":"holders","wwid":"../sda"}',
        b'{"task":"holders","wwid":"3600a\\n"}',
        b'{"task":"holders","wwid":"a b"}',
        b'{"task":"create-group","wwid":"3600a","vgname":"--force"}',
        b'{"task":"create-volume","vgname":"v","name":"a","size":1}',
        b'{"task":"create-volume","vgname":"v","name":"a","size":512,"tags":["@x y"]}',
        b'{"task":"zero-volume","vgname":"v","name":"vm-100-disk-0"}',
        b'{"task":"delete-paths","wwid":"3600a","paths":[{"device":"../x","hctl":null,"size":null}]}',
    ],
)
def test_what_is_no_task_is_refused(document: bytes) -> None:
    with pytest.raises(Malformed):
        reply.read(document)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(document: bytes) -> None:
    with pytest.raises(Malformed):
        reply.read(document)


@pytest.mark.parametrize(
    "error",
    [
        Busy("a"),
        CannotTell("b"),
        NotFound("c"),
        Refused("d"),
        Unreachable("e"),
        PathfleetError("f"),
        NeedsRoot("g"),
        NotInstalled("h"),
        BadRequest({"size": "is none"}),
    ],
)
def test_an_error_arrives_as_what_it_was(error: PathfleetError) -> None:
    sent = msgspec.json.decode(msgspec.json.encode(reply.failed(error)), type=Reply)
    with pytest.raises(type(error)) as caught:
        reply.answer_in(sent, work.Holders("3600a"), "node b")
    assert str(caught.value) == f"node b: {error}"


def test_a_value_that_is_refused_stays_the_mistake_of_who_asked() -> None:
    with pytest.raises(BadRequest, match="vgname: 'a b' is refused") as caught:
        reply.answer_in(reply.failed(BadValue("vgname", "a b", "a name")), work.Holders("3600a"), None)
    assert caught.value.status == 400


def test_an_answer_is_of_the_tasks_own_kind() -> None:
    use = MapUse("dm-3", 1 << 30, (PathSeen("sda", None, 1 << 30),), 1, (Holder("mount", "/srv", "dm-3"),))
    sent = msgspec.json.decode(msgspec.json.encode(Reply(use)), type=Reply)
    assert reply.answer_in(sent, work.Holders("3600a"), None) == use
    with pytest.raises(Malformed, match="no answer to this"):
        reply.answer_in(sent, work.Volumes("vms"), None)


def test_a_partition_or_a_group_that_nobody_uses_is_no_user_of_the_map() -> None:
    held = MapUse("dm-3", holders=(Holder("partition", "a1", "dm-3"), Holder("group", "vms (1 volumes)", "dm-3")))
    assert held.users == ()
