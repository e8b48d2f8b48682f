"""What `rlrun bench` measures."""

import json
from functools import partial

import pytest

from rlrun import bench, cli
from rlrun.accel import accelerator
from rlrun.accel.ahead import Ahead
from rlrun.accel.programs import interpreted
from rlrun.bench import CASES, Case, Stopwatch, Timing, measure, summary
from rlrun.config import ConfigError
from rlrun.verbs import bench as verb

SMALL = Case(("algo=a2c", "env=CartPole-v1", "num_envs=2"), 40, 20)


def test_steps_are_counted_after_the_warm_up_and_parts_add_up():
    timings = measure(SMALL, ["log_every=10"], 3)
    assert [each.steps for each in timings] == [40, 40, 40]
    for each in timings:
        assert set(each.parts) == {"act", "environment", "store", "update", "logging", "other"}
        assert all(seconds > 0 for name, seconds in each.parts.items() if name != "other")
        assert sum(each.parts.values()) == pytest.approx(each.seconds)


def test_what_acts_compiled_is_timed_too(monkeypatch):
    monkeypatch.setattr(accelerator, "has_compiler", lambda: True)
    traced = partial(Ahead, backend=interpreted, options={}, say=pytest.fail)
    monkeypatch.setattr(accelerator, "fast", lambda *way, **draws: traced)
    words = ["env.vectorization=sync", "accel=compile"]
    for timing in measure(SMALL, words, 2):
        assert timing.parts["act"] > 0.1 * timing.parts["environment"] > 0
        assert sum(timing.parts.values()) == pytest.approx(timing.seconds)


def test_the_median_counts():
    timings = [Timing(100, seconds, {"act": seconds / 2}) for seconds in (1.0, 4.0, 2.0)]
    row = summary("a2c", timings)
    assert (row["slowest"], row["steps_per_second"], row["fastest"]) == (25, 50, 100)
    assert row["shares"] == {"act": 0.5}


def test_a_stopwatch_adds_up_calls_and_hands_results_on(monkeypatch):
    ticks = iter([1.0, 3.0, 10.0, 11.5])
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(ticks))
    watch = Stopwatch()
    double = watch.timed("double", lambda value, add=0: 2 * value + add)
    assert (double(2), double(3, add=1)) == (4, 7)
    watch.running = False
    assert double(2) == 4  # and the clock is not read
    assert watch.seconds == {"double": 3.5}


def test_another_clock_may_count():
    ticks = iter([1.0, 1.25])
    watch = Stopwatch(lambda: next(ticks))
    watch.timed("act", lambda: None)()
    assert watch.seconds == {"act": 0.25}


def test_the_command_prints_json_a_case(capsys, monkeypatch):
    monkeypatch.setitem(CASES, "a2c", SMALL)
    assert cli.main(["bench", "a2c", "--repeats", "2", "--json", "network.sizes=[4]"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["case"] == "a2c"
    assert row["steps_per_second"] > 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["ppo-smal"], "did you mean ppo-small"),
        (["--repeats", "0"], "'0' is not a number above 0"),
        (["--fast"], "unknown option '--fast'"),
        (["a2c", "algo.gama=1"], "did you mean algo.gamma"),
    ],
)
def test_mistakes_are_named(words, reason):
    with pytest.raises(ConfigError, match=reason):
        verb.main(words)


def test_the_help_names_every_case():
    assert all(name in verb.HELP for name in CASES)
