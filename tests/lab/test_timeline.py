"""Scripts of faults: read, refused in words, and the same each time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathfleet.errors import SettingsError
from pathfleet.lab import timeline
from pathfleet.lab.san import Applied
from pathfleet.lab.timeline import Step
from tests.lab.bench import Bench

SCRIPT = """
seed = {seed}

[[steps]]
at = 30
break = "cable:pve1-hba0"
flaps = {{ period = {period}, duty = 0.25, until = 120, jitter = {jitter} }}

[[steps]]
at = 12.5
break = "switch-b"
for = 20

[[steps]]
at = 20
resize = "vm1"
value = "20G"

[[steps]]
at = 40
marginal = "array1-ct0"

[[steps]]
at = 90
mend = "array1-ct0"
end = "marginal"
"""


def script(seed: int = 1, period: float = 8, jitter: float = 0.2) -> str:
    return SCRIPT.format(seed=seed, period=period, jitter=jitter)


def told(text: str, seconds: float = 150) -> list[tuple[float, str, tuple[str | None, ...]]]:
    """Everything that the first host's kernel and daemon said while the script ran."""
    bench = Bench()
    events: list[tuple[float, str, tuple[str | None, ...]]] = []
    node = bench.san.nodes["pve1"]
    source = node.uevents()
    node.channel.listeners.append(source)
    timeline.load(text).start(bench.san)
    for second in range(int(seconds)):
        bench.passes(1)
        while source._waiting:
            event = source._waiting.popleft()
            events.append((second, event.action, (event.device, event.dm_action, event.dev_t)))
    return [*events, (seconds, bench.ask("show maps json").decode(), ())]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1 << 32), period=st.floats(2, 60), jitter=st.floats(0, 0.9))
def test_the_same_seed_gives_the_same_sequence(seed: int, period: float, jitter: float) -> None:
    text = script(seed, period, jitter)
    assert timeline.load(text) == timeline.load(text)
    assert told(text, 60) == told(text, 60)


def test_another_seed_gives_another_flapping() -> None:
    assert timeline.load(script(1)).steps != timeline.load(script(2)).steps


def test_steps_are_done_in_their_order_and_undone() -> None:
    steps = timeline.load(script(jitter=0)).steps
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert Step(32.5, "break", "switch-b", ends=True) in steps
    assert Step(90, "marginal", "array1-ct0", ends=True) in steps
    assert [step.at for step in steps if step.component.startswith("cable:")][:4] == [30, 32, 38, 40]


def test_what_flaps_is_whole_in_the_end() -> None:
    bench = Bench()
    timeline.load(script()).start(bench.san)
    bench.passes(200)
    assert bench.san.applied == [Applied("resize", "vm1", "20G")]
    assert bench.verdict().active == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed = ", "not TOML"),
        ("sede = 1", "not a timeline"),
        ("[[steps]]\nat = 1", "step 1: names one fault"),
        ('[[steps]]\nat = 1\nbreak = "a"\nmend = "b"', "step 1: names one fault"),
        ('[[steps]]\nbreak = "a"', "step 1: Object missing required field `at`"),
        ('[[steps]]\nat = 1\nbreak = "a"\nfro = 3', "step 1: Object contains unknown field `fro`"),
        ('[[steps]]\nat = 1\nbreak = "a"\nflaps = { period = 0 }', "step 1: flaps: period > 0"),
        ('[[steps]]\nat = 1\nmend = "a"\nend = "boom"', "step 1: end: there is no fault 'boom'"),
        ('[[steps]]\nat = 1\nbreak = "a"\nflaps = { period = 0.01, until = 1e9 }', "step 1: 100000 steps or more"),
    ],
)
def test_what_is_no_timeline_is_refused_by_its_step(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        timeline.load(text)


def test_a_component_that_is_not_there_is_refused_before_anything_happens() -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        timeline.load('[[steps]]\nat = 1\nbreak = "nowhere"').start(Bench().san)
