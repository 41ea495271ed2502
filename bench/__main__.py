"""`python -m bench [NAME...]`: measure, and print one table for each bench. Figures are shown, never asserted."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bench.row import Row, table

_HERE = Path(__file__).parent


def benches() -> dict[str, Callable[[], Iterator[Row]]]:
    """Return what measures, by name: the modules of this directory that have `rows`."""
    names = sorted(file.stem for file in _HERE.glob("*.py") if file.stem != "__main__")
    modules = {name: importlib.import_module(f"bench.{name}") for name in names}
    return {name: module.rows for name, module in modules.items() if hasattr(module, "rows")}


def machine() -> dict[str, object]:
    """Return what the figures depend on; a load above nothing makes them worse than they are."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if "model name" in line), "")
    return {
        "cpu": cpu.partition(":")[2].strip() or platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "msgspec": msgspec.__version__,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Run the benches that are named, or all."""
    known = benches()
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.names if name not in known]:
        parser.error(f"no bench {unknown[0]!r}; there are {', '.join(known)}")
    names = chosen.names or list(known)
    document = {"machine": machine()}
    if not chosen.json:
        print(", ".join(f"{key} {value}" for key, value in document["machine"].items()))
    for name in names:
        rows = list(known[name]())
        document[name] = msgspec.to_builtins(rows)
        if not chosen.json:
            print("", *table(name, rows), sep="\n", flush=True)
    if chosen.json:
        print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
