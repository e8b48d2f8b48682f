"""From the group `env` to a vectorised environment: the one place that chooses its kind."""

from typing import Any, TypeAlias

import torch
from gymnasium import Space

from rlrun.config import ConfigError, Problem
from rlrun.envs.adapter import EnvConfig, GymnasiumEnv, make_single
from rlrun.envs.ale import AleEnv
from rlrun.envs.batched.acrobot import Acrobot
from rlrun.envs.batched.base import BatchedEnv, Dynamics
from rlrun.envs.batched.cart_pole import CartPole
from rlrun.envs.batched.mountain_car import MountainCar, MountainCarContinuous
from rlrun.envs.batched.pendulum import Pendulum
from rlrun.envs.batched.table import Table
from rlrun.envs.foreign import is_parallel
from rlrun.envs.parallel import ParallelEnv
from rlrun.envs.pool import PoolEnv

AnyEnv: TypeAlias = GymnasiumEnv | BatchedEnv | PoolEnv | AleEnv | ParallelEnv
Shown: TypeAlias = GymnasiumEnv | PoolEnv | ParallelEnv
"""What can be rendered."""

BATCHED: dict[str, tuple[type[Dynamics], int]] = {
    "CartPole-v1": (CartPole, 16),
    "Acrobot-v1": (Acrobot, 16),
    "MountainCar-v0": (MountainCar, 8),
    "MountainCarContinuous-v0": (MountainCarContinuous, 8),
    "Pendulum-v1": (Pendulum, 8),
    "FrozenLake-v1": (Table, 16),
    "FrozenLake8x8-v1": (Table, 16),
    "CliffWalking-v1": (Table, 16),
    "Taxi-v4": (Table, 16),
}
"""Environments with a batched version, and how many of them `auto` takes it from.

The numbers are where stepping one after the other becomes slower (docs/performance.md). They are
constants, and not measured at each start, because the choice decides the random numbers.
"""


def make_vec_env(
    config: EnvConfig, num_envs: int, device: torch.device, *, round_up: bool = False
) -> AnyEnv:
    """Make N environments; raises ConfigError for what cannot be made as the config says.

    With `round_up` there are more where they only come in groups.
    """
    if is_parallel(config.id):
        return ParallelEnv(config, num_envs, round_up=round_up)
    if config.vectorization == "envpool":
        return PoolEnv(config, num_envs)
    if config.vectorization == "ale":
        return AleEnv(config, num_envs)
    if config.vectorization == "torch":
        _check(config)
    elif config.vectorization != "auto" or not _wins(config, num_envs, device):
        return GymnasiumEnv(config, num_envs)
    kind, _ = BATCHED[config.id]
    env = make_single(config)
    limit = env.spec.max_episode_steps if env.spec else None
    return BatchedEnv(config.name, kind(env, device), num_envs, limit)


def make_shown(config: EnvConfig, num_envs: int, render_mode: str | None) -> Shown:
    """Make at least N environments that can be rendered in that mode."""
    if is_parallel(config.id):
        return ParallelEnv(config, num_envs, render_mode=render_mode, round_up=True)
    if config.vectorization == "envpool":
        return PoolEnv(config, num_envs, render_mode=render_mode)
    return GymnasiumEnv(config, num_envs, render_mode=render_mode)


def obs_space_of(config: EnvConfig) -> Space[Any]:
    """Return the observations' space, which the choice of a device asks for."""
    if is_parallel(config.id) or config.vectorization == "envpool":
        made = make_vec_env(config, 1, torch.device("cpu"), round_up=True)
        made.close()
        return made.spec.obs_space
    env = make_single(config)
    try:
        return env.observation_space
    finally:
        env.close()


def _wins(config: EnvConfig, num_envs: int, device: torch.device) -> bool:
    if config.wrappers.entries or config.id not in BATCHED or config.success != "info":
        return False
    if set(config.kwargs) - set(BATCHED[config.id][0].kwargs):
        return False
    return device.type == "cuda" or num_envs >= BATCHED[config.id][1]


def _check(config: EnvConfig) -> None:
    if config.wrappers.entries:
        reason = "torch versions take no wrappers; use env.vectorization=auto or env.wrappers=[]"
        raise ConfigError(Problem("env.vectorization", reason))
    if config.id not in BATCHED:
        reason = f"there is no torch version of {config.id}, only of {', '.join(BATCHED)}; use auto"
        raise ConfigError(Problem("env.vectorization", reason))
    reason = "the torch versions tell of no success; use env.vectorization=sync"
    config.refuse_around(("success",), reason)
    for key in config.kwargs:
        if key not in BATCHED[config.id][0].kwargs:
            reason = f"the torch version has no such option; use env.vectorization=sync for {key}"
            raise ConfigError(Problem(f"env.kwargs.{key}", reason))
