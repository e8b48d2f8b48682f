"""Small TRPOs and rows for them."""

import dataclasses

import numpy as np
import torch
from gymnasium import spaces

from rlrun.algos.trpo import TRPO, TRPOConfig
from rlrun.types import Fragment
from tests.algos.linear import policy_config, rate, setting
from tests.nets.networks import mlp

BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)


def build(place=None, policy=None, **changes) -> TRPO:
    options = {
        **{"n_steps": 3, "n_fragments": 1, "batch_size": 3, "gamma": 0.5, "gae_lambda": 0.5},
        **{"target_kl": rate(0.01), "cg_max_steps": 20, "cg_damping": 0.1},
        **{"line_search_shrinking_factor": 0.5, "line_search_max_iter": 10},
        **{"n_critic_updates": 1, "learning_rate": rate(0.01)},
        **{"normalize_advantage": False, "sub_sampling_factor": 1},
        "policy": policy or policy_config(),
    }
    return TRPO(TRPOConfig(**{**options, **changes}), place or setting())


def deep(action_space, hidden=(8,), **changes):
    """Return the setting of small networks with a given action space and four environments."""
    plain = setting(num_envs=4)
    spec = dataclasses.replace(plain.spec, action_space=action_space)
    return dataclasses.replace(plain, spec=spec, network=mlp(*hidden, **changes))


def acted(algorithm, steps=16) -> Fragment:
    """Return random rows with the algorithm's own actions, and rewards that favour some."""
    obs = torch.randn(steps, 4, 1)
    carry, actions = algorithm.initial_carry(4), []
    for row in obs:
        with torch.no_grad():
            decision = algorithm.act(row, carry, explore=True)
        carry = decision.carry
        actions.append(decision.action)
    action = torch.stack(actions)
    reward = action.float().reshape(steps, 4, -1).sum(-1) * obs.squeeze(-1)
    ends = torch.ones(steps, 4, dtype=torch.bool)
    return Fragment(obs, action, reward, obs, ends, ~ends, (), {})
