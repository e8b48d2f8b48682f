"""From a checked recipe to a running experiment; `train`, `resume` and `eval` all build here."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from rlrun.accel.accelerator import Accelerator
from rlrun.accel.allocator import keep_freed_memory
from rlrun.accel.denormals import flush_denormals
from rlrun.accel.precision import learn_in
from rlrun.accel.threads import Threads, at_first, choice
from rlrun.algos.base import Algorithm, Setting
from rlrun.clock import Clock
from rlrun.data.collector import Collector
from rlrun.device import choose_device
from rlrun.envs.make import AnyEnv, Shown, make_shown, make_vec_env, obs_space_of
from rlrun.experiment import Experiment, Periods
from rlrun.logger.base import Logger, LoggerSet
from rlrun.logger.base import build as build_logger
from rlrun.logger.jsonl import Jsonl
from rlrun.rundir import RunFolder
from rlrun.schema import Recipe
from rlrun.types import EnvSpec


@dataclass(frozen=True)
class Parts:
    """What can be built, and can fail for a user's mistake, before a folder exists."""

    env: AnyEnv
    algorithm: Algorithm
    device: torch.device
    device_reason: str
    precision_reason: str


def build_parts(recipe: Recipe) -> Parts:
    """Build environments and algorithm from the seed. Raises ConfigError for what cannot be."""
    run = recipe.run
    _tune_process(run.threads)
    torch.manual_seed(run.seed)
    device, reason = choose_device(run.device.name, obs_space_of(run.env))
    env = make_vec_env(run.env, run.num_envs, device)
    try:
        algorithm = build_algorithm(recipe, env.spec, device)
        arithmetic = learn_in(run.precision, algorithm)
    except BaseException:
        env.close()
        raise
    return Parts(env, algorithm, device, reason, arithmetic)


def _tune_process(threads: Threads) -> None:
    """Set what is a process's own: its threads, its memory, its arithmetic."""
    torch.set_num_threads(at_first(threads))
    keep_freed_memory()
    flush_denormals()


def build_algorithm(recipe: Recipe, spec: EnvSpec, device: torch.device) -> Algorithm:
    """Build the algorithm for the number of environments it was configured with."""
    setting = Setting(replace(spec, num_envs=recipe.run.num_envs), recipe.network, device)
    return recipe.algorithm(recipe.algorithm_config, setting)


def assemble(
    recipe: Recipe,
    parts: Parts,
    folder: RunFolder,
    say: Callable[[str], None],
    console: Logger | None,
    *,
    resumes: int = 0,
    metrics_bytes: int = 0,
) -> Experiment:
    """Join the parts, the folder and the loggers to an experiment ready for the loop."""
    run = recipe.run
    seeds = np.random.SeedSequence([run.seed, 0, resumes]).generate_state(1)
    metrics_file = Jsonl(folder.path / "metrics.jsonl", keep_bytes=metrics_bytes)
    loggers: dict[str, Logger] = {"jsonl": metrics_file}
    if console is not None:
        loggers["console"] = console
    values = recipe.plain()
    for name, options in run.logger.items():
        if name != "console":
            try:
                loggers[name] = build_logger(name, options or {}, folder.path, values)
            except Exception as fault:  # a service that is away or knows us not: train without it
                say(f"warning: logger {name} did not start and is off: {fault}")
    initial_carry = parts.algorithm.initial_carry
    collector = Collector(parts.env, initial_carry, parts.device, int(seeds[0]))
    steps = run.total_timesteps // run.num_envs
    threads = choice(run.threads, parts.algorithm, say)
    return Experiment(
        periods=Periods(**{each.name: getattr(run, each.name) for each in fields(Periods)}),
        description=describe(recipe),
        algorithm=parts.algorithm,
        accelerator=Accelerator(run.accel, parts.algorithm, collector, steps, say, threads),
        env=parts.env,
        make_eval_env=partial(
            make_vec_env, run.env.for_evaluation(), device=parts.device, round_up=True
        ),
        make_worker=partial(build_worker, recipe, resumes),
        collector=collector,
        clock=Clock(run.total_timesteps),
        device=parts.device,
        folder=folder,
        metrics_file=metrics_file,
        loggers=LoggerSet(loggers, lambda text: say(f"warning: {text}")),
        say=say,
    )


def build_worker(recipe: Recipe, resumes: int, index: int) -> tuple[Algorithm, Collector]:
    """Build what one of several processes learns with: one environment, its own random numbers."""
    run = recipe.run
    words = np.random.SeedSequence([run.seed, 2, resumes, index]).generate_state(2)
    _tune_process(run.threads)
    torch.manual_seed(int(words[0]))
    device, _ = choose_device(run.device.name, obs_space_of(run.env))
    env = make_vec_env(run.env, 1, device)
    setting = Setting(env.spec, recipe.network, device)
    algorithm = recipe.algorithm(recipe.algorithm_config, setting)
    learn_in(run.precision, algorithm)
    return algorithm, Collector(env, algorithm.initial_carry, device, int(words[1]))


def make_env(recipe: Recipe, count: int, render_mode: str | None = None) -> Shown:
    """Make at least so many environments that can be rendered, as a replay needs them."""
    return make_shown(recipe.run.env.for_evaluation(), count, render_mode)


def describe(recipe: Recipe) -> dict[str, Any]:
    """Return what `policy.json` holds: enough to build the policy without the run around it."""
    return {"config": recipe.plain(), "packages": recipe.packages()}
