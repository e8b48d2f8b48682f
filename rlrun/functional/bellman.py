"""Bellman backups on tables: `[S]` values, `[S, A]` action values, `[S, A]` policies, float64.

Source of the equations: Sutton & Barto 2018, chapters 4 and 6.
"""

import torch
from torch import Tensor

from rlrun.types import TabularModel


def action_values(model: TabularModel, value: Tensor, gamma: float) -> Tensor:
    """Return q(s, a) = r(s, a) + gamma sum_s' P(s', goes on | s, a) v(s'), `[S, A]`."""
    return model.reward + gamma * (model.continuation @ value)


def policy_value(model: TabularModel, policy: Tensor, gamma: float) -> Tensor:
    """Return the exact value of a stochastic policy `[S, A]`, `[S]`, by solving (I - gamma P) v = r.

    With gamma = 1 a policy under which the episode may never end has no finite value; the
    least-squares solution of smallest norm is returned then, which is exact where one exists.
    """
    transition = torch.einsum("sa,sap->sp", policy, model.continuation)
    reward = (policy * model.reward).sum(1)
    system = torch.eye(len(reward), dtype=reward.dtype) - gamma * transition
    if gamma < 1.0:
        return torch.linalg.solve(system, reward)
    return torch.linalg.lstsq(system, reward.unsqueeze(1), driver="gelsd").solution.squeeze(1)


def greedy_policy(q: Tensor, tolerance: float = 1e-9) -> Tensor:
    """Return the policy that takes the first action whose value is within `tolerance` of the best.

    `q` is `[..., A]`; the result is one-hot of the same shape. The tolerance makes ties stable:
    without it, policy iteration can swap equally good actions for ever.
    """
    best = q >= q.max(-1, keepdim=True).values - tolerance
    first = best.to(torch.int8).argmax(-1)
    return torch.nn.functional.one_hot(first, q.shape[-1]).to(q.dtype)


def expected_value(q: Tensor, policy: Tensor) -> Tensor:
    """Return sum_a pi(a|s) q(s, a), `[...]` from two `[..., A]` (expected SARSA, eq. 6.9)."""
    if q.shape != policy.shape:
        raise ValueError(f"shapes differ: {tuple(q.shape)} and {tuple(policy.shape)}")
    return (q * policy).sum(-1)


def td_target(reward: Tensor, next_value: Tensor, terminated: Tensor, gamma: float) -> Tensor:
    """Return r + gamma (1 - terminated) v(s'), `[...]`, from three tensors of one shape."""
    if not reward.shape == next_value.shape == terminated.shape:
        raise ValueError("reward, next_value and terminated must have one shape")
    return reward + gamma * next_value * ~terminated
