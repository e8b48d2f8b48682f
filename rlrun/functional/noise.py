"""Noise on actions: what explores around a deterministic policy, and what smooths its targets.

Actions here are unit actions, in [-1, 1] in each of their A dimensions.
"""

import math

import torch
from torch import Tensor

from rlrun.functional.returns import same_shape


def ornstein_uhlenbeck(
    state: Tensor, draw: Tensor, theta: float, sigma: float, step: float
) -> Tensor:
    """Return the next state of a process that wanders about 0, `[N, A]`.

    x + theta (0 - x) h + sigma sqrt(h) e, with h = `step` and e = `draw`, standard normal numbers.
    Its deviation tends to sigma sqrt(h / (1 - (1 - theta h)^2)), and its correlation fades by
    1 - theta h a step. Source: Uhlenbeck & Ornstein 1930, by Euler's method; for exploration
    Lillicrap et al. 2016, "Continuous control with deep reinforcement learning", section 3.
    """
    same_shape(state, draw)
    return torch.add(state * (1.0 - theta * step), draw, alpha=sigma * math.sqrt(step))


def perturbed(action: Tensor, noise: Tensor) -> Tensor:
    """Return the action with noise added, kept in [-1, 1]; both `[..., A]`."""
    same_shape(action, noise)
    return (action + noise).clamp_(-1.0, 1.0)


def smoothed(action: Tensor, noise: Tensor, noise_clip: float) -> Tensor:
    """Return the action with noise of at most `noise_clip` added, kept in [-1, 1]; both `[B, A]`.

    A value learned at such actions is smooth around the policy's own, so that the policy finds no
    narrow peaks of error in it. Source: Fujimoto et al. 2018, "Addressing function approximation
    error in actor-critic methods", eq. 14.
    """
    return perturbed(action, noise.clamp(-noise_clip, noise_clip))
