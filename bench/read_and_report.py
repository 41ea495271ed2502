"""multipathd's reply to the report in its plain form: ours against straight Python and straight Perl.

All make the same bytes of the same bytes, which is checked before anything is timed. Sizes and transports, which
come from sysfs, are given to all.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import rival_json, san
from bench.row import Row
from bench.san import San
from bench.timing import Contender, Times, here, take_turns
from pathfleet.core import detail, maps, report
from pathfleet.core.health import Facts, judge
from pathfleet.store import VALUE_LIMIT

_NOW = 1_751_546_766
_COUNTS = (10, 100, 1_000, 10_000)
_TARGETED = 1_000
_OURS, _PYTHON, _XS, _PP = "pathfleet", "Python json", "Perl JSON::XS", "Perl JSON::PP"
_TARGETS = {_PYTHON: 2.5, _XS: 1.8}


def rows() -> Iterator[Row]:
    for count in _COUNTS:
        yield from _race(count)
    yield from _parts(_TARGETED)


def ours(reply: bytes, facts: Facts) -> bytes:
    """Return the report as the agent makes it."""
    return report.plain(report.summarise([judge(map_, facts) for map_ in maps.decode(reply)]), _NOW)


def _race(count: int) -> Iterator[Row]:
    made = san.make(count)
    _check_agreement(made, slow_too=count <= _TARGETED)
    with ExitStack() as stack:
        contenders = _contenders(made)
        xs = stack.enter_context(_perl("JSON::XS", made))
        if xs:
            contenders[_XS] = xs.run
        times = take_turns(contenders, rounds=_rounds(count), repeats=max(1, 1_000 // count))
    what = f"{count:,} maps, {{}}".format
    yield _row(what(_OURS), times[_OURS], at_most=5 if count == _TARGETED else None)
    for rival in (_PYTHON, _XS):
        if rival not in times:
            yield Row(what(rival), skipped="JSON::XS is not installed (libjson-xs-perl)")
            continue
        ratio = times[rival] / times[_OURS]
        yield _row(what(rival), times[rival])
        target = _TARGETS[rival] if count == _TARGETED else None
        yield Row(what(f"{rival} : {_OURS}"), ratio.best, ratio.median, "x", at_least=target)
    if count == _TARGETED:
        yield from _slow_race(made, count)


def _slow_race(made: San, count: int) -> Iterator[Row]:
    with _perl("JSON::PP", made) as pp:
        if pp is None:
            yield Row(f"{count:,} maps, {_PP}", skipped="JSON::PP is not installed (perl-modules)")
            return
        ours_here = _contenders(made)[_OURS]
        times = take_turns({_OURS: ours_here, _PP: pp.run}, rounds=3, repeats=1)
    ratio = times[_PP] / times[_OURS]
    yield _row(f"{count:,} maps, {_PP}", times[_PP])
    yield Row(f"{count:,} maps, {_PP} : {_OURS}", ratio.best, ratio.median, "x")


def _contenders(made: San) -> dict[str, Contender]:
    facts, transports = made.facts, made.transports()
    return {
        _OURS: here(lambda: ours(made.reply, facts)),
        _PYTHON: here(lambda: rival_json.report(made.reply, made.sizes, transports, _NOW)),
    }


def _parts(count: int) -> Iterator[Row]:
    made = san.make(count)
    facts = made.facts
    decoded = maps.decode(made.reply)
    verdicts = tuple(judge(map_, facts) for map_ in decoded)
    summary = report.summarise(verdicts)
    times = take_turns(
        {
            "decode": here(lambda: maps.decode(made.reply)),
            "judge": here(lambda: [judge(map_, facts) for map_ in decoded]),
            "summarise": here(lambda: report.summarise(verdicts)),
            "encode, plain": here(lambda: report.plain(summary, _NOW)),
            "the agent's encode, packed": here(lambda: report.contents(summary, limit=VALUE_LIMIT)),
            "the agent's flags and detail": here(lambda: detail.content(verdicts, facts, limit=VALUE_LIMIT)),
        },
        rounds=_rounds(count),
        repeats=1,
    )
    for part, seconds in times.items():
        yield _row(f"{count:,} maps, {_OURS}: {part}", seconds)


def _rounds(count: int) -> int:
    return 11 if count > _TARGETED else 51


def _row(what: str, times: Times, *, at_most: float | None = None) -> Row:
    return Row(what, times.best * 1000, times.median * 1000, "ms", at_most=at_most)


class _Perl:
    """A running rival.pl."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, line: str) -> str:
        """Return the answer to one line."""
        assert self._process.stdin
        assert self._process.stdout
        print(line, file=self._process.stdin, flush=True)
        return self._process.stdout.readline().rstrip("\n")

    def run(self, repeats: int) -> float:
        """Return the seconds of one execution."""
        return float(self.ask(str(repeats)))


@contextmanager
def _perl(module: str, made: San) -> Iterator[_Perl | None]:
    """Start rival.pl with one of Perl's JSON modules; None if that is missing."""
    with tempfile.TemporaryDirectory() as directory:
        reply, facts = Path(directory, "reply"), Path(directory, "facts")
        reply.write_bytes(made.reply)
        facts.write_bytes(san.facts_document(made))
        command = ["perl", str(Path(__file__).with_name("rival.pl")), module, str(reply), str(facts), str(_NOW)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            yield None if process.stdout.readline() == "missing\n" else _Perl(process)


def _check_agreement(timed: San, *, slow_too: bool) -> None:
    """Raise AssertionError unless all make the same report, of what is timed and of a SAN full of trouble."""
    for made in (timed, san.make(200, troubled=0.7)):
        answers = _answers(made, ("JSON::XS", "JSON::PP") if slow_too else ("JSON::XS",))
        for rival, answer in answers.items():
            if answer != answers[_OURS]:
                raise AssertionError(f"{rival} makes another report than {_OURS}: there is nothing to compare")


def _answers(made: San, modules: tuple[str, ...]) -> Mapping[str, bytes]:
    answers = {
        _OURS: ours(made.reply, made.facts),
        _PYTHON: rival_json.report(made.reply, made.sizes, made.transports(), _NOW),
    }
    for module in modules:
        with _perl(module, made) as perl:
            if perl:
                answers[module] = perl.ask("report").encode()
    return answers
