"""The load of a large site fits into one process, with room for its agents; one host may have thousands of maps."""

from __future__ import annotations

import subprocess
import sys

from tests.lab.bench import SMALL, Bench

LARGE = """
import resource
from pathfleet.core import maps
from pathfleet.lab import san_file
from pathfleet.lab.replies import Replies
from pathfleet.lab.san import San

san = San(san_file.load(san_file.ready()["large"]), sockets=lambda host: f"@nobody-listens-{host}")
replies = [Replies(node.daemon) for node in san.nodes.values()]
size = sum(len(piece) for reply in replies for piece in reply.maps_json())
first = maps.decode(b"".join(replies[0].maps_json()))
paths = sum(len(group.paths) for map_ in first for group in map_.path_groups)
print(len(replies), len(first), paths, size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_64_hosts_of_1000_luns_over_8_paths_take_less_than_a_gibibyte() -> None:
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, timeout=120, check=True)
    hosts, luns, paths, size_bytes, peak_mib = map(int, done.stdout.split())
    assert (hosts, luns, paths) == (64, 1000, 8000)
    assert size_bytes > 300_000_000
    assert peak_mib < 1024


def test_a_host_of_5000_maps() -> None:
    bench = Bench(SMALL.replace("count = 3", "count = 5000").replace("count = 2", "count = 1"))
    bench.inflict("break", "switch-a")
    assert bench.counts() == {("degraded", 2, 4): 5000}


def test_a_map_that_did_not_change_is_not_rendered_anew() -> None:
    bench = Bench()
    bench.ask("show maps json")
    maps = bench.san.nodes["pve1"].kernel.maps
    before = {wwid: map_.rendered for wwid, map_ in maps.items()}
    bench.inflict("offline", "pve1:sda")
    bench.ask("show maps json")
    same = [map_.rendered is before[wwid] for wwid, map_ in maps.items()]
    assert same == [False, True, True]
