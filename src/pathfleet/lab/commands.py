"""What a simulated multipathd does and answers on its socket, command by command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pathfleet.lab.daemon import Daemon
from pathfleet.lab.devices import Map
from pathfleet.lab.dialect import GROUP_WILDCARDS, MAP_WILDCARDS, PATH_WILDCARDS
from pathfleet.lab.effective import config_text
from pathfleet.lab.grammar import Command, Grammar, NotUnderstood
from pathfleet.lab.listing import lines, table, topology
from pathfleet.lab.replies import Replies

#: Commands that are answered while the maps are locked.
_LOCK_FREE = frozenset(("list daemon", "reconfigure", "reconfigure all", "quit", "shutdown"))
_OK = b"ok\n"
_NO_DEVICE = "device not found\n"

Answer = list[bytes]


class Commands:
    """Answers for one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._replies = Replies(daemon)
        self._grammar = Grammar(daemon.dialect)

    def needs_lock(self, line: str) -> bool:
        """Whether a line must wait until the maps are not locked."""
        try:
            return self._grammar.parse(line).verb not in _LOCK_FREE
        except NotUnderstood:
            return False

    def answer(self, line: str, *, uid: int) -> Answer:
        """Do what a line says and return the reply in pieces, without the closing NUL."""
        try:
            command = self._grammar.parse(line)
        except NotUnderstood as error:
            return [self._grammar.help(line, str(error))]
        if uid and not command.reads:
            return [self._daemon.dialect.denied()]
        return self._do(command)

    def _do(self, command: Command) -> Answer:
        told: Callable[[], Answer] | None = {
            "list daemon": self._show_daemon,
            "list status": self._show_status,
            "list maps json": self._replies.maps_json,
            "list wildcards": self._show_wildcards,
            "list config": lambda: [config_text(self._daemon, local=False)],
            "list config local": lambda: [config_text(self._daemon, local=True)],
            "list topology": lambda: self._listed(topology(self._maps())),
            "list maps topology": lambda: self._listed(topology(self._maps())),
            "reconfigure": self._reconfigure,
            "reconfigure all": self._reconfigure,
            "shutdown": self._shutdown,
            "disablequeueing maps": lambda: self._each(self._daemon.queueing.disable),
            "restorequeueing maps": lambda: self._each(self._daemon.queueing.enable),
            "reset maps stats": lambda: self._each(_reset_counters),
        }.get(command.verb)
        if told:
            return told()
        if "format" in command.parameters or command.verb in _TABLES:
            return self._format(command)
        if "map" in command.parameters:
            return self._on_map(command)
        if "path" in command.parameters:
            return self._on_path(command)
        return [_OK]

    # listings

    def _show_daemon(self) -> Answer:
        pending = (
            " (pending reconfigure)" if self._daemon.pending and self._daemon.dialect.tells_pending_reconfigure else ""
        )
        return [f"pid {self._daemon.pid} {self._daemon.state}{pending}\n".encode()]

    def _show_status(self) -> Answer:
        counts: dict[str, int] = {}
        watched = 0
        for map_ in self._maps():
            for path in map_.paths:
                watched += 1
                counts[_STATUS_WORDS[path.check]] = counts.get(_STATUS_WORDS[path.check], 0) + 1
        states = "".join(f"{word:<20}{counts[word]}\n" for word in _STATUS_WORDS.values() if word in counts)
        return [f"path checker states:\n{states}\npaths: {watched}\nbusy: False\n".encode()]

    def _show_wildcards(self) -> Answer:
        sections = (("multipath", MAP_WILDCARDS), ("path", PATH_WILDCARDS), ("pathgroup", GROUP_WILDCARDS))
        return [
            "\n".join(
                f"{kind} format wildcards:\n"
                + "".join(f"%{letter}  {name}\n" for letter, name, since in rows if self._daemon.dialect.knows(since))
                for kind, rows in sections
            ).encode()
        ]

    def _format(self, command: Command) -> Answer:
        text = command.parameters.get("format") or _TABLES[command.verb]
        render = lines if " raw " in command.verb else table
        if command.verb.startswith("list paths"):
            paths = list(self._daemon.kernel.paths.values())
            return self._listed(render(text, self._replies.path_words(), self._known(PATH_WILDCARDS), paths))
        words, known = self._replies.map_words(), self._known(MAP_WILDCARDS)
        if "map" not in command.parameters:
            return self._listed(render(text, words, known, self._maps()))
        map_ = self._daemon.find_map(command.parameters["map"])
        if map_ is None:
            return [self._daemon.dialect.failure(_NO_DEVICE)]
        return self._listed(render(text, words, known, [map_], heading=False))

    def _known(self, wildcards: Sequence[tuple[str, str, str]]) -> list[tuple[str, str]]:
        return [(letter, name) for letter, name, since in wildcards if self._daemon.dialect.knows(since)]

    def _listed(self, text: str) -> Answer:
        return [text.encode(errors="surrogateescape") or self._daemon.dialect.nothing()]

    # changes

    def _reconfigure(self) -> Answer:
        self._daemon.reconfigure()
        return [_OK]

    def _shutdown(self) -> Answer:
        self._daemon.stop()
        return [_OK]

    def _each(self, change: Callable[[Map], None]) -> Answer:
        for map_ in self._maps():
            change(map_)
        return [_OK]

    def _on_map(self, command: Command) -> Answer:
        daemon = self._daemon
        map_ = daemon.find_map(command.parameters["map"])
        if map_ is None:
            return self._add_map(command)
        match command.verb:
            case "list map json":
                return self._replies.map_json(map_)
            case "list map topology":
                return [topology([map_]).encode(errors="surrogateescape")]
            case "remove map" if map_.open:
                return [daemon.dialect.failure("map or partition in use\n")]
            case "switch map group":
                return self._switch(map_, command.parameters["group"])
            case "getprstatus map" | "getprhold map":
                return [b"unset\n" if daemon.dialect.knows("0.13.0") else b"0"]
            case "getprkey map":
                return [b"none\n"]
        change = _MAP_CHANGES.get(command.verb)
        if change:
            change(daemon, map_)
        return [_OK]

    def _switch(self, map_: Map, group: str) -> Answer:
        if not group.isdigit() or not 0 < int(group) <= len(map_.groups):
            return [self._daemon.dialect.failure()]
        self._daemon.kernel.switch(map_, int(group) - 1)
        return [_OK]

    def _add_map(self, command: Command) -> Answer:
        wwid = command.parameters["map"]
        paths = self._daemon.kernel.by_wwid.get(wwid)
        if command.verb != "add map" or not paths:
            return [self._daemon.dialect.failure(_NO_DEVICE)]
        if not self._daemon.configuration.is_blacklisted(wwid, [path.name for path in paths]):
            self._daemon.make_map(wwid)
        return [_OK]

    def _on_path(self, command: Command) -> Answer:
        daemon = self._daemon
        path = daemon.find_path(command.parameters["path"])
        if path is None:
            return [daemon.dialect.failure(_NO_DEVICE)]
        map_ = daemon.kernel.maps.get(path.lun.wwid)
        match command.verb:
            case "list path":
                return [b"offline\n" if path.offline else b"running\n"]
            case "add path" if daemon.configuration.is_blacklisted(path.lun.wwid, [path.name]):
                return [b"blacklisted\n"]
            case "add path":
                daemon.assembly.assemble_one(path.lun.wwid, daemon.kernel.by_wwid[path.lun.wwid])
            case "remove path" if map_ is not None:
                daemon.drop(map_, path)
            case "setmarginal path" | "unsetmarginal path":
                daemon.set_marginal(path, marginal=command.verb.startswith("set"))
            case "fail path" if map_ is not None:
                path.pinned = True
                daemon.kernel.fail(map_, path)
            case "reinstate path" if map_ is not None:
                path.pinned = False
                daemon.kernel.reinstate(map_, path)
                daemon.devices_changed([path])
            case _:
                return [daemon.dialect.failure()]
        return [_OK]

    def _maps(self) -> list[Map]:
        return self._daemon.maps


