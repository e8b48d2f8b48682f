"""Policies small enough to work out by hand: no hidden layer, one number observed."""

import numpy as np
import torch
from gymnasium import spaces

from rlrun.algos.base import Setting
from rlrun.functional.schedules import Schedule
from rlrun.nets.actor_critic import PolicyConfig
from rlrun.types import EnvSpec, Fragment
from tests.nets.networks import mlp

OBS = spaces.Box(-np.inf, np.inf, (1,), np.float32)


def setting(num_envs: int = 1) -> Setting:
    """Return the setting of linear policies with two actions."""
    spec = EnvSpec("hand", num_envs, OBS, spaces.Discrete(2))
    return Setting(spec, mlp(), torch.device("cpu"))


def policy_config(**changes) -> PolicyConfig:
    """Return the options of a plain policy, with changes."""
    options = {"normalize_observation": False, "normalize_reward": False, "log_std_init": 0.0}
    options |= {"action_distribution": "gaussian", "sde_sample_freq": 4, **changes}
    return PolicyConfig(**options)


def uniform_actions_and_identity_value(policy) -> None:
    """Make both actions equally likely everywhere and the value equal to the observation."""
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
        policy.value_head.weight.fill_(1.0)


def rate(value: float) -> Schedule:
    """Return a constant step size."""
    return Schedule.constant(value)


def fragment(obs, action, reward, next_obs, terminated, truncated) -> Fragment:
    """Return a fragment from one list for each column, of one environment or `[T, N]`."""

    def column(values, kind):
        values = torch.tensor(values, dtype=kind)
        return values if values.ndim == 2 else values.unsqueeze(1)

    return Fragment(
        column(obs, torch.float32).unsqueeze(-1),
        column(action, torch.int64),
        column(reward, torch.float32),
        column(next_obs, torch.float32).unsqueeze(-1),
        column(terminated, torch.bool),
        column(truncated, torch.bool),
        (),
        {},
    )
