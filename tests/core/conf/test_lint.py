from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from pathfleet.core.conf.lint import FINDINGS_LIMIT, SIZE_LIMIT, Diagnostic, lint
from pathfleet.core.conf.syntax import Tree, parse, render
from pathfleet.lab import configuration
from tests.core.conf.texts import flat, hostile, nearly_right, trees

DATA = Path(__file__).parents[2] / "data" / "conf"


def read(name: str) -> str:
    return (DATA / name).read_text("utf-8")


def errors(findings: tuple[Diagnostic, ...]) -> list[str]:
    return [each.code for each in findings if each.severity == "error"]


def warnings(findings: tuple[Diagnostic, ...]) -> list[str]:
    return [each.code for each in findings if each.severity == "warning"]


def test_honest_overrides_pass_without_a_word() -> None:
    luns = {"360014050001": "ACME Array 9"}
    assert lint(read("overrides.conf"), versions=["0.9.4", "0.15.1"], allow_listed=[*luns], arrays=luns) == ()


def test_everything_that_some_release_misreads_is_told_on_its_line() -> None:
    found = [f"{each.line}:{each.column} {each.severity} {each.code}" for each in lint(read("misread.conf"))]
    assert found == read("misread.findings").splitlines()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("defaults {\n}", "defaults-not-here"),
        ("defaults {\npolling_interval 0\n}", "bad-value"),
        ("defaults {\nfind_multipaths yes\n}", "fixed-value"),
        ("overrides {\nuser_friendly_names yes\n}", "fixed-value"),
        ("multipaths {\nmultipath {\nwwid x\nuser_friendly_names 1\n}\n}", "fixed-value"),
        ("nosuch {\nprio alua\n}", "unknown-section"),
        ("multipath {\nwwid x\n}", "unknown-section"),
        ("overrides {\ndevice {\n}\n}", "unknown-section"),
        ("overrides {\nno_such_keyword 1\n}", "unknown-keyword"),
        ("overrides {\nprotocol x\n}", "unknown-keyword"),
        ("overrides {\nvendor ACME\n}", "wrong-section"),
        ("overrides {\nprio alua\nprio const\n}", "duplicate-keyword"),
        ("overrides {\npath_checker tur\nchecker tur\n}", "duplicate-keyword"),
        ("overrides {\nno_path_retry never\n}", "bad-value"),
        ('blacklist {\ndevnode "^(sd[a"\n}', "bad-value"),
        ('blacklist {\nwwid "*"\n}', "bad-value"),
        ("multipaths {\nmultipath {\nalias x\n}\n}", "multipath-without-wwid"),
        ("devices {\ndevice {\nproduct x\n}\n}", "device-without-vendor"),
        ("devices {\ndevice {\nvendor x\n}\n}", "device-without-product"),
        ("blacklist {\ndevice {\n}\n}", "device-without-vendor"),
        ("blacklist {\ndevice {\nvendor x\n}\n}", "device-without-product"),
        ("overrides {\nprotocol {\ndev_loss_tmo 5\n}\n}", "protocol-without-type"),
        (
            "multipaths {\nmultipath {\nwwid a\nalias x\n}\nmultipath {\nwwid b\nalias x\n}\n}",
            "alias-repeated",
        ),
        ("overrides {\nprio alua", "unclosed-section"),
        ("#" + "x" * 1023, "line-too-long"),
    ],
)
def test_what_must_not_reach_a_daemon_is_an_error(text: str, code: str) -> None:
    assert code in errors(lint(text))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("overrides {\nprio alua  \n}", "trailing-blanks"),
        ("overrides {\nprio alua\n}\noverrides {\n}", "section-repeated"),
        ("multipaths {\nmultipath {\nwwid a\n}\nmultipath {\nwwid a\n}\n}", "section-repeated"),
        ("devices {\ndevice {\nvendor a\nproduct b\nuser_friendly_names yes\n}\n}", "user-friendly-names"),
        ("overrides {\nrr_min_io 5\n}", "keyword-ignored"),
        ("overrides {\ngetuid_callout x\n}", "keyword-ignored"),
        ("multipaths {\nmultipath {\nwwid a\nreservation_key 0x1\n}\n}", "key-visible"),
        ('blacklist {\ndevnode ".*"\n}', "hides-everything"),
        ('blacklist {\nwwid ""\n}', "hides-everything"),
        ('overrides {\nprotocol {\ntype "scsi:fcp"\n}\n}', "section-too-new"),
    ],
)
def test_what_is_odd_is_a_warning_and_no_error(text: str, code: str) -> None:
    findings = lint(text)
    assert errors(findings) == []
    assert warnings(findings) == [code]


