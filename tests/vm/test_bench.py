"""The bench itself: what the other tests of this directory take for granted."""

import json
import socket
import time
from collections.abc import Callable

import pytest

from tests.vm.guest import target
from tests.vm.installation import HOME
from tests.vm.machine import Machine, MachineError

NOTICE_SECONDS = 30


def usable_paths(machine: Machine) -> dict[str, int]:
    maps = json.loads(machine.run("ask show maps json").stdout)["maps"]
    return {shown["uuid"]: shown["paths"] for shown in maps}


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + NOTICE_SECONDS
    while not reached():
        assert time.monotonic() < deadline, f"not within {NOTICE_SECONDS} s"


def parses(reply: bytes) -> bool:
    try:
        json.loads(reply)
    except ValueError:
        return False
    return True


def test_the_daemon_runs_once_the_machine_is_up(machine: Machine) -> None:
    # what an earlier test let it read anew may still be under way: `reloading` until then
    wait_until(lambda: machine.run("systemctl is-active multipathd", check=False).stdout == b"active\n")


def test_every_lun_is_a_map_with_two_paths_under_its_foretold_wwid(machine: Machine) -> None:
    assert usable_paths(machine) == {target.wwid(lun): 2 for lun in range(3)}


def test_a_portal_down_costs_every_map_one_path_and_up_gives_it_back(machine: Machine) -> None:
    machine.run("san portal 2 down")
    wait_until(lambda: set(usable_paths(machine).values()) == {1})
    machine.run("san portal 2 up")
    wait_until(lambda: set(usable_paths(machine).values()) == {2})


def test_restore_undoes_faults_of_every_kind(machine: Machine) -> None:
    machine.run("san offline $(san devices 0 | head -n 1)")
    machine.run("ask fail path $(san devices 1 | head -n 1)")
    machine.run("san delete $(san devices 2 | head -n 1)")
    machine.run("san alua 2 2 standby && san unmap 0 && san portal 1 down")
    machine.run("echo 'defaults { no_path_retry queue }' > /etc/multipath/conf.d/test.conf")
    machine.run("systemctl stop multipathd.socket multipathd.service", check=False)
    machine.run("san restore 60", deadline=120)
    assert usable_paths(machine) == {target.wwid(lun): 2 for lun in range(3)}


def test_hostile_inquiry_strings_make_the_reply_invalid_json(machine: Machine) -> None:
    machine.run("""san debug-disk 'A"B\\C' 'Pr"o\\d' 9z""")
    wait_until(lambda: not parses(machine.run("ask show maps json").stdout))
    assert b'"vend" : "A"B\\C"' in machine.run("ask show maps json").stdout


def test_bytes_survive_the_way_into_the_guest_and_back(machine: Machine) -> None:
    content = bytes(range(256)) * 1000
    machine.put(content, "/root/bytes")
    assert machine.get("/root/bytes") == content


def test_a_command_that_fails_or_hangs_says_so(machine: Machine) -> None:
    with pytest.raises(MachineError, match=r"status 3: .*\nwhy"):
        machine.run("echo why; exit 3")
    with pytest.raises(MachineError, match="no end after 1 s"):
        machine.run("sleep 30", deadline=1)


def test_the_guest_cannot_reach_out(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = ("10.0.2.2", listener.getsockname()[1])  # the emulator's name for this machine's loopback
        probe = f"import socket; socket.create_connection({where}, timeout=3)"
        refused = machine.run(f'python3 -c "{probe}"', check=False)
    assert b"Error" in refused.stderr


def test_the_project_and_its_dependencies_load_in_the_guests_own_python(machine: Machine, pathfleet: str) -> None:
    machine.run(f"command -v {pathfleet}")
    machine.run(f"PYTHONPATH={HOME} python3 -c 'import pathfleet, msgspec, click, rich'")
