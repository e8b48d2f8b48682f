"""Returns and advantages over fragments `[T, N]`.

The recursion is cut where an episode ended (`done`); the bootstrap is cut only where the task
ended (`terminated`), so a time limit is bootstrapped with the value of the true successor.
"""

import torch
from torch import Tensor

DOUBLING = 32
"""Steps from which a recursion is summed by doubling."""


def generalized_advantage(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Return generalised advantage estimates, `[T, N]`.

    A_t = delta_t + gamma lambda (1 - done_t) A_{t+1} with
    delta_t = r_t + gamma (1 - terminated_t) V(s'_t) - V(s_t).

    `value` is V(s_t), `next_value` V of the true successor; all arguments are `[T, N]`.
    Source: Schulman et al. 2016, "High-dimensional continuous control using GAE", eq. 11-16.
    """
    same_shape(reward, truncated)
    delta = temporal_difference(reward, value, next_value, terminated, gamma)
    return decayed_sum(delta, gamma * gae_lambda * ~(terminated | truncated))


def temporal_difference(
    reward: Tensor, value: Tensor, next_value: Tensor, terminated: Tensor, gamma: float
) -> Tensor:
    """Return delta_t = r_t + gamma (1 - terminated_t) V(s'_t) - V(s_t), `[T, N]` as its arguments.

    Source: Sutton & Barto 2018, eq. 6.5.
    """
    same_shape(reward, value, next_value, terminated)
    return reward + gamma * next_value * ~terminated - value


def v_trace_advantage(
    delta: Tensor, done: Tensor, weight: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """Return the advantages of actions that another policy took, `[T, N]` as its arguments.

    A_t = delta_t + gamma lambda (1 - done_t) w_{t+1} A_{t+1}, which is `generalized_advantage`
    where the weights are 1. V-trace's target of the value is V(s_t) + w_t A_t.

    `delta` are temporal differences. `weight` is w = min(1, pi(a_t | s_t) / mu(a_t | s_t)), of the
    policy to be valued over the one that acted.
    Source: Espeholt et al. 2018, "IMPALA", arXiv:1802.01561, eq. 1 and remark 2; with lambda 1
    it is the advantage of section 4.2.
    """
    same_shape(delta, done, weight)
    following = torch.cat([weight[1:], torch.ones_like(weight[:1])])
    return decayed_sum(delta, gamma * gae_lambda * ~done * following)


def discounted_return(reward: Tensor, done: Tensor, gamma: float, bootstrap: Tensor) -> Tensor:
    """Return G_t = r_t + gamma (1 - done_t) G_{t+1}, `[T, N]`.

    `bootstrap` `[T, N]` is added, discounted, to the reward of each step at which the sum is cut:
    where `done`, and at the last step of the fragment. Zeros give plain Monte-Carlo returns.
    Source: Sutton & Barto 2018, eq. 3.8 and 3.9.
    """
    same_shape(reward, done, bootstrap)
    cut = done.clone()
    cut[-1] = True
    return decayed_sum(reward + gamma * bootstrap * cut, gamma * ~done)


def decayed_sum(term: Tensor, decay: Tensor) -> Tensor:
    """Return y_t = term_t + decay_t * y_{t+1} along the first axis, with y_T = 0; `[T, ...]`.

    Many steps are summed by doubling: after k rounds each y holds the terms of 2^k steps, so there
    are log2(T) rounds of large operations instead of T small ones. Source: Hillis & Steele 1986,
    "Data parallel algorithms".
    """
    same_shape(term, decay)
    if len(term) < DOUBLING:
        running = torch.zeros_like(term[0])
        rows = []
        for now, fade in zip(reversed(term.unbind(0)), reversed(decay.unbind(0)), strict=True):
            running = torch.addcmul(now, fade, running)
            rows.append(running)
        return torch.stack(rows[::-1])
    total, reach = term, 1
    while reach < len(term):
        early = torch.addcmul(total[:-reach], decay[:-reach], total[reach:])
        total = torch.cat([early, total[-reach:]])
        # what reaches behind the end finds nothing there
        decay = torch.cat([decay[:-reach] * decay[reach:], torch.zeros_like(decay[-reach:])])
        reach *= 2
    return total


def explained_variance(prediction: Tensor, target: Tensor) -> Tensor:
    """Return 1 - Var(target - prediction) / Var(target), a scalar; NaN for a constant target."""
    same_shape(prediction, target)
    variance = target.var(correction=0)
    residual = (target - prediction).var(correction=0)
    return torch.where(variance > 0, 1 - residual / variance, torch.nan)


def same_shape(*tensors: Tensor) -> None:
    """Raise ValueError unless all shapes are equal: a silent broadcast is the commonest bug."""
    shapes = {tensor.shape for tensor in tensors}
    if len(shapes) > 1:
        raise ValueError(f"shapes differ: {[tuple(tensor.shape) for tensor in tensors]}")
