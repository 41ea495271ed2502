"""The two drop-ins in /etc/multipath/conf.d, and the journal by which a change of them is done or undone as a whole.

The journal names what is in force and what is being tried. It is written before any drop-in is touched, so after a
power cut at any step `restore` brings back what was in force.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from pathfleet.core.render import BASELINE_FILE, OVERRIDES_FILE, DropIns
from pathfleet.system.disk import Directory, Disk, DiskTrouble, told

ROOT = Path("/etc/multipath")
STATE = Path("/var/lib/pathfleet")

_JOURNAL = "journal.json"


class State(Struct, frozen=True, rename="kebab"):
    """A configuration as it is, or was, on this node. `wwids`: those of the wwids file that are ours.

    `remark` says what is not as it should be although it is in force. `digest` None: whose it is nobody knows.
    """

    digest: str | None
    baseline: str | None = None
    overrides: str | None = None
    wwids: tuple[str, ...] = ()
    remark: str | None = None


class Attempt(Struct, frozen=True, rename="kebab"):
    """A change that is not done yet. `daemon_ran`: multipathd ran before it.

    `waits`: all is written, and this is why multipathd has not taken it yet.
    """

    digest: str | None
    daemon_ran: bool = False
    waits: str | None = None


class Journal(Struct, frozen=True, rename="kebab"):
    """What is known here of what is in force. `made`: directories that were not there before us.

    `version` of multipath-tools, as last heard.
    """

    in_force: State | None = None
    attempt: Attempt | None = None
    made: tuple[str, ...] = ()
    version: str | None = None

    @property
    def digest(self) -> str | None:
        """The digest of what this node has, None if it has nothing of ours."""
        if self.attempt and self.attempt.waits:
            return self.attempt.digest
        return self.in_force.digest if self.in_force else None

    @property
    def interrupted(self) -> bool:
        """Whether a change began of which nobody knows how it ended."""
        return self.attempt is not None and self.attempt.waits is None


class Files:
    """The drop-ins under `root` (/etc/multipath) and their journal under `state`. All raise DiskTrouble."""

    def __init__(self, root: Path = ROOT, state: Path = STATE, *, disk: Disk | None = None) -> None:
        self.root = root
        self.disk = disk or Disk()
        self.state = state / "apply"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let nobody else on this node change the files during the body."""
        with Directory(self.root.parent, self.disk) as parent:
            try:
                fcntl.flock(parent.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DiskTrouble(
                    "another process of this node is applying at this moment; try again in a minute"
                ) from None
            yield

    def journal(self) -> Journal:
        """Return what is known; nothing if nothing was ever done here."""
        if not os.path.lexists(self.state):
            return Journal()
        with Directory(self.state, self.disk, private=True) as state:
            text = state.read(_JOURNAL)
        try:
            return msgspec.json.decode(text, type=Journal) if text is not None else Journal()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DiskTrouble(
                f"{self.state / _JOURNAL} cannot be understood: {error}; see that the drop-ins in "
                f"{self.root / 'conf.d'} are right, then remove it"
            ) from error

    def on_disk(self) -> DropIns:
        """Return the drop-ins that are there; what is no text counts as another text than any of ours."""
        if not os.path.lexists(self.root / "conf.d"):
            return DropIns()
        with self._drop_ins() as directory:
            baseline, overrides = (directory.read(name) for name in (BASELINE_FILE, OVERRIDES_FILE))
        return DropIns(_text(baseline), _text(overrides))

    def read_later(self) -> tuple[str, ...]:
        """Return the files that multipathd reads after ours, and by which it goes where they say something else."""
        with told(self.root / "conf.d", "read"):
            files = [path for path in (self.root / "conf.d").iterdir() if path.suffix == ".conf"]
        later = sorted((path for path in files if os.fsencode(path.name) > BASELINE_FILE.encode()), key=os.fsencode)
        return tuple(str(path) for path in later if path.name != OVERRIDES_FILE)

    def begin(self, attempt: Attempt, owned: frozenset[str], *, version: str | None) -> None:
        """Note what is to be tried, and what comes back if it fails, before anything is changed."""
        journal = self.journal()
        in_force = journal.in_force
        if in_force is None and (found := self.on_disk()) != DropIns():
            in_force = State(None, found.baseline, found.overrides, tuple(sorted(owned)))
        missing = [path for path in (self.root, self.root / "conf.d") if not os.path.lexists(path)]
        made = (*journal.made, *(str(path) for path in missing if str(path) not in journal.made))
        self._note(Journal(in_force, attempt, made, version or journal.version))
        for path in missing:
            self._make(path, 0o755)

    def note_attempt(self, attempt: Attempt) -> None:
        """Note what became of the attempt that began."""
        self._note(msgspec.structs.replace(self.journal(), attempt=attempt))

    def write(self, baseline: str | None, overrides: str | None) -> None:
        """Let the drop-ins be these, None: absent."""
        with self._drop_ins() as directory:
            for name, text in ((BASELINE_FILE, baseline), (OVERRIDES_FILE, overrides)):
                if text is None:
                    directory.remove(name)
                else:
                    directory.replace(name, text.encode())

    def restore(self) -> State | None:
        """Bring back the drop-ins that were in force before the attempt; return what was."""
        known = self.journal().in_force
        if os.path.lexists(self.root / "conf.d"):
            self.write(*((known.baseline, known.overrides) if known else (None, None)))
        return known

    def commit(self, state: State) -> None:
        """Note that the attempt is in force."""
        self._note(msgspec.structs.replace(self.journal(), in_force=state, attempt=None))

    def give_up(self) -> None:
        """Note that the attempt is undone, all of it."""
        journal = msgspec.structs.replace(self.journal(), attempt=None)
        if journal.in_force is None:
            self.forget()
        else:
            self._note(journal)

    def forget(self) -> None:
        """Remove the journal and the directories that we made and that are empty: nothing of ours is left."""
        for path in reversed(self.journal().made):
            with contextlib.suppress(OSError):  # others have files in it by now
                self.disk.rmdir(Path(path))
        if os.path.lexists(self.state):
            with Directory(self.state, self.disk, private=True) as state:
                state.remove(_JOURNAL)
            # what maps are still to be removed stays known
            with told(self.state, "removed"):
                try:
                    self.disk.rmdir(self.state)
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                        raise

    def _note(self, journal: Journal) -> None:
        if not os.path.lexists(self.state):
            with told(self.state.parent, "made"):
                self.state.parent.mkdir(parents=True, exist_ok=True)
            self._make(self.state, 0o700)
        with Directory(self.state, self.disk, private=True) as state:
            state.replace(_JOURNAL, msgspec.json.format(msgspec.json.encode(journal)), mode=0o600)

    def _make(self, path: Path, mode: int) -> None:
        with told(path, "made"):
            self.disk.mkdir(path, mode)
        with Directory(path.parent, self.disk) as parent, told(path, "made"):
            self.disk.sync(parent.descriptor)

    def _drop_ins(self) -> Directory:
        # the root is looked at, too: a link there would lead elsewhere as well
        with Directory(self.root, self.disk):
            return Directory(self.root / "conf.d", self.disk)


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="replace")
