"""Policy-gradient losses: one value per row, so that every reduction is one visible `mean()`."""

import torch
from torch import Tensor

from rlrun.functional.returns import same_shape


def clipped_surrogate(log_ratio: Tensor, advantage: Tensor, clip_range: Tensor) -> Tensor:
    """Return the negative clipped surrogate objective of PPO, `[B]`.

    -min(r A, clip(r, 1 - eps, 1 + eps) A) with r = exp(log_ratio), written as the equal
    -min(r A, A + eps |A|), whose second half has no gradient to compute. `clip_range` is a scalar.
    Source: Schulman et al. 2017, "Proximal policy optimization algorithms", eq. 7.
    """
    same_shape(log_ratio, advantage)
    limit = torch.addcmul(advantage, advantage.abs(), clip_range)
    return -torch.min(log_ratio.exp() * advantage, limit)


def clipped_value_loss(
    value: Tensor, old_value: Tensor, target: Tensor, clip_range: float
) -> Tensor:
    """Return the larger of the plain and the clipped squared error, `[B]`.

    Source: Schulman et al., the PPO2 code of OpenAI Baselines; the paper does not mention it.
    """
    same_shape(value, old_value, target)
    near = old_value + (value - old_value).clamp(-clip_range, clip_range)
    return torch.max((value - target).square(), (near - target).square())


def policy_gradient(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """Return -log pi(a|s) A, `[B]`: its gradient is the negative policy gradient.

    Source: Williams 1992 (REINFORCE); Sutton & Barto 2018, eq. 13.8.
    """
    same_shape(log_prob, advantage)
    return -log_prob * advantage


def normalize(advantage: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Return the batch with mean 0 and standard deviation 1; one row is returned as it is."""
    if advantage.numel() < 2:
        return advantage
    variance, mean = torch.var_mean(advantage)
    return (advantage - mean) / (variance.sqrt() + epsilon)


def approximate_kl(log_ratio: Tensor) -> Tensor:
    """Return the estimator mean(r - 1 - log r) of KL(old || new), a scalar, never negative.

    Source: Schulman 2020, "Approximating KL divergence", estimator k3.
    """
    return (torch.expm1(log_ratio) - log_ratio).mean()
