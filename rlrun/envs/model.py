"""Reads the transition table of toy-text environments."""

from typing import Any

import torch

from rlrun.types import TabularModel


def tabular_model(env: Any) -> TabularModel | None:
    """Return the model of an environment with `P[s][a] = [(p, s', r, terminated)]`, or None."""
    table = getattr(getattr(env, "unwrapped", None), "P", None)
    if not isinstance(table, dict):
        return None
    states, actions = len(table), len(table[0])
    probability = torch.zeros(states, actions, states, dtype=torch.float64)
    continuation = torch.zeros_like(probability)
    reward = torch.zeros(states, actions, dtype=torch.float64)
    for s, by_action in table.items():
        for a, outcomes in by_action.items():
            for p, following, gain, terminated in outcomes:
                probability[s, a, following] += p
                reward[s, a] += p * gain
                if not terminated:
                    continuation[s, a, following] += p
    return TabularModel(probability, reward, continuation)
