from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pathfleet.core.maps import Map, Path, PathGroup, decode, known, version_in
from pathfleet.errors import CannotTell
from tests.replies import Fields, group, help_text, map_, path, reply, reply_for_one

WWID = "3600a098038303053453f463045727a41"
VERSIONS = ["0.6.2", "0.8.2", "0.8.5", "0.9.4", "0.11.1", "0.14.3"]


def san(odd: Fields) -> tuple[Fields, ...]:
    """Three maps, `odd` in the middle."""
    return map_("3600-before", group(path("sda"))), odd, map_("3600-after", group(path("sdz", "failed", "faulty")))


ORDINARY = reply(*san(map_(WWID, group(path("sdb"), path("sdc")), group(path("sdd"), pri=10, dm="enabled"))))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_decoded(version: str) -> None:
    said = map_(
        WWID,
        group(path("sda", pri=50, host_adapter="192.0.2.1"), pri=50),
        group(path("sdb", "failed", "faulty", pri=-1, dev_st="offline"), pri=0, dm="enabled"),
        name="mpatha",
        sysfs="dm-7",
        queueing="6 chk",
        features="1 queue_if_no_path",
        vend="NETAPP  ",
    )
    unknown = {"host_wwpn": "[undef]", "target_wwpn": "[undef]", "host_adapter": "192.0.2.1"}
    assert decode(reply(said, version=version)) == (
        Map(
            name="mpatha",
            uuid=WWID,
            sysfs="dm-7",
            queueing="6 chk",
            dm_st="active",
            features="1 queue_if_no_path",
            vend="NETAPP  ",
            prod="LUN",
            path_groups=(
                PathGroup(50, "active", (Path("sda", "active", "running", "ready", 50, **unknown),)),
                PathGroup(0, "enabled", (Path("sdb", "failed", "offline", "faulty", -1, **unknown),)),
            ),
        ),
    )


@pytest.mark.parametrize(("version", "word"), [("0.8.2", "normal"), ("0.8.5", "marginal")])
def test_marginal_is_normal_where_the_version_does_not_say(version: str, word: str) -> None:
    (decoded,) = decode(reply(map_(WWID, group(path("sda", marginal_st="marginal"))), version=version))
    assert decoded.path_groups[0].paths[0].marginal_st == word


@pytest.mark.parametrize(
    ("version", "keys"), [("0.8.2", set()), ("0.8.5", {b"marginal_st"}), ("0.9.4", {b"marginal_st", b"lun_hex"})]
)
def test_the_builder_prints_the_keys_of_its_version(version: str, keys: set[bytes]) -> None:
    said = reply(map_(WWID, group(path("sda"))), version=version)
    assert {key for key in (b"marginal_st", b"lun_hex") if key in said} == keys


def test_unknown_keys_are_ignored() -> None:
    said = map_(WWID, group(path("sda", colour="red"), temperature=40), mood="good")
    assert decode(reply(said)) == decode(reply(map_(WWID, group(path("sda")))))


@pytest.mark.parametrize("version", VERSIONS)
def test_one_map_alone_is_decoded(version: str) -> None:
    said = map_(WWID, group(path("sda")), vend='A"B\\C')
    assert decode(reply_for_one(said, version)) == decode(reply(said, version=version))


def test_no_maps_is_an_answer() -> None:
    assert decode(reply()) == ()


def test_a_map_without_paths_is_a_map() -> None:
    (decoded,) = decode(reply(map_(WWID)))
    assert (decoded.uuid, decoded.vend, decoded.path_groups) == (WWID, "##", ())


def test_the_nul_that_ends_a_reply_does_no_harm() -> None:
    assert decode(ORDINARY + b"\0") == decode(ORDINARY)


def test_line_ends_of_another_system_do_no_harm() -> None:
    said = reply(*san(with_string("vend", 'A"B\\C')))
    assert decode(said.replace(b"\n", b"\r\n")) == decode(said)


def test_json_that_was_written_anew_is_decoded() -> None:
    assert decode(b'{"maps": [{"uuid": "1A\\u0022B", "name": "a\\\\b"}]}') == (Map(uuid='1A"B', name="a\\b"),)


