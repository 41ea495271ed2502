from __future__ import annotations

import msgspec
import pytest

from pathfleet.core import wire
from pathfleet.core.node import Daemon, NodeInfo, PublishedNodeInfo, Versions, content, decode
from pathfleet.errors import Malformed

INFO = NodeInfo(Daemon.RUNNING.value, 1751540000, Versions("0.1.0", "0.9.4"), api="https://192.0.2.1:8443")


def test_a_node_is_read_back_with_its_time() -> None:
    assert decode(wire.stamp(content(INFO), 1751546766)) == PublishedNodeInfo(
        **msgspec.structs.asdict(INFO), time=1751546766
    )


def test_the_value_is_as_others_read_it() -> None:
    info = NodeInfo("cannot-tell", 5, Versions("0.1.0"), "timeout")
    assert wire.stamp(content(info), 7) == (
        b'{"api":null,"api-certificate":null,"api-token-hash":null,"arrays":{},"multipathd":"cannot-tell","reason":"timeout","start":5,"time":7,'
        b'"versions":{"multipath-tools":null,"pathfleet":"0.1.0"}}'
    )


def test_three_answers_are_three_words() -> None:
    assert [str(word) for word in Daemon] == ["running", "not-running", "not-installed", "cannot-tell"]


def test_what_is_not_known_is_none() -> None:
    info = decode(b'{"multipathd":"running","start":1,"versions":{},"time":2,"new":{}}')
    assert (info.reason, info.api, info.versions) == (None, None, Versions())


def test_equal_information_is_equal_content() -> None:
    assert content(INFO) == content(NodeInfo("running", 1751540000, Versions("0.1.0", "0.9.4"), None, INFO.api))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"{}",
        b'{"multipathd":"running","start":1,"versions":{}}',
        b'{"multipathd":1,"start":1,"versions":{},"time":1}',
        b'{"multipathd":"running","start":-1,"versions":{},"time":1}',
        b'{"multipathd":"running","start":1,"versions":[],"time":1}',
        b'{"multipathd":"\xff","start":1,"versions":{},"time":1}',
    ],
)
def test_anything_else_is_malformed(value: bytes) -> None:
    with pytest.raises(Malformed, match="`pathfleet`"):
        decode(value)
