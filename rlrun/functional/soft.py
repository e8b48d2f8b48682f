"""Maximum entropy: squashed actions with their log-probabilities, and the temperature's loss."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows

from rlrun.functional.returns import same_shape

CONSTANT = 0.5 * math.log(2.0 * math.pi) + 2.0 * math.log(2.0)


def squashed_normal(mean: Tensor, log_std: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
    """Return actions tanh(mean + std e) `[..., A]` and their log-density on [-1, 1]^A, `[...]`.

    `draw` holds the standard normal numbers e. With raw = mean + std e the density is
    N(raw; mean, std) / (1 - tanh(raw)^2), where log(1 - tanh(x)^2) is written as
    2 (log 2 - x - softplus(-2 x)), which does not underflow.
    Source: Haarnoja et al. 2018, "Soft actor-critic", appendix C.
    """
    same_shape(mean, log_std, draw)
    raw = torch.addcmul(mean, log_std.exp(), draw)
    slope = raw + F.softplus(-2.0 * raw)
    each = torch.add(slope, slope) - log_std - 0.5 * draw.square()
    return raw.tanh(), each.sum(-1) - mean.shape[-1] * CONSTANT


def categorical_expectation(logits: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Return sum_a pi(a) q(a) and sum_a pi(a) log pi(a), `[...]`, for logits and q `[..., A]`.

    Source: Christodoulou 2019, "Soft actor-critic for discrete action settings", eq. 10 to 12.
    """
    same_shape(logits, q)
    log_probs = logits.log_softmax(-1)
    probs = log_probs.exp()
    return (probs * q).sum(-1), (probs * log_probs).sum(-1)


def temperature_loss(log_alpha: Tensor, log_prob: Tensor, target_entropy: float) -> Tensor:
    """Return -log alpha (log pi + target entropy), `[B]`: alpha grows while entropy is too low.

    `log_prob` is taken as a constant. The paper's eq. 18 has alpha for log alpha; the sign of the
    gradient is the same and its size does not shrink with alpha.
    Source: Haarnoja et al. 2018, "Soft actor-critic algorithms and applications", eq. 18.
    """
    return -log_alpha * (log_prob.detach() + target_entropy)
