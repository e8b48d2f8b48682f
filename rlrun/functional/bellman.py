"""Bellman backups on tables: `[S]` values, `[S, A]` action values and policies.

A model's tables and what is computed from them are float64. Source of the equations: Sutton &
Barto 2018, chapters 4 and 6.
"""

import torch
from torch import Tensor

from rlrun.types import Diverged, TabularModel

NEVER = 1e-12
"""Probabilities below this are rounding of a row that sums to one."""


def action_values(model: TabularModel, value: Tensor, gamma: float) -> Tensor:
    """Return q(s, a) = r(s, a) + gamma sum_s' P(s', goes on | s, a) v(s'), `[S, A]` (eq. 4.10)."""
    if value.shape != model.reward.shape[:1]:
        raise ValueError(f"{tuple(value.shape)} values for {len(model.reward)} states")
    return model.reward + gamma * (model.continuation @ value)


def policy_value(model: TabularModel, policy: Tensor, gamma: float) -> Tensor:
    """Return the exact value of a stochastic policy `[S, A]`, `[S]`: v = r + gamma P v (eq. 4.4).

    With gamma = 1 a state from which the episode cannot end has the value 0 where it earns nothing;
    raises Diverged where it earns something, because that sum has no limit.
    """
    if policy.shape != model.reward.shape:
        raise ValueError(f"shapes differ: {tuple(policy.shape)} and {tuple(model.reward.shape)}")
    transition = torch.einsum("sa,sap->sp", policy, model.continuation)
    reward = (policy * model.reward).sum(1)
    identity = torch.eye(len(reward), dtype=reward.dtype, device=reward.device)
    system = identity - gamma * transition
    value: Tensor
    if gamma < 1.0:
        value = torch.linalg.solve(system, reward)
        return value
    _, ends = way_to_the_end(transition.unsqueeze(1))
    if bool(reward[~ends].any()):
        raise Diverged("a policy earns reward for ever and gamma is 1; take algo.gamma < 1")
    value = torch.zeros_like(reward)
    value[ends] = torch.linalg.solve(system[ends][:, ends], reward[ends])
    return value


def way_to_the_end(continuation: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each state an action towards the end of the episode, and whether one exists.

    `continuation` is `[S, A, S]`; both results are `[S]`. Each action has a chance to come one step
    closer to the nearest end, so the policy of these actions ends every episode that can end. A
    state from which none can end has the action 0.
    """
    leads = continuation.sum(-1) < 1.0 - NEVER
    action, ends = leads.to(torch.int8).argmax(-1), leads.any(-1)
    while True:
        leads = continuation @ ends.to(continuation.dtype) > NEVER
        closer = leads.any(-1) & ~ends
        if not bool(closer.any()):
            return action, ends
        action = torch.where(closer, leads.to(torch.int8).argmax(-1), action)
        ends = ends | closer


def improved_action(q: Tensor, action: Tensor, tolerance: float) -> Tensor:
    """Return the held action `[...]` unless another is better by more than `tolerance`.

    `q` is `[..., A]`; of equally good better actions it is the first. Keeping what is held makes
    ties stable: otherwise policy iteration can swap equally good actions for ever, and with
    gamma = 1 take one that never ends the episode (Sutton & Barto 2018, exercise 4.4).
    """
    if action.shape != q.shape[:-1]:
        raise ValueError(f"{tuple(action.shape)} actions for values {tuple(q.shape)}")
    held = q.gather(-1, action.unsqueeze(-1)).squeeze(-1)
    best, first = q.max(-1)
    return torch.where(best > held + tolerance, first, action)


def discounting_model(model: TabularModel, value: Tensor) -> TabularModel:
    """Return the model whose undiscounted value is -dv/dgamma at gamma = 1, from v `[S]` there.

    Differentiating v = r + gamma P v gives v' = P v + P v', so the reward is -P v. Of policies
    equally good at gamma = 1, the one of highest value here is best for a gamma just below 1:
    it earns its rewards sooner. Source: Veinott 1969, "Discrete dynamic programming with
    sensitive discount optimality criteria".
    """
    return TabularModel(model.probability, -(model.continuation @ value), model.continuation)


def expected_value(q: Tensor, policy: Tensor) -> Tensor:
    """Return sum_a pi(a|s) q(s, a), `[...]` from two `[..., A]` (expected SARSA, eq. 6.9)."""
    if q.shape != policy.shape:
        raise ValueError(f"shapes differ: {tuple(q.shape)} and {tuple(policy.shape)}")
    return (q * policy).sum(-1)


def td_target(reward: Tensor, next_value: Tensor, terminated: Tensor, gamma: float) -> Tensor:
    """Return r + gamma (1 - terminated) v(s'), `[...]`, from three tensors of one shape."""
    if not reward.shape == next_value.shape == terminated.shape:
        raise ValueError("reward, next_value and terminated must have one shape")
    return torch.add(reward, next_value.masked_fill(terminated, 0.0), alpha=gamma)


def joint_step_size(entry: Tensor, learning_rate: float) -> Tensor:
    """Return the step size of each of B updates that are summed into table entries `[B]`.

    k updates of one entry get (1 - (1 - alpha)^k) / k each: together they move it as far as k
    updates in sequence would towards their mean target, so it never overshoots. An entry that
    occurs once gets alpha.
    """
    if entry.ndim != 1:
        raise ValueError(f"entries have the shape {tuple(entry.shape)}, not [B]")
    count = (entry == entry.unsqueeze(1)).sum(0)
    return (1.0 - (1.0 - learning_rate) ** count) / count
