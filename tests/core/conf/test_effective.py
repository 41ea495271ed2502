from __future__ import annotations

from pathlib import Path

from hypothesis import given

from pathfleet.core.conf.effective import LISTED, settings
from pathfleet.core.conf.syntax import parse
from tests.core.conf.texts import hostile

DATA = Path(__file__).parents[2] / "data" / "conf"


def test_every_setting_has_a_key_of_its_own() -> None:
    found = settings(parse((DATA / "overrides.conf").read_text("utf-8")))
    assert found["devices", "ACME", "Array.*", "", "prio"] == "alua"
    assert found["overrides", "dev_loss_tmo"] == "60"
    assert found["overrides", "protocol", "scsi:iscsi", "fast_io_fail_tmo"] == "10"
    assert found["multipaths", "3600140500000000000000000000000aa", "alias"] == "databases"
    assert found["blacklist", "wwid", "^1ATA"] == LISTED
    assert found["blacklist", "device", "ACME", "CONTROLLER"] == LISTED
    assert found["blacklist_exceptions", "property", "(SCSI_IDENT_|ID_WWN)"] == LISTED


def test_the_last_value_wins_and_lists_grow() -> None:
    text = (
        "overrides {\nprio alua\n}\nblacklist {\nwwid a\n}\nblacklist {\nwwid b\n}\noverrides {\nprio const\n}\n"
        "devices {\ndevice {\nvendor V\nproduct P\nprio alua\n}\ndevice {\nproduct P\nvendor V\nfailback manual\n}\n}"
    )
    assert settings(parse(text)) == {
        ("overrides", "prio"): "const",
        ("blacklist", "wwid", "a"): LISTED,
        ("blacklist", "wwid", "b"): LISTED,
        ("devices", "V", "P", "", "prio"): "alua",
        ("devices", "V", "P", "", "failback"): "manual",
    }


def test_what_multipathd_prints_otherwise_than_it_was_written_compares_equal() -> None:
    written = "defaults {\nfind_multipaths yes\nno_path_retry 0\nuser_friendly_names 0\nchecker tur\n}"
    printed = 'defaults {\nfind_multipaths "on"\nno_path_retry "fail"\nuser_friendly_names "no"\npath_checker "tur"\n}'
    assert settings(parse(written)) == settings(parse(printed))
    written = "multipaths {\nmultipath {\nwwid a\nreservation_key 0X00Ab:aptpl\nmode 660\n}\n}"
    printed = 'multipaths {\nmultipath {\nwwid "a"\nreservation_key 0xab:aptpl\nmode 0660\n}\n}'
    assert settings(parse(written)) == settings(parse(printed))


def test_a_section_for_nothing_sets_nothing() -> None:
    assert settings(parse("multipaths {\nmultipath {\nalias x\n}\n}\nblacklist {\ndevice {\n}\n}")) == {}


@given(hostile())
def test_nothing_makes_it_raise(text: str) -> None:
    settings(parse(text))
