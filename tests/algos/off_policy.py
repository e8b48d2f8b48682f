"""Actors and critics small enough to work out by hand: linear, one number observed, one chosen."""

import numpy as np
import torch
from gymnasium import spaces

from rlrun.algos.base import Setting
from rlrun.build import build_parts
from rlrun.data.collector import Collector
from rlrun.data.replay import Batch
from rlrun.types import EnvSpec
from tests.algos.linear import rate
from tests.nets.networks import mlp
from tests.recipes import changed, recipe

OBS = spaces.Box(-np.inf, np.inf, (1,), np.float32)
ACTION = spaces.Box(np.float32([-1.0]), np.float32([3.0]))
"""Its unit actions are (a - 1) / 2."""

MEMORY = {
    **{"learning_rate": rate(0.01), "buffer_size": 8, "learning_starts": 1, "batch_size": 2},
    **{"gamma": 0.5, "train_freq": 1, "gradient_steps": 1, "n_step": 1},
}
NOISE = {"action_noise": "none", "noise_std": 0.1, "noise_theta": 0.15, "noise_dt": 0.01}


def setting(action=ACTION, num_envs: int = 1) -> Setting:
    return Setting(EnvSpec("hand", num_envs, OBS, action), mlp(init="uniform"), torch.device("cpu"))


def batch(obs, action, reward, next_obs, discount) -> Batch:
    """Return a batch from one list for each column; actions are whole numbers, or `[B, 1]`."""
    rows = len(reward)
    column = lambda values: torch.tensor(values, dtype=torch.float32)  # noqa: E731
    whole = all(isinstance(each, int) for each in action)
    return Batch(
        column(obs).unsqueeze(-1),
        torch.tensor(action) if whole else column(action).unsqueeze(-1),
        column(reward),
        column(next_obs).unsqueeze(-1),
        column(discount),
        torch.ones(rows),
        torch.arange(rows),
    )


@torch.no_grad()
def set_critics(critics, rows) -> None:
    """Make critic k the value w_action * action + w_obs * obs + bias, for rows of these three."""
    for k, (action, obs, bias) in enumerate(rows):
        critics.head.weight[k] = torch.tensor([[action], [obs]])
        critics.head.bias[k] = bias


@torch.no_grad()
def set_linear(linear, weight, bias) -> None:
    linear.weight.copy_(torch.tensor(weight))
    linear.bias.copy_(torch.tensor(bias))


def learned_in(probe: str, name: str, updates: int, **options):
    """Return an algorithm after a short time in a probe of `tests.learning`."""
    made = recipe(
        *(f"algo={name}", f"env=tests.learning.probes:{probe}-v0", "preset=none", "device=cpu"),
        *("network.sizes=[32]", "num_envs=8"),
    )
    shared = {
        **{"learning_rate": rate(3e-3), "learning_starts": 64, "batch_size": 64},
        **{"buffer_size": 4096, "train_freq": 8, "tau": 0.05},
    }
    parts = build_parts(changed(made, {**shared, **options}))
    algorithm = parts.algorithm
    collector = Collector(parts.env, algorithm.initial_carry, parts.device, seed=1)
    while algorithm.experience.updates < updates:
        algorithm.update(
            collector.collect(
                lambda obs, carry: algorithm.act(obs, carry, explore=True), algorithm.horizon
            )
        )
    parts.env.close()
    return algorithm


def actions_at(algorithm, *shown: float) -> list[float]:
    """Return the actions without exploration for numbers that are shown."""
    obs = torch.tensor(shown).unsqueeze(1)
    carry = algorithm.initial_carry(len(shown))
    return algorithm.act(obs, carry, explore=False).action.flatten().tolist()