def test_a_message_names_the_word_that_was_probably_meant() -> None:
    (finding,) = lint("overrides {\npath_grouping_policy group_by_prioo\n}")
    assert "did you mean group_by_prio?" in finding.message
    (finding,) = lint("devnode_blacklist {\n}")
    assert "it is called blacklist" in finding.message


def test_what_the_oldest_release_does_not_know_is_told() -> None:
    text = "overrides {\neh_deadline 5\npath_grouping_policy group_by_tpg\n}"
    assert warnings(lint(text, versions=["0.8.5-2+deb11u1", "0.15.1"])) == ["keyword-too-new", "value-too-new"]
    assert lint(text, versions=["0.9.6"]) == ()


def test_what_only_newer_releases_ignore_is_told_when_there_is_one() -> None:
    text = "overrides {\nrr_weight uniform\n}"
    assert warnings(lint(text, versions=["0.9.4", "0.15.0"])) == ["keyword-ignored"]
    assert lint(text, versions=["0.9.4", "no version"]) == ()


def test_a_protocol_section_is_refused_where_a_release_reads_it_as_overrides() -> None:
    text = 'overrides {\nprotocol {\ntype "scsi:fcp"\n}\n}'
    assert errors(lint(text, versions=["0.8.5"])) == ["section-too-new"]
    assert lint(text, versions=["0.9.0"]) == ()


@pytest.mark.parametrize(
    "setting",
    ["no_path_retry queue", 'features "1 queue_if_no_path"', 'features "3 queue_if_no_path pg_init_retries 5"'],
)
def test_queueing_without_end_is_told_with_what_it_does_where_nodes_are_fenced(setting: str) -> None:
    (finding,) = lint(f"overrides {{\n{setting}\n}}")
    assert (finding.severity, finding.code) == ("warning", "queues-for-ever")
    assert "fencing" in finding.message


@pytest.mark.parametrize("setting", ["no_path_retry 12", "no_path_retry fail", 'features "2 pg_init_retries 5"'])
def test_queueing_with_an_end_is_no_warning(setting: str) -> None:
    assert lint(f"overrides {{\n{setting}\n}}") == ()


@pytest.mark.parametrize(
    ("blacklist", "exceptions", "told"),
    [
        ("^3600", "", ["hides-lun"]),
        ("00aa$", "", ["hides-lun"]),
        ("00AA", "", []),
        ("!^3600", "", []),
        ("!^eui", "", ["hides-lun"]),
        ("^3600", "^360014", []),
        ("^3600", "^eui", ["hides-lun"]),
        ("\\\\b3600", "", ["hiding-not-judged"]),
        ("^3600", "\\\\<36", ["hiding-not-judged"]),
    ],
)
def test_a_blacklist_that_hides_a_lun_of_the_configuration_is_told(
    blacklist: str, exceptions: str, told: list[str]
) -> None:
    text = f'blacklist {{\nwwid "{blacklist}"\n}}\n'.replace("\\\\", "\\")
    if exceptions:
        text += f'blacklist_exceptions {{\nwwid "{exceptions}"\n}}\n'.replace("\\\\", "\\")
    assert warnings(lint(text, allow_listed=["36001405aa", "3600140500aa"])) == told


DEVICE = 'device {{\nvendor "{}"\nproduct "{}"\n}}'
ORDINARY = (
    'devnode "^(ram|zram|raw|loop|fd|md|dm-|sr|scd|st|dcssblk)[0-9]"',
    'devnode "^(td|hd|vd)[a-z]"',
    'devnode "^cciss!c[0-9]d[0-9]*"',
    'devnode "!^(sd[a-z]|dasd[a-z]|nvme[0-9])"',
    'devnode "^sda$"',
    'devnode "^sd[a-b]$"',
    'protocol "scsi:(ata|usb)"',
    'protocol "scsi:sas"',
    'property "ID_ATA"',
    'property "ID_USB_.*"',
    'wwid "^1ATA"',
    DEVICE.format("DELL", "PERC.*"),
    DEVICE.format("LSI", ".*"),
    DEVICE.format(".*", "Virtual disk"),
    DEVICE.format("!NETAPP", ".*"),
    'devnode "!^(sd[a-z]|nvme[0-9])"',
    'wwid "!^3600"',
)


