"""Steps a second in steady state, and where the time goes: what `rlrun bench` measures.

A case is a piece of work that the field's other libraries can do as well; `make bench` runs theirs
beside it. Timing starts after a warm-up, in which compilers compile and memories fill.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from rlrun.accel.accelerator import Accelerator
from rlrun.accel.threads import choice
from rlrun.algos.base import Algorithm
from rlrun.build import build_parts
from rlrun.clock import Clock
from rlrun.data.collector import Collector
from rlrun.envs.batched.base import BatchedEnv
from rlrun.launch import prepare
from rlrun.schema import Recipe
from rlrun.types import ActFn, Metrics, Transform

COMMON = ("preset=none", "seed=1")
PPO = ("algo=ppo", "env=CartPole-v1")
PPO_4_EPOCHS = (*PPO, "algo.ent_coef=0.01", "algo.learning_rate=2.5e-4", "algo.n_epochs=4")
DQN = ("algo=dqn", "env=CartPole-v1", "algo.buffer_size=100000", "algo.learning_starts=1000")
CONTINUOUS = ("env=Pendulum-v1", "algo.learning_starts=1000", "algo.batch_size=256")


@dataclass(frozen=True)
class Case:
    """Words of `rlrun train`, the environment steps that are timed, and those before."""

    words: tuple[str, ...]
    steps: int
    warm_up: int


CASES = {
    "ppo-small": Case(
        (*PPO_4_EPOCHS, "num_envs=4", "algo.n_steps=128", "algo.batch_size=128"), 40_960, 1_024
    ),
    "ppo-wide": Case(
        (*PPO_4_EPOCHS, "num_envs=64", "algo.n_steps=128", "algo.batch_size=2048"), 262_144, 8_192
    ),
    "ppo-epochs": Case(
        (
            *(*PPO, "num_envs=8", "algo.n_steps=32", "algo.batch_size=256", "algo.n_epochs=20"),
            *("algo.gamma=0.98", "algo.gae_lambda=0.8", "algo.learning_rate=1e-3"),
        ),
        25_600,
        512,
    ),
    "a2c": Case(("algo=a2c", "env=CartPole-v1", "num_envs=8"), 40_000, 800),
    "dqn-zoo": Case(
        (
            *(*DQN, "algo.learning_rate=2.3e-3", "algo.batch_size=64", "algo.train_freq=256"),
            *("algo.gradient_steps=128", "algo.target_update_interval=10"),
            *("algo.exploration_fraction=0.16", "algo.exploration_final_eps=0.04"),
        ),
        20_480,
        2_048,
    ),
    "dqn-freq4": Case(
        (
            *(*DQN, "algo.batch_size=64", "algo.target_update_interval=500"),
            "network.sizes=[64,64]",
        ),
        20_000,
        2_000,
    ),
    "sac": Case(("algo=sac", *CONTINUOUS), 2_000, 1_200),
    "td3": Case(("algo=td3", *CONTINUOUS), 2_000, 1_200),
}


@dataclass(frozen=True)
class Timing:
    """Seconds of one repetition, and of its parts; `other` is what no part accounts for.

    The parts' shares are those of a repetition apart: reading the clock around each takes time too.
    """

    steps: int
    seconds: float
    parts: dict[str, float]

    @property
    def steps_per_second(self) -> float:
        """Environment steps a second, over all environments."""
        return self.steps / self.seconds


class Stopwatch:
    """Adds up the time spent in functions, by a `clock` in seconds, while it is `running`."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.clock = clock or time.perf_counter
        self.seconds: dict[str, float] = {}
        self.running = True

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, whose calls are added up under `name`."""

        def run(*values: Any, **options: Any) -> Any:
            if not self.running:
                return function(*values, **options)
            begun = self.clock()
            result = function(*values, **options)
            self.seconds[name] = self.seconds.get(name, 0.0) + self.clock() - begun
            return result

        return run


def measure(
    case: Case, words: list[str], repeats: int, timer: Callable[[], float] | None = None
) -> list[Timing]:
    """Run a case, with further words of `rlrun train`, and return each repetition's times.

    The warm-up is done once; the repetitions follow each other in one process, and one more, for
    the parts. `timer` gives the seconds; None takes the wall's clock.
    """
    recipe = prepare([*case.words, *COMMON, *words], []).recipe
    parts = build_parts(recipe)
    algorithm, watch = parts.algorithm, Stopwatch(timer)
    synchronize: Any = torch.cuda.synchronize if parts.device.type == "cuda" else lambda: None
    parts.env.step = watch.timed("environment", parts.env.step)  # type: ignore[method-assign]
    act: ActFn = partial(algorithm.act, explore=True)
    if isinstance(parts.env, BatchedEnv):
        parts.env.unroll = _timed_unroll(parts.env.unroll, act, watch)  # type: ignore[method-assign]
    collector = Collector(parts.env, algorithm.initial_carry, parts.device, 1)
    collector.transform = _timed_transform(collector, watch)  # type: ignore[method-assign, assignment]
    accelerator = _accelerator(recipe, algorithm, collector)
    act = watch.timed("act", act)
    collect = watch.timed("collect", collector.collect)
    update = watch.timed("update", algorithm.update)
    log = watch.timed("logging", lambda metrics: [float(value) for value in metrics.values()])
    clock, logged = Clock(case.warm_up + case.steps * (repeats + 1)), 0

    def run_until(steps: int) -> None:
        nonlocal logged
        while clock.steps < steps:
            algorithm.anneal(clock.progress)
            fragment = collect(act, algorithm.horizon)
            metrics: Metrics = update(fragment)
            clock.advance(fragment)
            accelerator.consider(0.0)
            if clock.steps - logged >= recipe.run.log_every:
                logged = clock.steps
                log(metrics)
        synchronize()

    run_until(case.warm_up)
    counts, times = [], []
    watch.seconds.clear()
    for repeat in range(1, repeats + 2):
        watch.running = repeat > repeats
        before, begun = clock.steps, watch.clock()
        run_until(case.warm_up + case.steps * repeat)
        times.append(watch.clock() - begun)
        counts.append(clock.steps - before)
    shares = {name: each / times[-1] for name, each in split(watch.seconds, times[-1]).items()}
    parts.env.close()
    return _timings(counts[:-1], times[:-1], shares)


def _timings(counts: list[int], times: list[float], shares: dict[str, float]) -> list[Timing]:
    """Return repetitions of so many steps and seconds, whose parts have the same shares."""
    return [
        Timing(steps, seconds, {name: share * seconds for name, share in shares.items()})
        for steps, seconds in zip(counts, times, strict=True)
    ]


def _accelerator(recipe: Recipe, algorithm: Algorithm, collector: Collector) -> Accelerator:
    """Return what does as a case's words say: nothing is far ahead here, so `auto` means off."""
    say = partial(print, file=sys.stderr)
    threads = choice(recipe.run.threads, algorithm, say)
    return Accelerator(recipe.run.accel, algorithm, collector, 0, say, threads)


