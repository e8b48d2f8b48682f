"""Choices that are allowed and probably not meant: what `rlrun check` warns of, and the fix."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from rlrun.accel.precision import doubt
from rlrun.accel.threads import at_first, cores
from rlrun.build import Parts
from rlrun.conf_dir import choices, conf_dir
from rlrun.config import Problem
from rlrun.envs.adapter import make_single
from rlrun.envs.foreign import is_parallel
from rlrun.envs.make import obs_space_of
from rlrun.inspection.network import doubts
from rlrun.inspection.plan import Memory, Plan, backend_of
from rlrun.inspection.speed import Speed
from rlrun.schema import Recipe

CHEAP, COSTLY = 100e-6, 1e-3
"""Seconds of one environment's step: below, a process for it costs more; above, it pays."""


def advise(recipe: Recipe, parts: Parts, plan: Plan, memory: Memory, speed: Speed) -> list[Problem]:
    """Return what is doubtful, by key."""
    return [
        *doubts(recipe, parts.env.spec),
        *_of_budget(recipe, plan),
        *_of_learning(recipe, plan, speed),
        *of_memory(recipe, memory),
        *doubt(recipe.run.precision, parts.device),
        *of_observations(obs_space_of(recipe.run.env)),
        *_of_environments(recipe, backend_of(recipe, parts)),
    ]


def _of_budget(recipe: Recipe, plan: Plan) -> Iterator[Problem]:
    run = recipe.run
    if run.total_timesteps < plan.steps_per_update:
        reason = f"{run.total_timesteps} is less than one update's {plan.steps_per_update} steps"
        yield Problem("total_timesteps", f"{reason}; one update is all that happens")
    if run.eval_every > plan.steps:
        reason = f"{run.eval_every} is never due within {plan.steps} steps; only the end counts"
        yield Problem("eval_every", reason)
    if run.log_every > plan.steps:
        reason = f"{run.log_every} is never due within {plan.steps} steps; there will be one row"
        yield Problem("log_every", reason)
    if run.preset == "none":
        tuned = f"{run.algo['name']}/{run.env.name}"
        known = tuned in choices("preset", [conf_dir()])
        reason = f"{tuned} exists, and is not applied" if known else f"there is no {tuned}"
        yield Problem("preset", f"{reason}: nothing here is tuned for it")


def _of_learning(recipe: Recipe, plan: Plan, speed: Speed) -> Iterator[Problem]:
    config, steps = recipe.algorithm_config, recipe.run.total_timesteps
    starts = getattr(config, "learning_starts", 0)
    if starts >= steps:
        reason = f"{starts} is not below total_timesteps = {steps}: hardly anything is learned"
        yield Problem("algo.learning_starts", reason)
    interval = getattr(config, "target_update_interval", 0)
    if interval > steps:
        reason = f"{interval} is above total_timesteps = {steps}: the target never moves"
        yield Problem("algo.target_update_interval", reason)
    if speed.gradient_steps and not sum(speed.gradient_steps.values()) and plan.learning_updates:
        reason = "no gradient step was seen while measuring: updates are missing in the estimate"
        yield Problem("algo", reason)


def of_memory(recipe: Recipe, memory: Memory) -> Iterator[Problem]:
    """Yield what is doubtful about the replay memory and the disk."""
    size, steps = getattr(recipe.algorithm_config, "buffer_size", 0), recipe.run.total_timesteps
    if size > steps:
        reason = f"{size} is more than total_timesteps = {steps} can fill; {steps} is as good"
        yield Problem("algo.buffer_size", reason)
    if memory.replay > memory.free / 2:
        share = memory.replay / max(memory.free, 1)
        yield Problem("algo.buffer_size", f"the replay takes {share:.0%} of the free memory")
    if memory.checkpoints > memory.disk:
        reason = f"checkpoints need {memory.checkpoints / 1e9:.1f} GB; the disk has "
        yield Problem("output_dir", f"{reason}{memory.disk / 1e9:.1f} GB free")


def of_observations(space: Space[Any], name: str = "") -> Iterator[Problem]:
    """Yield what is doubtful about an environment's own space, before it is adapted."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        inner = space.items() if isinstance(space, spaces.Dict) else enumerate(space)
        for key, part in inner:
            yield from of_observations(part, f"{name}.{key}" if name else str(key))
        return
    what = f"observation {name!r}" if name else "the observation"
    if isinstance(space, spaces.Box) and space.dtype == np.float64:
        yield Problem("env", f"{what} is float64; it is read as float32")
    if isinstance(space, spaces.Box) and space.dtype.kind == "f" and len(space.shape) == 3:
        yield Problem("env", f"{what} is an image of floats; uint8 takes a quarter of the memory")


def _of_environments(recipe: Recipe, backend: str) -> Iterator[Problem]:
    run, available = recipe.run, cores()
    if at_first(run.threads) > available:
        yield Problem("threads", f"{run.threads} threads share {available} cores")
    if backend in ("envpool", "ale") or is_parallel(run.env.id):
        return  # there is no other way to step these that could be advised
    seconds = step_seconds(recipe)
    key, cost = "env.vectorization", f"a step of {run.env.name} takes {seconds * 1e6:.0f} us"
    if backend == "async" and seconds < CHEAP:
        yield Problem(key, f"{cost}, less than asking another process; use sync or auto")
    if backend == "sync" and run.num_envs > 1 and available > 1 and seconds > COSTLY:
        yield Problem(key, f"{cost}; async would step {run.num_envs} side by side")
    if backend in ("async", "workers") and run.num_envs > 2 * available:
        yield Problem("num_envs", f"{run.num_envs} processes share {available} cores")


def step_seconds(recipe: Recipe, limit: float = 0.3) -> float:
    """Return the median seconds of a step of one environment with random actions.

    The median, because a step in which the machine does something else says nothing.
    """
    env = make_single(recipe.run.env)
    try:
        env.reset(seed=0)
        env.action_space.seed(0)
        spent: list[float] = []
        while not spent or (sum(spent) < limit and len(spent) < 1000):
            action, begun = env.action_space.sample(), time.perf_counter()
            _, _, terminated, truncated, _ = env.step(action)
            spent.append(time.perf_counter() - begun)
            if terminated or truncated:
                env.reset()
        return statistics.median(spent)
    finally:
        env.close()