@pytest.mark.parametrize("entry", ORDINARY)
@pytest.mark.parametrize("arrays", [{}, {"3600a": "NETAPP LUN C-Mode"}, {"3600a": "NETAPP"}])
def test_what_blacklists_ordinarily_have_is_no_warning(entry: str, arrays: dict[str, str]) -> None:
    if "Virtual" in entry and arrays.get("3600a") == "NETAPP":
        return  # whose products differ: nobody can tell
    assert lint(f"blacklist {{\n{entry}\n}}", allow_listed=["3600a"], arrays=arrays) == ()
    assert lint(f"blacklist {{\n{entry}\n}}", arrays=arrays) == ()


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ('protocol ".*"', "hides-everything"),
        ('protocol "!nosuch"', "hides-everything"),
        ('protocol "^scsi:"', "hides-all-of-a-kind"),
        ('property ".*"', "hides-everything"),
        ('property "^ID_SERIAL$"', "hides-everything"),
        ('property "!ID_WWN"', "hides-everything"),
        ('devnode "^(sd|nvme|dasd)"', "hides-everything"),
        ('devnode "^sd"', "hides-all-of-a-kind"),
        ('devnode "^sd[a-z]+$"', "hides-all-of-a-kind"),
        ('devnode "!^nvme"', "hides-all-of-a-kind"),
        ('devnode "^nvme[0-9]"', "hides-all-of-a-kind"),
        (DEVICE.format(".*", ".*"), "hides-everything"),
        (DEVICE.format("", ""), "hides-everything"),
    ],
)
def test_what_hides_everything_or_all_disks_of_a_kind_is_told_whatever_its_keyword(entry: str, code: str) -> None:
    assert warnings(lint(f"blacklist {{\n{entry}\n}}")) == [code]


@pytest.mark.parametrize(
    ("entry", "exception"),
    [
        ('devnode "^sd"', 'devnode "^sdb$"'),
        ('protocol ".*"', 'protocol "scsi:fcp"'),
        ('property ".*"', 'property "ID_WWN"'),
        (DEVICE.format(".*", ".*"), DEVICE.format("NETAPP", "LUN.*")),
    ],
)
def test_hiding_all_but_something_is_what_was_meant(entry: str, exception: str) -> None:
    text = f"blacklist {{\n{entry}\n}}\nblacklist_exceptions {{\n{exception}\n}}"
    assert lint(text, allow_listed=["3600a"], arrays={"3600a": "NETAPP LUN C-Mode"}) == ()


@pytest.mark.parametrize(
    ("wwids", "entry", "told"),
    [
        (["3600a"], 'devnode "^nvme"', []),
        (["3600a"], 'devnode "^sd"', ["hides-all-of-a-kind"]),
        (["eui.00a1"], 'devnode "^sd"', []),
        (["IBM.750000000FRB71.1500.23"], 'devnode "!^dasd"', []),
        (["uuid.00a1"], 'devnode "^nvme"', ["hides-all-of-a-kind"]),
        (["3600a", "nvme.00a1"], 'protocol "^nvme"', ["hides-all-of-a-kind"]),
    ],
)
def test_hiding_disks_of_a_kind_that_no_lun_is_of_is_no_warning(wwids: list[str], entry: str, told: list[str]) -> None:
    assert warnings(lint(f"blacklist {{\n{entry}\n}}", allow_listed=wwids)) == told