# Fields of a map and of a path whose text is a device's, a target's or an administrator's.
MAP_STRINGS = ["name", "uuid", "vend", "prod", "rev", "features", "action"]
PATH_STRINGS = ["target_wwnn", "host_adapter", "target_wwpn", "chk_st", "marginal_st"]
RAW = [
    'A"B\\C',
    "\\",
    '"',
    '""',
    "a\\",
    '\\"',
    "1A\\x22B\\x5cC",
    "\\n \\t \\u0041",
    "we\tird",
    "two\nlines",
    'x",\ny',
    'x"\ny',
    "\x00\x01\x1b[31m",
    "\x7f é ☃ 𝄞",
    '"}]},{',
    "multipathd>",
    '"maps" : "',
]


def with_string(field: str, raw: str) -> Fields:
    if field in MAP_STRINGS:
        return map_(WWID, group(path("sdb"), path("sdc", "failed", "shaky")), **{field: raw})
    return map_(WWID, group(path("sdb", **{field: raw}), path("sdc", "failed", "shaky")))


def check_costs_at_most_itself(field: str, raw: str, *, kept: str) -> None:
    """Everything but the one string is decoded as if there were nothing wrong with it; that one becomes `kept`."""
    decoded = decode(reply(*san(with_string(field, raw))))
    plain = decode(reply(*san(with_string(field, "HARMLESS"))))
    there = decoded[1] if field in MAP_STRINGS else decoded[1].path_groups[0].paths[0]
    assert getattr(there, field, kept) == kept
    assert repr(decoded).replace(repr(kept), "'HARMLESS'") == repr(plain)


@pytest.mark.parametrize("field", MAP_STRINGS + PATH_STRINGS)
@pytest.mark.parametrize("raw", RAW)
def test_a_string_is_kept_as_it_is_whatever_it_holds(field: str, raw: str) -> None:
    check_costs_at_most_itself(field, raw, kept=raw)


@pytest.mark.parametrize("field", MAP_STRINGS + PATH_STRINGS)
def test_bytes_that_are_not_utf8_cost_only_themselves(field: str) -> None:
    check_costs_at_most_itself(field, "A\udcffB\udc80", kept="A\ufffdB\ufffd")


# A text that closes its own quotes and goes on in JSON, on its line or on the next, cannot be told from JSON.
_GOES_ON_AS_JSON = re.compile(r'"\s*(,\s*"|\})|",?[ \t]*\n[ \t]*["}]')


@given(
    field=st.sampled_from(MAP_STRINGS + PATH_STRINGS),
    raw=st.text(st.characters(exclude_categories=["Cs"])) | st.text('"\\{}[]:, \n\tabx0'),
)
def test_any_text_in_any_string_costs_at_most_that_string(field: str, raw: str) -> None:
    assume(not _GOES_ON_AS_JSON.search(f'{raw}"'))
    decoded = decode(reply(*san(with_string(field, raw))))
    plain = decode(reply(*san(with_string(field, "HARMLESS"))))
    assert (decoded[0], decoded[2]) == (plain[0], plain[2])
    states = [(p.dev, p.dm_st, p.dev_st, p.pri) for g in decoded[1].path_groups for p in g.paths]
    assert states == [("sdb", "active", "running", 50), ("sdc", "failed", "running", 50)]
    there = decoded[1] if field in MAP_STRINGS else decoded[1].path_groups[0].paths[0]
    assert getattr(there, field, raw) == raw


def test_a_bad_string_in_one_map_does_not_change_what_another_one_says() -> None:
    def alone_and_beside(bad: str) -> Map:
        return decode(reply(map_("a\\nb"), map_(WWID, vend=bad)))[0]

    assert alone_and_beside("fine") == alone_and_beside('A"B')