_STATUS_WORDS = {"faulty": "down", "undef": "undef", "ready": "up", "ghost": "ghost"}
_TABLES = {
    "list maps": "%n %d %w",
    "list maps status": "%n %F %Q %N %t %r",
    "list maps stats": "%n %0 %1 %2 %3 %4",
    "list paths": "%i %d %D %p %t %T %o %C",
}


def _reset_counters(map_: Map) -> None:
    map_.path_faults = map_.switches = map_.loads = map_.q_timeouts = 0
    map_.queue_seconds = 0.0
    map_.changed()


def _resize(daemon: Daemon, map_: Map) -> None:
    if map_.lun is not None and map_.lun.size != map_.size:
        daemon.kernel.resize(map_, map_.lun.size)


def _unset_marginal(daemon: Daemon, map_: Map) -> None:
    for path in map_.paths:
        daemon.set_marginal(path, marginal=False)


_MAP_CHANGES: Mapping[str, Callable[[Daemon, Map], None]] = {
    "remove map": lambda daemon, map_: daemon.kernel.remove(map_),
    "suspend map": lambda daemon, map_: daemon.kernel.suspend(map_, suspended=True),
    "resume map": lambda daemon, map_: daemon.kernel.suspend(map_, suspended=False),
    "resize map": _resize,
    "reload map": lambda daemon, map_: daemon.assembly.regroup(map_),
    "reset map": lambda daemon, map_: daemon.assembly.regroup(map_),
    "disablequeueing map": lambda daemon, map_: daemon.queueing.disable(map_),
    "restorequeueing map": lambda daemon, map_: daemon.queueing.enable(map_),
    "reset map stats": lambda _, map_: _reset_counters(map_),
    "unsetmarginal map": _unset_marginal,
}