@pytest.mark.parametrize(
    ("array", "device", "told"),
    [
        ("NETAPP LUN C-Mode", DEVICE.format("NETAPP", "LUN"), ["hides-lun"]),
        ("NETAPP LUN C-Mode", DEVICE.format("NETAPP", "INF-01"), []),
        ("NETAPP LUN C-Mode", DEVICE.format("!DELL", ".*"), ["hides-lun"]),
        ("NETAPP LUN C-Mode", DEVICE.format("!NETAPP", ".*"), []),
        ("NETAPP LUN C-Mode", DEVICE.format("NETAPP", "LUN\\>"), ["hiding-not-judged"]),
        ("NETAPP", DEVICE.format("NETAPP", ".*"), ["hides-lun"]),
        ("NETAPP", DEVICE.format("NETAPP", "LUN"), ["hiding-not-judged"]),
        ("NETAPP", DEVICE.format("DELL", "LUN"), []),
        ("\x1b" * 500, DEVICE.format("DELL", "PERC"), ["hiding-not-judged"]),
    ],
)
def test_a_device_of_the_blacklist_that_is_the_array_of_a_lun_is_told(
    array: str, device: str, told: list[str]
) -> None:
    findings = lint(f"blacklist {{\n{device}\n}}", allow_listed=["3600a"], arrays={"3600a": array})
    assert warnings(findings) == told
    assert all("3600a" in finding.message for finding in findings)


MULTIPATH = "multipath {{\nwwid {}\nalias {}\n}}\n"


@pytest.mark.parametrize(
    ("luns", "refused"),
    [
        (MULTIPATH.format("b", "db"), True),
        (MULTIPATH.format("a", "db"), False),
        (MULTIPATH.format("b", "other"), False),
        (MULTIPATH.format("a", "other") + MULTIPATH.format("b", "db"), False),
    ],
)
def test_an_alias_that_the_cluster_gives_to_another_lun_is_refused(luns: str, *, refused: bool) -> None:
    found = errors(lint(f"multipaths {{\n{luns}}}", aliases={"a": "db"}))
    assert found == (["alias-repeated"] if refused else [])


def test_hiding_everything_is_right_where_something_is_excepted() -> None:
    text = 'blacklist {\nwwid ".*"\n}\nblacklist_exceptions {\nwwid "^3600"\n}'
    assert lint(text, allow_listed=["3600140500aa"]) == ()


def test_patterns_made_to_take_for_ever_are_given_up_and_that_is_told() -> None:
    line = 'wwid "(' + "|".join(f"[^{digit}]*.?[0-9a-f]*" for digit in range(10)) + '){1,20}$"\n'
    luns = [f"3600140{number:025x}" for number in range(500)]
    findings = lint("blacklist {\n" + line * 20 + "}", allow_listed=luns)
    assert "hiding-not-judged" in warnings(findings)


def test_a_text_that_is_too_big_is_refused_unread() -> None:
    assert errors(lint("#" * (SIZE_LIMIT + 1))) == ["too-big"]
    assert errors(lint("é" * (SIZE_LIMIT // 2 + 1))) == ["too-big"]


@pytest.mark.parametrize("line", ["x y\n", "overrides {\nprioo alua\n}\n", "}\n", "x {\n", " \n", "rr_min_io 1\n"])
def test_many_findings_are_cut_but_never_the_last_error(line: str) -> None:
    body = line * (SIZE_LIMIT // 2 // len(line)) + "overrides {\nprio nosuch\n}\n"
    findings = lint(body)
    assert len(findings) <= FINDINGS_LIMIT
    assert errors(findings)


def test_no_message_repeats_more_than_a_little_of_a_long_value() -> None:
    (finding,) = lint(f"overrides {{\nprio {'x' * 1000}\n}}")
    assert len(finding.message) < 500


@given(hostile())
def test_nothing_makes_the_linter_raise_and_findings_come_by_line(text: str) -> None:
    findings = lint(
        text, versions=[text, "0.9.4"], allow_listed=[text, "3600"], arrays={"3600": text}, aliases={"3600": text}
    )
    assert [each.line for each in findings] == sorted(each.line for each in findings)


@given(nearly_right())
def test_a_text_that_the_simulated_daemon_reads_otherwise_is_refused(text: str) -> None:
    if errors(lint(text)):
        return
    statements = configuration._sections(text)
    assert [(around, keyword, value) for around, keyword, value in statements if keyword] == flat(parse(text))


@given(trees())
def test_right_keywords_with_right_values_are_no_syntax_error(tree: Tree) -> None:
    assert set(errors(lint(render(tree)))) <= {"defaults-not-here", "fixed-value", "alias-repeated"}