HELP = "help text"
REFUSALS = [
    pytest.param(b"", True, "empty reply", id="empty"),
    pytest.param(b"\0", True, "empty reply", id="only-a-nul"),
    pytest.param(b" \n", True, "empty reply", id="blank"),
    pytest.param(b"timeout\n", True, "`timeout`.*uxsock_timeout", id="timeout"),
    pytest.param(b"fail\ntimeout\n", True, "`timeout`.*uxsock_timeout", id="timeout-0.9.8"),
    pytest.param(b"fail\n", True, "`fail`.*journalctl", id="fail"),
    pytest.param(b"permission deny: need to be root", False, "permission.*as root", id="permission-0.8.7"),
    pytest.param(b"permission deny: need to be root\n\0", False, "permission.*as root", id="permission-0.8.8"),
    pytest.param(b"fail\npermission deny: need to be root\n", False, "permission.*as root", id="permission-0.9.8"),
    pytest.param(help_text("0.6.1"), False, HELP, id="help-0.6.1"),
    pytest.param(help_text("0.9.4"), False, HELP, id="help-0.9.4"),
    pytest.param(help_text("0.11.1"), False, HELP, id="help-0.11.1"),
    pytest.param(b"ok\n", False, "`ok`, which lists nothing", id="ok"),
    pytest.param(b"multipathd> show maps json\n" + ORDINARY, False, "interactive", id="prompt-before"),
    pytest.param(ORDINARY + b"multipathd> ", False, "interactive", id="prompt-after"),
    pytest.param(b"multipathd> " + ORDINARY + b"multipathd> exit\n", False, "interactive", id="prompt-around"),
    pytest.param(b"Segmentation fault", False, "not an answer.*'Segmentation fault'", id="text"),
    pytest.param(b"\xff\xfe\x00garbage", False, "not an answer", id="garbage"),
    pytest.param(b"[]", False, "not an answer", id="json-list"),
    pytest.param(b"warning: old config\n" + ORDINARY, False, "not an answer.*old config", id="warning-before"),
    pytest.param(b"{}", True, "not the JSON it should be", id="no-maps-key"),
    pytest.param(b'{"maps": 5}', True, "not the JSON it should be", id="maps-is-a-number"),
    pytest.param(b'{"maps": null}', True, "not the JSON it should be", id="maps-is-null"),
    pytest.param(b'{"maps": [{"uuid": 7}]}', True, "not the JSON it should be", id="wwid-is-a-number"),
    pytest.param(b'{"maps": [{"path_groups": {}}]}', True, "not the JSON it should be", id="groups-are-an-object"),
    pytest.param(ORDINARY + ORDINARY, True, "not the JSON it should be", id="two-replies"),
    # Were each of these lines sought for its end through all the others, this would take minutes.
    pytest.param(b"{\n" + b'   "name" : "x\n' * 20_000, True, "cut short", id="no-quote-ends"),
    pytest.param(b'{"maps": ' + b"[" * 100_000, True, "cut short", id="deep-and-open"),
    pytest.param(b'{"x":' * 50_000 + b"1" + b"}" * 50_000, True, "not the JSON", id="deep"),
]


@pytest.mark.parametrize(("odd", "passing", "message"), REFUSALS)
def test_an_odd_reply_is_cannot_tell_with_its_own_message(odd: bytes, passing: bool, message: str) -> None:
    with pytest.raises(CannotTell, match=f"(?s){message}") as caught:
        decode(odd)
    assert caught.value.passing is passing


@pytest.mark.parametrize("whole", [ORDINARY, reply(map_(WWID, group(path("sda")), vend='"\\')), reply()])
def test_a_reply_cut_at_any_byte_is_cannot_tell_and_may_pass(whole: bytes) -> None:
    document = whole.rstrip()
    for end in range(len(document)):
        with pytest.raises(CannotTell, match=r"cut short|empty") as caught:
            decode(document[:end])
        assert caught.value.passing


@given(st.binary() | st.binary().map(lambda tail: b'{"maps": ' + tail) | st.text('{}[]":,\\ maps\n').map(str.encode))
def test_arbitrary_bytes_are_maps_or_cannot_tell(reply: bytes) -> None:
    try:
        decode(reply)
    except CannotTell as refused:
        assert 0 < len(str(refused)) < 1000  # noqa: PT017 - a reply that decodes is as good


@given(st.data())
def test_a_damaged_reply_is_maps_or_cannot_tell(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(ORDINARY)))
    end = data.draw(st.integers(start, min(len(ORDINARY), start + 200)))
    with contextlib.suppress(CannotTell):
        decode(ORDINARY[:start] + data.draw(st.binary(max_size=20)) + ORDINARY[end:])


@pytest.mark.parametrize("version", ["0.6.1", "0.8.5", "0.9.4", "0.11.1", "0.14.3", "10.2"])
def test_the_help_text_names_the_version(version: str) -> None:
    assert version_in(help_text(version)) == version


@pytest.mark.parametrize("text", [b"", b"ok\n", b"fail\n", b"multipath-tools vNEXT", b"\xff"])
def test_text_without_a_banner_names_no_version(text: bytes) -> None:
    assert version_in(text) is None


@pytest.mark.parametrize("word", ["", "[undef]", "[unknown]", "(null)", "undef", "unknown"])
def test_the_words_for_not_known_are_none(word: str) -> None:
    assert known(word) is None


def test_any_other_word_is_itself() -> None:
    assert known("0x2100000e1ed0a1b0") == "0x2100000e1ed0a1b0"
