"""Choices that are allowed and probably not meant: what `rlrun check` warns of, and the fix."""

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from rlrun.config import Problem
from rlrun.envs.registry import make_env
from rlrun.inspection.plan import Memory, Plan
from rlrun.inspection.speed import Speed
from rlrun.nets.images import image_of
from rlrun.nets.torsos.mlp import MLP
from rlrun.schema import Recipe

CHEAP, COSTLY = 100e-6, 1e-3
"""Seconds of one environment's step: below, a process for it costs more; above, it pays."""


def advise(
    recipe: Recipe, plan: Plan, memory: Memory, speed: Speed, obs_space: Space[Any]
) -> list[Problem]:
    """Return what is doubtful, by key; `obs_space` is the environment's own."""
    return [
        *of_network(recipe, obs_space),
        *_of_budget(recipe, plan),
        *_of_learning(recipe, plan, speed),
        *_of_memory(recipe, memory),
        *_of_observations(obs_space),
        *_of_environments(recipe, step_seconds(recipe)),
    ]


def of_network(recipe: Recipe, obs_space: Space[Any]) -> Iterator[Problem]:
    """Yield what is doubtful about the network; `rlrun train` says it, too."""
    if recipe.network.torso is not MLP:
        return
    if not recipe.network.config.sizes:
        reason = "no hidden layers: what is learned is linear in the observation"
        yield Problem("network.sizes", reason)
    parts = obs_space.spaces.values() if isinstance(obs_space, spaces.Dict) else [obs_space]
    if any(image_of(part, "auto") is not None for part in parts):
        reason = "mlp sees an image as a row of numbers; network=auto takes convolutions"
        yield Problem("network", reason)


def _of_budget(recipe: Recipe, plan: Plan) -> Iterator[Problem]:
    run = recipe.run
    if run.total_timesteps < plan.steps_per_update:
        reason = f"{run.total_timesteps} is less than one update's {plan.steps_per_update} steps"
        yield Problem("total_timesteps", f"{reason}; one update is all that happens")
    for key, period in (("eval_every", run.eval_every), ("save_every", run.save_every)):
        if period > plan.steps:
            reason = f"{period} is never due within {plan.steps} steps; only the end counts"
            yield Problem(key, reason)
    if run.log_every > plan.steps:
        reason = f"{run.log_every} is never due within {plan.steps} steps; there will be one row"
        yield Problem("log_every", reason)
    if run.preset == "none":
        reason = f"none for {run.algo['name']} on {run.env.name}: the values are not tuned for it"
        yield Problem("preset", reason)


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


def _of_memory(recipe: Recipe, memory: Memory) -> Iterator[Problem]:
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


def _of_observations(space: Space[Any]) -> Iterator[Problem]:
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    for name, part in parts.items():
        what = f"observation {name!r}" if name else "the observation"
        if isinstance(part, spaces.Box) and part.dtype == np.float64:
            yield Problem("env", f"{what} is float64; it is read as float32")
        if isinstance(part, spaces.Box) and part.dtype == np.float32 and len(part.shape) == 3:
            reason = f"{what} is an image of float32; uint8 takes a quarter of the memory"
            yield Problem("env", reason)


def _of_environments(recipe: Recipe, seconds: float) -> Iterator[Problem]:
    run, cores = recipe.run, os.cpu_count() or 1
    key, cost = "env.vectorization", f"a step of {run.env.name} takes {seconds * 1e6:.0f} us"
    if run.env.vectorization == "async" and seconds < CHEAP:
        yield Problem(key, f"{cost}, less than asking another process; use sync or auto")
    workers = recipe.algorithm.runner == "async"
    if run.env.vectorization in ("auto", "sync") and not workers and run.num_envs > 1 < cores:
        if seconds > COSTLY:
            yield Problem(key, f"{cost}; async would step {run.num_envs} side by side")
    if (run.env.vectorization == "async" or workers) and run.num_envs > 2 * cores:
        yield Problem("num_envs", f"{run.num_envs} processes share {cores} cores")
    if run.threads > cores:
        yield Problem("threads", f"{run.threads} threads share {cores} cores")


def step_seconds(recipe: Recipe, limit: float = 0.3) -> float:
    """Return the mean seconds of a step of one environment with random actions."""
    env = make_env(recipe.run.env.id, recipe.run.env.kwargs)
    try:
        env.reset(seed=0)
        env.action_space.seed(0)
        count, begun = 0, time.perf_counter()
        while (spent := time.perf_counter() - begun) < limit and count < 1000:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            count += 1
            if terminated or truncated:
                env.reset()
        return spent / count
    finally:
        env.close()
