"""The unit that applies as root: systemd understands it and calls it safe."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.packaging.test_unit import EXPOSURE_LIMIT, analyze

UNIT = Path(__file__).parents[2] / "packaging/pathfleet-apply.service"
#: A service of root is exposed a little more than the agent, in the tenths that systemd-analyze counts.
ROOT_EXPOSURE = 10

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (package systemd)"
)


def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("ExecStart=pathfleet", f"ExecStart={Path(sys.executable).resolve()}"))
    done = analyze("verify", "--man=no", "--recursive-errors=no", copy)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_exposes_little_though_it_runs_as_root() -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_LIMIT + ROOT_EXPOSURE}", UNIT)
    assert done.returncode == 0, done.stdout[-400:]
