"""Action values `[B, A]`, and their distributions `[B, A, K]`: targets and losses, one a row."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows

from rlrun.functional.returns import same_shape


def taken(q: Tensor, action: Tensor) -> Tensor:
    """Return what `q` `[B, A, ...]` says of the actions `[B]`, `[B, ...]`."""
    if action.shape != q.shape[:1]:
        raise ValueError(f"{tuple(action.shape)} actions for values {tuple(q.shape)}")
    index = action.view(-1, *[1] * (q.ndim - 1)).expand(-1, 1, *q.shape[2:])
    return q.gather(1, index).squeeze(1)


def double_value(target_q: Tensor, online_q: Tensor) -> Tensor:
    """Return what the target says of the action that the online network prefers.

    `target_q` is `[B, A]` or `[B, A, K]`, `online_q` `[B, A]`, the result `[B]` or `[B, K]`.
    Source: van Hasselt et al. 2016, "Deep reinforcement learning with double Q-learning", eq. 4.
    """
    if target_q.shape[:2] != online_q.shape:
        raise ValueError(f"shapes differ: {tuple(target_q.shape)} and {tuple(online_q.shape)}")
    return taken(target_q, online_q.argmax(1))


def huber_loss(value: Tensor, target: Tensor) -> Tensor:
    """Return half the squared error where it is below 1, else the error less a half, `[B]`.

    Source: Mnih et al. 2015, "Human-level control through deep reinforcement learning", methods.
    """
    same_shape(value, target)
    return F.smooth_l1_loss(value, target, reduction="none")


def squared_loss(value: Tensor, target: Tensor) -> Tensor:
    """Return half the squared error, `[B]`.

    The half makes its slope near 0 that of `huber_loss`. Source: Mnih et al. 2013, "Playing Atari
    with deep reinforcement learning", eq. 2, which has no half.
    """
    same_shape(value, target)
    return 0.5 * F.mse_loss(value, target, reduction="none")


def project(probability: Tensor, reward: Tensor, discount: Tensor, support: Tensor) -> Tensor:
    """Return the distribution of reward + discount * Z on the same evenly spaced atoms, `[B, K]`.

    `probability` `[B, K]` is that of Z on the atoms `support` `[K]`. What falls between two atoms
    is shared by nearness, what falls outside goes to the outermost; no mass is lost.
    Source: Bellemare et al. 2017, "A distributional perspective on reinforcement learning", eq. 7.
    """
    same_shape(reward, discount)
    same_shape(probability[0], support)
    low, high = support[0], support[-1]
    atoms = (reward.unsqueeze(1) + discount.unsqueeze(1) * support).clamp(low, high)
    spacing = (high - low) / (len(support) - 1)
    distance = (support.view(1, -1, 1) - atoms.unsqueeze(1)).abs().div_(spacing)
    share = distance.neg_().add_(1.0).clamp_(min=0.0)
    return share.mul_(probability.unsqueeze(1)).sum(2)


def cross_entropy(log_probability: Tensor, target: Tensor) -> Tensor:
    """Return -sum_k target_k log p_k, `[B]`, from two `[B, K]`."""
    same_shape(log_probability, target)
    return -(target * log_probability).sum(1)


def quantile_huber_loss(quantile: Tensor, target: Tensor) -> Tensor:
    """Return the quantile regression loss, `[B]`, of quantiles `[B, K]` towards samples `[B, J]`.

    Quantile i, at the level (i + 1/2) / K, pays |level - [error < 0]| times the Huber loss of its
    error, mean over samples, sum over quantiles.
    Source: Dabney et al. 2018, "Distributional reinforcement learning with quantile regression",
    eq. 9 and 10, with kappa = 1.
    """
    if quantile.ndim != 2 or len(quantile) != len(target):
        raise ValueError(f"quantiles {tuple(quantile.shape)}, samples {tuple(target.shape)}")
    count = quantile.shape[1]
    level = (torch.arange(count, device=quantile.device) + 0.5) / count
    samples, quantiles = torch.broadcast_tensors(target.unsqueeze(1), quantile.unsqueeze(2))
    above = (samples < quantiles).to(quantile.dtype)
    slope = (level.view(1, -1, 1) - above).abs_()
    loss: Tensor = F.smooth_l1_loss(quantiles, samples, reduction="none")
    total: Tensor = (slope * loss).mean(2).sum(1)
    return total


def weighted_mean(loss: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of `weight * loss`, a scalar: the one reduction of a loss by rows `[B]`."""
    same_shape(loss, weight)
    total: Tensor = torch.dot(loss, weight)
    return total / len(loss)
