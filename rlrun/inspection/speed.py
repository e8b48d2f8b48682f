"""How long a run will take on this machine, judged by a few seconds of it.

The run's own algorithm is not touched: a second one is built and thrown away. It learns from its
first step on, so that nothing waits for `learning_starts`, and where a whole update would take
long, from fragments that hold one minibatch.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from rlrun.accel.precision import learn_in
from rlrun.algos.base import Algorithm
from rlrun.bench import Stopwatch, split
from rlrun.build import Parts, build_algorithm, build_worker
from rlrun.data.collector import Collector
from rlrun.envs.base import VecEnv
from rlrun.inspection.network import Layer, layers, watched
from rlrun.inspection.plan import Plan, learners_of
from rlrun.schema import Recipe
from rlrun.types import Fragment, Metrics

SECONDS = 2.0
"""How long updates are timed; one update at least, so that slow ones take longer."""

PARTS = ("environment", "act", "store", "update")


@dataclass(frozen=True)
class Speed:
    """What one update costs: seconds by part, and gradient steps by learner.

    `measured` is how many updates that is the mean of, after the first; `converged` says that the
    algorithm was done by then.
    """

    parts: dict[str, float]
    gradient_steps: dict[str, float]
    measured: int
    converged: bool
    layers: list[Layer]

    def scaled(self, factor: float) -> "Speed":
        """Return the cost of an update on fragments that are longer by a factor."""
        parts = {name: seconds * factor for name, seconds in self.parts.items()}
        steps = {name: count * factor for name, count in self.gradient_steps.items()}
        return replace(self, parts=parts, gradient_steps=steps)

    @property
    def collecting(self) -> float:
        """Seconds an update's environment steps take."""
        return sum(seconds for name, seconds in self.parts.items() if name != "update")


def measure(recipe: Recipe, parts: Parts, seconds: float = SECONDS) -> Speed:
    """Time a handful of updates after a warm-up."""
    short, factor = shortened(recipe)
    if factor == 1.0:
        return _timed(short, parts, seconds)
    whole = _timed(short, parts, seconds / 2).scaled(factor)
    if sum(whole.parts.values()) < seconds / 3:
        return _timed(_warm(recipe), parts, seconds)
    return whole


def forecast(recipe: Recipe, plan: Plan, speed: Speed) -> dict[str, float]:
    """Return the seconds a run spends in each part, without evaluations, saving and compiling."""
    updates = min(speed.measured + 1, plan.updates) if speed.converged else plan.updates
    learning = min(plan.learning_updates, updates)
    workers = 1.0
    if recipe.algorithm.runner == "async":  # workers side by side, as far as there are cores
        workers = float(min(recipe.run.num_envs, os.cpu_count() or 1))
    ahead = {name: learning if name == "update" else updates for name in speed.parts}
    return {name: each * ahead[name] / workers for name, each in speed.parts.items()}


def _warm(recipe: Recipe) -> Recipe:
    """Return a recipe that learns from the first step on."""
    config = recipe.algorithm_config
    if hasattr(config, "learning_starts"):
        config = replace(config, learning_starts=0)
    return replace(recipe, algorithm_config=config)


def shortened(recipe: Recipe) -> tuple[Recipe, float]:
    """Return a recipe of fragments with one minibatch, and how much shorter they are."""
    recipe = _warm(recipe)
    config = recipe.algorithm_config
    steps, batch = getattr(config, "n_steps", 0), getattr(config, "batch_size", 0)
    if not steps or not batch:
        return recipe, 1.0
    least = batch // math.gcd(batch, recipe.run.num_envs)
    if steps % least or steps == least:
        return recipe, 1.0
    config = replace(config, n_steps=least)
    return replace(recipe, algorithm_config=config), steps / least


class TimedEnv:
    """A vectorised environment whose steps are timed."""

    def __init__(self, env: VecEnv, watch: Stopwatch) -> None:
        self.spec, self.reset, self.close = env.spec, env.reset, env.close
        self.step = watch.timed("environment", env.step)


def _timed(recipe: Recipe, parts: Parts, seconds: float) -> Speed:
    if recipe.algorithm.runner != "async":
        algorithm = build_algorithm(recipe, parts.env.spec, parts.device)
        learn_in(recipe.run.precision, algorithm)
        collector = Collector(parts.env, algorithm.initial_carry, parts.device, 1)
        return _loop(algorithm, collector, seconds)
    algorithm, collector = build_worker(recipe, 0, 0)
    try:
        return _loop(algorithm, collector, seconds)
    finally:
        collector.env.close()


def _loop(algorithm: Algorithm, collector: Collector, seconds: float) -> Speed:
    watch = Stopwatch()
    collector.env = TimedEnv(collector.env, watch)
    act = watch.timed("act", partial(algorithm.act, explore=True))
    collect = watch.timed("collect", collector.collect)
    update = watch.timed("update", _waiting(algorithm))
    algorithm.anneal(0.5)  # schedules move: their middle stands for the whole
    with watched(algorithm) as outputs:  # the warm-up
        update(collect(act, algorithm.horizon))
    before, measured = _steps_taken(algorithm), 0
    begun = time.perf_counter()
    if not algorithm.converged:  # else the first update is all there is
        watch.seconds.clear()
    while not algorithm.converged:
        update(collect(act, algorithm.horizon))
        measured += 1
        if time.perf_counter() - begun > seconds:
            break
    total = sum(watch.seconds.get(name, 0.0) for name in ("collect", "update"))
    spent = split(watch.seconds, total)
    count = max(measured, 1)
    return Speed(
        parts={name: spent[name] / count for name in PARTS},
        gradient_steps={
            name: (taken - before[name]) / count for name, taken in _steps_taken(algorithm).items()
        },
        measured=measured,
        converged=algorithm.converged,
        layers=layers(algorithm, outputs),
    )


def _waiting(algorithm: Algorithm) -> Callable[[Fragment], Metrics]:
    """Return `update` so that it ends when its work does, also on a device that works ahead."""

    def update(fragment: Fragment) -> Metrics:
        metrics = algorithm.update(fragment)
        if algorithm.device.type == "cuda":
            torch.cuda.synchronize()
        return metrics

    return update


def _steps_taken(algorithm: Algorithm) -> dict[str, int]:
    return {name: learner.updates for name, learner in learners_of(algorithm).items()}