def _timed_unroll(unroll: Any, act: ActFn, watch: Stopwatch) -> Any:
    """Return an environment's `unroll`, timed whole as environment: a compiler sees no clocks."""

    def timed(_: ActFn, steps: int, transform: Transform) -> Any:
        return watch.timed("environment", unroll(act, steps, transform))

    return timed


def _timed_transform(collector: Collector, watch: Stopwatch) -> Callable[[Transform], None]:
    """Return a collector's `transform`, whose faster `act` is timed: a compiler sees no clocks."""
    plain = collector.transform

    def transform(way: Transform) -> None:
        unrolls = collector.unrolls
        plain(way if unrolls else lambda function: watch.timed("act", way(function)))

    return transform


def summary(name: str, timings: list[Timing]) -> dict[str, Any]:
    """Return a case's row: the median repetition, its range, and the shares of its parts."""
    speeds = sorted(each.steps_per_second for each in timings)
    shares = {
        part: round(statistics.median(each.parts[part] / each.seconds for each in timings), 3)
        for part in timings[0].parts
    }
    return {
        "case": name,
        "steps_per_second": round(statistics.median(speeds)),
        "slowest": round(speeds[0]),
        "fastest": round(speeds[-1]),
        "shares": shares,
    }


def split(seconds: dict[str, float], total: float) -> dict[str, float]:
    """Return a stopwatch's parts apart: collecting without what it calls is `store`."""
    act, environment = seconds.get("act", 0.0), seconds.get("environment", 0.0)
    split = {
        "act": act,
        "environment": environment,
        "store": seconds.get("collect", 0.0) - act - environment,
        "update": seconds.get("update", 0.0),
        "logging": seconds.get("logging", 0.0),
    }
    return {**split, "other": max(total - sum(split.values()), 0.0)}
