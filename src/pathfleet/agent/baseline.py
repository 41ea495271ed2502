"""How many paths each LUN was accepted to have on this node: what is fewer later is `below-expected`.

A path that multipathd forgot (a session logged out, a zone taken away) leaves no trace in what multipathd says.
The number rises by itself when more paths appear; it falls only when the operator accepts fewer.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pathfleet.core.health import Verdict
from pathfleet.errors import SettingsError

Counts = dict[str, int]


def counts(verdicts: tuple[Verdict, ...]) -> Counts:
    """Return the number of paths by WWID, of maps that have both."""
    return {verdict.map.uuid: verdict.total for verdict in verdicts if verdict.map.uuid and verdict.total}


class Baseline:
    """The accepted numbers, in `baseline.json` of the state directory; agent and operator may change it at once."""

    def __init__(self, state_directory: Path) -> None:
        self._file = state_directory / "baseline.json"

    def read(self) -> Counts:
        """Return the accepted number of paths by WWID. Raises SettingsError if nobody can tell."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Counts)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SettingsError(
                f"the accepted number of paths cannot be read from {self._file}: {error}; repair it, or remove it: "
                "then what is there is accepted"
            ) from error

    def raise_to(self, seen: Mapping[str, int]) -> None:
        """Accept more paths where more are seen. Raises SettingsError if that cannot be kept.

        So it does if what was accepted cannot be read: written anew, it would fall.
        """
        accepted = self.read()
        if any(number > accepted.get(wwid, 0) for wwid, number in seen.items()):
            self._change(
                lambda known: {**known, **{wwid: max(number, known.get(wwid, 0)) for wwid, number in seen.items()}}
            )

    def accept(self, seen: Mapping[str, int], *, forget_others: bool) -> None:
        """Accept exactly what is seen; other LUNs keep their number or are forgotten. Raises SettingsError."""
        self._change(lambda known: {**known, **seen}, anew=forget_others)

    def _change(self, change: Callable[[Counts], Counts], *, anew: bool = False) -> None:
        try:
            with self._locked():
                fresh = self._file.with_suffix(".new")
                fresh.write_bytes(
                    msgspec.json.format(msgspec.json.encode(change({} if anew else self.read()), order="sorted"))
                )
                fresh.replace(self._file)
        except OSError as error:
            raise SettingsError(
                f"the accepted number of paths cannot be kept in {self._file}: {error.strerror}; "
                "let state-directory name a directory that pathfleet may write"
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        directory = os.open(self._file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)
