"""The unit of the executor, which needs much: systemd understands it, and calls it no worse than it must be."""

import shutil
from pathlib import Path

import pytest

from tests.packaging.test_unit import analyze

UNIT = Path(__file__).parents[2] / "packaging/pathfleet-executor.service"
#: In tenths; it is root, with device-mapper, /sys and the network of a store in etcd. "OK" ends at 50.
EXPOSURE_LIMIT = 45

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (package systemd)"
)


def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("ExecStart=pathfleet", "ExecStart=/bin/true"))
    done = analyze("verify", "--man=no", "--recursive-errors=no", copy)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_exposes_no_more_than_it_must() -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_LIMIT}", UNIT)
    assert done.returncode == 0, done.stdout[-400:]


def test_nothing_that_the_work_needs_is_taken_away() -> None:
    settings = [line for line in UNIT.read_text().splitlines() if not line.startswith("#")]
    # /dev with its block devices, and /sys to be written
    for switch in ("PrivateDevices=yes", "ProtectKernelTunables=yes", "ProtectClock=yes", "PrivateUsers=yes"):
        assert switch not in settings
    assert "Conflicts=pathfleet-apply.service" in settings
