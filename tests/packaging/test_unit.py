"""The systemd unit is one that systemd understands and calls safe."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "packaging/pathfleet-agent.service"
#: What systemd-analyze calls "OK" ends at 5.0; the unit stays well below.
EXPOSURE_LIMIT = 20

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (package systemd)"
)


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )


def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    # verify looks for the program, which need not be installed where the tests run
    copy.write_text(UNIT.read_text().replace("ExecStart=pathfleet", f"ExecStart={Path(sys.executable).resolve()}"))
    done = analyze("verify", "--man=no", "--recursive-errors=no", copy)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_exposes_little() -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_LIMIT}", UNIT)
    assert done.returncode == 0, done.stdout[-400:]
